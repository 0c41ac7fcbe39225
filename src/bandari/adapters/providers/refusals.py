"""An answer that is no answer: what a provider says instead, as the fault that its codec reads."""

from __future__ import annotations

from collections.abc import Callable

from bandari.adapters.providers.transport import MAX_ERROR_BODY_BYTES, Reply
from bandari.domain.faults import Fault, UpstreamFault

MAX_RETRY_AFTER_S = 86_400

ReadError = Callable[[int, bytes, int | None], Fault]
"""A codec's: status, body, and in how many milliseconds to try again."""


async def refusal(reply: Reply, read_error: ReadError) -> Fault:
    """The fault that an answer with another status than 200 stands for."""
    try:
        body = await reply.body(MAX_ERROR_BODY_BYTES)
    except UpstreamFault:
        body = b""
    return read_error(reply.status, body, _retry_after_ms(reply))


def _retry_after_ms(reply: Reply) -> int | None:
    """``retry-after-ms``, or ``retry-after`` in seconds; its form as a date is not used here."""
    for name, factor in (("retry-after-ms", 1), ("retry-after", 1000)):
        text = reply.header(name)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 9:
            return min(int(text) * factor, MAX_RETRY_AFTER_S * 1000)
    return None
