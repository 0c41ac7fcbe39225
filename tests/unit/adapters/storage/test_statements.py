"""Compiling SQL: what is written beside a statement is checked against it."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect

from bandari.adapters.storage.combined import PLACE, POST
from bandari.adapters.storage.schema import accounts
from bandari.adapters.storage.statements import (
    compiled,
    compiled_insert,
    constant,
    given,
)

DIALECTS = (SQLiteDialect_pysqlite(paramstyle="qmark"), PGDialect_psycopg(paramstyle="format"))
STATEMENT = select(accounts.c.id).where(
    accounts.c.name == given("name"), accounts.c.created_ms > given("since")
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
class TestOnBoth:
    def test_parameters_in_another_order_are_refused(self, dialect: Dialect) -> None:
        assert "SELECT accounts.id" in compiled(dialect, STATEMENT, "name", "since")
        with pytest.raises(AssertionError, match="parameters"):
            compiled(dialect, STATEMENT, "since", "name")
        with pytest.raises(AssertionError, match="parameters"):
            compiled(dialect, STATEMENT)

    def test_columns_in_another_order_are_refused(self, dialect: Dialect) -> None:
        assert compiled_insert(dialect, accounts, "name", "created_ms").startswith("INSERT")
        with pytest.raises(AssertionError, match="parameters"):
            compiled_insert(dialect, accounts, "created_ms", "name")

    def test_a_value_in_core_would_be_an_unnamed_parameter(self, dialect: Dialect) -> None:
        with pytest.raises(AssertionError, match="parameters"):
            compiled(dialect, select(accounts.c.id).where(accounts.c.created_ms > 5))
        statement = select(accounts.c.id).where(accounts.c.created_ms > constant(5))
        assert compiled(dialect, statement).endswith("> 5")


@pytest.mark.parametrize("statement", [PLACE, POST], ids=["place", "post"])
def test_wallets_are_guarded_in_the_update_itself(statement: str) -> None:
    update = statement.partition("UPDATE wallets")[2].partition("RETURNING")[0]
    assert "balance - held" in update.partition("WHERE")[2]


def test_a_constant_is_a_number_or_a_plain_word() -> None:
    with pytest.raises(ValueError, match="plain word"):
        constant("a' OR 1=1")
