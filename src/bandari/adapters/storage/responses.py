"""Responses: kept by id, walked back along ``previous_id``, and swept away when they expire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs
from sqlalchemy import CTE, Select, delete, func, select, update

from bandari.adapters.storage.bounds import check_text
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.kept_tables import responses
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import epochs
from bandari.adapters.storage.statements import compiled, constant, first, given
from bandari.domain.responses import (
    MAX_CHAIN_BYTES,
    MAX_CHAIN_LINKS,
    UNFINISHED,
    Chain,
    Link,
    ResponseEnd,
    ResponseStatus,
    StoredResponse,
)

_COLUMNS = tuple(item.name for item in structs.fields(StoredResponse))
_WALK = ("id", "account_id", "now_ms", "now_ms")


class ResponseStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        table = responses.c
        is_unfinished = table.status.in_([constant(status.value) for status in UNFINISHED])
        is_theirs = (
            table.id == given("id"),
            table.account_id == given("account_id"),
            table.expires_ms > given("now_ms"),
        )
        self.insert = compiled(
            dialect,
            database.insert_unless_there(responses).values(
                {table[name]: given(name, table[name].type) for name in _COLUMNS}
            ),
            *_COLUMNS,
        )
        self.finish = compiled(
            dialect,
            update(responses)
            .values(
                status=given("status"),
                receipt_id=given("receipt_id"),
                output_items=func.coalesce(
                    given("output_items", table.output_items.type), table.output_items
                ),
                body=func.coalesce(given("body", table.body.type), table.body),
            )
            .where(table.id == given("id"), is_unfinished)
            .returning(table.id),
            *("status", "receipt_id", "output_items", "body", "id"),
        )
        self.find = compiled(
            dialect,
            select(*(table[name] for name in _COLUMNS)).where(*is_theirs),
            *("id", "account_id", "now_ms"),
        )
        self.delete = compiled(
            dialect,
            delete(responses).where(*is_theirs).returning(table.id),
            *("id", "account_id", "now_ms"),
        )
        walk = _walk()
        here = responses.join(walk, walk.c.id == table.id)
        size = func.length(table.input_items) + func.length(table.output_items)
        self.outline = compiled(
            dialect,
            select(table.id, table.previous_id, size).select_from(here).order_by(walk.c.depth),
            *_WALK,
        )
        self.contents = compiled(
            dialect,
            select(table.id, table.status, table.input_items, table.output_items)
            .select_from(here)
            .order_by(walk.c.depth),
            *_WALK,
        )
        # What another server is at, it does alone.
        dead = _some(
            select(table.id)
            .select_from(responses.join(epochs, epochs.c.id == table.epoch))
            .where(is_unfinished, epochs.c.closed_ms.is_not(None))
        )
        self.fail_dead = compiled(
            dialect,
            update(responses)
            .values(status=constant(ResponseStatus.FAILED.value))
            .where(table.id.in_(dead))
            .returning(table.id),
            "limit",
        )
        expired = _some(
            select(table.id).where(table.expires_ms <= given("now_ms")).order_by(table.expires_ms)
        )
        self.delete_expired = compiled(
            dialect,
            delete(responses).where(table.id.in_(expired)).returning(table.id),
            *("now_ms", "limit"),
        )


def _some(statement: Select[Any]) -> Select[Any]:
    return first(statement, given("limit")).with_for_update(of=responses, skip_locked=True)


def _walk() -> CTE:
    """The ids of a response and of those it continues, by how far back they are."""
    start = (
        select(
            responses.c.id,
            responses.c.account_id,
            responses.c.previous_id,
            constant(0).label("depth"),
        )
        .where(
            responses.c.id == given("id"),
            responses.c.account_id == given("account_id"),
            responses.c.expires_ms > given("now_ms"),
        )
        .cte("walk", recursive=True)
    )
    return start.union_all(
        select(
            responses.c.id,
            responses.c.account_id,
            responses.c.previous_id,
            start.c.depth + constant(1),
        ).where(
            responses.c.id == start.c.previous_id,
            responses.c.account_id == start.c.account_id,
            responses.c.expires_ms > given("now_ms"),
            start.c.depth < constant(MAX_CHAIN_LINKS),
        )
    )


class SqlResponses:
    """``service.ports.Responses`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._sql = ResponseStatements(database)

    async def save(self, response: StoredResponse) -> None:
        check_text(
            response.id,
            response.previous_id,
            response.model,
            response.end_user,
            response.receipt_id,
        )
        await self._writer.run((), self._save, structs.astuple(response))

    async def finish(self, response_id: str, end: ResponseEnd) -> bool:
        check_text(response_id, end.receipt_id)
        row = (end.status, end.receipt_id, end.output_items, end.body, response_id)
        return await self._writer.run((), self._change, self._sql.finish, row) > 0

    async def find(self, account_id: int, response_id: str, now_ms: int) -> StoredResponse | None:
        check_text(response_id)
        return await self._reader.run(self._find, (response_id, account_id, now_ms))

    async def delete(self, account_id: int, response_id: str, now_ms: int) -> bool:
        check_text(response_id)
        row = (response_id, account_id, now_ms)
        return await self._writer.run((), self._change, self._sql.delete, row) > 0

    async def chain(self, account_id: int, response_id: str, now_ms: int) -> Chain:
        check_text(response_id)
        return await self._reader.run(self._chain, response_id, account_id, now_ms)

    async def fail_dead(self, limit: int) -> int:
        return await self._writer.run((), self._fail_dead, limit)

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        row = (now_ms, limit)
        return await self._writer.run((), self._change, self._sql.delete_expired, row)

    # Operations: each runs inside the writer's transaction, or on a reader's connection.

    def _save(self, connection: Connection, row: Row) -> None:
        connection.cursor.execute(self._sql.insert, row)

    def _change(self, connection: Connection, statement: str, row: Row) -> int:
        """How many rows it changed."""
        return len(connection.cursor.execute(statement, row).fetchall())

    def _fail_dead(self, connection: Connection, limit: int) -> int:
        connection.close_dead_epochs()
        return self._change(connection, self._sql.fail_dead, (limit,))

    def _find(self, connection: Connection, row: Row) -> StoredResponse | None:
        found = connection.cursor.execute(self._sql.find, row).fetchone()
        return None if found is None else _response(found)

    def _chain(
        self, connection: Connection, response_id: str, account_id: int, now_ms: int
    ) -> Chain:
        parameters = (response_id, account_id, now_ms, now_ms)
        outline = connection.cursor.execute(self._sql.outline, parameters).fetchall()
        if len(outline) > MAX_CHAIN_LINKS or sum(size for _, _, size in outline) > MAX_CHAIN_BYTES:
            return Chain(is_too_long=True)
        rows = connection.cursor.execute(self._sql.contents, parameters).fetchall()
        # As of the second look: one that was deleted meanwhile is missing.
        expected = [response_id, *(previous for _, previous, _ in outline if previous is not None)]
        if len(rows) < len(expected):
            return Chain(missing=expected[len(rows)])
        return Chain(tuple(map(_link, reversed(rows))))


def _response(row: Sequence[Any]) -> StoredResponse:
    fields = dict(zip(_COLUMNS, row, strict=True))
    fields["status"] = ResponseStatus(fields["status"])
    for name in ("is_background", "is_streaming"):
        fields[name] = bool(fields[name])
    return StoredResponse(**fields)


def _link(row: Sequence[Any]) -> Link:
    response_id, status, input_items, output_items = row
    return Link(response_id, ResponseStatus(status), input_items, output_items)
