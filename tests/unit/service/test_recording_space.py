"""What recordings take, all together, and what happens where that is too much."""

from __future__ import annotations

import pytest

from bandari.domain.problem import Blame, Problem
from bandari.service.recording import Recording, RecordingFull, Space

PROBLEM = Problem(502, "upstream_error", "The model's provider failed.", Blame.UPSTREAM)


def recording(space: Space, *frames: bytes) -> Recording:
    made = Recording("str_1", 1_000_000, space=space)
    made.append(frames)
    return made


def test_it_is_full_beyond_its_bound_and_not_at_it():
    space = Space(100)
    space.take(100)
    assert (space.used, space.is_full) == (100, False)
    space.take(1)
    assert (space.used, space.is_full) == (101, True)
    space.give(1)
    assert not space.is_full


def test_beyond_twice_the_bound_nothing_is_taken():
    space = Space(100)
    space.take(199)
    space.take(1)
    with pytest.raises(RecordingFull):
        space.take(1)
    assert space.used == 200
    space.give(50)
    space.take(50)


def test_room_is_made_as_soon_as_it_is_full():
    space, asked = Space(100), []
    space.make_room = lambda: asked.append(space.used)
    space.take(100)
    assert asked == []
    space.take(1)
    assert asked == [101]


def test_room_that_was_made_counts_at_once():
    space = Space(100)
    space.make_room = lambda: space.give(60)
    space.take(120)
    assert (space.used, space.is_full) == (60, False)
    space.take(41)  # over its bound again: asked again
    assert space.used == 41


def test_where_nothing_can_be_spared_it_is_not_asked_for_every_frame():
    space, asked = Space(6_400), []
    space.make_room = lambda: asked.append(space.used)
    space.take(6_401)
    for _ in range(250):
        space.take(1)
    # Only when it is a 64th of the bound more than when it was asked last.
    assert asked == [6_401, 6_502, 6_603]


def test_once_it_was_not_full_any_more_it_is_asked_at_its_bound_again():
    space, asked = Space(6_400), []
    space.make_room = lambda: asked.append(space.used)
    space.take(6_450)
    space.give(49)  # still full
    space.take(49)
    assert asked == [6_450]
    space.give(50)
    space.take(1)
    assert asked == [6_450, 6_401]


def test_nobody_has_to_make_room():
    space = Space(10)
    space.take(15)
    assert space.used == 15


# -- what a recording takes ------------------------------------------------------------------------


def test_a_recording_takes_its_bytes():
    space = Space(100)
    made = recording(space, b"12", b"", b"345")
    other = recording(space, b"6")
    assert space.used == made.size + other.size == 6
    made.append([b"78"])
    assert space.used == 8


def test_a_frame_that_does_not_fit_is_neither_taken_nor_kept():
    space = Space(5)
    made = recording(space, b"12345", b"678")
    with pytest.raises(RecordingFull) as caught:
        made.append([b"9", b"abc", b"d"])
    assert (caught.value.status, caught.value.code) == (500, "answer_too_large")
    assert made.bytes_from(0) == b"123456789"
    assert space.used == made.size == 9


def test_a_recordings_own_bound_is_looked_at_before_space_is_taken():
    space = Space(100)
    made = Recording("str_1", 4, space=space)
    with pytest.raises(RecordingFull):
        made.append([b"1234", b"5"])
    assert space.used == 4


@pytest.mark.parametrize("end", [Recording.finish, lambda made, last: made.fail(PROBLEM, last)])
def test_the_end_is_told_however_full_it_is_and_counted(end):
    space, asked = Space(4), []
    made = recording(space, b"12345678")
    space.make_room = lambda: asked.append(space.used)
    end(made, [b"the", b"end"])
    assert made.bytes_from(0) == b"12345678theend"
    assert space.used == made.size == 14
    assert asked == [14]


def test_what_is_let_go_of_takes_nothing_any_more_and_can_be_read():
    space = Space(100)
    made = recording(space, b"12345")
    made.let_go()
    assert space.used == 0
    made.let_go()
    assert space.used == 0
    made.append([b"678"])
    made.finish([b"9"])
    assert made.bytes_from(0) == b"123456789"
    assert space.used == 0


def test_a_recording_without_a_space_is_bounded_by_itself_only():
    made = Recording("str_1", 5)
    made.append([b"12345"])
    made.finish([b"6"])
    made.let_go()
    assert made.size == 6
