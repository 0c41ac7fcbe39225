"""``GET /openapi.json`` and ``GET /docs``: what is served, for programs and for people."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Final

import msgspec

from bandari.web import problems
from bandari.web.exchange import Exchange

_HTML: Final = b"text/html; charset=utf-8"
_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Description:
    """Both are made when they are first asked for, beside the event loop: nobody's stream waits."""

    async def openapi(self, exchange: Exchange) -> None:
        await exchange.respond(200, problems.JSON, await asyncio.to_thread(_encoded_document))

    async def docs(self, exchange: Exchange) -> None:
        policy, body = await asyncio.to_thread(_encoded_page)
        exchange.headers.append((b"content-security-policy", policy))
        exchange.headers += _SECURITY
        await exchange.respond(200, _HTML, body)


@cache
def _encoded_document() -> bytes:
    from bandari.web.openapi.document import document  # noqa: PLC0415 - 80 ms of every start

    return msgspec.json.encode(document())


@cache
def _encoded_page() -> tuple[bytes, bytes]:
    from bandari.web.docs_page.page import content_security_policy, page  # noqa: PLC0415 - the same
    from bandari.web.openapi.document import document  # noqa: PLC0415 - the same

    return content_security_policy().encode(), page(document())
