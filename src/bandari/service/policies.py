"""What names, amounts and policies may be: every check of what an operator gives, in one place.

Each raises a ``CallerFault`` that names the field. ``policy_from`` reads a policy out of what JSON
says, for whoever asks: the operator API, or the command line.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct, ValidationError, inspect, structs

from bandari.domain.catalogue import nearest
from bandari.domain.faults import InvalidValue, NotFound, UnsupportedField
from bandari.domain.ledger import MAX_AMOUNT
from bandari.domain.pricing import is_asset

MAX_PAGE: Final = 1_000
MAX_PATTERNS: Final = 100
MAX_PATTERN_CHARACTERS: Final = 200
MAX_NETWORKS: Final = 100
MAX_SPEND_ASSETS: Final = 20
MAX_END_USER_CHARACTERS: Final = 512
MAX_WHY_CHARACTERS: Final = 500
MAX_GRACE_MS: Final = 30 * 86_400_000
YEAR_3000_MS: Final = 32_503_680_000_000

_NAME = re.compile(r"\w[\w.@+ -]{0,98}[\w.@+-]|\w")
_LONGEST_SHOWN = 100

T = TypeVar("T", bound=Struct)


def check_name(name: str, param: str = "name") -> None:
    """Of accounts, keys and users."""
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"'{shown(name)}' is not a name: 1 to 100 letters, digits, spaces and any of . _ @ + "
            "-, a letter or digit first and no space last.",
            param=param,
        )


def check_end_user(name: str, param: str = "end_user") -> None:
    """An end user has the name that the account's own system has for him."""
    if not (1 <= len(name) <= MAX_END_USER_CHARACTERS and name.isprintable()):
        raise InvalidValue(
            f"An end user's name is 1 to {MAX_END_USER_CHARACTERS} printable characters.",
            param=param,
        )


def check_asset(asset: str, param: str = "asset") -> None:
    if not is_asset(asset):
        raise InvalidValue(
            "An asset is 2 to 16 capital letters and digits, like TOKEN or KES, and not "
            f"'{shown(asset)}'.",
            param=param,
        )


def check_amount(amount: int, *, may_be_negative: bool = False, param: str = "amount") -> None:
    """In the asset's smallest unit; never nothing."""
    size = abs(amount) if may_be_negative else amount
    if not 1 <= size <= MAX_AMOUNT:
        sign = ", or as much below zero," if may_be_negative else ","
        raise InvalidValue(
            f"The amount must be from 1 to {MAX_AMOUNT}{sign} and is {shown(str(amount))}.",
            param=param,
        )


def check_why(why: str, param: str = "why") -> None:
    """The reason that the books keep."""
    if not (1 <= len(why) <= MAX_WHY_CHARACTERS and why.isprintable()):
        raise InvalidValue(
            f"The reason is 1 to {MAX_WHY_CHARACTERS} printable characters.", param=param
        )


def check_page(limit: int, param: str = "limit") -> None:
    """How many entries of a list are asked for."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidValue(f"'{param}' must be from 1 to {MAX_PAGE}.", param=param)


def check_group(group: str, known: Collection[str], param: str = "group") -> None:
    if group not in known:
        hints = nearest(group, known, 1) or tuple(sorted(known))
        raise NotFound(
            f"There is no group '{shown(group)}'; known: {', '.join(hints)}.", param=param
        )


def check_grace(grace_ms: int, param: str = "grace_ms") -> None:
    """For how long a secret that was replaced opens too."""
    if not 0 <= grace_ms <= MAX_GRACE_MS:
        raise InvalidValue(
            f"'{param}' must be from 0 to {MAX_GRACE_MS} (30 days), and is {grace_ms}.",
            param=param,
        )


def check_expiry(expires_ms: int | None, now_ms: int, param: str = "policy.expires_ms") -> None:
    """In milliseconds since 1970, UTC."""
    if expires_ms is None:
        return
    if expires_ms <= now_ms:
        raise InvalidValue(
            f"'{param}' must be in the future: it is now {now_ms}, in milliseconds since 1970.",
            param=param,
        )
    if expires_ms >= YEAR_3000_MS:
        raise InvalidValue(
            f"'{param}' must be before the year 3000, in milliseconds since 1970.", param=param
        )


def policy_from(document: object, kind: type[T], path: str = "", onto: T | None = None) -> T:
    """A ``KeyPolicy``, ``AccountPolicy`` or ``Limits`` out of what JSON says.

    What is not said is as in ``onto``, name by name in what is nested, or else has its default;
    null is the default too. ``path`` is what faults have before the names of fields.
    """
    if not isinstance(document, Mapping):
        raise _wrong(document, path or "policy", "an object")
    blank = kind()
    kinds = {item.name: item.type for item in structs.fields(kind)}
    values: dict[str, object] = {}
    for name, raw in document.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in kinds:
            raise UnsupportedField(
                f"'{shown(where)}' is not known; {_suggestion(str(name), kinds)}",
                param=shown(where),
            )
        if raw is None:
            values[name] = getattr(blank, name)
        else:
            before = getattr(blank if onto is None else onto, name)
            values[name] = _value(raw, _without_none(kinds[name]), where, before)
    return structs.replace(blank if onto is None else onto, **values)


def checked(policy: T, path: str = "") -> T:
    """The policy itself, made of what it says: in bounds, and spelled as it is kept."""
    return policy_from(msgspec.to_builtins(policy), type(policy), path)


def shown(text: str) -> str:
    """What was given, as far as anybody wants to read it, and fit for a terminal."""
    text = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


def _value(raw: object, kind: Any, where: str, before: Any) -> object:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return policy_from(raw, kind, where, before)
    if get_origin(kind) is tuple:
        if not isinstance(raw, list | tuple):
            raise _wrong(raw, where, "a list")
        item_kind = get_args(kind)[0]
        items = tuple(_one(item, item_kind, f"{where}[{at}]") for at, item in enumerate(raw))
        return _LISTS[where.rpartition(".")[2]](items, where)
    if get_origin(kind) is Mapping:
        return _by_asset(raw, get_args(kind)[1], where, before)
    return _one(raw, kind, where)


def _one(raw: object, kind: Any, where: str) -> object:
    """One number, truth or text."""
    try:
        return msgspec.convert(raw, kind)
    except ValidationError:
        raise _wrong(raw, where, _expected(inspect.type_info(kind))) from None


def _by_asset(
    raw: object, kind: Any, where: str, before: Mapping[str, object]
) -> Mapping[str, object]:
    if not isinstance(raw, Mapping):
        raise _wrong(raw, where, "an object")
    amounts = dict(before)
    for asset, amount in raw.items():
        check_asset(str(asset), where)
        if amount is None:
            amounts.pop(asset, None)
        else:
            amounts[asset] = _one(amount, kind, f"{where}.{asset}")
    if len(amounts) > MAX_SPEND_ASSETS:
        raise InvalidValue(f"'{where}' may name at most {MAX_SPEND_ASSETS} assets.", param=where)
    return amounts


def _scopes(scopes: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not scopes:
        raise InvalidValue(
            f"'{where}' must name at least one scope; a key without the field has all.",
            param=where,
        )
    return tuple(dict.fromkeys(scopes))


def _patterns(patterns: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        raise InvalidValue(
            f"'{where}' must have 1 to {MAX_PATTERNS} patterns, and has {len(patterns)}; a key "
            "without the field may use all models.",
            param=where,
        )
    for at, pattern in enumerate(patterns):
        if not (1 <= len(pattern) <= MAX_PATTERN_CHARACTERS and pattern.isprintable()):
            raise InvalidValue(
                f"'{where}[{at}]' must be 1 to {MAX_PATTERN_CHARACTERS} printable characters.",
                param=f"{where}[{at}]",
            )
    return patterns


def _networks(networks: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if len(networks) > MAX_NETWORKS:
        raise InvalidValue(
            f"'{where}' may have at most {MAX_NETWORKS} networks, and has {len(networks)}.",
            param=where,
        )
    return tuple(_network(text, f"{where}[{at}]") for at, text in enumerate(networks))


def _network(text: str, where: str) -> str:
    """As it is kept: the network's address and the length of its prefix."""
    try:
        if "%" in text:
            raise ValueError("an interface of one machine says nothing to another")
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidValue(
            f"'{where}' must be a network like 10.0.0.0/8 or 2001:db8::/32, and is "
            f"'{shown(text)}'.",
            param=where,
        ) from None
    address = ipaddress.ip_address(text.partition("/")[0])
    if address != network.network_address:
        raise InvalidValue(
            f"'{where}' is '{shown(text)}', an address inside a network; the network is "
            f"{network}, and the address alone {address}.",
            param=where,
        )
    return str(network)


_LISTS: Final = {"scopes": _scopes, "models": _patterns, "networks": _networks}
"""What else holds for each list of a policy, by its field."""


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(each for each in get_args(kind) if each is not NoneType)
    return kind


def _wrong(raw: object, where: str, expected: str) -> InvalidValue:
    match raw:
        case Mapping():
            given = "an object"
        case list() | tuple():
            given = "a list"
        case str():
            given = f"'{shown(raw)}'"
        case None | bool():
            given = {None: "null", True: "true", False: "false"}[raw]
        case _:
            given = shown(str(raw))
    return InvalidValue(f"'{shown(where)}' must be {expected}, and is {given}.", param=shown(where))


def _expected(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high) if low is not None:
            return f"an integer from {low} to {high}"
        case inspect.IntType():
            return "an integer"
        case inspect.EnumType(cls=cls):
            return "one of " + ", ".join(member.value for member in cls)
        case _:
            return "a string"


def _suggestion(name: str, known: Iterable[str]) -> str:
    hints = nearest(name, known, 1)
    return f"did you mean '{hints[0]}'?" if hints else f"known: {', '.join(sorted(known))}."
