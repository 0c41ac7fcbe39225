"""Who is asking: from the key in a request to a ``Principal``.

Found keys are remembered for a second, so that the store is asked once a second for each key and a
revoked key stops working within a second. Unknown keys are not remembered: a well-formed key that
does not exist is rare, because the checksum catches typing errors without asking the store.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial

from bandari.domain import keys
from bandari.domain.keys import ApiKey, Principal
from bandari.domain.outcome import Deny, Reason
from bandari.service.ports import Clock, Keys

REMEMBERED_NS = 1_000_000_000
MAX_REMEMBERED = 10_000

_Found = tuple[ApiKey, tuple[str, ...]] | None


class Access:
    """Authenticates keys of one prefix."""

    def __init__(self, store: Keys, clock: Clock, prefix: str) -> None:
        self._store = store
        self._clock = clock
        self._prefix = prefix
        self._remembered: OrderedDict[str, tuple[int, Principal]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[_Found]] = {}

    async def authenticate(self, text: str | None) -> Principal | Deny:
        """The principal whose key this is, or why not.

        The key's text is never kept in a message.
        """
        if not text:
            return Deny(
                Reason.MISSING_KEY,
                "No API key was given. Send it as 'Authorization: Bearer YOUR_KEY'.",
            )
        known = self._remembered.get(text)
        if known is not None and self._clock.monotonic_ns() < known[0]:
            return known[1]
        if not keys.is_well_formed(text, self._prefix):
            return Deny(
                Reason.MALFORMED_KEY,
                f"The API key is not a key of this service: one begins with '{self._prefix}' and "
                "has its full length. Check that it was copied whole.",
            )
        found = await self._find(keys.digest(text))
        if found is None:
            self._remembered.pop(text, None)
            return Deny(Reason.UNKNOWN_KEY, "The API key is unknown.")
        key, assets = found
        if key.revoked_ms is not None:
            self._remembered.pop(text, None)
            return Deny(Reason.REVOKED_KEY, "The API key has been revoked.")
        principal = Principal(key.id, key.account_id, key.account, key.group, tuple(assets))
        self._remember(text, principal)
        return principal

    async def _find(self, digest: bytes) -> _Found:
        """Ask the store once for all requests of a key that come while it is being asked."""
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.ensure_future(self._store.find_key(digest))
            self._asking[digest] = asking
            asking.add_done_callback(partial(self._asked, digest))
        return await asyncio.shield(asking)

    def _asked(self, digest: bytes, asking: asyncio.Future[_Found]) -> None:
        del self._asking[digest]
        if not asking.cancelled():
            asking.exception()  # all who waited may have left: then it is nobody's

    def _remember(self, text: str, principal: Principal) -> None:
        self._remembered[text] = (self._clock.monotonic_ns() + REMEMBERED_NS, principal)
        self._remembered.move_to_end(text)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
