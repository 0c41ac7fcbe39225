"""The port ``KeptRecordings`` in memory, by its contract, and able to fail or to wait when told to.

The ledger opens, grows and ends them: ``BooksInMemory`` calls the methods that are not the port's,
and shares with it what it knows of open holds and receipts.

``failing["find"] = [fault, ...]`` raises those, one a call, before anything has happened;
``held_up("find")`` gives a ``Gate`` that every further call of that method passes before it does
anything. ``log`` has every deletion and every end, in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container

from msgspec.structs import asdict, replace
from tests.support.gates import Gate

from bandari.domain.ledger import Hold
from bandari.domain.recordings import (
    FrameGroup,
    RecordingEnd,
    RecordingState,
    StoredRecording,
)


class RecordingsInMemory:
    def __init__(
        self,
        holds: Container[str] = (),
        receipts: Container[str] = (),
    ) -> None:
        self._holds = holds
        self._receipts = receipts
        self.kept: dict[str, StoredRecording] = {}
        """Without their frames, which are in ``groups``, by position."""
        self.groups: dict[str, dict[int, bytes]] = {}
        self.failing: dict[str, list[BaseException]] = defaultdict(list)
        self.log: list[tuple[str, str]] = []
        self._gates: dict[str, Gate] = {}

    # What a test arranges and looks at.

    def held_up(self, method: str) -> Gate:
        self._gates[method] = Gate()
        return self._gates[method]

    def frames(self, recording_id: str) -> bytes:
        """All that is durable of it."""
        groups = self.groups[recording_id]
        return b"".join(groups[position] for position in sorted(groups))

    # What the ledger does.

    def open(self, hold: Hold) -> bool:
        """Open the recording of a hold, unless its Idempotency-Key is taken. Whether it did."""
        opened = hold.recording
        assert opened is not None
        assert opened.id not in self.kept, "a recording's id is used once"
        former = self._keyed(opened.account_id, opened.idempotency_key)
        if former is not None and former.expires_ms > opened.created_ms:
            return False
        if former is not None:
            self.remove(former.id)
        self.kept[opened.id] = StoredRecording(
            **asdict(opened),
            receipt_id=hold.id,
            epoch=hold.epoch,
            state=RecordingState.RUNNING,
            frames=b"",
        )
        self.groups[opened.id] = {}
        return True

    def grow(self, group: FrameGroup) -> None:
        """A group that comes again has grown, or it is not newer than what is there."""
        recording = self.kept.get(group.recording_id)
        if recording is not None and recording.state is RecordingState.RUNNING:
            groups = self.groups[recording.id]
            groups[group.position] = max(groups.get(group.position, b""), group.data, key=len)

    def end(self, end: RecordingEnd) -> None:
        self.grow(end.last)
        recording = self.kept.get(end.last.recording_id)
        if recording is None or recording.state is not RecordingState.RUNNING:
            return
        self.kept[recording.id] = replace(
            recording,
            state=RecordingState.ENDED,
            expires_ms=end.expires_ms,
            max_tokens=end.max_tokens,
            ignored=end.ignored,
            problem=end.problem,
        )
        self.log.append(("end", recording.id))

    def remove(self, recording_id: str) -> bool:
        if self.kept.pop(recording_id, None) is None:
            return False
        del self.groups[recording_id]
        self.log.append(("delete", recording_id))
        return True

    # The port.

    async def find(self, account_id: int, recording_id: str, now_ms: int) -> StoredRecording | None:
        await self._before("find")
        return self._found(self.kept.get(recording_id), account_id, now_ms)

    async def find_keyed(
        self, account_id: int, idempotency_key: str, now_ms: int
    ) -> StoredRecording | None:
        await self._before("find_keyed")
        return self._found(self._keyed(account_id, idempotency_key), account_id, now_ms)

    async def delete(self, account_id: int, recording_id: str, now_ms: int) -> bool:
        await self._before("delete")
        if self._found(self.kept.get(recording_id), account_id, now_ms) is None:
            return False
        return self.remove(recording_id)

    async def end_dead(self, limit: int) -> int:
        await self._before("end_dead")
        dead = [
            recording
            for recording in self.kept.values()
            if recording.state is RecordingState.RUNNING and recording.receipt_id not in self._holds
        ][:limit]
        for recording in dead:
            if recording.receipt_id in self._receipts:
                self.kept[recording.id] = replace(recording, state=RecordingState.INTERRUPTED)
                self.log.append(("interrupt", recording.id))
            else:
                self.remove(recording.id)
        return len(dead)

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        await self._before("delete_expired")
        expired = [
            recording
            for recording in self.kept.values()
            if recording.expires_ms <= now_ms and recording.state is not RecordingState.RUNNING
        ]
        expired = sorted(expired, key=lambda recording: recording.expires_ms)[:limit]
        for recording in expired:
            self.remove(recording.id)
        return len(expired)

    async def _before(self, method: str) -> None:
        gate = self._gates.get(method)
        if gate is not None:
            await gate.passing()
        if self.failing[method]:
            raise self.failing[method].pop(0)

    def _keyed(self, account_id: int, idempotency_key: str | None) -> StoredRecording | None:
        if idempotency_key is None:
            return None
        for recording in self.kept.values():
            if (recording.account_id, recording.idempotency_key) == (account_id, idempotency_key):
                return recording
        return None

    def _found(
        self, recording: StoredRecording | None, account_id: int, now_ms: int
    ) -> StoredRecording | None:
        if recording is None or recording.account_id != account_id:
            return None
        if recording.expires_ms <= now_ms:
            return None
        return replace(recording, frames=self.frames(recording.id))
