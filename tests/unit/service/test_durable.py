"""What of a recording is written, in which groups, and what is read back of it."""

from __future__ import annotations

import pytest

from bandari.domain.problem import Blame, Problem
from bandari.domain.recordings import FrameGroup, OpenedRecording, RecordingEnd
from bandari.service.durable import INTERRUPTED_KEPT_MS, Durability, DurableFrames, frames_of
from bandari.service.recording import About, Recording

PROBLEM = Problem(502, "upstream_error", "The model's provider failed.", Blame.UPSTREAM)
DIGEST = b"d" * 32
HOUR_MS = 3_600_000


def durable(*frames: bytes, about: About | None = None, **changes: object):
    """A recording with its frames, and its durable half."""
    recording = Recording("str_1", about=about)
    recording.append(frames)
    said = {"surface": "messages", "digest": DIGEST, "kept_ms": 24 * HOUR_MS} | changes
    return recording, DurableFrames(recording, Durability(**said))  # type: ignore[arg-type]


# -- its beginning ---------------------------------------------------------------------------------


def test_it_is_opened_with_what_it_is_found_by():
    _, frames = durable(
        about=About(is_streaming=False), end_user="amina", idempotency_key="k", kept_ms=2 * HOUR_MS
    )
    assert frames.recording_id == "str_1"
    assert frames.opened(7, 1_000) == OpenedRecording(
        id="str_1",
        account_id=7,
        surface="messages",
        is_streaming=False,
        created_ms=1_000,
        expires_ms=1_000 + 2 * HOUR_MS,
        digest=DIGEST,
        end_user="amina",
        idempotency_key="k",
    )


def test_what_a_server_that_died_leaves_can_be_read_for_an_hour_at_least():
    assert INTERRUPTED_KEPT_MS == HOUR_MS
    _, frames = durable(kept_ms=20_000)
    assert frames.opened(7, 1_000).expires_ms == 1_000 + HOUR_MS
    _, frames = durable(kept_ms=HOUR_MS + 1)
    assert frames.opened(7, 1_000).expires_ms == 1_000 + HOUR_MS + 1


# -- its growth ------------------------------------------------------------------------------------


def test_groups_follow_one_another_without_a_gap():
    recording, frames = durable(b"a", b"b")
    first = frames.next_group()
    assert first == FrameGroup("str_1", 0, b"ab")
    frames.are_written(first)
    assert frames.next_group() is None
    recording.append([b"c"])
    second = frames.next_group()
    assert second == FrameGroup("str_1", 1, b"c")
    frames.are_written(second)
    assert frames.next_group() is None


def test_what_came_while_a_group_was_written_is_in_the_next():
    recording, frames = durable(b"a")
    first = frames.next_group()
    recording.append([b"b"])
    frames.are_written(first)
    assert frames.next_group() == FrameGroup("str_1", 1, b"b")


def test_a_group_that_may_not_have_been_written_is_written_again_with_all_that_came_since():
    recording, frames = durable(b"a")
    assert frames.next_group() == FrameGroup("str_1", 0, b"a")
    recording.append([b"b"])
    assert frames.next_group() == FrameGroup("str_1", 0, b"ab")
    assert frames.end([b"c"], 0).last == FrameGroup("str_1", 0, b"abc")


def test_of_nothing_there_is_no_group():
    _, frames = durable()
    assert frames.next_group() is None


# -- its end ---------------------------------------------------------------------------------------


def test_its_end_is_the_rest_and_the_last_frames():
    recording, frames = durable(
        b"a", about=About(max_tokens=9, ignored=("seed",)), kept_ms=2 * HOUR_MS
    )
    group = frames.next_group()
    frames.are_written(group)
    recording.append([b"b"])
    assert frames.end([b"y", b"z"], 5_000, PROBLEM) == RecordingEnd(
        last=FrameGroup("str_1", 1, b"byz"),
        expires_ms=5_000 + 2 * HOUR_MS,
        max_tokens=9,
        ignored=("seed",),
        problem=PROBLEM,
    )
    assert recording.bytes_from(0) == b"ab"  # they have not left yet


def test_a_short_keeping_counts_from_its_end():
    _, frames = durable(b"a", kept_ms=20_000)
    assert frames.end((), 5_000).expires_ms == 25_000


def test_it_may_end_with_nothing():
    _, frames = durable()
    assert frames.end((), 0).last == FrameGroup("str_1", 0, b"")


def test_where_only_its_key_is_kept_no_frame_is_written():
    recording, frames = durable(b"a", keeps_frames=False, idempotency_key="k")
    assert frames.next_group() is None
    recording.append([b"b"])
    assert frames.next_group() is None
    end = frames.end([b"z"], 1_000, PROBLEM)
    assert end.last == FrameGroup("str_1", 0, b"")
    assert (end.problem, end.expires_ms) == (PROBLEM, 1_000 + 24 * HOUR_MS)


# -- and back --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"data: 1\n\n"],
        [b"event: a\ndata: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"],
        [b": \n\n", b"event: done\ndata: null\n\n"],
    ],
)
def test_the_frames_of_a_stream_are_found_again(frames):
    assert frames_of(b"".join(frames), is_streaming=True) == frames


@pytest.mark.parametrize("body", [b"{}", b'{"a": "b\n\nc"}\n\n', b"\n\n"])
def test_an_unstreamed_answer_is_one_frame_whatever_is_in_it(body):
    assert frames_of(body, is_streaming=False) == [body]
    assert frames_of(b"", is_streaming=False) == []


def test_all_that_was_written_put_together_is_the_recording():
    recording, frames = durable()
    written: dict[int, bytes] = {}
    for number in range(50):
        recording.append([b"data: %d\n\n" % number])
        group = frames.next_group() if number % 3 else None
        if group is not None:
            written[group.position] = group.data
            if number % 2:
                frames.are_written(group)
    end = frames.end([b"data: [DONE]\n\n"], 0)
    written[end.last.position] = end.last.data
    recording.finish([b"data: [DONE]\n\n"])
    whole = b"".join(written[position] for position in sorted(written))
    assert whole == recording.bytes_from(0)
    assert len(frames_of(whole, is_streaming=True)) == recording.frame_count == 51
