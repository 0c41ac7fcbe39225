"""The items of a stored conversation, as clients are shown them: ``GET /{id}/input_items``.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from bandari.domain.faults import InvalidValue
from bandari.wire.bodies import is_null

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
}
"""What the ids of each kind of item begin with."""

_ITEM_ID = re.compile(r"[a-z]{2,3}_(?P<response>[a-z0-9]{1,64})_(?:in)?[0-9]{1,9}")

_encode = msgspec.json.Encoder().encode
_fields_of = msgspec.json.Decoder(dict[str, Raw])
_text_of = msgspec.json.Decoder(str)
_COMPLETED: Final = Raw(b'"completed"')


class Page(Struct, frozen=True):
    """Which items are shown: at most ``limit``, newest first unless ``asc``, after that id."""

    order: Literal["asc", "desc"] = "desc"
    limit: int = DEFAULT_LIMIT
    after: str | None = None


NEWEST: Final = Page()
"""What is shown to those who do not say."""


def read_page(query: Mapping[str, str]) -> Page:
    """Read a query's ``order``, ``limit`` and ``after``. Raises the ``CallerFault`` naming one."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidValue(
            f"'order' must be one of asc, desc, and is '{order[:100]}'.", param="order"
        )
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 3) or not (
        1 <= int(limit) <= MAX_LIMIT
    ):
        raise InvalidValue(
            f"'limit' must be an integer between 1 and {MAX_LIMIT}, and is '{limit[:100]}'.",
            param="limit",
        )
    return Page("asc" if order == "asc" else "desc", int(limit), query.get("after"))


def with_ids(items: Iterable[Raw], new_id: Callable[[str], str]) -> tuple[Raw, ...]:
    """The items as they are shown: with an id, a status, and a message's text in parts.

    ``new_id`` makes an id that begins with its argument. An id that an item has is kept.
    """
    return tuple(_shown(raw, new_id) for raw in items)


def _shown(raw: Raw, new_id: Callable[[str], str]) -> Raw:
    fields = _fields_of.decode(raw)
    kind = _text_of.decode(fields["type"])
    shown: dict[str, Any] = dict(fields)
    if _is_missing(fields, "id"):
        shown["id"] = new_id(PREFIXES[kind])
    if kind != "reasoning" and _is_missing(fields, "status"):
        shown["status"] = _COMPLETED
    if kind == "message" and bytes(fields["content"]).startswith(b'"'):
        shown["content"] = [_part(_text_of.decode(fields["role"]), fields["content"])]
    return Raw(_encode(shown))


def _is_missing(fields: Mapping[str, Raw], name: str) -> bool:
    return name not in fields or is_null(fields[name])


def _part(role: str, text: Raw) -> dict[str, Any]:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": []}
    return {"type": "input_text", "text": text}


def encode_input_items(items: Sequence[Raw], page: Page = NEWEST) -> bytes:
    """The list object of a page of ``items``, which are in the order of the conversation.

    Raises the ``CallerFault`` that names ``after`` where it is the id of no item.
    """
    ordered = list(items) if page.order == "asc" else list(reversed(items))
    ids = [_id(item) for item in ordered]
    start = 0
    if page.after is not None:
        if page.after not in ids:
            raise InvalidValue(
                f"'after' must be the id of an item of this response, and is '{page.after[:100]}'.",
                param="after",
            )
        start = ids.index(page.after) + 1
    end = start + page.limit
    shown = ids[start:end]
    return _encode(
        {
            "object": "list",
            "data": ordered[start:end],
            "first_id": shown[0] if shown else None,
            "last_id": shown[-1] if shown else None,
            "has_more": end < len(ordered),
        }
    )


def response_of_item(item_id: str) -> str | None:
    """The id of the response whose item has that id, if it is one that was made here."""
    made_here = _ITEM_ID.fullmatch(item_id)
    return None if made_here is None else f"resp_{made_here['response']}"


def by_id(items: Iterable[Raw]) -> Mapping[str, Raw]:
    """Items that have ids, by them."""
    return {_id(item): item for item in items}


def _id(item: Raw) -> str:
    return _text_of.decode(_fields_of.decode(item)["id"])
