"""What a type cannot say: names, addresses, and values that must fit each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from msgspec import structs

from bandari.config.positions import Path
from bandari.config.tables import Problems, shown, suggestion
from bandari.config.values import Provider
from bandari.domain.bounds import MAX_INTEGER, MAX_STOP_SEQUENCES, Bounds
from bandari.domain.catalogue import MAX_MODEL_ID_BYTES, Defaults
from bandari.domain.keys import (
    FEWEST_ADMIN_CHARACTERS,
    MAX_KEY_CHARACTERS,
    has_admin_characters,
)
from bandari.domain.pricing import is_asset
from bandari.wire.chat_completions import fields as chat_fields
from bandari.wire.messages import fields as messages_fields
from bandari.wire.responses import fields as responses_fields

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LONGEST_MODEL_ID: Final = 200
_GLOBAL_BOUNDS: Final = Bounds()
_RANGES: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
    "n",
)

_FIELDS: Final = {
    "chat_completions": (chat_fields.CARRIED, chat_fields.COSTLY),
    "messages": (messages_fields.CARRIED, messages_fields.COSTLY),
    "responses": (responses_fields.CARRIED, responses_fields.COSTLY),
}
"""By protocol: the fields that every provider is given, and those that none is."""

PROTOCOLS: Final = tuple(_FIELDS)
_LATER_PROTOCOLS: Final = ("gemini",)
_KEY_HEADERS: Final = ("authorization", "x-api-key")

_OWN_HEADERS: Final = frozenset(
    [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "accept",
        "accept-encoding",
    ]
)


def check_name(name: str, path: Path, problems: Problems) -> None:
    """A provider's or a group's name."""
    if not _NAME.fullmatch(name):
        problems.add(
            path,
            "a name is 1 to 64 letters, digits, '_', '-' or '.', the first a letter or digit",
        )


def check_model_id(model_id: str, path: Path, problems: Problems) -> None:
    is_too_large = len(model_id.encode()) > MAX_MODEL_ID_BYTES
    if not 1 <= len(model_id) <= _LONGEST_MODEL_ID or is_too_large:
        most = f"{_LONGEST_MODEL_ID} characters, and at most {MAX_MODEL_ID_BYTES} bytes"
        problems.add(path, f"a model id has 1 to {most}")
    elif not model_id.isprintable() or any(char.isspace() for char in model_id):
        problems.add(path, "a model id has no spaces and no control characters")


def check_asset(asset: str, path: Path, problems: Problems) -> None:
    if not is_asset(asset):
        problems.add(path, "an asset is 2 to 16 capital letters and digits, like TOKEN or KES")


def check_provider(provider: Provider, path: Path, problems: Problems) -> None:
    url_problem = _problem_of_base_url(provider.base_url)
    if url_problem:
        problems.add((*path, "base_url"), url_problem)
    if provider.protocol in _LATER_PROTOCOLS:
        problems.add((*path, "protocol"), f"'{provider.protocol}' is not spoken to providers yet")
    elif provider.protocol not in PROTOCOLS:
        problems.add(
            (*path, "protocol"),
            f"there is no protocol '{provider.protocol}'; "
            + suggestion(provider.protocol, PROTOCOLS),
        )
    if provider.api_key is not None and not _fits_header(provider.api_key):
        problems.add((*path, "api_key"), "has characters that cannot be sent in a header")
    for name, value in provider.headers.items():
        here = (*path, "headers", name)
        if not _HEADER_NAME.fullmatch(name):
            problems.add(here, "is not the name of a header")
        elif name.lower() in _OWN_HEADERS:
            problems.add(here, "is set by Bandari itself")
        elif name.lower() in _KEY_HEADERS and provider.api_key is not None:
            problems.add(here, "is set from api_key; leave one of them out")
        if not _fits_header(value):
            problems.add(here, "has characters that cannot be sent in a header")
    carried, costly = _FIELDS.get(provider.protocol, _FIELDS["chat_completions"])
    for at, name in enumerate(provider.extra_fields):
        here = (*path, "extra_fields", at)
        if name in costly:
            problems.add(here, f"'{name}' changes what a call costs and is never passed through")
        elif name in carried:
            problems.add(here, f"'{name}' is a standard field, which every provider is given")
        elif name in provider.extra_fields[:at]:
            problems.add(here, f"'{name}' is named twice")


def _problem_of_base_url(text: str) -> str | None:
    try:
        url = urlsplit(text)
        _ = url.port  # raises where it is not a number up to 65535
    except ValueError:
        return "is not a URL"
    if url.scheme not in ("http", "https") or not url.hostname:
        return "expected a URL like https://llm.example.com/v1"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "is not a URL: it has spaces or characters that a URL cannot have"
    if url.username or url.password:
        return "has a user name or password; use api_key or headers"
    if url.query or url.fragment or "?" in text or "#" in text:
        return "must end with its path, without '?' or '#'"
    if url.path.rstrip("/").endswith(("/chat/completions", "/completions")):
        return "must end before /chat/completions, which Bandari adds"
    return None


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def problem_of_database_url(url: str) -> str | None:
    """What is wrong with a database URL, if anything."""
    if url.startswith(("sqlite:///", "postgresql://", "postgres://")):
        return None
    return "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def problem_of_admin_key(key: str) -> str | None:
    """What is wrong with the owner's admin key, if anything. The key itself is not repeated."""
    if not FEWEST_ADMIN_CHARACTERS <= len(key) <= MAX_KEY_CHARACTERS:
        return f"has {FEWEST_ADMIN_CHARACTERS} to {MAX_KEY_CHARACTERS} characters"
    if not has_admin_characters(key):
        return "has printable ASCII characters only, and no spaces"
    return None


def check_networks(networks: Sequence[str], path: Path, problems: Problems) -> None:
    """Each is an address or a network with its prefix length, and named once."""
    for at, text in enumerate(networks):
        here = (*path, at)
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            problems.add(here, f"expected a network like 10.0.0.0/8, got {shown(text, here)}")
            continue
        if ip_network(text.partition("/")[0]).network_address != network.network_address:
            problems.add(here, f"'{text}' has bits of a host; the network is {network}")
        elif text in networks[:at]:
            problems.add(here, f"'{text}' is named twice")


def check_bounds(bounds: Bounds, path: Path, problems: Problems) -> None:
    """A model's bounds lie inside those that hold for every model."""
    for name in _RANGES:
        low, high = getattr(bounds, name)
        least, most = getattr(_GLOBAL_BOUNDS, name)
        if not low <= high:
            problems.add((*path, name), f"the lower bound {low:g} is above the upper {high:g}")
        elif low < least or high > most:
            problems.add((*path, name), f"[{low:g}, {high:g}] is not inside [{least:g}, {most:g}]")
    if not bounds.roles:
        problems.add((*path, "roles"), "must name at least one role")


def check_defaults(
    defaults: Defaults, bounds: Bounds, max_output_tokens: int, path: Path, problems: Problems
) -> None:
    """A model's defaults are what a request may say itself."""
    ranges: dict[str, tuple[float, float]] = {
        "temperature": bounds.temperature,
        "top_p": bounds.top_p,
        "presence_penalty": bounds.presence_penalty,
        "frequency_penalty": bounds.frequency_penalty,
        "max_tokens": (bounds.max_tokens[0], min(bounds.max_tokens[1], max_output_tokens)),
        "seed": (-MAX_INTEGER, MAX_INTEGER),
    }
    for name, value in structs.asdict(defaults).items():
        if name in ranges and value is not None:
            low, high = ranges[name]
            if not low <= value <= high:
                problems.add((*path, name), f"{value} is not between {low} and {high}")
    if len(defaults.stop) > MAX_STOP_SEQUENCES or "" in defaults.stop:
        problems.add(
            (*path, "stop"), f"may hold up to {MAX_STOP_SEQUENCES} strings, none of them empty"
        )
