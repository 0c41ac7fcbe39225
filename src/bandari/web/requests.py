"""How resources read a request (its body as a struct, its parameters, the number in its path), and
answer with a page.

For the operator API and for what customers ask about themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from bandari.domain.faults import NotFound, UnsupportedField
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.wire.admin import answers
from bandari.wire.admin.queries import MAX_ID, Query
from bandari.wire.admin.reading import read_body

MAX_BODY_BYTES: Final = 256 * 1024
BODY_TIMEOUT_MS: Final = 30_000
PAGE: Final = ("after", "limit")

Shape = TypeVar("Shape", bound=Struct)
Row = TypeVar("Row")


class _Nothing(Struct):
    """No field."""


async def body_of(exchange: Exchange, shape: type[Shape]) -> Shape:
    """What the body says. Raises the ``CallerFault`` that names what is wrong with it."""
    check_no_parameters(exchange)
    return read_body(await exchange.body(MAX_BODY_BYTES, BODY_TIMEOUT_MS), shape)


async def body_if_any(exchange: Exchange, shape: type[Shape]) -> Shape:
    """The same, where every field may be left out, and so the body may."""
    check_no_parameters(exchange)
    return read_body(await exchange.body(MAX_BODY_BYTES, BODY_TIMEOUT_MS) or b"{}", shape)


async def check_says_nothing(exchange: Exchange) -> None:
    """Raise the ``CallerFault`` for a field or a parameter where none has a meaning."""
    await body_if_any(exchange, _Nothing)


async def payment_of(exchange: Exchange, shape: type[Shape]) -> Shape:
    """The body of what moves money.

    A retry would move it again. Whoever counts on the header that prevents it elsewhere is told.
    """
    refuse_idempotency(
        exchange,
        "money that is moved twice is moved twice. Look at the wallet, or at the log of changes, "
        "before you try again.",
    )
    return await body_of(exchange, shape)


def refuse_idempotency(exchange: Exchange, why: str) -> None:
    """Raise ``UnsupportedField`` for who counts on a retry that does nothing, where it would."""
    if exchange.header(b"idempotency-key") is not None:
        raise UnsupportedField(
            f"'Idempotency-Key' is not supported here: {why}", param="Idempotency-Key"
        )


async def tell_page(
    exchange: Exchange,
    found: Sequence[Row],
    limit: int,
    spell: Callable[[Row], object],
    cursor: Callable[[Row], int | str],
) -> None:
    """Answer with what was found. A page that is full may have another behind it."""
    following = cursor(found[-1]) if len(found) == limit else None
    await exchange.respond(200, problems.JSON, answers.encode_page(map(spell, found), following))


def check_no_parameters(exchange: Exchange) -> None:
    Query(exchange.query, ())


def number_in_path(exchange: Exchange, what: str) -> int:
    """The last id in the path. Raises ``NotFound`` for what can be the id of nothing."""
    text = exchange.path_ids[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= MAX_ID):
        raise NotFound(f"There is no such {what}: its id is a number, as the list of them shows.")
    return int(text)
