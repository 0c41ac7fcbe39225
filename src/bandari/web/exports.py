"""Lists that are sent whole, page by page, as fast as the client reads them.

A page is asked for when the one before it was taken, so a client that stalls holds one page and
nothing else; the connection cuts him off in time. How many run at once is bounded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Hashable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from bandari.domain.faults import Overloaded
from bandari.web.exchange import Exchange

MAX_EXPORTS: Final = 64
MAX_EXPORTS_OF_ONE: Final = 4
"""Of one operator or account, so that nobody keeps the others from theirs."""
RETRY_AFTER_MS: Final = 2_000


class Exports:
    """All that run on this server."""

    def __init__(self) -> None:
        self._running: Counter[Hashable] = Counter()

    async def send(
        self,
        exchange: Exchange,
        owner: Hashable,
        media_type: str,
        name: str,
        pieces: AsyncGenerator[bytes, None],
    ) -> None:
        """Send all pieces as a file of that name. Raises ``Overloaded``, and what they raise.

        The first one is waited for before the answer begins, so that it can still be an error.
        """
        with self._place_for(owner):
            async with aclosing(pieces) as rest:
                first = await anext(rest, b"")
                exchange.headers.append(
                    (b"content-disposition", b'attachment; filename="%s"' % name.encode())
                )
                await exchange.begin(200, media_type.encode())
                if exchange.method != "HEAD":
                    await exchange.write(first)
                    async for piece in rest:
                        if exchange.has_left:
                            return
                        await exchange.write(piece)
                        await asyncio.sleep(0)  # a fast reader leaves the others their turns
                await exchange.end()

    @contextmanager
    def _place_for(self, owner: Hashable) -> Iterator[None]:
        running = self._running
        if running[owner] >= MAX_EXPORTS_OF_ONE or running.total() >= MAX_EXPORTS:
            raise Overloaded(
                "As many exports are being sent as may be at once. Try again when one has ended.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        running[owner] += 1
        try:
            yield
        finally:
            running[owner] -= 1
            if not running[owner]:
                del running[owner]
