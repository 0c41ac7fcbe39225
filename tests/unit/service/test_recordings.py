"""Which recordings there are, who finds them, and for how long."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.recordings_registry import DIGEST, Made, Registry, left_after, terms
from tests.support.virtual_time import VirtualLoop

from bandari.domain.problem import Blame, Problem
from bandari.service.recording import About, Reader, Recording

LOOPS = {"virtual": VirtualLoop}

PROBLEM = Problem(502, "upstream_error", "The model's provider failed.", Blame.UPSTREAM)


# -- what was over before it could be found --------------------------------------------------------


async def test_one_that_has_ended_before_it_was_opened_has_its_window():
    registry = Registry()
    recording = Recording("str_a", about=About(receipt_id="rcpt_a"), space=registry.space)
    recording.finish([b"all"])
    registry.open(Made(recording, registry.stopped), terms(window_s=30))
    assert registry.has()
    await asyncio.sleep(31)
    assert not registry.has()
    assert registry.space.used == 0


async def test_one_that_has_ended_before_it_was_opened_and_has_no_window_can_still_be_read():
    registry = Registry()
    recording = Recording("str_a", about=About(receipt_id="rcpt_a"), space=registry.space)
    recording.finish([b"all"])
    registry.open(Made(recording, registry.stopped), terms(window_s=0))
    assert not registry.has()
    assert registry.space.used == 0
    reader = recording.reader()
    assert await reader.read() == b"all"
    reader.close()


# -- what has failed -------------------------------------------------------------------------------


async def test_a_failure_that_costs_nothing_is_forgotten_at_once():
    registry = Registry()
    entry = registry.made(idempotency_key="k")
    reader = entry.recording.reader()
    entry.recording.about.receipt_id = None
    entry.recording.fail(PROBLEM, [b"!"])
    assert not registry.has()
    assert registry.find_keyed(1, "k") is None
    assert registry.find_alike(terms(), DIGEST, -1) == []
    assert registry.space.used == 0
    assert await reader.read() == b"01!"  # who reads it is told all the same
    reader.close()


async def test_a_failure_that_was_charged_is_kept_like_any_other():
    registry = Registry()
    entry = registry.made(idempotency_key="k")
    entry.recording.fail(PROBLEM, [b"!"])
    assert registry.find_keyed(1, "k") is entry
    await asyncio.sleep(31)
    assert registry.find_keyed(1, "k") is None


async def test_one_that_is_found_to_be_free_late_leaves_its_key_free_then():
    registry = Registry()
    entry = registry.made(idempotency_key="k")
    entry.recording.fail(PROBLEM, [b"!"])
    assert registry.find_keyed(1, "k") is entry
    entry.recording.about.receipt_id = None
    assert registry.find_keyed(1, "k") is None
    assert not registry.has()
    assert registry.space.used == 0


async def test_one_that_runs_and_has_no_receipt_yet_has_its_key():
    registry = Registry()
    entry = registry.made(idempotency_key="k")
    entry.recording.about.receipt_id = None
    assert registry.find_keyed(1, "k") is entry


# -- who finds it ----------------------------------------------------------------------------------


async def test_only_its_account_finds_it():
    registry = Registry()
    entry = registry.made(idempotency_key="k")
    assert registry.find(1, "str_a") is entry
    assert registry.find(2, "str_a") is None
    assert registry.find(1, "str_b") is None
    assert registry.find_keyed(1, "k") is entry
    assert registry.find_keyed(2, "k") is None
    assert registry.find_keyed(1, "K") is None


@pytest.mark.parametrize(
    "other",
    [{"key_id": 4}, {"end_user": "amina"}, {"surface": "messages"}, {"digest": b"e" * 32}],
)
async def test_alike_is_what_the_same_key_asked_for_in_the_same_way(other):
    registry = Registry()
    entry = registry.made()
    same, different = terms(), terms(**other)
    assert same.digest is not None
    assert different.digest is not None
    assert registry.find_alike(same, same.digest, -1) == [entry]
    assert registry.find_alike(different, different.digest, -1) == []


async def test_alike_are_only_those_that_have_the_frame():
    registry = Registry()
    short = registry.made("short", [b"0"])
    long = registry.made("long", [b"0", b"1", b"2"])
    assert registry.find_alike(terms(), DIGEST, -1) == [short, long]
    assert registry.find_alike(terms(), DIGEST, 0) == [short, long]
    assert registry.find_alike(terms(), DIGEST, 1) == [long]
    assert registry.find_alike(terms(), DIGEST, 2) == [long]
    assert registry.find_alike(terms(), DIGEST, 3) == []


async def test_of_those_alike_the_ones_that_nobody_reads_come_first():
    registry = Registry()
    entries = [registry.made(name) for name in "abc"]
    readers: list[Reader] = [entries[0].recording.reader(), entries[2].recording.reader()]
    assert registry.find_alike(terms(), DIGEST, 0) == [entries[1]]
    readers.append(entries[1].recording.reader())
    assert registry.find_alike(terms(), DIGEST, 0) == entries
    readers[0].close()
    assert registry.find_alike(terms(), DIGEST, 0) == [entries[0]]


async def test_one_that_is_unread_but_too_short_gives_no_way():
    registry = Registry()
    registry.made("unread", [b"0"])
    read = registry.made("read", [b"0", b"1"])
    reader = read.recording.reader()
    assert registry.find_alike(terms(), DIGEST, 1) == [read]
    reader.close()


async def test_one_without_a_digest_is_found_by_its_id_only():
    registry = Registry()
    registry.made(digest=None)
    assert registry.has()
    assert registry.find_alike(terms(), DIGEST, -1) == []


# -- forgetting ------------------------------------------------------------------------------------


async def test_what_is_forgotten_is_found_by_nobody_and_takes_nothing():
    registry = Registry()
    entry = registry.made(idempotency_key="k", window_s=30)
    reader = entry.recording.reader()
    registry.forget(entry)
    assert not registry.has()
    assert registry.find_keyed(1, "k") is None
    assert registry.find_alike(terms(), DIGEST, -1) == []
    assert (registry.count, registry.space.used, registry._alike) == (0, 0, {})
    entry.recording.append([b"2"])
    entry.recording.finish([b"3"])
    assert await reader.read() == b"0123"
    reader.close()
    await asyncio.sleep(100)
    assert (registry.stopped, registry.space.used) == ([], 0)


async def test_its_window_is_forgotten_with_it():
    registry = Registry()
    entry = registry.made()
    await left_after(entry, 1)
    registry.forget(entry)
    await asyncio.sleep(100)
    assert registry.stopped == []


async def test_who_leaves_one_that_is_forgotten_changes_nothing():
    registry = Registry(most=100)
    runs, ended = registry.made("runs", window_s=0), registry.ended("ended")
    readers = [runs.recording.reader(), ended.recording.reader()]
    for entry in (runs, ended):
        registry.forget(entry)
    for reader in readers:
        reader.close()
    registry.made("large", [b"x" * 101])  # room cannot be made of them
    await asyncio.sleep(100)
    assert (registry.stopped, registry.count) == ([], 1)


async def test_it_is_forgotten_once():
    registry = Registry()
    entry = registry.ended()
    other = registry.ended("b")
    registry.forget(entry)
    registry.forget(entry)
    assert registry.space.used == other.recording.size


async def test_the_key_of_one_that_is_forgotten_stays_another_ones():
    registry = Registry()
    former = registry.made("a", idempotency_key="k")
    latter = registry.made("b", idempotency_key="k")
    registry.forget(former)
    assert registry.find_keyed(1, "k") is latter
    assert registry.find_alike(terms(), DIGEST, -1) == [latter]


# -- room ------------------------------------------------------------------------------------------


async def test_where_it_is_full_the_finished_ones_that_nobody_reads_go_oldest_first():
    registry = Registry(most=100)
    old = registry.made("old", [b"x" * 30])
    read = registry.made("read", [b"x" * 30])
    new = registry.made("new", [b"x" * 30])
    reader = read.recording.reader()
    for entry in (new, read, old):  # the order of their ends
        entry.recording.finish()
    runs = registry.made("runs", [])
    runs.recording.append([b"x" * 11])
    assert [name for name in ("old", "read", "new") if registry.has(name)] == ["old", "read"]
    runs.recording.append([b"x" * 30])
    assert [name for name in ("old", "read", "new") if registry.has(name)] == ["read"]
    assert registry.space.used == 30 + 41
    runs.recording.append([b"x" * 30])
    assert registry.has("read")  # nothing more can be spared
    assert (registry.has("runs"), registry.space.is_full) == (True, True)
    reader.close()


async def test_no_more_goes_than_has_to():
    registry = Registry(most=100)
    for name in "abc":
        registry.ended(name, frames=[b"x" * 32])
    registry.made("runs", [b"x" * 10])
    assert [name for name in "abc" if registry.has(name)] == ["b", "c"]


async def test_one_that_was_read_again_is_as_old_as_it_is():
    registry = Registry(most=100)
    entries = [registry.ended(name, frames=[b"x" * 32]) for name in "abc"]
    await left_after(entries[0], 1)
    registry.made("runs", [b"x" * 10])
    assert [name for name in "abc" if registry.has(name)] == ["b", "c"]


async def test_what_was_let_go_of_is_read_on_by_who_came_before():
    registry = Registry(most=10)
    entry = registry.ended(frames=[b"12345678"])
    recording = entry.recording
    registry.made("b", [b"x" * 5])
    assert not registry.has()
    assert recording.bytes_from(0) == b"12345678."
