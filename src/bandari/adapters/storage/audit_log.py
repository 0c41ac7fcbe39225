"""The log of changes: entries are written in the transaction of what they tell, or not at all.

Rule 1: an entry holds what an operator may see (``domain`` values as JSON); digests and secrets
never come here.
Rule 2: entries are added and never changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select

from bandari.adapters.storage.bounds import MAX_ROWS, MAX_TEXT_BYTES, check_text
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import Int64, audit_log
from bandari.adapters.storage.statements import compiled, compiled_insert, first, given
from bandari.domain.audit_log import Actor, AuditEntry
from bandari.domain.ledger import MAX_AMOUNT

_COLUMNS = ("at_ms", "who", "action", "subject", "before", "after", "request_id")


def check_actor(by: Actor) -> None:
    """Refuse a name or a request's id that cannot be stored. For callers, before they write."""
    check_text(by.name, by.request_id)


class Changes:
    """Writes entries. To be called within the operation that makes the change."""

    def __init__(self, database: Database) -> None:
        self._insert = compiled_insert(database.dialect, audit_log, *_COLUMNS)

    def enter(
        self,
        connection: Connection,
        action: str,
        subject: str,
        before: object,
        after: object,
        now_ms: int,
        by: Actor,
    ) -> None:
        """Say that ``before`` became ``after``; either is None where there was or is nothing."""
        values = (by.name, action, subject, _json(before), _json(after), by.request_id)
        connection.cursor.execute(self._insert, (now_ms, *values))


class SqlAuditLog:
    """``service.ports.AuditLog`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._changes = Changes(database)
        # By which of the two filters are asked for: the subject, who.
        self._entries = {
            (by_subject, by_who): _entries(database, by_subject, by_who)
            for by_subject in (False, True)
            for by_who in (False, True)
        }

    async def entries(
        self, *, subject: str | None, who: str | None, before: int | None, limit: int
    ) -> Sequence[AuditEntry]:
        check_text(subject, who)
        last = MAX_AMOUNT if before is None else min(max(before, 0), MAX_AMOUNT)
        return await self._reader.run(self._read, subject, who, last, min(max(limit, 0), MAX_ROWS))

    async def write(
        self, action: str, subject: str, before: object, after: object, now_ms: int, by: Actor
    ) -> None:
        """Raises ``ValueError`` for what is larger than an entry may be."""
        check_actor(by)
        check_text(action, subject)
        for value in (before, after):
            if len(_json(value) or "") > MAX_TEXT_BYTES:
                raise ValueError(f"an entry of the audit log has at most {MAX_TEXT_BYTES} bytes")
        await self._writer.run((), self._changes.enter, action, subject, before, after, now_ms, by)

    def _read(
        self, connection: Connection, subject: str | None, who: str | None, before: int, limit: int
    ) -> Sequence[AuditEntry]:
        sql = self._entries[subject is not None, who is not None]
        filters = [value for value in (subject, who) if value is not None]
        rows = connection.cursor.execute(sql, (before, *filters, limit)).fetchall()
        return [_entry(row) for row in rows]


def _entries(database: Database, by_subject: bool, by_who: bool) -> str:
    query = select(audit_log.c.id, *(audit_log.c[name] for name in _COLUMNS))
    query = query.where(audit_log.c.id < given("before", Int64)).order_by(audit_log.c.id.desc())
    names = ["before"]
    for name, is_asked in (("subject", by_subject), ("who", by_who)):
        if is_asked:
            query = query.where(audit_log.c[name] == given(name))
            names.append(name)
    return compiled(database.dialect, first(query, given("limit", Int64)), *names, "limit")


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _entry(row: Row) -> AuditEntry:
    entry_id, at_ms, who, action, subject, before, after, request_id = row
    return AuditEntry(entry_id, at_ms, who, action, subject, _raw(before), _raw(after), request_id)
