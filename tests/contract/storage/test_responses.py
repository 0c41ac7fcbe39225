"""Responses: kept for their account until they expire, and continued along ``previous_id``."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.contract.storage.books import Books, open_books
from tests.contract.storage.conftest import STORES, Tamper
from tests.support.memory_store import MemoryStore

from bandari.adapters.storage import Store, backup, open_store, responses
from bandari.domain.responses import (
    MAX_CHAIN_BYTES,
    MAX_CHAIN_LINKS,
    MAX_PART_BYTES,
    Chain,
    Link,
    ResponseEnd,
    ResponseStatus,
    StoredResponse,
)
from bandari.service.ports import Responses

NOW = 1_000
ALL_BYTES = bytes(range(256))
_names = itertools.count(1)


@dataclass
class Place:
    """A store of responses, two accounts in it, and a server that can die."""

    responses: Responses
    account_id: int
    other_id: int
    epoch: int
    die: Callable[[], Awaitable[None]]

    def response(self, response_id: str | None = None, **fields: Any) -> StoredResponse:
        values: dict[str, Any] = {
            "id": response_id or f"resp_{next(_names):06}",
            "account_id": self.account_id,
            "status": ResponseStatus.COMPLETED,
            "created_ms": 10,
            "expires_ms": 5_000,
            "previous_id": None,
            "model": "m",
            "is_background": False,
            "is_streaming": True,
            "end_user": "otieno",
            "receipt_id": "rcpt_1",
            "epoch": self.epoch,
            "input_items": b'[{"n":1}]',
            "output_items": b'[{"n":2}]',
            "body": b"{}",
        }
        return StoredResponse(**{**values, **fields})

    async def save(self, response_id: str | None = None, **fields: Any) -> StoredResponse:
        response = self.response(response_id, **fields)
        await self.responses.save(response)
        return response

    async def save_chain(self, length: int, **fields: Any) -> list[StoredResponse]:
        chain: list[StoredResponse] = []
        for number in range(length):
            chain.append(
                await self.save(
                    previous_id=chain[-1].id if chain else None,
                    **{"input_items": b"[%d]" % number, "output_items": b"[-%d]" % number} | fields,
                )
            )
        return chain

    async def find(self, response: StoredResponse, now_ms: int = NOW) -> StoredResponse | None:
        return await self.responses.find(response.account_id, response.id, now_ms)


@pytest.fixture(params=(*STORES, "memory"))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest) -> str | None:
    return None if kind == "memory" else str(request.getfixturevalue("url"))


@pytest.fixture
async def place(database_url: str | None) -> AsyncIterator[Place]:
    if database_url is None:
        doubles = MemoryStore().responses

        async def die_in_memory() -> None:
            doubles.dead_epochs.add(7)

        yield Place(doubles, 1, 2, 7, die_in_memory)
        return
    async with open_store(database_url) as store:
        books = await open_books(store)
        other = await open_books(store, epoch=books.epoch)

        async def die() -> None:
            await store.ledger.close_epoch(books.epoch, 9)

        yield Place(store.responses, books.account.id, other.account.id, books.epoch, die)


def link(response: StoredResponse) -> Link:
    return Link(response.id, response.status, response.input_items, response.output_items)


# -- kept and found --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ResponseStatus)
async def test_what_was_kept_is_found_as_it_was(place: Place, status: ResponseStatus) -> None:
    response = await place.save(
        status=status,
        previous_id="resp_before",
        is_background=True,
        is_streaming=False,
        input_items=ALL_BYTES,
        output_items=ALL_BYTES[::-1],
        body=b"",
    )

    found = await place.find(response)

    assert found == response
    assert found is not None
    assert type(found.is_background) is type(found.is_streaming) is bool


async def test_one_without_the_rest(place: Place) -> None:
    response = await place.save(end_user=None, receipt_id=None)

    assert await place.find(response) == response


async def test_another_accounts_is_not_there(place: Place) -> None:
    response = await place.save()

    assert await place.responses.find(place.other_id, response.id, NOW) is None
    assert not await place.responses.delete(place.other_id, response.id, NOW)
    chain = await place.responses.chain(place.other_id, response.id, NOW)
    assert chain == Chain(missing=response.id)
    assert await place.find(response) == response


async def test_one_that_has_expired_is_not_there(place: Place) -> None:
    response = await place.save(expires_ms=NOW + 1)
    assert await place.find(response, NOW) == response

    late = NOW + 1
    assert await place.find(response, late) is None
    assert not await place.responses.delete(place.account_id, response.id, late)
    chain = await place.responses.chain(place.account_id, response.id, late)
    assert chain == Chain(missing=response.id)


async def test_what_was_never_kept_is_not_there(place: Place) -> None:
    assert await place.responses.find(place.account_id, "resp_none", NOW) is None
    assert not await place.responses.delete(place.account_id, "resp_none", NOW)


async def test_saving_again_changes_nothing(place: Place) -> None:
    response = await place.save()

    await place.responses.save(replace(response, body=b"another", account_id=place.other_id))

    assert await place.find(response) == response


async def test_a_deleted_one_is_gone(place: Place) -> None:
    response, other = await place.save(), await place.save()

    assert await place.responses.delete(place.account_id, response.id, NOW)

    assert await place.find(response) is None
    assert await place.find(other) == other
    assert not await place.responses.delete(place.account_id, response.id, NOW)


async def test_large_ones(place: Place) -> None:
    large = b"[" + b"x" * (MAX_PART_BYTES - 2) + b"]"
    response = await place.save(body=large)

    assert await place.find(response) == response
    with pytest.raises(ValueError, match="at most"):
        place.response(body=large + b" ")


# -- ending one ------------------------------------------------------------------------------------

END = ResponseEnd(
    status=ResponseStatus.COMPLETED,
    receipt_id="rcpt_2",
    output_items=b"[3]",
    body=b'{"a":1}',
)


@pytest.mark.parametrize("status", [ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS])
async def test_one_that_was_not_finished_ends_once(place: Place, status: ResponseStatus) -> None:
    response, other = await place.save(status=status), await place.save(status=status)

    assert await place.responses.finish(response.id, END)
    late = ResponseEnd(status=ResponseStatus.FAILED)
    assert not await place.responses.finish(response.id, late)

    assert await place.find(response) == replace(
        response,
        status=END.status,
        receipt_id="rcpt_2",
        output_items=b"[3]",
        body=b'{"a":1}',
    )
    assert await place.find(other) == other


async def test_an_end_without_words_leaves_what_was_told_last(place: Place) -> None:
    response = await place.save(status=ResponseStatus.QUEUED)

    assert await place.responses.finish(response.id, ResponseEnd(status=ResponseStatus.FAILED))

    assert await place.find(response) == replace(
        response, status=ResponseStatus.FAILED, receipt_id=None
    )


@pytest.mark.parametrize(
    "status",
    [status for status in ResponseStatus if status not in ("queued", "in_progress")],
)
async def test_a_finished_one_stays_as_it_is(place: Place, status: ResponseStatus) -> None:
    response = await place.save(status=status)

    assert not await place.responses.finish(response.id, END)
    assert not await place.responses.finish("resp_none", END)
    assert await place.find(response) == response


# -- conversations ---------------------------------------------------------------------------------


async def test_a_chain_is_followed_to_its_beginning_oldest_first(place: Place) -> None:
    first, second, third, _ = await place.save_chain(4)
    await place.save(previous_id=first.id)  # another branch

    chain = await place.responses.chain(place.account_id, third.id, NOW)

    assert chain == Chain((link(first), link(second), link(third)))


async def test_the_last_of_a_chain_may_be_unfinished_or_failed(place: Place) -> None:
    response = await place.save(status=ResponseStatus.IN_PROGRESS)

    chain = await place.responses.chain(place.account_id, response.id, NOW)

    assert chain.links == (link(response),)


@pytest.mark.parametrize("which", [0, 1])
async def test_a_chain_with_a_hole_names_what_is_missing(place: Place, which: int) -> None:
    responses = await place.save_chain(3)
    await place.responses.delete(place.account_id, responses[which].id, NOW)

    chain = await place.responses.chain(place.account_id, responses[2].id, NOW)

    assert chain == Chain(missing=responses[which].id)


async def test_an_ancestor_that_has_expired_is_missing(place: Place) -> None:
    old = await place.save(expires_ms=NOW)
    new = await place.save(previous_id=old.id)

    chain = await place.responses.chain(place.account_id, new.id, NOW)
    assert chain == Chain(missing=old.id)
    chain = await place.responses.chain(place.account_id, new.id, NOW - 1)
    assert chain.links == (link(old), link(new))


async def test_another_accounts_ancestor_is_missing(place: Place) -> None:
    theirs = await place.save(account_id=place.other_id)
    mine = await place.save(previous_id=theirs.id)

    chain = await place.responses.chain(place.account_id, mine.id, NOW)

    assert chain == Chain(missing=theirs.id)


async def test_a_chain_of_as_many_as_may_be_and_one_more(place: Place) -> None:
    previous = None
    saving = []
    for _ in range(MAX_CHAIN_LINKS + 1):
        response = place.response(previous_id=previous)
        saving.append(place.responses.save(response))
        previous = response.id
    assert previous is not None
    await asyncio.gather(*saving)

    last = await place.responses.find(place.account_id, previous, NOW)
    assert last is not None
    assert last.previous_id is not None
    whole = await place.responses.chain(place.account_id, last.previous_id, NOW)
    assert len(whole.links) == MAX_CHAIN_LINKS
    too_long = await place.responses.chain(place.account_id, last.id, NOW)
    assert too_long == Chain(is_too_long=True)


async def test_a_chain_of_too_many_bytes(place: Place) -> None:
    half = b"x" * (MAX_CHAIN_BYTES // 4)
    chain = await place.save_chain(2, input_items=half, output_items=half)
    one_more = await place.save(
        previous_id=chain[1].id, input_items=b"1", output_items=b"", body=half
    )

    whole = await place.responses.chain(place.account_id, chain[1].id, NOW)
    assert len(whole.links) == 2
    too_long = await place.responses.chain(place.account_id, one_more.id, NOW)
    assert too_long == Chain(is_too_long=True)


async def test_one_that_continues_itself_is_too_long(place: Place) -> None:
    """Nobody writes that, and a damaged row must not be followed for ever."""
    response = await place.save("resp_circle", previous_id="resp_circle")

    chain = await place.responses.chain(place.account_id, response.id, NOW)

    assert chain == Chain(is_too_long=True)


# -- what is left behind ---------------------------------------------------------------------------


async def test_what_a_dead_server_had_not_finished_has_failed(place: Place) -> None:
    queued = await place.save(status=ResponseStatus.QUEUED)
    running = await place.save(status=ResponseStatus.IN_PROGRESS)
    finished = await place.save(status=ResponseStatus.INCOMPLETE)
    assert await place.responses.fail_dead(10) == 0
    assert await place.find(queued) == queued

    await place.die()

    assert await place.responses.fail_dead(1) == 1
    assert await place.responses.fail_dead(10) == 1
    assert await place.responses.fail_dead(10) == 0
    for response in (queued, running):
        assert await place.find(response) == replace(response, status=ResponseStatus.FAILED)
        assert not await place.responses.finish(response.id, END)
    assert await place.find(finished) == finished


async def test_what_has_expired_is_deleted_in_batches_oldest_first(place: Place) -> None:
    times = (NOW, NOW - 2, NOW + 1, NOW - 1)
    first, second, living, third = [await place.save(expires_ms=time) for time in times]

    assert await place.responses.delete_expired(NOW, 2) == 2

    long_ago = 0
    assert await place.find(second, long_ago) is None
    assert await place.find(third, long_ago) is None
    assert await place.find(first, long_ago) == first
    assert await place.responses.delete_expired(NOW, 2) == 1
    assert await place.responses.delete_expired(NOW, 2) == 0
    assert await place.find(living) == living


# -- the database ----------------------------------------------------------------------------------

on_databases = pytest.mark.parametrize("kind", STORES, indirect=True)


@on_databases
@pytest.mark.parametrize("field", ["id", "previous_id", "model", "end_user", "receipt_id"])
async def test_what_no_database_can_keep_is_refused(place: Place, field: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        await place.save(**{field: "a\0"})


@on_databases
async def test_one_that_is_deleted_between_two_looks_is_missing(
    books: Books, monkeypatch: pytest.MonkeyPatch, tamper: Tamper
) -> None:
    place = Place(books.store.responses, books.account.id, 0, books.epoch, die=_nobody)
    first, second, third = await place.save_chain(3)
    sql = books.store.responses._sql

    def chain(connection: Any, *arguments: Any) -> Chain:
        execute = connection.cursor.execute

        class Cursor:
            def execute(self, statement: str, parameters: Any) -> Any:
                if statement is sql.contents:
                    tamper(f"DELETE FROM responses WHERE id = '{second.id}'")
                return execute(statement, parameters)

        connection_at_work = type("Connection", (), {"cursor": Cursor()})()
        return whole(connection_at_work, *arguments)

    whole = books.store.responses._chain
    monkeypatch.setattr(books.store.responses, "_chain", chain)

    assert await place.responses.chain(place.account_id, third.id, NOW) == Chain(missing=second.id)
    assert await place.find(first) == first


async def _nobody() -> None:
    return


async def until_failed(store: Store, count: int) -> None:
    """PostgreSQL may take a moment to see that a connection was closed."""
    async with asyncio.timeout(5):
        while (failed := await store.responses.fail_dead(10)) == 0:  # noqa: ASYNC110 - as it says
            await asyncio.sleep(0.01)
    assert failed == count


@on_databases
async def test_they_are_there_after_a_restart(url: str) -> None:
    async with open_store(url) as store:
        books = await open_books(store)
        place = Place(store.responses, books.account.id, 0, books.epoch, die=_nobody)
        finished = await place.save()
        running = await place.save(status=ResponseStatus.QUEUED)

    async with open_store(url) as store:
        place.responses = store.responses
        assert await place.find(finished) == finished
        assert await place.find(running) == running
        await store.ledger.open_epoch(50)
        await until_failed(store, 1)
        assert await place.find(finished) == finished


@on_databases
async def test_the_ledger_is_none_of_their_business(books: Books) -> None:
    place = Place(books.store.responses, books.account.id, 0, books.epoch, die=_nobody)
    before = await books.store.ledger.verify()
    await place.save_chain(3)

    assert await books.store.ledger.verify() == before


@on_databases
async def test_a_backup_has_those_of_its_moment(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGE_KEPT", 2)
    place = Place(books.store.responses, books.account.id, 0, books.epoch, die=_nobody)
    responses = await place.save_chain(5)
    loop = asyncio.get_running_loop()

    def write(*_: int) -> None:
        """What comes while the copy is made may be more than it could ever follow."""
        asyncio.run_coroutine_threadsafe(place.save(), loop).result()

    insert = backup._Target.insert

    def insert_and_write(target: Any, table: Any, rows: Any) -> int:
        if table.name == "responses":
            write()
        return insert(target, table, rows)

    monkeypatch.setattr(backup._Target, "insert", insert_and_write)
    file = tmp_path / "copy.db"
    await books.store.back_up(file, lambda _done, _total: None)

    async with open_store(f"sqlite:///{file}") as copied:
        place.responses = copied.responses
        for response in responses:
            assert await place.find(response) == response
        assert await copied.responses.delete_expired(10**15, 100) == 5


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_the_unfinished_and_the_expired_are_found_by_an_index(store: Store) -> None:
    sql: responses.ResponseStatements = store.responses._sql

    def plan(connection: Any, statement: str, marks: int) -> str:
        rows = connection.cursor.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * marks)
        return " ".join(row[3] for row in rows.fetchall())

    ask = store.reader.run
    assert "ix_responses_epoch" in await ask(plan, sql.fail_dead, 1)
    assert "ix_responses_expires_ms" in await ask(plan, sql.delete_expired, 2)
    for statement in (sql.outline, sql.contents):
        assert "SCAN responses" not in await ask(plan, statement, 4)


@pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=pytest.mark.postgresql)])
async def test_one_server_sees_that_another_died_with_nothing_but_a_response(
    url: str, store: Store
) -> None:
    living = await open_books(store)
    mine = Place(store.responses, living.account.id, 0, living.epoch, die=_nobody)
    running = await mine.save(status=ResponseStatus.IN_PROGRESS)
    async with open_store(url) as dying:
        books = await open_books(dying)
        place = Place(dying.responses, books.account.id, 0, books.epoch, die=_nobody)
        left = await place.save(status=ResponseStatus.IN_PROGRESS)
        assert await store.responses.fail_dead(10) == 0

    await until_failed(store, 1)
    found = await store.responses.find(left.account_id, left.id, NOW)
    assert found is not None
    assert found.status is ResponseStatus.FAILED
    assert await mine.find(running) == running
