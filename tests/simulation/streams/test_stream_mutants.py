"""Defects of recordings that are put in on purpose, each of which a few worlds must find."""

from __future__ import annotations

from msgspec.structs import replace
from tests.simulation.streams.world import run
from tests.simulation.trace import Violation

from bandari.adapters.storage.recorded_entries import RecordedEntries
from bandari.adapters.storage.recordings import SqlRecordings
from bandari.domain.ledger import Ending
from bandari.service import inference, streams, upkeep
from bandari.service.caching import Cache
from bandari.service.durable import DurableFrames
from bandari.service.recording import Reader, Recording
from bandari.service.recordings import Recordings

STREAMS = 40
SEEDS = range(1, 31)


def is_found() -> bool:
    for number, seed in enumerate(SEEDS):
        try:
            run(seed, STREAMS)
        except Violation as violation:
            last = str(violation).splitlines()[-1]
            print(f"found within {(number + 1) * STREAMS} streams: {last[:300]}")
            return True
    return False


def test_without_a_mutant_nothing_is_found():
    run(SEEDS[0], STREAMS)


# What is read.


def test_who_resumes_gets_a_frame_twice(monkeypatch):
    original = Recording.offset_behind
    monkeypatch.setattr(
        Recording, "offset_behind", lambda self, frame: original(self, max(-1, frame - 1))
    )
    assert is_found()


def test_frames_that_were_taken_are_given_again(monkeypatch):
    original = Reader.offer

    def offer(self, data):
        before = self.offset
        was_taken = original(self, data)
        self.offset = before
        return was_taken

    monkeypatch.setattr(Reader, "offer", offer)
    assert is_found()


def test_the_last_frames_are_not_durable(monkeypatch):
    original = DurableFrames.end
    monkeypatch.setattr(
        DurableFrames,
        "end",
        lambda self, last_frames, *rest, **named: original(self, (), *rest, **named),
    )
    assert is_found()


def test_counts_are_durable_without_their_frames(monkeypatch):
    monkeypatch.setattr(DurableFrames, "next_group", lambda self: None)
    assert is_found()


def test_groups_of_frames_that_are_written_twice(monkeypatch):
    def are_written(self, group):
        self._position = group.position + 1

    monkeypatch.setattr(DurableFrames, "are_written", are_written)
    assert is_found()


# Who may read it, and for how long.


def test_streams_of_others_are_found(monkeypatch):
    monkeypatch.setattr(Recordings, "find", lambda self, whose, which: self._entries.get(which))
    assert is_found()


def test_a_stream_is_stopped_within_its_window(monkeypatch):
    original = Recordings._unread

    def unread(self, entry):
        if not entry.recording.readers and not entry.recording.ended:
            entry.stop(Ending.CLIENT_LEFT)
        else:
            original(self, entry)

    monkeypatch.setattr(Recordings, "_unread", unread)
    assert is_found()


def test_a_stream_is_stopped_while_another_reads(monkeypatch):
    def left_by(self, reader):
        self.strike(reader)
        self.readers -= 1
        if self.when_unread is not None:
            readers, self.readers = self.readers, 0
            self.when_unread()
            self.readers = readers

    monkeypatch.setattr(Recording, "left_by", left_by)
    assert is_found()


def test_windows_that_never_end(monkeypatch):
    monkeypatch.setattr(Recordings, "_give_up", lambda self, entry: None)
    assert is_found()


def test_what_is_deleted_stays_in_the_database(monkeypatch):
    async def delete(self, account_id, recording_id, now_ms):
        return True

    monkeypatch.setattr(SqlRecordings, "delete", delete)
    assert is_found()


def test_bytes_that_are_never_given_back(monkeypatch):
    monkeypatch.setattr(Recording, "let_go", lambda self: None)
    assert is_found()


def test_recordings_of_dead_servers_that_are_left_alone(monkeypatch):
    async def nothing(recordings):
        return 0

    monkeypatch.setattr(upkeep, "end_dead_recordings", nothing)
    assert is_found()


# What is charged once.


def test_a_key_that_is_taken_twice(monkeypatch):
    original = RecordedEntries._open_one

    def open_one(self, cursor, hold, recording):
        return original(self, cursor, hold, replace(recording, idempotency_key=None))

    monkeypatch.setattr(RecordedEntries, "_open_one", open_one)
    assert is_found()


def test_a_key_that_answers_any_request(monkeypatch):
    monkeypatch.setattr(streams, "_check_same", lambda *asked: None)
    assert is_found()


def test_cached_answers_of_other_end_users(monkeypatch):
    original = inference.cache_key
    monkeypatch.setattr(
        inference,
        "cache_key",
        lambda account_id, end_user, *rest: original(account_id, None, *rest),
    )
    assert is_found()


def test_cached_answers_that_never_expire(monkeypatch):
    monkeypatch.setattr(Cache, "find", lambda self, key: self._kept.get(key))
    assert is_found()


def test_answers_that_are_never_given_again(monkeypatch):
    monkeypatch.setattr(Cache, "find", lambda self, key: None)
    assert is_found()
