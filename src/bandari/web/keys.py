"""Who is asking: the key in a request's headers, and the end user on whose behalf it is used."""

from __future__ import annotations

import msgspec

from bandari.domain.faults import InvalidValue
from bandari.domain.keys import MAX_KEY_CHARACTERS, Principal
from bandari.domain.outcome import Deny, Reason
from bandari.service.access import Access
from bandari.web.exchange import Exchange

MAX_END_USER_CHARACTERS = 512


class KeyCheck:
    """``Authorization: Bearer KEY``, else ``x-api-key: KEY``; and ``X-On-Behalf-Of: END USER``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def principal(self, exchange: Exchange) -> Principal | Deny:
        """Raises ``InvalidValue`` for an end user that cannot be kept."""
        key: str | None
        text = exchange.header(b"authorization")
        if text is None:
            key = exchange.header(b"x-api-key")
        else:
            scheme, _, key = text.partition(" ")
            key = key.strip()
            if scheme.lower() != "bearer" or not key or len(key) > MAX_KEY_CHARACTERS:
                return Deny(
                    Reason.MALFORMED_KEY,
                    "The Authorization header must read 'Bearer YOUR_KEY'.",
                )
        principal = await self._access.authenticate(key)
        end_user = exchange.header(b"x-on-behalf-of")
        if end_user and isinstance(principal, Principal):
            return msgspec.structs.replace(principal, end_user=_checked(end_user))
        return principal


def _checked(end_user: str) -> str:
    if len(end_user) > MAX_END_USER_CHARACTERS or not end_user.isprintable():
        raise InvalidValue(
            f"'X-On-Behalf-Of' must be a name of at most {MAX_END_USER_CHARACTERS} printable "
            "characters.",
            param="X-On-Behalf-Of",
        )
    return end_user
