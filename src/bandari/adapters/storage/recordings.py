"""Durable recordings: read by their clients, and swept away when they expire.

They are opened, grow and end with their hold: ``recorded_entries``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import json
from sqlalchemy import ColumnElement, Select, and_, delete, exists, select, update

from bandari.adapters.storage.bounds import check_text
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.kept_tables import recording_frames, recordings
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import holds, receipts
from bandari.adapters.storage.statements import compiled, constant, first, given
from bandari.domain.problem import Problem
from bandari.domain.recordings import RecordingState, StoredRecording

_COLUMNS = tuple(column.name for column in recordings.columns)

_ignored = json.Decoder(tuple[str, ...])
_problem = json.Decoder(Problem)


class KeptStatements:
    def __init__(self, database: Database) -> None:
        dialect, table = database.dialect, recordings.c
        frames = recording_frames.c
        # One statement, so that the frames are those of what is said of the recording.
        found = (
            select(*(table[name] for name in _COLUMNS), frames.data)
            .select_from(recordings.outerjoin(recording_frames, frames.recording_id == table.id))
            .where(table.account_id == given("account_id"), table.expires_ms > given("now_ms"))
            .order_by(frames.position)
        )
        self.find = compiled(
            dialect, found.where(table.id == given("id")), *("account_id", "now_ms", "id")
        )
        self.find_keyed = compiled(
            dialect,
            found.where(table.idempotency_key == given("idempotency_key")),
            *("account_id", "now_ms", "idempotency_key"),
        )
        self.delete = compiled(
            dialect,
            delete(recordings)
            .where(
                table.account_id == given("account_id"),
                table.expires_ms > given("now_ms"),
                table.id == given("id"),
            )
            .returning(table.id),
            *("account_id", "now_ms", "id"),
        )
        is_running = table.state == constant(RecordingState.RUNNING.value)
        was_charged = exists().where(receipts.c.id == table.receipt_id)
        # Its hold ends with it, unless it is another server that ends the hold: of one that died,
        # or that was taken for dead for a while.
        is_dead = and_(is_running, ~exists().where(holds.c.id == table.receipt_id))
        self.interrupt_dead = compiled(
            dialect,
            update(recordings)
            .values(state=constant(RecordingState.INTERRUPTED.value))
            .where(table.id.in_(_some(_which(is_dead, was_charged))))
            .returning(table.id),
            "limit",
        )
        self.delete_dead = compiled(
            dialect,
            delete(recordings)
            .where(table.id.in_(_some(_which(is_dead, ~was_charged))))
            .returning(table.id),
            "limit",
        )
        expired = _some(
            _which(table.expires_ms <= given("now_ms"), ~is_running).order_by(table.expires_ms)
        )
        self.delete_expired = compiled(
            dialect,
            delete(recordings).where(table.id.in_(expired)).returning(table.id),
            *("now_ms", "limit"),
        )


def _which(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(recordings.c.id).where(*conditions)


def _some(chosen: Select[Any]) -> Select[Any]:
    """What another server is at, it does alone."""
    return first(chosen, given("limit")).with_for_update(of=recordings, skip_locked=True)


class SqlRecordings:
    """``service.ports.KeptRecordings`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._sql = KeptStatements(database)

    async def find(self, account_id: int, recording_id: str, now_ms: int) -> StoredRecording | None:
        check_text(recording_id)
        row = (account_id, now_ms, recording_id)
        return await self._reader.run(self._find, self._sql.find, row)

    async def find_keyed(
        self, account_id: int, idempotency_key: str, now_ms: int
    ) -> StoredRecording | None:
        check_text(idempotency_key)
        row = (account_id, now_ms, idempotency_key)
        return await self._reader.run(self._find, self._sql.find_keyed, row)

    async def delete(self, account_id: int, recording_id: str, now_ms: int) -> bool:
        check_text(recording_id)
        row = (account_id, now_ms, recording_id)
        return await self._writer.run((), self._change, self._sql.delete, row) > 0

    async def end_dead(self, limit: int) -> int:
        return await self._writer.run((), self._end_dead, limit)

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        row = (now_ms, limit)
        return await self._writer.run((), self._change, self._sql.delete_expired, row)

    # Operations: each runs inside the writer's transaction, or on a reader's connection.

    def _change(self, connection: Connection, statement: str, row: Row) -> int:
        """How many recordings it changed."""
        return len(connection.cursor.execute(statement, row).fetchall())

    def _end_dead(self, connection: Connection, limit: int) -> int:
        interrupted = self._change(connection, self._sql.interrupt_dead, (limit,))
        left = (limit - interrupted,)
        return interrupted + self._change(connection, self._sql.delete_dead, left)

    def _find(self, connection: Connection, statement: str, row: Row) -> StoredRecording | None:
        found = connection.cursor.execute(statement, row).fetchall()
        return _recording(found) if found else None


def _recording(rows: Sequence[Row]) -> StoredRecording:
    """The recording whose groups of frames these are, in their order; one without any has a row
    too.
    """
    fields: dict[str, Any] = dict(zip(_COLUMNS, rows[0], strict=False))
    frames = b"".join(row[-1] for row in rows if row[-1] is not None)
    fields["state"] = RecordingState(fields["state"])
    fields["is_streaming"] = bool(fields["is_streaming"])
    ignored, problem = fields["ignored"], fields["problem"]
    fields["ignored"] = () if ignored is None else _ignored.decode(ignored)
    fields["problem"] = None if problem is None else _problem.decode(problem)
    return StoredRecording(**fields, frames=frames)
