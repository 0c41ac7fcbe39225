"""What a key or an account may do, as options and as a file: both end in one document.

The document is what the operator API takes too; ``service.policies`` reads it and says what is
wrong. A value of ``none`` takes away what was said before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from bandari.cli.common import whole_number
from bandari.cli.failure import CommandFailed
from bandari.cli.moments import moment_to_come

NONE = "none"
MAX_FILE_BYTES = 256 * 1024


def _number_or_none(kind: object, tokens: Iterable[Token]) -> str:
    (token,) = tokens
    if token.value != NONE:
        whole_number(kind, [token])
    return token.value


Number = Annotated[
    str | None,
    Parameter(converter=_number_or_none, allow_leading_hyphen=True, metavar="N"),
]
"""A whole number, or ``none``."""

Cache = Literal["use", "only", "refresh", "off", "none"]
"""Every ``CacheUse``, or ``none``."""

Spend = Annotated[list[str] | None, Parameter(negative="", metavar="ASSET=N")]
"""May be given several times."""


@Parameter(name="*")
@dataclass(frozen=True)
class LimitOptions:
    """The limits that are set most. ``--policy`` has them all."""

    requests_per_minute: Number = None
    """Requests in any minute."""

    requests_per_day: Number = None
    """Requests in any 24 hours."""

    tokens_per_minute: Number = None
    """Tokens in any minute, input and output."""

    tokens_per_day: Number = None
    """Tokens in any 24 hours."""

    concurrent_requests: Number = None
    """Requests at once."""

    spend_per_day: Spend = None
    """What may be spent in a day (UTC), in the asset's smallest unit. May be repeated."""

    spend_per_month: Spend = None
    """The same for a calendar month."""

    def document(self) -> dict[str, object]:
        """What was said, as ``limits`` of a policy."""
        said: dict[str, object] = {}
        for name in (
            "requests_per_minute",
            "requests_per_day",
            "tokens_per_minute",
            "tokens_per_day",
            "concurrent_requests",
        ):
            put(said, name, getattr(self, name))
        if self.spend_per_day:
            said["spend_per_day"] = _by_asset(self.spend_per_day, "--spend-per-day")
        if self.spend_per_month:
            said["spend_per_month"] = _by_asset(self.spend_per_month, "--spend-per-month")
        return {"limits": said} if said else {}


@Parameter(name="*")
@dataclass(frozen=True)
class KeyOptions:
    """What one key may do."""

    scope: Annotated[list[str] | None, Parameter(negative="", metavar="SCOPE")] = None
    """What it may be used for, like chat_completions or usage. May be repeated."""

    model: Annotated[list[str] | None, Parameter(negative="", metavar="PATTERN")] = None
    """A model that it may use, or a pattern like 'gpt-*'. May be repeated."""

    quota: Number = None
    """Tokens that it may use in all."""

    quota_per_day: Number = None
    """Tokens that it may use in a day (UTC)."""

    quota_per_month: Number = None
    """Tokens that it may use in a calendar month (UTC)."""

    expires: Annotated[str | None, Parameter(metavar="WHEN")] = None
    """When it ends: a date or time (UTC) like 2027-01-31, or a span from now like 30d."""

    network: Annotated[list[str] | None, Parameter(negative="", metavar="NETWORK")] = None
    """A network that it may be used from, like 10.0.0.0/8. May be repeated."""

    resume_window: Number = None
    """Seconds that its answers go on, and can be read again, while nobody reads. 0: not at all."""

    cache: Cache | None = None
    """What it may have of the answers that are kept for equal requests."""

    cache_ttl: Number = None
    """Seconds that its answers are kept for equal requests."""

    policy: Annotated[str | None, Parameter(metavar="FILE", allow_leading_hyphen=True)] = None
    """A JSON file with any fields of the policy; - reads it from stdin. The options win."""

    def document(self, limits: LimitOptions) -> dict[str, object]:
        """The policy that file and options say together."""
        said = limits.document()
        quota: dict[str, object] = {}
        put(quota, "lifetime", self.quota)
        put(quota, "per_day", self.quota_per_day)
        put(quota, "per_month", self.quota_per_month)
        if quota:
            said["quota"] = quota
        put(said, "resume_window_s", self.resume_window)
        put(said, "cache_ttl_s", self.cache_ttl)
        if self.cache is not None:
            said["cache"] = None if self.cache == NONE else self.cache
        for name, values in (
            ("scopes", self.scope),
            ("models", self.model),
            ("networks", self.network),
        ):
            if values:
                said[name] = None if values == [NONE] else values
        if self.expires is not None:
            is_none = self.expires == NONE
            said["expires_ms"] = None if is_none else moment_to_come(self.expires, "--expires")
        return _over(_read(self.policy), said)


@Parameter(name="*")
@dataclass(frozen=True)
class AccountOptions:
    """What an account may do, whichever of its keys it uses."""

    names_end_users: bool | None = None
    """Whether `user` and `safety_identifier` name an end user in its requests."""

    needs_sub_wallets: bool | None = None
    """Whether an end user without a wallet of his own is refused."""

    suspended: bool | None = None
    """Whether all its keys are refused."""

    policy: Annotated[str | None, Parameter(metavar="FILE", allow_leading_hyphen=True)] = None
    """A JSON file with any fields of the policy; - reads it from stdin. The options win."""

    def document(self, limits: LimitOptions) -> dict[str, object]:
        """The policy that file and options say together."""
        said = limits.document()
        for name, value in (
            ("names_end_users", self.names_end_users),
            ("needs_sub_wallets", self.needs_sub_wallets),
            ("is_suspended", self.suspended),
        ):
            if value is not None:
                said[name] = value
        return _over(_read(self.policy), said)


NO_LIMITS = LimitOptions()
NOTHING_OF_KEYS = KeyOptions()
NOTHING_OF_ACCOUNTS = AccountOptions()


def put(said: dict[str, object], name: str, value: str | None) -> None:
    """A number, or null for ``none``; nothing where nothing was typed."""
    if value is not None:
        said[name] = None if value == NONE else int(value)


def _by_asset(values: Iterable[str], option: str) -> Mapping[str, object]:
    amounts: dict[str, object] = {}
    for value in values:
        asset, equals, amount = value.partition("=")
        is_number = amount.isascii() and amount.isdigit() and len(amount) <= 18
        if not equals or not (is_number or amount == NONE):
            raise CommandFailed(f"{option}: {value[:100]!a} is not ASSET=AMOUNT", 2)
        put(amounts, asset, amount)
    return amounts


def _over(document: dict[str, object], said: Mapping[str, object]) -> dict[str, object]:
    """The document, and over it what the options say, name by name in what is nested."""
    for name, value in said.items():
        below = document.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            _over(below, value)
        else:
            document[name] = value
    return document


def _read(source: str | None) -> dict[str, object]:
    if source is None:
        return {}
    where = "stdin" if source == "-" else source
    if source == "-":
        content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with Path(source).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise CommandFailed(f"{where}: a policy has at most {MAX_FILE_BYTES} bytes", 2)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"{where}: not JSON: {error}", 2) from None
    if not isinstance(document, dict):
        raise CommandFailed(f"{where}: a policy is a JSON object", 2)
    return document
