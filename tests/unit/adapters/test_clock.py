from __future__ import annotations

import random
import time

import pytest

from bandari.adapters.clock import SystemClock

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND


class Machine:
    """A machine's clocks, and the one that is told by them. ``told_ms`` never goes back."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 5 * SECOND
        self.clock = SystemClock(lambda: self.wall, lambda: self.steady)
        self.told = 0

    def passes(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.steady += nanoseconds

    def tells(self) -> int:
        """Milliseconds since the start."""
        told = self.clock.now_ms()
        assert told >= self.told, "time went back"
        self.told = told
        return told - START // 1_000_000


@pytest.fixture
def machine():
    return Machine()


def test_it_tells_the_walls_time(machine):
    assert machine.tells() == 0
    machine.passes(1_234_567_890)
    assert machine.tells() == 1234
    assert machine.clock.monotonic_ns() == machine.steady


def test_a_step_forward_is_followed(machine):
    machine.wall += HOUR
    assert machine.tells() == 3_600_000


@pytest.mark.parametrize("asked_between", [False, True])
def test_after_a_step_back_it_goes_on_at_half_the_pace_until_it_is_caught_up_with(
    machine, asked_between
):
    machine.passes(10 * SECOND)
    assert machine.tells() == 10_000
    machine.wall -= HOUR
    assert machine.tells() == 10_000
    machine.passes(SECOND)
    assert machine.tells() == 10_500
    for _ in range(7199):
        machine.passes(SECOND)
        if asked_between:
            machine.tells()
    # Two hours later the wall has caught up.
    assert machine.tells() == 3_610_000
    assert machine.wall == START + (3600 + 10) * SECOND
    machine.passes(SECOND)
    assert machine.tells() == 3_611_000


def test_halves_add_up_however_often_it_is_asked(machine):
    machine.tells()
    machine.wall -= HOUR
    for _ in range(3_000_000 // 101):
        machine.passes(101)
        machine.tells()
    assert machine.tells() == 1


def test_a_step_back_into_yesterday_begins_no_day_twice(machine):
    day_ms = 86_400_000
    machine.wall = (START // (24 * HOUR) + 1) * 24 * HOUR + SECOND
    today = machine.clock.now_ms() // day_ms
    machine.wall -= HOUR
    for _ in range(10_000):
        machine.passes(SECOND)
        assert machine.clock.now_ms() // day_ms == today


def test_steps_back_while_it_is_behind_and_a_step_forward_past_it(machine):
    machine.tells()
    machine.wall -= HOUR
    machine.passes(2 * SECOND)
    assert machine.tells() == 1000
    machine.wall -= HOUR
    machine.passes(2 * SECOND)
    assert machine.tells() == 2000
    machine.wall += 3 * HOUR
    assert machine.tells() == 3_604_000


def test_it_never_goes_back_whatever_is_done(machine):
    seeded = random.Random(5)
    for _ in range(20_000):
        machine.passes(seeded.randrange(SECOND))
        if seeded.random() < 0.1:
            machine.wall += seeded.randrange(-HOUR, HOUR)
        machine.tells()


def test_the_machines_own():
    clock = SystemClock()
    assert abs(clock.now_ms() - time.time_ns() // 1_000_000) < 10_000
    assert clock.monotonic_ns() <= time.monotonic_ns()
