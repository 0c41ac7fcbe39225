from __future__ import annotations

import pytest
from tests.support.clock import SetClock
from tests.support.samples import a_principal

from bandari.domain.catalogue import Group
from bandari.domain.outcome import Allow, Deny, Reason
from bandari.service import limiting
from bandari.service.limiting import Limiter


@pytest.fixture
def clock():
    return SetClock()


def limiter(clock, **rates: int | None) -> Limiter:
    return Limiter({name: Group(name, rate) for name, rate in rates.items()}, clock)


def key(number: int = 1, group: str = "default"):
    return a_principal(key_id=number, group=group)


def test_a_group_without_a_rate_has_no_limit(clock):
    made = limiter(clock, default=None)
    assert {made.admit(key()) for _ in range(1000)} == {Allow()}
    assert not made._arrivals


def test_each_key_of_a_group_counts_by_itself(clock):
    made = limiter(clock, default=2)
    for number in (1, 2):
        assert isinstance(made.admit(key(number)), Allow)
        assert isinstance(made.admit(key(number)), Allow)
        refused = made.admit(key(number))
        assert isinstance(refused, Deny)
        assert (refused.reason, refused.limit) == (Reason.REQUESTS_PER_MINUTE, 2)


def test_a_refused_request_may_come_back_when_it_was_told_to(clock):
    made = limiter(clock, default=2)
    made.admit(key()), made.admit(key())
    refused = made.admit(key())
    clock.pass_ms(refused.retry_after_ms - 1)
    assert isinstance(made.admit(key()), Deny)
    clock.pass_ms(1)
    assert isinstance(made.admit(key()), Allow)


def test_the_group_of_the_key_decides(clock):
    made = limiter(clock, default=1, staff=3, guests=None)
    assert made.admit(key(1, "staff")).limit == 3
    assert made.admit(key(2, "guests")).limit is None


def test_a_group_that_is_not_configured_has_the_limits_of_default(clock):
    made = limiter(clock, default=1)
    assert made.admit(key(1, "gone")).limit == 1
    assert isinstance(made.admit(key(1, "gone")), Deny)


def test_without_any_group_there_is_no_limit(clock):
    assert limiter(clock).admit(key()) == Allow()


def test_the_keys_that_are_followed_are_bounded_and_the_quietest_goes(clock, monkeypatch):
    monkeypatch.setattr(limiting, "MAX_KEYS", 2)
    made = limiter(clock, default=1)
    made.admit(key(1)), made.admit(key(2))
    made.admit(key(1))  # refused, and heard of last
    made.admit(key(3))
    assert set(made._arrivals) == {1, 3}
    assert isinstance(made.admit(key(1)), Deny)
    assert isinstance(made.admit(key(2)), Allow)
