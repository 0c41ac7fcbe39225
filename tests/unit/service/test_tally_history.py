"""What was used before a restart, and by other servers, counts as if it had been seen."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.clock import START_MS, SetClock
from tests.support.gates import until_idle
from tests.support.samples import TOKENS, a_model, a_principal
from tests.support.spent_before import SpentBefore

from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits, Quota, Subject
from bandari.domain.catalogue import Group
from bandari.domain.faults import Overloaded, StoreUnavailable
from bandari.domain.keys import KeyPolicy
from bandari.domain.limits import HOUR_MS
from bandari.domain.outcome import Allow, Deny
from bandari.domain.reports import Spent
from bandari.service import tallies, tally_history
from bandari.service.claims import Claim
from bandari.service.limiting import Limiter
from bandari.service.wanted import Wanted

HOUR = START_MS // HOUR_MS * HOUR_MS
"""The present one; 13 minutes of it have passed. The day began 22 hours before."""


class Prompt:
    tokens = 1

    async def make_exact(self) -> None:
        pass


@pytest.fixture
def clock():
    return SetClock()


def of_key(quota: Quota | None = None, number: int = 3, **limits):
    policy = KeyPolicy(limits=Limits(**limits), quota=quota or Quota())
    return a_principal(key_id=number, policy=policy)


def wanted(principal, tokens: int = 1, model=None) -> Wanted:
    length = tokens - 1
    return Wanted(
        principal=principal,
        model=model or a_model(),
        card=TOKENS,
        prompt=Prompt(),
        whole=length,
        ahead=length,
        rolls=False,
        choices=1,
        is_useless=lambda reach: False,
    )


async def claimed(limiter, principal, tokens: int = 1) -> Claim:
    claim = await limiter.claim(wanted(principal, tokens))
    assert isinstance(claim, Claim), claim
    return claim


def counter(limiter, name: str):
    return limiter._keys.by_key.get(3).counters[f"key.{name}"]


async def test_a_quota_counts_what_was_used_before(clock):
    reports = SpentBefore(
        Spent(HOUR - 400 * 24 * HOUR_MS, 1, 300, {}),
        Spent(HOUR - 23 * HOUR_MS, 1, 40, {}),  # yesterday
        Spent(HOUR, 2, 5, {}),
    )
    limiter = Limiter(clock=clock, reports=reports)
    claim = await claimed(limiter, of_key(Quota(lifetime=1000, per_month=1000, per_day=1000)))
    claim.release()
    assert counter(limiter, "quota.lifetime").used == 345
    assert counter(limiter, "quota.per_month").used == 45
    assert counter(limiter, "quota.per_day").used == 5
    assert reports.asked == [(Subject.KEY, (3,), 0)]


async def test_each_subject_is_asked_for_by_its_identity(clock):
    reports, limits = SpentBefore(), Limits(tokens_per_day=1000)
    limiter = Limiter(clock=clock, reports=reports)
    asking = a_principal(
        end_user="asha",
        account_policy=AccountPolicy(limits=limits, end_user_limits=limits),
        group_terms=Group(name="staff", limits_together=limits),
    )
    assert isinstance(await limiter.claim(wanted(asking, model=a_model(limits=limits))), Claim)
    since = HOUR - 24 * HOUR_MS
    assert reports.asked == [
        (Subject.ACCOUNT, (1,), since),
        (Subject.GROUP, ("staff",), since),
        (Subject.END_USER, (1, "asha"), since),
        (Subject.MODEL, ("bandari-1",), since),
    ]


async def test_money_counts_by_its_asset(clock):
    reports = SpentBefore(Spent(HOUR, 1, 5, {"TOKEN": 70, "KES": 900}))
    limiter = Limiter(clock=clock, reports=reports)
    await claimed(limiter, of_key(spend_per_day={"TOKEN": 100, "KES": 1000}))
    assert counter(limiter, "spend_per_day.TOKEN").used == 70
    assert counter(limiter, "spend_per_day.KES").used == 900


async def test_windows_of_hours_and_days_count_what_was_used_and_a_minutes_do_not(clock):
    reports = SpentBefore(Spent(HOUR - HOUR_MS, 30, 500, {}), Spent(HOUR, 2, 40, {}))
    limiter = Limiter(clock=clock, reports=reports)
    asking = of_key(tokens_per_minute=9, tokens_per_hour=600, requests_per_day=48)
    (await claimed(limiter, asking)).release()
    now_ns = clock.monotonic_ns()
    assert counter(limiter, "tokens_per_minute").remaining(now_ns) == 9
    # 13 minutes and 20 seconds have drained 133.3 of the hour before.
    assert counter(limiter, "tokens_per_hour").remaining(now_ns) == 600 - 407
    assert counter(limiter, "requests_per_day").remaining(now_ns) == 48 - 32


async def test_a_limit_of_the_minute_alone_asks_no_store(clock):
    reports = SpentBefore()
    limiter = Limiter(clock=clock, reports=reports)
    asking = of_key(requests_per_minute=5, tokens_per_minute=5, concurrent_requests=5)
    limiter.admit(asking)
    await claimed(limiter, asking)
    await claimed(limiter, a_principal())
    assert not reports.asked


async def test_those_who_ask_first_at_once_read_once(clock):
    reports = SpentBefore(Spent(HOUR, 1, 900, {}))
    limiter = Limiter(clock=clock, reports=reports)
    gate = reports.held_up()
    asking = of_key(Quota(lifetime=1000))
    asks = [asyncio.create_task(limiter.claim(wanted(asking, 30))) for _ in range(5)]
    await gate.reached.wait()
    await until_idle()
    asks[0].cancel()
    await until_idle()
    gate.open()
    results = await asyncio.gather(*asks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [isinstance(each, Claim) for each in results[1:]] == [True, True, True, True]
    assert results[4].reach == 9
    assert len(reports.asked) == 1


async def test_nothing_is_admitted_on_a_guess(clock):
    reports = SpentBefore(Spent(HOUR, 1, 1000, {}))
    reports.failing = [StoreUnavailable(), StoreUnavailable()]
    limiter = Limiter(clock=clock, reports=reports)
    asking = of_key(Quota(lifetime=1000))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await limiter.claim(wanted(asking))
    assert isinstance(await limiter.claim(wanted(asking)), Deny)


async def test_a_store_that_does_not_answer_is_not_waited_for_for_ever(clock, monkeypatch):
    monkeypatch.setattr(tally_history, "READ_TIMEOUT_S", 0.001)
    reports = SpentBefore()
    gate = reports.held_up()
    with pytest.raises(StoreUnavailable):
        await Limiter(clock=clock, reports=reports).claim(wanted(of_key(Quota(lifetime=9))))
    assert not gate.is_open


async def test_requests_let_in_before_it_was_known_are_let_in_no_further(clock):
    """At the door nobody waits for the store; behind it the first to come are sent away."""
    limiter = Limiter(clock=clock, reports=SpentBefore(Spent(HOUR, 4, 0, {})))
    asking = of_key(requests_per_hour=10)
    assert all(isinstance(limiter.admit(asking), Allow) for _ in range(10))
    outcomes = [await limiter.claim(wanted(asking)) for _ in range(10)]
    assert [isinstance(each, Claim) for each in outcomes] == 4 * [False] + 6 * [True]
    assert outcomes[0].limit == "key.requests_per_hour"
    assert outcomes[0].retry_after_ms == 4 * 360_000
    assert isinstance(limiter.admit(asking), Deny)


async def test_a_limit_that_is_new_counts_what_was_used_before_it(clock):
    reports = SpentBefore(Spent(HOUR, 1, 100, {}))
    limiter = Limiter(clock=clock, reports=reports)
    await claimed(limiter, of_key(Quota(per_day=1000)))
    reports.hours.insert(0, Spent(HOUR - 48 * HOUR_MS, 1, 500, {}))
    await claimed(limiter, of_key(Quota(per_day=1000, lifetime=1000)))
    assert counter(limiter, "quota.lifetime").used == 600
    assert counter(limiter, "quota.per_day").used == 100


async def test_a_window_that_is_new_leaves_what_is_known_of_quotas_as_it_is(clock):
    reports = SpentBefore(Spent(HOUR - 5 * HOUR_MS, 1, 500, {}), Spent(HOUR, 1, 100, {}))
    limiter = Limiter(clock=clock, reports=reports)
    await claimed(limiter, of_key(Quota(lifetime=1000)))
    await claimed(limiter, of_key(Quota(lifetime=1000), tokens_per_day=1000))
    assert counter(limiter, "quota.lifetime").used == 600
    assert [since for _, _, since in reports.asked] == [0, HOUR - 24 * HOUR_MS]


async def test_what_is_booked_before_the_store_is_read_is_what_the_store_tells(clock):
    reports = SpentBefore(Spent(HOUR, 1, 100, {}))
    limiter = Limiter(clock=clock, reports=reports)
    before = await claimed(limiter, of_key(), 50)
    limiter.admit(of_key(tokens_per_day=1000, requests_per_day=5))
    before.settle(50, 50)
    reports.hours = [Spent(HOUR, 1, 150, {})]
    claim = await claimed(limiter, of_key(tokens_per_day=1000, requests_per_day=5))
    claim.release()
    now_ns = clock.monotonic_ns()
    assert counter(limiter, "tokens_per_day").remaining(now_ns) == 850
    assert counter(limiter, "requests_per_day").remaining(now_ns) == 3  # one is open


async def test_whoever_has_something_reserved_is_not_let_go(clock, monkeypatch):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 1)
    limiter = Limiter(clock=clock, reports=SpentBefore())
    claim = await claimed(limiter, of_key(Quota(lifetime=1000)), 100)
    with pytest.raises(Overloaded):
        limiter.admit(of_key(Quota(lifetime=1000), number=4))
    claim.settle(100, 100)
    limiter.admit(of_key(Quota(lifetime=1000), number=4))


async def test_who_was_let_go_while_the_store_was_read_is_followed_again(clock, monkeypatch):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 1)
    reports = SpentBefore()
    limiter = Limiter(clock=clock, reports=reports)
    policy = AccountPolicy(limits=Limits(tokens_per_minute=1000))
    gate = reports.held_up()
    asked = asyncio.create_task(
        limiter.claim(wanted(replace(of_key(Quota(lifetime=1000)), account_policy=policy), 30))
    )
    await gate.reached.wait()
    limiter.admit(a_principal(account_id=2, account_policy=policy))
    assert limiter._accounts.by_key.get(1) is None
    gate.open()
    assert isinstance(await asked, Claim)
    window = limiter._accounts.by_key[1].counters["account.tokens_per_minute"]
    assert window.remaining(clock.monotonic_ns()) == 970


async def test_one_server_reads_once(clock):
    reports = SpentBefore()
    limiter = Limiter(clock=clock, reports=reports)
    for _ in range(3):
        (await claimed(limiter, of_key(Quota(lifetime=1000)))).settle(1, 1)
        clock.pass_ms(HOUR_MS)
    assert len(reports.asked) == 1
    assert counter(limiter, "quota.lifetime").used == 3


async def test_what_other_servers_have_booked_is_seen_within_the_time(clock):
    reports = SpentBefore(Spent(HOUR - 3 * HOUR_MS, 1, 50, {}), Spent(HOUR, 1, 100, {}))
    limiter = Limiter(clock=clock, reports=reports, refresh_ms=1000)
    asking = of_key(Quota(lifetime=1000))
    await claimed(limiter, asking)
    reports.hours[1] = Spent(HOUR, 9, 700, {})
    clock.pass_ms(999)
    await claimed(limiter, asking)
    assert counter(limiter, "quota.lifetime").used == 150
    clock.pass_ms(1)
    await claimed(limiter, asking)
    assert counter(limiter, "quota.lifetime").used == 750
    assert [since for _, _, since in reports.asked] == [0, HOUR - HOUR_MS]


async def test_a_reading_that_takes_longer_than_the_time_is_not_done_again_at_once(clock):
    reports = SpentBefore()
    limiter = Limiter(clock=clock, reports=reports, refresh_ms=1000)
    gate = reports.held_up()
    asked = asyncio.create_task(limiter.claim(wanted(of_key(Quota(lifetime=1000)))))
    await gate.reached.wait()
    clock.pass_ms(5000)
    gate.open()
    assert isinstance(await asked, Claim)
    assert len(reports.asked) == 1


@pytest.mark.parametrize("early", [True, False])
async def test_what_is_booked_while_the_store_is_read_is_not_forgotten(clock, early):
    """Whether the reading has seen it or not: in doubt it counts, until it is read again."""
    reports = SpentBefore(Spent(HOUR, 1, 100, {}))
    limiter = Limiter(clock=clock, reports=reports)
    asking = of_key(Quota(lifetime=1000))
    before = await claimed(limiter, a_principal(key_id=3), 50)  # knows of no limit
    gate = reports.held_up(early=early)
    asked = asyncio.create_task(limiter.claim(wanted(asking)))
    await gate.reached.wait()
    before.begin_posting()
    reports.hours[0] = Spent(HOUR, 2, 130, {})
    before.settle(30, 30)
    gate.open()
    (await asked).release()
    assert counter(limiter, "quota.lifetime").used == (160 if early else 130)
    clock.pass_ms(1000)
    await claimed(limiter, asking)
    assert counter(limiter, "quota.lifetime").used == 130
    clock.pass_ms(60_000)
    await claimed(limiter, asking)
    assert len(reports.asked) == 2


async def test_a_charge_that_is_under_way_while_the_store_is_read_is_in_doubt(clock):
    reports = SpentBefore(Spent(HOUR, 2, 130, {}))
    limiter = Limiter(clock=clock, reports=reports)
    before = await claimed(limiter, a_principal(key_id=3), 50)
    other = await claimed(limiter, a_principal(key_id=4, account_id=2, group="x"), 50)
    before.begin_posting(), other.begin_posting()
    (await claimed(limiter, of_key(Quota(lifetime=1000)))).release()
    before.settle(30, 30)
    assert counter(limiter, "quota.lifetime").used == 160
    clock.pass_ms(1000)
    await claimed(limiter, of_key(Quota(lifetime=1000)))
    assert counter(limiter, "quota.lifetime").used == 130
    clock.pass_ms(1000)
    await claimed(limiter, of_key(Quota(lifetime=1000)))
    assert len(reports.asked) == 2


async def test_who_was_let_go_is_read_again(clock, monkeypatch):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 1)
    reports = SpentBefore()
    limiter = Limiter(clock=clock, reports=reports)
    asking = of_key(Quota(lifetime=1000), tokens_per_minute=600, tokens_per_day=10_000)
    (await claimed(limiter, asking, 60)).settle(60, 60)
    reports.hours = [Spent(HOUR, 1, 60, {})]
    clock.pass_ms(5999)
    with pytest.raises(Overloaded):
        await limiter.claim(wanted(replace(asking, key_id=4)))
    clock.pass_ms(1)
    await limiter.claim(wanted(replace(asking, key_id=4)))
    assert limiter._keys.by_key.get(3) is None
    limiter._keys.by_key.clear()
    await claimed(limiter, asking)
    assert counter(limiter, "quota.lifetime").used == 60
    assert counter(limiter, "tokens_per_day").remaining(clock.monotonic_ns()) == 10_000 - 61


async def test_the_clock_set_back_forgets_nothing_and_counts_nothing_twice(clock):
    reports = SpentBefore(Spent(HOUR - 2 * HOUR_MS, 1, 40, {}), Spent(HOUR, 1, 100, {}))
    limiter = Limiter(clock=clock, reports=reports, refresh_ms=1000)
    asking = of_key(Quota(lifetime=1000, per_day=1000))
    for step_ms in (1000, 1000 - 2 * HOUR_MS, 1000, 2 * HOUR_MS, 1000):
        claim = await claimed(limiter, asking)
        claim.release()
        assert counter(limiter, "quota.lifetime").used == 140
        assert counter(limiter, "quota.per_day").used == 140
        clock._now_ms += step_ms
        clock._monotonic_ns += 2_000_000_000
