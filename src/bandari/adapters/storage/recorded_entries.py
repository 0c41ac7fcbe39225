"""Durable recordings begin and end with their hold: around either database's ``Entries``.

Rule 1: what has no recording passes through untouched; nobody else knows of recordings.
Rule 2: an Idempotency-Key is claimed before its hold is placed, by inserting the recording, and is
given back where the hold is refused: so whoever comes second waits for the first one's outcome.
Rule 3: keys are claimed in their order, and by then the batch has locked its wallets. Two servers
then never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json
from sqlalchemy import delete, select, update

from bandari.adapters.storage.database import (
    Connection,
    Cursor,
    Database,
    Entries,
    Outright,
    Written,
)
from bandari.adapters.storage.kept_tables import recording_frames, recordings
from bandari.adapters.storage.statements import compiled, constant, given
from bandari.domain.ledger import Charge, Hold, Receipt
from bandari.domain.recordings import (
    FrameGroup,
    OpenedRecording,
    RecordingEnd,
    RecordingState,
)
from bandari.service.ports import Placement

_OPENED = (
    *("id", "account_id", "surface", "is_streaming", "created_ms", "expires_ms", "digest"),
    *("end_user", "idempotency_key", "receipt_id", "epoch"),
)
_NO_CLAIM = (0, "")
_TAKEN = Placement(False, None, is_taken=True)


class RecordingStatements:
    """What recordings are written with, as text for one database."""

    def __init__(self, database: Database) -> None:
        dialect, table = database.dialect, recordings.c
        is_running = table.state == constant(RecordingState.RUNNING.value)
        self.open = compiled(
            dialect,
            database.insert_unless_there(recordings)
            .values(
                {table[name]: given(name, table[name].type) for name in _OPENED}
                | {table.state: constant(RecordingState.RUNNING.value)}
            )
            .returning(table.id),
            *_OPENED,
        )
        self.is_there = compiled(dialect, select(table.id).where(table.id == given("id")), "id")
        self.delete_former = compiled(
            dialect,
            delete(recordings)
            .where(
                table.account_id == given("account_id"),
                table.idempotency_key == given("idempotency_key"),
                table.expires_ms <= given("now_ms"),
            )
            .returning(table.id),
            *("account_id", "idempotency_key", "now_ms"),
        )
        self.delete = compiled(dialect, delete(recordings).where(table.id == given("id")), "id")
        self.end = compiled(
            dialect,
            update(recordings)
            .values(
                state=constant(RecordingState.ENDED.value),
                **{
                    name: given(name, table[name].type)
                    for name in ("expires_ms", "max_tokens", "ignored", "problem")
                },
            )
            .where(table.id == given("id"), is_running),
            *("expires_ms", "max_tokens", "ignored", "problem", "id"),
        )
        frames = recording_frames.c
        # Its lock: whoever deletes or ends the recording waits, and then sees these frames.
        growing = (
            select(
                given("recording_id", frames.recording_id.type),
                given("position", frames.position.type),
                given("data", frames.data.type),
            )
            .where(table.id == given("id"), is_running)
            .with_for_update(read=True, of=recordings)
        )
        columns = ", ".join(column.name for column in recording_frames.columns)
        self.grow = (
            f"INSERT INTO recording_frames ({columns})"
            f" {compiled(dialect, growing, 'recording_id', 'position', 'data', 'id')}"
            # A group begins where the one before it ends: what is longer is the same, and more.
            " ON CONFLICT (recording_id, position) DO UPDATE SET data = excluded.data"
            " WHERE length(excluded.data) > length(recording_frames.data)"
        )


class RecordedEntries:
    """``database.Entries`` for holds and charges of which some have a recording."""

    def __init__(self, database: Database) -> None:
        self._entries: Entries = database.entries
        self._sql = RecordingStatements(database)

    def write(
        self,
        connection: Connection,
        charges: Sequence[Charge],
        outright: Sequence[Outright],
        holds: Sequence[Hold],
    ) -> Written:
        opens = any(hold.recording is not None for hold in holds)
        if opens or any(one.hold.recording is not None for one in outright):
            return self._write_and_open(connection, charges, outright, holds)
        written = self._entries.write(connection, charges, outright, holds)
        self._end(connection.cursor, zip(charges, written[0], strict=True))
        return written

    def grow(self, cursor: Cursor, groups: Iterable[FrameGroup]) -> None:
        """Keep the frames of recordings that are there and running."""
        rows = [(one.recording_id, one.position, one.data, one.recording_id) for one in groups]
        cursor.executemany(self._sql.grow, rows)

    def delete(self, cursor: Cursor, recording_id: str) -> None:
        """Delete a recording with its frames, if it is there."""
        cursor.execute(self._sql.delete, (recording_id,))

    def _write_and_open(
        self,
        connection: Connection,
        charges: Sequence[Charge],
        outright: Sequence[Outright],
        holds: Sequence[Hold],
    ) -> Written:
        """In turns, where several claim the same: what the next one finds depends on what became of
        the one before.
        """
        entries: list[Outright | Hold] = [*outright, *holds]
        results: list[Any] = [None] * len(entries)
        turn, later = _turn(entries, range(len(entries)))
        posted = self._take_turn(connection, charges, entries, turn, results)
        while later:
            turn, later = _turn(entries, later)
            self._take_turn(connection, (), entries, turn, results)
        return posted, results[: len(outright)], results[len(outright) :]

    def _take_turn(
        self,
        connection: Connection,
        charges: Sequence[Charge],
        entries: Sequence[Outright | Hold],
        turn: Sequence[int],
        results: list[Any],
    ) -> Sequence[Receipt | None]:
        """Write the entries at these places, and their results there."""
        opened, taken = self._open(connection.cursor, entries, turn)
        for place in taken:
            results[place] = _TAKEN
        free = [place for place in turn if place not in taken]
        outright = [entry for place in free if isinstance(entry := entries[place], Outright)]
        holds = [entry for place in free if isinstance(entry := entries[place], Hold)]
        posted, charged, placed = self._entries.write(connection, charges, outright, holds)
        # What is outright comes before the holds, in ``entries`` too.
        for place, result in zip(free, (*charged, *placed), strict=True):
            results[place] = result
        for place in opened:
            result = results[place]
            if not (isinstance(result, Receipt) or (result is not None and result.placed)):
                self.delete(connection.cursor, opened[place].id)
        ended = [(one.charge, result) for one, result in zip(outright, charged, strict=True)]
        self._end(connection.cursor, (*zip(charges, posted, strict=True), *ended))
        return posted

    def _open(
        self, cursor: Cursor, entries: Sequence[Outright | Hold], turn: Sequence[int]
    ) -> tuple[dict[int, OpenedRecording], set[int]]:
        """Open the recordings: which were, and the places of those whose key is taken."""
        opened: dict[int, OpenedRecording] = {}
        taken: set[int] = set()
        for place in sorted(turn, key=lambda place: _claimed(entries[place]) or _NO_CLAIM):
            hold = _hold(entries[place])
            if hold.recording is None:
                continue
            if self._open_one(cursor, hold, hold.recording):
                opened[place] = hold.recording
            # An outright charge that is asked for again finds its own, and is told so.
            elif cursor.execute(self._sql.is_there, (hold.recording.id,)).fetchone() is None:
                taken.add(place)
        return opened, taken

    def _open_one(self, cursor: Cursor, hold: Hold, recording: OpenedRecording) -> bool:
        row = (
            *(recording.id, recording.account_id, recording.surface, recording.is_streaming),
            *(recording.created_ms, recording.expires_ms, recording.digest, recording.end_user),
            *(recording.idempotency_key, hold.id, hold.epoch),
        )
        if cursor.execute(self._sql.open, row).fetchone() is not None:
            return True
        former = (recording.account_id, recording.idempotency_key, recording.created_ms)
        if cursor.execute(self._sql.delete_former, former).fetchone() is None:
            return False
        return cursor.execute(self._sql.open, row).fetchone() is not None

    def _end(
        self, cursor: Cursor, charged: Iterable[tuple[Charge, Receipt | Placement | None]]
    ) -> None:
        """End the recordings of those that have a receipt."""
        ends = [
            charge.recording
            for charge, result in charged
            if charge.recording is not None and isinstance(result, Receipt)
        ]
        if not ends:
            return
        groups = [end.last for end in ends if end.last.data]
        if groups:
            self.grow(cursor, groups)
        cursor.executemany(self._sql.end, [_end_row(end) for end in ends])


def _hold(entry: Outright | Hold) -> Hold:
    return entry if isinstance(entry, Hold) else entry.hold


def _claimed(entry: Outright | Hold) -> tuple[int, str] | None:
    """What no two of one turn may claim: its account's Idempotency-Key, else the recording's id."""
    recording = _hold(entry).recording
    if recording is None:
        return None
    return recording.account_id, recording.idempotency_key or recording.id


def _turn(
    entries: Sequence[Outright | Hold], places: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    """Of these places the first of every claim, and all that claim nothing; and the others."""
    first: list[int] = []
    later: list[int] = []
    claimed: set[tuple[int, str]] = set()
    for place in places:
        claim = _claimed(entries[place])
        (later if claim in claimed else first).append(place)
        if claim is not None:
            claimed.add(claim)
    return first, later


def _end_row(end: RecordingEnd) -> tuple[int | str | None, ...]:
    return (
        end.expires_ms,
        end.max_tokens,
        json.encode(end.ignored).decode() if end.ignored else None,
        None if end.problem is None else json.encode(end.problem).decode(),
        end.last.recording_id,
    )
