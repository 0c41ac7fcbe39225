"""Who is asking: the key in a request's headers, and the end user on whose behalf it is used."""

from __future__ import annotations

from bandari.domain.faults import InvalidValue
from bandari.domain.keys import MAX_KEY_CHARACTERS, Principal
from bandari.domain.outcome import Deny, Reason
from bandari.service.access import Access
from bandari.web.exchange import Exchange

MAX_END_USER_CHARACTERS = 512
_HEADER = "The Authorization header must read 'Bearer YOUR_KEY'."


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
            if not key:
                return Deny(Reason.MALFORMED_KEY, _HEADER)
            if scheme.lower() != "bearer" or len(key) > MAX_KEY_CHARACTERS:
                return self._access.refuse_malformed(exchange.source, _HEADER)
        principal = await self._access.authenticate(key, exchange.source)
        end_user = exchange.header(b"x-on-behalf-of")
        if end_user and isinstance(principal, Principal):
            return await self.on_behalf(principal, end_user, "X-On-Behalf-Of")
        return principal

    async def on_behalf(self, principal: Principal, end_user: str, param: str) -> Principal:
        """The principal, asking for the end user that ``param`` names.

        Raises ``InvalidValue`` for one that cannot be kept.
        """
        if len(end_user) > MAX_END_USER_CHARACTERS or not end_user.isprintable():
            raise InvalidValue(
                f"'{param}' must be a name of at most {MAX_END_USER_CHARACTERS} printable "
                "characters.",
                param=param,
            )
        return await self._access.on_behalf(principal, end_user)
