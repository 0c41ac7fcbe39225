"""Durable recordings: what is read back of answers whose generation is over, or elsewhere.

They are opened, grow and end with their hold, and so by the ledger.
"""

from __future__ import annotations

from typing import Protocol

from bandari.domain.recordings import StoredRecording


class KeptRecordings(Protocol):
    """One that has expired, or is another account's, is not there."""

    async def find(
        self, account_id: int, recording_id: str, now_ms: int
    ) -> StoredRecording | None: ...

    async def find_keyed(
        self, account_id: int, idempotency_key: str, now_ms: int
    ) -> StoredRecording | None: ...

    async def delete(self, account_id: int, recording_id: str, now_ms: int) -> bool:
        """Delete it with all its frames, durably. Whether it was there."""
        ...

    async def end_dead(self, limit: int) -> int:
        """See to at most ``limit`` that are running and whose hold has ended without them.

        It was ended by a server that took theirs for dead. One whose hold was charged is
        interrupted; one whose hold was voided is deleted, so that its Idempotency-Key can be used
        again. Returns how many.
        """
        ...

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        """Delete at most ``limit`` that have expired, the oldest first; returns how many.

        None that is running.
        """
        ...
