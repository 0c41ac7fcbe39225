"""API keys: how one is spelled, checked for typing errors, and turned into the digest that is
stored.

A key is ``<prefix><43 characters of secret><6 characters of checksum>``: 256 bits of entropy in
base64url, and a CRC-32 of prefix and secret in base 62, so that a mistyped or truncated key is
known for one without asking the store. The secret itself is never stored; its SHA-256 is. (A slow
hash protects guessable secrets; 256 random bits are not guessable.)
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from enum import StrEnum

from msgspec import Struct

from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.allowance import UNBOUNDED, UNLIMITED, Limits, Quota
from bandari.domain.catalogue import Group, allows
from bandari.domain.recordings import CacheTtl, CacheUse, ResumeWindow

SECRET_BYTES = 32
_SECRET_CHARACTERS = 43
_CHECKSUM_CHARACTERS = 6
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_KEY_CHARACTERS = 256
FEWEST_ADMIN_CHARACTERS = 16
"""Of an admin key that a person has chosen."""


class Scope(StrEnum):
    """What a key may be used for: a surface, or what its account may ask about itself."""

    CHAT_COMPLETIONS = "chat_completions"
    COMPLETIONS = "completions"
    MESSAGES = "messages"
    RESPONSES = "responses"
    TYPED_STREAM = "typed_stream"
    EMBEDDINGS = "embeddings"
    USAGE = "usage"
    """Usage, balance and receipts."""
    END_USERS = "end_users"
    """The account's end users: their limits, and money between its wallets and theirs."""


class KeyPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one key may do, within what its group and its account may.

    ``scopes`` and ``models`` (patterns like ``gpt-*``) are all where they are None, and
    ``networks`` (like ``10.0.0.0/8``) all where there is none. ``limits`` are in place of the
    group's where both say something. ``resume_window_s`` is in place of the surface's, ``cache``
    and ``cache_ttl_s`` of the model's; None says nothing of it.
    """

    scopes: tuple[Scope, ...] | None = None
    models: tuple[str, ...] | None = None
    quota: Quota = UNBOUNDED
    limits: Limits = UNLIMITED
    networks: tuple[str, ...] = ()
    expires_ms: int | None = None
    resume_window_s: ResumeWindow | None = None
    cache: CacheUse | None = None
    cache_ttl_s: CacheTtl | None = None


class ApiKey(Struct, frozen=True):
    """A key as the store knows it.

    After a rotation the former secret opens too, until ``former_expires_ms``.
    """

    id: int
    account_id: int
    account: str
    name: str
    group: str
    hint: str
    created_ms: int
    revoked_ms: int | None = None
    policy: KeyPolicy = KeyPolicy()
    former_hint: str | None = None
    former_expires_ms: int | None = None


class FoundKey(Struct, frozen=True):
    """A key with what a request has to know of its account.

    ``assets`` are those that the account itself has a wallet in, oldest first. ``is_former``: it
    was found by the secret that a rotation has replaced.
    """

    key: ApiKey
    assets: tuple[str, ...]
    account_policy: AccountPolicy = AccountPolicy()
    has_end_users: bool = False
    is_former: bool = False


class Principal(Struct, frozen=True):
    """Who is asking: the key that came with the request and all that it stands for.

    ``assets`` are those that the account has a wallet in, oldest wallet first. ``end_user_terms``
    are None where the account has said nothing of this end user. ``group_terms`` are those of
    ``group``, or of ``default`` where there is no such group any more.
    """

    key_id: int
    account_id: int
    account: str
    group: str
    assets: tuple[str, ...]
    end_user: str | None = None
    policy: KeyPolicy = KeyPolicy()
    account_policy: AccountPolicy = AccountPolicy()
    has_end_users: bool = False
    end_user_terms: EndUserTerms | None = None
    group_terms: Group = Group(name="default")

    def may_use(self, model_id: str) -> bool:
        """Whether group and key both allow the model of that public id."""
        of_group, of_key = self.group_terms.models, self.policy.models
        if of_group is None and of_key is None:
            return True
        return allows(of_group, model_id) and allows(of_key, model_id)


def spell(prefix: str, secret: bytes) -> str:
    """The key's text for 32 random bytes."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a key's secret has {SECRET_BYTES} bytes")
    body = prefix + base64.urlsafe_b64encode(secret).decode().rstrip("=")
    return body + _checksum(body)


def is_well_formed(text: str, prefix: str) -> bool:
    """Whether ``text`` has the form of a key: the prefix, the length and a checksum that fits."""
    if not text.startswith(prefix) or not text.isascii():
        return False
    body, checksum = text[:-_CHECKSUM_CHARACTERS], text[-_CHECKSUM_CHARACTERS:]
    return len(body) == len(prefix) + _SECRET_CHARACTERS and _checksum(body) == checksum


def has_admin_characters(text: str) -> bool:
    """Whether all of an admin key that a person has chosen can be sent in a header."""
    return text.isascii() and text.isprintable() and " " not in text


def digest(text: str) -> bytes:
    """What the store keeps and looks up instead of the key (32 bytes)."""
    return hashlib.sha256(text.encode()).digest()


def hint(text: str, prefix: str) -> str:
    """Enough of a key to tell it from others in a list, and not enough to use it."""
    return f"{prefix}…{text[-4:]}"


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARACTERS):
        number, rest = divmod(number, 62)
        digits.append(_BASE62[rest])
    return "".join(reversed(digits))
