"""Answers that are kept for those who come back for them."""

from __future__ import annotations

from typing import Protocol

from bandari.domain.responses import Chain, ResponseEnd, StoredResponse


class Responses(Protocol):
    """Answers that are kept. A method that writes returns only once its effect is durable.

    One that has expired, or is another account's, is not there.
    """

    async def save(self, response: StoredResponse) -> None:
        """Keep it. One that is kept already stays as it is, so that it can be saved again."""
        ...

    async def finish(self, response_id: str, end: ResponseEnd) -> bool:
        """End one that is queued or in progress. False, and nothing done, if there is none."""
        ...

    async def find(
        self, account_id: int, response_id: str, now_ms: int
    ) -> StoredResponse | None: ...

    async def delete(self, account_id: int, response_id: str, now_ms: int) -> bool:
        """Whether it was there."""
        ...

    async def chain(self, account_id: int, response_id: str, now_ms: int) -> Chain:
        """The response and all that it continues."""
        ...

    async def fail_dead(self, limit: int) -> int:
        """Have those failed whose server died before their end; at most ``limit``. How many."""
        ...

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        """Delete at most ``limit`` that have expired, the oldest first; returns how many."""
        ...
