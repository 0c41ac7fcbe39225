"""Whose limits hold, what is counted at the door, and what is claimed behind it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.support.clock import SetClock
from tests.support.samples import FREE_OUTPUT, SHILLINGS, TOKENS, a_model, a_principal

from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.allowance import Limits, Quota
from bandari.domain.catalogue import Group
from bandari.domain.faults import Overloaded
from bandari.domain.keys import KeyPolicy
from bandari.domain.outcome import Allow, Deny, Reason, Standing
from bandari.service import tallies
from bandari.service.claims import Claim
from bandari.service.limiting import Limiter
from bandari.service.wanted import Wanted

PROMPT = 100


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def limiter(clock):
    return Limiter(clock=clock)


def of_key(number: int = 1, quota: Quota | None = None, **limits):
    policy = KeyPolicy(limits=Limits(**limits), quota=quota or Quota())
    return a_principal(key_id=number, policy=policy)


def of_group(**limits):
    return a_principal(group_terms=Group(name="default", **limits))


class Prompt:
    """Counted as ``exact`` when it is asked for, if that can be."""

    def __init__(self, tokens: int, exact: int | None = None) -> None:
        self.tokens, self.exact, self.asked = tokens, exact, 0

    async def make_exact(self) -> None:
        self.asked += 1
        if self.exact is not None:
            self.tokens = self.exact


def wanted(principal, *, output: int = 100, **changes) -> Wanted:
    changes = {
        "model": a_model(),
        "card": TOKENS,
        "prompt": Prompt(PROMPT),
        "whole": output,
        "ahead": output,
        "rolls": False,
        "choices": 1,
        "is_useless": lambda reach: False,
    } | changes
    return Wanted(principal=principal, **changes)


async def claimed(limiter, principal, **changes) -> Claim:
    claim = await limiter.claim(wanted(principal, **changes))
    assert isinstance(claim, Claim), claim
    return claim


async def refused(limiter, principal, **changes) -> Deny:
    deny = await limiter.claim(wanted(principal, **changes))
    assert isinstance(deny, Deny), "it was let in"
    return deny


def drained(limiter, principal, count: int) -> list[bool]:
    return [isinstance(limiter.admit(principal), Allow) for _ in range(count)]


# At the door.


def test_who_is_not_limited_is_not_followed(limiter):
    assert {limiter.admit(a_principal()) for _ in range(1000)} == {Allow()}
    assert not any(map(len, (limiter._keys, limiter._accounts, limiter._groups)))


def test_each_key_of_a_group_counts_by_itself(limiter):
    group = Group(name="default", limits=Limits(requests_per_minute=2))
    for number in (1, 2):
        asking = a_principal(key_id=number, group_terms=group)
        assert drained(limiter, asking, 3) == [True, True, False]


def test_a_refusal_names_the_limit_its_size_and_when_to_come_back(limiter):
    asking = of_key(requests_per_minute=60)
    assert limiter.admit(asking) == Allow(Standing("key.requests_per_minute", 60, 59, 1000))
    drained(limiter, asking, 59)
    assert limiter.admit(asking) == Deny(
        Reason.RATE_LIMIT,
        "Rate limit reached for key.requests_per_minute: limit 60, requested 1, left 0. "
        "Try again in 1.0 s.",
        retry_after_ms=1000,
        limit="key.requests_per_minute",
        requests=Standing("key.requests_per_minute", 60, 0, 60_000),
    )


def test_a_refused_request_may_come_back_when_it_was_told_to(limiter, clock):
    asking = of_key(requests_per_minute=7)
    drained(limiter, asking, 7)
    clock.pass_ms(limiter.admit(asking).retry_after_ms - 1)
    assert isinstance(limiter.admit(asking), Deny)
    clock.pass_ms(1)
    assert isinstance(limiter.admit(asking), Allow)


def test_what_one_limit_refuses_counts_in_no_other(limiter, clock):
    asking = of_key(requests_per_minute=1, requests_per_hour=10)
    assert drained(limiter, asking, 5) == [True] + 4 * [False]
    clock.pass_ms(60_000)
    assert limiter.admit(asking).requests == Standing("key.requests_per_minute", 1, 0, 60_000)
    hour = limiter._keys.by_key.get(1).counters["key.requests_per_hour"]
    assert hour.remaining(clock.monotonic_ns()) == 8


def test_the_longest_wait_is_told(limiter):
    asking = of_key(requests_per_minute=1, requests_per_hour=1)
    limiter.admit(asking)
    assert limiter.admit(asking).limit == "key.requests_per_hour"


def test_the_keys_limits_come_before_its_groups_name_by_name(limiter):
    group = Group(name="default", limits=Limits(requests_per_minute=1, requests_per_hour=4))
    asking = replace(of_key(requests_per_minute=3), group_terms=group)
    assert drained(limiter, asking, 4) == [True, True, True, False]
    assert limiter._keys.by_key.get(1).counters["key.requests_per_hour"].limit == 4


def test_the_keys_of_an_account_count_together(limiter):
    policy = AccountPolicy(limits=Limits(requests_per_minute=2))
    ones = [a_principal(key_id=number, account_policy=policy) for number in range(3)]
    assert [isinstance(limiter.admit(one), Allow) for one in ones] == [True, True, False]
    assert limiter.admit(ones[0]).limit == "account.requests_per_minute"
    other = a_principal(key_id=9, account_id=2, account_policy=policy)
    assert isinstance(limiter.admit(other), Allow)


def test_a_group_limits_each_account_and_all_of_them(limiter):
    group = Group(
        name="staff",
        limits_per_account=Limits(requests_per_minute=2),
        limits_together=Limits(requests_per_minute=3),
    )
    one, other = (a_principal(account_id=number, group_terms=group) for number in (1, 2))
    assert drained(limiter, one, 3) == [True, True, False]
    assert drained(limiter, other, 2) == [True, False]
    assert limiter.admit(other).limit == "group.requests_per_minute"


def test_limits_that_change_hold_for_the_next_request_and_what_was_used_is_kept(limiter):
    assert drained(limiter, of_key(requests_per_minute=5), 3) == 3 * [True]
    assert drained(limiter, of_key(requests_per_minute=4), 2) == [True, False]
    assert drained(limiter, of_key(requests_per_minute=10), 7) == 6 * [True] + [False]
    assert drained(limiter, of_key(), 3) == 3 * [True]
    assert isinstance(limiter.admit(of_key(requests_per_minute=10)), Deny)


async def test_a_quota_and_places_change_too(limiter):
    claim = await claimed(limiter, of_key(1, Quota(lifetime=250), concurrent_requests=1))
    assert (await refused(limiter, of_key(1, concurrent_requests=1))).retry_after_ms == 1000
    other = await claimed(limiter, of_key(1, Quota(lifetime=400), concurrent_requests=2))
    assert other.tokens == 200
    claim.settle(150, 150), other.release()
    assert (await claimed(limiter, of_key(1, Quota(lifetime=270)))).reach == 20


async def test_money_is_limited_by_the_first_who_says_something_of_an_asset(limiter):
    group = Group(name="default", limits=Limits(spend_per_day={"TOKEN": 120, "KES": 50}))
    asking = replace(of_key(spend_per_day={"TOKEN": 150}), group_terms=group)
    assert (await claimed(limiter, asking)).reach == 50
    assert limiter._keys.by_key.get(1).counters["key.spend_per_day.KES"].limit == 50


# Whom to follow, and whom to let go.


def test_no_more_are_followed_than_there_is_room_for_and_the_idle_go_first(
    limiter, clock, monkeypatch
):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 3)
    first, second, third = (of_key(number, requests_per_minute=60) for number in (1, 2, 3))
    limiter.admit(first)
    clock.pass_ms(1000)
    limiter.admit(second), limiter.admit(third)
    limiter.admit(of_key(4, requests_per_minute=60))
    assert limiter._keys.by_key.get(1) is None
    assert len(limiter._keys) == 3
    with pytest.raises(Overloaded):
        limiter.admit(of_key(5, requests_per_minute=60))
    assert len(limiter._keys) == 3
    clock.pass_ms(1000)
    limiter.admit(of_key(5, requests_per_minute=60))


async def test_who_has_something_reserved_is_not_let_go(limiter, clock, monkeypatch):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 1)
    claim = await claimed(limiter, of_key(1, tokens_per_minute=1000))
    with pytest.raises(Overloaded):
        limiter.admit(of_key(2, tokens_per_minute=1000))
    claim.release()
    assert isinstance(limiter.admit(of_key(2, tokens_per_minute=1000)), Allow)


async def test_whoever_holds_a_place_is_not_let_go(limiter, monkeypatch):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 1)
    claim = await claimed(limiter, of_key(1, concurrent_requests=1))
    with pytest.raises(Overloaded):
        limiter.admit(of_key(2, tokens_per_minute=1000))
    claim.release()
    assert isinstance(limiter.admit(of_key(2, tokens_per_minute=1000)), Allow)


async def test_a_quota_that_no_store_could_tell_again_is_not_let_go(limiter, monkeypatch):
    monkeypatch.setattr(tallies, "MAX_TALLIES", 1)
    claim = await claimed(limiter, of_key(1, Quota(lifetime=1000)))
    claim.settle(10, 10)
    with pytest.raises(Overloaded):
        limiter.admit(of_key(2, tokens_per_minute=1000))


# Behind it.


async def test_tokens_are_reserved_and_replaced_by_what_was_used(limiter, clock):
    asking = of_key(tokens_per_minute=1000)
    claim = await claimed(limiter, asking, output=400)
    assert claim.standing().tokens == Standing("key.tokens_per_minute", 1000, 500, 30_000)
    claim.settle(130, 130)
    assert claim.standing().tokens == Standing("key.tokens_per_minute", 1000, 870, 7800)
    claim.settle(130, 130), claim.release()
    assert claim.standing().tokens.remaining == 870


async def test_a_full_window_says_exactly_when_it_has_room(limiter, clock):
    asking = of_key(tokens_per_minute=1000)
    (await claimed(limiter, asking, output=800)).settle(900, 900)
    deny = await refused(limiter, asking, output=23)
    assert deny.retry_after_ms == 1380
    assert deny.detail == (
        "Rate limit reached for key.tokens_per_minute: limit 1000, requested 123, left 100. "
        "Try again in 1.4 s."
    )
    assert deny.tokens == Standing("key.tokens_per_minute", 1000, 100, 54_000)
    clock.pass_ms(1379)
    await refused(limiter, asking, output=23)
    clock.pass_ms(1)
    await claimed(limiter, asking, output=23)


async def test_what_no_window_can_hold_is_refused_for_good(limiter):
    deny = await refused(limiter, of_key(tokens_per_minute=1000), output=901)
    assert deny.retry_after_ms is None
    assert deny.reason is Reason.RATE_LIMIT
    assert deny.detail.startswith(
        "Request too large for key.tokens_per_minute: requested 1001, limit 1000."
    )


async def test_a_prompt_is_counted_where_its_bound_alone_is_too_much(limiter):
    prompt = Prompt(2000, exact=300)
    claim = await claimed(limiter, of_key(tokens_per_minute=1000), prompt=prompt)
    assert claim.tokens == 400
    assert prompt.asked == 1
    full = Prompt(700, exact=1)
    await refused(limiter, of_key(tokens_per_minute=1000), prompt=full)
    assert full.asked == 0  # it need only wait


async def test_what_rolls_reaches_no_further_ahead_than_a_window_can_hold(limiter):
    asking = of_key(tokens_per_minute=500)
    claim = await claimed(limiter, asking, whole=4096, ahead=1024, rolls=True)
    assert (claim.tokens, claim.reach) == (500, 4096)
    claim.release()
    useless = await refused(
        limiter, asking, whole=4096, ahead=1024, rolls=True, is_useless=lambda reach: reach < 1024
    )
    assert useless.detail.startswith("Request too large for key.tokens_per_minute: requested 1124")


async def test_each_choice_counts(limiter):
    claim = await claimed(limiter, of_key(tokens_per_minute=1000), choices=3, output=200)
    assert claim.tokens == 700
    await refused(limiter, of_key(tokens_per_minute=1000), choices=3, output=301)


async def test_a_quota_shortens_an_answer_to_what_is_left_of_it(limiter):
    claim = await claimed(limiter, of_key(quota=Quota(lifetime=1000)), choices=2, output=500)
    assert (claim.reach, claim.tokens) == (450, 1000)


async def test_a_quota_that_is_used_up_refuses_for_good_or_until_its_period_ends(limiter, clock):
    for quota, ends in ((Quota(lifetime=150), None), (Quota(per_day=150), "2023-11-15")):
        asking = of_key(1 if ends else 2, quota)
        (await claimed(limiter, asking)).settle(150, 150)
        deny = await refused(limiter, asking)
        assert deny.reason is Reason.KEY_QUOTA
        if ends is None:
            assert deny.retry_after_ms is None
            assert deny.limit == "key.quota.lifetime"
            assert deny.detail == (
                "Quota reached for key.quota.lifetime: limit 150 tokens, used 150, reserved for "
                "answers that are being made 0, requested 101. It does not begin anew."
            )
        else:
            assert f"It begins anew at {ends}T00:00:00Z." in deny.detail
            clock.pass_ms(deny.retry_after_ms - 1)
            await refused(limiter, asking)
            clock.pass_ms(1)
            await claimed(limiter, asking)


async def test_what_no_day_can_hold_is_refused_for_good(limiter):
    deny = await refused(limiter, of_key(quota=Quota(per_day=50)))
    assert (deny.reason, deny.retry_after_ms) == (Reason.KEY_QUOTA, None)
    assert deny.detail.startswith("Request too large for key.quota.per_day: it may come to 101")


async def test_a_quota_that_others_have_reserved_may_come_back_soon(limiter):
    asking = of_key(quota=Quota(lifetime=150))
    await claimed(limiter, asking)
    assert (await refused(limiter, asking)).retry_after_ms == 1000


async def test_what_is_left_is_refused_where_a_short_answer_is_of_no_use(limiter):
    deny = await refused(
        limiter, of_key(quota=Quota(lifetime=150)), is_useless=lambda reach: reach < 100
    )
    assert (deny.reason, deny.limit) == (Reason.KEY_QUOTA, "key.quota.lifetime")


async def test_money_is_limited_by_its_asset_at_the_ceiling_price(limiter):
    """A million tokens in cost 150,000, and out 400,000, and each request 3."""
    asking = of_key(spend_per_day={"KES": 100, "USD": 1})
    claim = await claimed(limiter, asking, card=SHILLINGS, output=100)
    assert claim.amount == 3 + 15 + 40
    short = await claimed(limiter, asking, card=SHILLINGS, output=100)
    assert short.reach == 61  # 42 are left: 3 and 15, and 24 for the answer, rounded
    claim.settle(150, 30), short.settle(150, 70)
    deny = await refused(limiter, asking, card=SHILLINGS)
    assert (deny.reason, deny.limit) == (Reason.SPEND_LIMIT, "key.spend_per_day.KES")
    assert "limit 100 KES, used 100" in deny.detail
    await claimed(limiter, asking, card=TOKENS)


async def test_free_output_is_bounded_by_tokens_alone(limiter):
    asking = of_key(spend_per_day={"TOKEN": 100})
    assert (await claimed(limiter, asking, card=FREE_OUTPUT, output=4000)).reach == 4000


async def test_places_are_held_until_the_end(limiter):
    asking = of_key(concurrent_requests=2)
    one, other = await claimed(limiter, asking), await claimed(limiter, asking)
    deny = await refused(limiter, asking)
    assert (deny.reason, deny.limit) == (Reason.CONCURRENCY_LIMIT, "key.concurrent_requests")
    assert deny.retry_after_ms == 1000
    one.release(), one.release()
    await claimed(limiter, asking)
    await refused(limiter, asking)
    other.settle(1, 1)
    await claimed(limiter, asking)


async def test_an_end_users_requests_are_counted_behind_the_door(limiter):
    policy = AccountPolicy(end_user_limits=Limits(requests_per_minute=2, tokens_per_minute=1000))
    group = Group(name="default", limits_per_end_user=Limits(requests_per_hour=9))
    terms = EndUserTerms(limits=Limits(requests_per_minute=1))
    asha = a_principal(end_user="asha", account_policy=policy, group_terms=group)
    juma = replace(asha, end_user="juma", end_user_terms=terms)
    assert limiter.admit(asha) == Allow()
    claim = await claimed(limiter, asha)
    assert claim.standing().requests == Standing("end_user.requests_per_minute", 2, 1, 30_000)
    await claimed(limiter, asha)
    assert (await refused(limiter, asha)).limit == "end_user.requests_per_minute"
    await claimed(limiter, juma)
    assert (await refused(limiter, juma)).limit == "end_user.requests_per_minute"
    others = replace(asha, account_id=2)
    await claimed(limiter, others)


async def test_a_refused_claim_counts_no_request(limiter):
    policy = AccountPolicy(end_user_limits=Limits(requests_per_minute=1, tokens_per_minute=150))
    asha = a_principal(end_user="asha", account_policy=policy)
    await refused(limiter, asha)
    await claimed(limiter, asha, output=50)


async def test_all_who_ask_a_model_count_together(limiter):
    model = a_model(limits=Limits(tokens_per_minute=300, requests_per_minute=2))
    for number in (1, 2):
        claim = await claimed(limiter, a_principal(key_id=number), model=model, output=1)
        claim.release()
    deny = await refused(limiter, a_principal(key_id=3), model=model, output=1)
    assert deny.limit == "model.requests_per_minute"
    await claimed(limiter, a_principal(), model=replace(model, id="bandari-2"))


async def test_the_wait_is_told_after_which_all_limits_let_it_pass(limiter):
    asking = of_key(tokens_per_minute=1000, tokens_per_hour=1000, concurrent_requests=1)
    await claimed(limiter, asking, output=900)
    assert (await refused(limiter, asking)).limit == "key.tokens_per_hour"
    assert (await refused(limiter, asking, output=2000)).retry_after_ms is None


async def test_what_was_used_counts_for_limits_that_have_come_since(limiter):
    claim = await claimed(limiter, a_principal(key_id=1))
    other = await claimed(limiter, of_key(quota=Quota(lifetime=1000)))
    limiter.admit(of_key(tokens_per_minute=1000, quota=Quota(lifetime=1000, per_day=500)))
    claim.settle(300, 300), other.settle(50, 50)
    now = await claimed(
        limiter, of_key(tokens_per_minute=1000, quota=Quota(lifetime=1000, per_day=500)), output=1
    )
    now.release()
    counters = limiter._keys.by_key.get(1).counters
    assert counters["key.quota.lifetime"].used == 350
    assert counters["key.quota.per_day"].used == 350
    assert now.standing().tokens.remaining == 650


async def test_what_was_used_counts_for_limits_that_are_not_in_force(limiter):
    claim = await claimed(limiter, of_key(quota=Quota(lifetime=1000)))
    (await claimed(limiter, of_key())).settle(20, 20)
    claim.settle(30, 30)
    assert limiter._keys.by_key.get(1).counters["key.quota.lifetime"].used == 50


# As it goes.


async def test_a_claim_grows_as_far_as_there_is_room(limiter):
    asking = of_key(tokens_per_minute=1000, quota=Quota(lifetime=1200))
    claim = await claimed(limiter, asking, whole=5000, ahead=400, rolls=True)
    assert claim.covered_output(PROMPT) == 400
    assert claim.grow(PROMPT, 700, 401) == 700
    assert claim.grow(PROMPT, 2000, 701) == 900
    assert claim.grow(PROMPT, 2000, 901) == 0
    assert claim.tokens == 1000
    claim.release()
    assert claim.standing().tokens.remaining == 1000


async def test_what_a_long_answer_has_used_drains_while_it_goes_on(limiter, clock):
    asking = of_key(tokens_per_minute=1000)
    claim = await claimed(limiter, asking, whole=5000, ahead=900, rolls=True)
    assert claim.grow(PROMPT, 1000, 901) == 0
    claim.progress(900)
    clock.pass_ms(30_000)
    assert claim.grow(PROMPT, 2000, 901) == 1400
    assert claim.standing().tokens.remaining == 0
    claim.settle(1100, 1100)
    assert claim.standing().tokens.remaining == 400


async def test_what_was_used_beyond_what_was_reserved_is_counted_once(limiter):
    asking = of_key(tokens_per_minute=1000)
    claim = await claimed(limiter, asking, whole=5000, ahead=400, rolls=True)
    claim.progress(600)
    assert claim.standing().tokens.remaining == 400
    assert claim.grow(PROMPT, 5000, 501) == 900
    assert claim.standing().tokens.remaining == 0
    claim.settle(1000, 1000)
    assert claim.standing().tokens.remaining == 0


async def test_what_was_booked_too_much_has_to_drain(limiter, clock):
    claim = await claimed(limiter, of_key(tokens_per_minute=1000), output=500)
    claim.progress(550)
    claim.settle(300, 300)
    assert claim.standing().tokens.remaining == 450


async def test_progress_is_no_use_of_a_quota_yet(limiter):
    claim = await claimed(limiter, of_key(quota=Quota(lifetime=1000)), output=500)
    claim.progress(550)
    claim.settle(300, 300)
    assert limiter._keys.by_key.get(1).counters["key.quota.lifetime"].used == 300


async def test_money_bounds_how_far_a_claim_grows(limiter):
    asking = of_key(spend_per_month={"KES": 100})
    claim = await claimed(limiter, asking, card=SHILLINGS, whole=5000, ahead=100, rolls=True)
    assert claim.reach == 206
    assert claim.grow(PROMPT, 1000, 101) == 206
    assert claim.covered_output(PROMPT) == 206
    assert claim.grow(PROMPT, 1000, 207) == 0


async def test_what_will_not_be_used_is_given_back(limiter):
    claim = await claimed(limiter, of_key(tokens_per_minute=1000), output=900)
    claim.shrink(PROMPT, 50)
    assert claim.standing().tokens.remaining == 850
    claim.shrink(PROMPT, 5000)
    assert claim.tokens == 150


async def test_an_answer_that_nothing_bounds_may_go_on(limiter):
    claim = await claimed(limiter, of_key(concurrent_requests=5))
    assert claim.covered_output(PROMPT) is None


async def test_the_states_are_of_the_askers_own_limits(limiter, clock):
    asking = replace(
        of_key(requests_per_minute=60, tokens_per_minute=600, concurrent_requests=3),
        end_user="juma",
        account_policy=AccountPolicy(end_user_limits=Limits(spend_per_day={"TOKEN": 5000})),
        group_terms=Group(name="default", limits_together=Limits(tokens_per_day=9000)),
    )
    limiter.admit(asking)
    claim = await claimed(limiter, asking, output=200)
    clock.pass_ms(1000)
    seen = {state.name: state for state in await limiter.states(asking)}
    assert set(seen) == {
        "key.requests_per_minute",
        "key.tokens_per_minute",
        "key.concurrent_requests",
        "end_user.spend_per_day.TOKEN",
    }, "a group's is shared with others"
    tokens = seen["key.tokens_per_minute"]
    assert (tokens.used, tokens.reserved, tokens.remaining) == (0, 300, 300)
    places = seen["key.concurrent_requests"]
    assert (places.reserved, places.remaining, places.reset_ms) == (1, 2, None)
    assert seen["end_user.spend_per_day.TOKEN"].reserved == 300
    assert seen["key.requests_per_minute"].used == 0
    claim.settle(250, 250)
    clock.pass_ms(5000)
    seen = {state.name: state for state in await limiter.states(asking)}
    tokens = seen["key.tokens_per_minute"]
    assert (tokens.used, tokens.reserved, tokens.remaining) == (200, 0, 400)
    assert tokens.reset_ms == 20_000
    assert seen["key.concurrent_requests"].reset_ms == 0
    assert seen["end_user.spend_per_day.TOKEN"].used == 250


async def test_who_is_not_limited_has_no_states(limiter):
    assert list(await limiter.states(a_principal())) == []
