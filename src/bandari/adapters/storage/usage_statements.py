"""Usage, asked in one statement: what is added up by the hour, and the receipts beyond that.

Rule 1: one statement sees one moment, so a receipt that is just being added up is on exactly one
side of ``usage_progress``.
Rule 2: a sum may be larger than 64 bits hold: SQLite would refuse the question. So the halves of
the numbers are added up apart, and put together in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    func,
    select,
    union_all,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from bandari.adapters.storage.roll_up import SUMS, receipt_end_user, receipt_hour
from bandari.adapters.storage.schema import (
    Int64,
    accounts,
    keys,
    receipts,
    usage_hours,
    usage_progress,
    wallets,
)
from bandari.adapters.storage.statements import compiled, constant, first, given
from bandari.domain.allowance import Subject
from bandari.domain.reports import HOUR_MS, Dimension

DAY_MS = 24 * HOUR_MS
SHAPES = 256
"""How many statements are kept, one for each shape of a question."""

_HALF = 32
_COLUMNS = ("hour_ms", "account_id", "key_id", "model", "end_user", "asset", "requests", *SUMS)
ADDED_UP = ("requests", *SUMS)


SUBJECTS: Mapping[Subject, tuple[str, ...]] = {
    Subject.KEY: ("key_id",),
    Subject.ACCOUNT: ("account_id",),
    Subject.GROUP: ("group",),
    Subject.END_USER: ("account_id", "end_user"),
    Subject.MODEL: ("model",),
}
"""What a subject's identity is made of."""


class _month(FunctionElement[int]):  # noqa: N801 - the name of a function in SQL
    """The beginning of the month in UTC that an hour is in, both in milliseconds since 1970."""

    type = Int64
    inherit_cache = True
    name = "month"


@compiles(_month, "sqlite")
def _month_on_sqlite(element: _month, compiler: SQLCompiler, **options: Any) -> str:
    hour_ms = compiler.process(element.clauses, **options)
    seconds = f"strftime('%s', {hour_ms} / 1000, 'unixepoch', 'start of month')"
    return f"CAST({seconds} AS INTEGER) * 1000"


@compiles(_month, "postgresql")
def _month_on_postgresql(element: _month, compiler: SQLCompiler, **options: Any) -> str:
    hour_ms = compiler.process(element.clauses, **options)
    month = f"date_trunc('month', to_timestamp({hour_ms} / 1000) AT TIME ZONE 'UTC')"
    return f"extract(epoch FROM {month})::bigint * 1000"


@lru_cache(maxsize=SHAPES)
def usage_statement(
    dialect: Dialect, fields: tuple[str, ...], by: tuple[Dimension, ...]
) -> tuple[str, tuple[str, ...]]:
    """The statement for a selection with these fields, and its parameters' names in their order.

    Its columns are one for each dimension, the asset, and two for each of ``ADDED_UP``.
    """
    rolled = [is_in_hours(field) for field in fields]
    recent = [is_in_receipts(field) for field in fields]
    counted = _counted(rolled, recent)
    told_apart = [_told_apart(counted, dimension).label(dimension.value) for dimension in by]
    sums = _added_up(counted, [*told_apart, counted.c.asset]).subquery("sums")
    shown: list[ColumnElement[Any]] = [sums.c[dimension.value] for dimension in by]
    source: FromClause = sums
    if Dimension.ACCOUNT in by:
        shown[by.index(Dimension.ACCOUNT)] = accounts.c.name
        source = sums.join(accounts, accounts.c.id == sums.c[Dimension.ACCOUNT.value])
    rest = [column for column in sums.c if column.name not in by]
    statement = select(*shown, *rest).select_from(source).order_by(*shown, sums.c.asset)
    names = (*fields, "progress", *fields, "limit")
    return compiled(dialect, first(statement, given("limit")), *names), names


@lru_cache(maxsize=len(Subject))
def spent_statement(dialect: Dialect, subject: Subject) -> tuple[str, tuple[str, ...]]:
    """The statement for what a subject has used, and its parameters' names in their order.

    Its columns are the hour, the asset, and two for each of ``ADDED_UP``.
    """
    fields = (*SUBJECTS[subject], "start_ms")
    if subject is Subject.GROUP:
        members = select(keys.c.id).where(keys.c.group_name == given("group"))
        rolled = [usage_hours.c.key_id.in_(members), is_in_hours("start_ms")]
        recent = [receipts.c.key_id.in_(members), is_in_receipts("start_ms")]
    else:
        rolled = [is_in_hours(field) for field in fields]
        recent = [is_in_receipts(field) for field in fields]
    counted = _counted(rolled, recent)
    statement = _added_up(counted, [counted.c.hour_ms, counted.c.asset])
    names = (*fields, "progress", *fields)
    return compiled(dialect, statement.order_by(counted.c.hour_ms), *names), names


def whole(row: Sequence[Any]) -> list[int]:
    """The sums, of two columns each."""
    halves = [int(half) for half in row]
    return [(high << _HALF) + low for high, low in zip(halves[::2], halves[1::2], strict=True)]


def is_in_hours(field: str) -> ColumnElement[bool]:
    """Whether a row of ``usage_hours`` has what the field of a selection asks for."""
    if field == "start_ms":
        return usage_hours.c.hour_ms >= given("start_ms")
    if field == "end_ms":
        return usage_hours.c.hour_ms < given("end_ms")
    return usage_hours.c[field] == given(field)


def is_in_receipts(field: str) -> ColumnElement[bool]:
    """Whether a receipt has what the field of a selection asks for."""
    if field == "start_ms":
        return receipts.c.ended_ms >= given("start_ms")
    if field == "end_ms":
        return receipts.c.ended_ms < given("end_ms")
    if field == "end_user":
        return receipt_end_user() == given("end_user")
    if field == "account_id":
        # Not by a join: it might start with the wallets, and read the same receipts for each.
        theirs = select(wallets.c.id).where(wallets.c.account_id == given("account_id"))
        return receipts.c.wallet_id.in_(theirs)
    return receipts.c[field] == given(field)


def _counted(
    rolled: Sequence[ColumnElement[bool]], recent: Sequence[ColumnElement[bool]]
) -> FromClause:
    """Rows like those of ``usage_hours``, of all that is asked for."""
    number = receipts.c.transaction_id
    progress = select(usage_progress.c.transaction_id).scalar_subquery()
    beyond = (
        select(
            receipt_hour().label("hour_ms"),
            wallets.c.account_id,
            receipts.c.key_id,
            receipts.c.model,
            receipt_end_user().label("end_user"),
            wallets.c.asset,
            constant(1).label("requests"),
            *(receipts.c[name] for name in SUMS),
        )
        .select_from(receipts.join(wallets, wallets.c.id == receipts.c.wallet_id))
        # The progress of a moment ago tells PostgreSQL how few these are; that of now is exact.
        .where(number > given("progress"), number > progress, *recent)
    )
    added_up = select(*(usage_hours.c[name] for name in _COLUMNS)).where(*rolled)
    return union_all(added_up, beyond).subquery("counted")


def _told_apart(counted: FromClause, dimension: Dimension) -> ColumnElement[Any]:
    hour_ms = counted.c.hour_ms
    match dimension:
        case Dimension.HOUR:
            return hour_ms
        case Dimension.DAY:
            return hour_ms - hour_ms % constant(DAY_MS)
        case Dimension.MONTH:
            return _month(hour_ms)
        case Dimension.ACCOUNT:
            return counted.c.account_id
        case Dimension.KEY:
            return counted.c.key_id
        case _:
            return counted.c[dimension.value]


def _added_up(counted: FromClause, apart: Sequence[ColumnElement[Any]]) -> Select[Any]:
    sums = []
    for name in ADDED_UP:
        column = counted.c[name]
        sums.append(func.sum(column.op(">>")(constant(_HALF))).label(f"{name}_high"))
        sums.append(func.sum(column.op("&")(constant(2**_HALF - 1))).label(f"{name}_low"))
    return select(*apart, *sums).group_by(*apart)
