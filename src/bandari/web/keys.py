"""The key in a request's headers, and who it stands for."""

from __future__ import annotations

from bandari.domain.keys import MAX_KEY_CHARACTERS, Principal
from bandari.domain.outcome import Deny, Reason
from bandari.service.access import Access
from bandari.web.exchange import Exchange


class KeyCheck:
    """``Authorization: Bearer KEY``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def principal(self, exchange: Exchange) -> Principal | Deny:
        text = exchange.header(b"authorization")
        if text is None:
            return await self._access.authenticate(None)
        scheme, _, key = text.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or len(key) > MAX_KEY_CHARACTERS:
            return Deny(
                Reason.MALFORMED_KEY,
                "The Authorization header must read 'Bearer YOUR_KEY'.",
            )
        return await self._access.authenticate(key)
