from __future__ import annotations

from bandari.adapters.engine.backoff import Backoff


def backoff() -> Backoff:
    return Backoff(first_s=0.2, ceiling_s=10.0, reset_s=30.0)


def test_it_doubles_up_to_the_ceiling() -> None:
    policy = backoff()
    assert [round(policy.after(0.0), 6) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


def test_a_long_life_resets_it() -> None:
    policy = backoff()
    for _ in range(5):
        policy.after(1.0)
    assert policy.after(30.0) == 0.2
    assert policy.after(0.0) == 0.4


def test_a_life_just_too_short_does_not() -> None:
    policy = backoff()
    policy.after(0.0)
    assert policy.after(29.999) == 0.4
