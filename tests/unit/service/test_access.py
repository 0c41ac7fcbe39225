from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.clock import START_MS, SetClock
from tests.support.gates import Gate, until_idle
from tests.support.key_ring import KEY, PREFIX, KeyRing, a_key, access_to

from bandari.domain import keys
from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.allowance import Limits, Quota
from bandari.domain.catalogue import Group
from bandari.domain.faults import StoreUnavailable
from bandari.domain.keys import KeyPolicy, Principal, Scope
from bandari.domain.outcome import Deny, Reason
from bandari.service import remembered
from bandari.service.groups import Groups
from bandari.service.guesses import AT_ONCE

HERE = "198.51.100.7"
STUDENTS = Group(name="students", models=("gpt-*",), priority=3)


def text_of(number: int) -> str:
    return keys.spell(PREFIX, number.to_bytes(keys.SECRET_BYTES, "big"))


@pytest.fixture
def ring():
    return KeyRing()


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def groups():
    return Groups({"students": STUDENTS})


@pytest.fixture
def access(ring, clock, groups):
    return access_to(ring, clock, groups)


async def reason_of(access, text: str = KEY, source: str = HERE) -> Reason | None:
    found = await access.authenticate(text, source)
    return found.reason if isinstance(found, Deny) else None


async def test_a_key_stands_for_its_account_its_group_and_what_they_may(access, ring):
    policy = KeyPolicy(scopes=(Scope.MESSAGES,), quota=Quota(per_day=5))
    account_policy = AccountPolicy(limits=Limits(tokens_per_day=9))
    ring.add(
        key=a_key(id=5, account_id=7, group="students"),
        assets=("KES", "TOKEN"),
        policy=policy,
        account_policy=account_policy,
        has_end_users=True,
    )
    assert await access.authenticate(KEY, HERE) == Principal(
        key_id=5,
        account_id=7,
        account="amina",
        group="students",
        assets=("KES", "TOKEN"),
        policy=policy,
        account_policy=account_policy,
        has_end_users=True,
        group_terms=STUDENTS,
    )


async def test_a_group_that_is_not_configured_has_the_terms_of_default(access, ring):
    ring.add(key=a_key(group="gone"))
    principal = await access.authenticate(KEY, HERE)
    assert (principal.group, principal.group_terms) == ("gone", Group(name="default"))


@pytest.mark.parametrize("nothing", [None, ""])
async def test_no_key(access, ring, nothing):
    refused = await access.authenticate(nothing, HERE)
    assert (refused.reason, ring.asked) == (Reason.MISSING_KEY, [])
    assert "Authorization: Bearer" in refused.detail


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: "sk-" + t, lambda t: t + "é", lambda t: t + "x" * 9999]
)
async def test_a_mistyped_key_is_known_for_one_without_asking_the_store(access, ring, change):
    text = change(ring.add())
    refused = await access.authenticate(text, HERE)
    assert (refused.reason, ring.asked) == (Reason.MALFORMED_KEY, [])
    assert text not in refused.detail
    assert f"begins with '{PREFIX}'" in refused.detail


async def test_an_unknown_key_is_asked_for_each_time(access, ring):
    for _ in range(2):
        refused = await access.authenticate(KEY, HERE)
        assert refused.reason is Reason.UNKNOWN_KEY
        assert KEY not in refused.detail
    assert len(ring.asked) == 2


async def test_a_key_made_after_it_was_refused_works_at_once(access, ring):
    assert await reason_of(access) is Reason.UNKNOWN_KEY
    ring.add()
    assert await reason_of(access) is None


# -- keys that do not open any more ---------------------------------------------------------------


async def test_a_revoked_key(access, ring):
    ring.add(key=a_key(revoked_ms=2))
    assert await reason_of(access) is Reason.REVOKED_KEY


async def test_a_key_expires_at_its_time_also_while_it_is_remembered(access, ring, clock):
    ring.add(policy=KeyPolicy(expires_ms=START_MS + 10))
    assert await reason_of(access) is None
    clock.pass_ms(9)
    assert await reason_of(access) is None
    clock.pass_ms(1)
    assert await reason_of(access) is Reason.EXPIRED_KEY
    assert len(ring.asked) == 1


async def test_a_former_secret_opens_until_its_grace_is_over(access, ring, clock):
    ring.add(key=a_key(former_expires_ms=START_MS + 10), is_former=True)
    new = ring.add(text_of(9), a_key(former_expires_ms=START_MS + 10))
    clock.pass_ms(9)
    assert await reason_of(access) is None
    clock.pass_ms(1)
    assert await reason_of(access) is Reason.REVOKED_KEY
    assert "replaced" in (await access.authenticate(KEY, HERE)).detail
    assert await reason_of(access, new) is None


async def test_a_former_secret_without_a_grace_does_not_open(access, ring):
    ring.add(is_former=True)
    assert await reason_of(access) is Reason.REVOKED_KEY


async def test_the_key_of_a_suspended_account(access, ring):
    ring.add(account_policy=AccountPolicy(is_suspended=True))
    assert await reason_of(access) is Reason.SUSPENDED_ACCOUNT


@pytest.mark.parametrize(
    ("source", "may"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("2001:db8::5", True),
        ("2001:db9::5", False),
        ("", False),
        ("nonsense", False),
    ],
)
async def test_a_key_that_may_be_used_from_some_networks_only(access, ring, source, may):
    ring.add(policy=KeyPolicy(networks=("10.1.0.0/16", "192.0.2.1", "2001:db8::/32")))
    assert await reason_of(access, source=source) is (None if may else Reason.WRONG_NETWORK)


async def test_networks_that_cannot_be_read_let_nobody_in(access, ring):
    ring.add(policy=KeyPolicy(networks=("everywhere",)))
    refused = await access.authenticate(KEY, HERE)
    assert refused.reason is Reason.WRONG_NETWORK
    assert HERE in refused.detail


async def test_each_refusal_has_a_sentence_of_its_own_and_no_key(access, ring, clock):
    ring.add(text_of(1), a_key(revoked_ms=1))
    ring.add(text_of(2), is_former=True)
    ring.add(text_of(3), policy=KeyPolicy(expires_ms=1))
    ring.add(text_of(4), account_policy=AccountPolicy(is_suspended=True))
    ring.add(text_of(5), policy=KeyPolicy(networks=("10.0.0.0/8",)))
    told = [await access.authenticate(text_of(number), HERE) for number in range(1, 7)]
    assert [deny.reason for deny in told] == [
        Reason.REVOKED_KEY,
        Reason.REVOKED_KEY,
        Reason.EXPIRED_KEY,
        Reason.SUSPENDED_ACCOUNT,
        Reason.WRONG_NETWORK,
        Reason.UNKNOWN_KEY,
    ]
    assert len({deny.detail for deny in told}) == 6
    assert not any(PREFIX in deny.detail or deny.retry_after_ms for deny in told)


# -- remembered for a second ----------------------------------------------------------------------


async def test_a_found_key_is_remembered_for_a_second(access, ring, clock):
    ring.add()
    for _ in range(3):
        await access.authenticate(KEY, HERE)
    clock.pass_ms(999)
    await access.authenticate(KEY, HERE)
    assert len(ring.asked) == 1
    clock.pass_ms(1)
    await access.authenticate(KEY, HERE)
    assert len(ring.asked) == 2


async def test_the_keys_text_is_not_kept(access, ring):
    ring.add()
    await access.authenticate(KEY, HERE)
    assert list(access._known._kept) == [keys.digest(KEY)]


async def test_a_revoked_key_stops_working_within_a_second_also_in_a_burst(access, ring, clock):
    ring.add()
    revoked_at = None
    for moment in range(0, 3000, 10):
        if moment == 500:
            ring.add(key=a_key(revoked_ms=2))
            revoked_at = moment
        reason = await reason_of(access)
        if revoked_at is not None and moment >= revoked_at + 1000:
            assert reason is Reason.REVOKED_KEY
        clock.pass_ms(10)
    assert len(ring.asked) == 3


async def test_the_second_begins_when_the_store_was_asked(access, ring, clock):
    ring.add()
    ring.gate = Gate()
    asking = asyncio.create_task(access.authenticate(KEY, HERE))
    await ring.gate.reached.wait()
    clock.pass_ms(900)
    ring.gate.open()
    await asking
    clock.pass_ms(99)
    await access.authenticate(KEY, HERE)
    assert len(ring.asked) == 1
    clock.pass_ms(1)
    await access.authenticate(KEY, HERE)
    assert len(ring.asked) == 2


async def test_nobody_is_given_what_was_asked_for_a_second_before_he_came(access, ring, clock):
    ring.add()
    ring.gate = Gate()
    early = asyncio.create_task(access.authenticate(KEY, HERE))
    await ring.gate.reached.wait()
    ring.add(key=a_key(revoked_ms=2))
    clock.pass_ms(1000)
    late = asyncio.create_task(access.authenticate(KEY, HERE))
    await until_idle()
    ring.gate.open()
    assert isinstance(await early, Principal)
    assert (await late).reason is Reason.REVOKED_KEY


async def test_a_key_that_is_gone_stops_working_within_a_second(access, ring, clock):
    ring.add()
    await access.authenticate(KEY, HERE)
    ring.found.clear()
    clock.pass_ms(1000)
    assert await reason_of(access) is Reason.UNKNOWN_KEY
    assert not access._known._kept


async def test_a_new_wallet_is_seen_within_a_second(access, ring, clock):
    ring.add()
    await access.authenticate(KEY, HERE)
    ring.add(assets=("KES",))
    clock.pass_ms(1000)
    assert (await access.authenticate(KEY, HERE)).assets == ("KES",)


async def test_after_forget_groups_and_keys_are_as_they_are_now(access, ring, groups):
    ring.add(key=a_key(group="students"))
    await access.authenticate(KEY, HERE)
    changed = replace(STUDENTS, priority=9)
    groups.replace({"students": changed})
    access.forget()
    assert (await access.authenticate(KEY, HERE)).group_terms is changed
    ring.add(key=a_key(revoked_ms=1))
    access.forget()
    assert await reason_of(access) is Reason.REVOKED_KEY


async def test_remembered_keys_are_bounded_and_the_oldest_goes(access, ring, monkeypatch):
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 2)
    first, second, third = (ring.add(text_of(number)) for number in (1, 2, 3))
    for text in (first, second, third):
        await access.authenticate(text, HERE)
    assert len(access._known._kept) == 2
    await access.authenticate(third, HERE)
    await access.authenticate(second, HERE)
    assert len(ring.asked) == 3
    await access.authenticate(first, HERE)
    assert len(ring.asked) == 4


async def test_a_key_that_is_looked_up_again_is_not_the_oldest_any_more(
    access, ring, clock, monkeypatch
):
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 2)
    first, second, third = (ring.add(text_of(number)) for number in (1, 2, 3))
    for text in (first, second):
        await access.authenticate(text, HERE)
    clock.pass_ms(1000)
    for text in (first, third):
        await access.authenticate(text, HERE)
    assert list(access._known._kept) == [keys.digest(first), keys.digest(third)]


async def test_a_store_that_is_down_lets_remembered_keys_work_and_no_others(access, ring, clock):
    ring.add()
    await access.authenticate(KEY, HERE)
    ring.failing = StoreUnavailable()
    assert await reason_of(access) is None
    clock.pass_ms(1000)
    with pytest.raises(StoreUnavailable):
        await access.authenticate(KEY, HERE)


async def test_requests_that_come_together_ask_the_store_once(access, ring):
    ring.add()
    ring.gate = Gate()
    asking = [asyncio.create_task(access.authenticate(KEY, HERE)) for _ in range(200)]
    await until_idle()
    asking[0].cancel()
    await until_idle()
    ring.gate.open()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.key_id for answer in answers[1:]} == {3}
    assert len(ring.asked) == 1


async def test_a_store_that_fails_is_told_to_all_and_asked_again(access, ring):
    ring.add()
    ring.failing = StoreUnavailable()
    asking = [asyncio.create_task(access.authenticate(KEY, HERE)) for _ in range(3)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    ring.failing = None
    assert await reason_of(access) is None
    assert len(ring.asked) == 2


# -- guessing -------------------------------------------------------------------------------------


async def test_who_guesses_is_not_listened_to_any_more_and_the_store_is_not_asked(access, ring):
    for number in range(AT_ONCE):
        assert await reason_of(access, text_of(number)) is Reason.UNKNOWN_KEY
    refused = await access.authenticate(text_of(99), HERE)
    assert refused.reason is Reason.TOO_MANY_FAILURES
    assert refused.retry_after_ms == 3000
    assert len(ring.asked) == AT_ONCE
    assert await reason_of(access, text_of(99), "198.51.100.8") is Reason.UNKNOWN_KEY


async def test_guessing_all_at_once_is_no_better(access, ring):
    guesses = [access.authenticate(text_of(number), HERE) for number in range(500)]
    told = [deny.reason for deny in await asyncio.gather(*guesses)]
    assert told.count(Reason.UNKNOWN_KEY) == len(ring.asked) == AT_ONCE
    assert told.count(Reason.TOO_MANY_FAILURES) == 500 - AT_ONCE


async def test_malformed_keys_count_too_and_missing_ones_do_not(access):
    for _ in range(100):
        assert await reason_of(access, "") is Reason.MISSING_KEY
    for _ in range(AT_ONCE):
        assert await reason_of(access, "sk-1234") is Reason.MALFORMED_KEY
    assert await reason_of(access, "sk-1234") is Reason.TOO_MANY_FAILURES
    assert await reason_of(access, text_of(1)) is Reason.TOO_MANY_FAILURES
    assert await reason_of(access, "") is Reason.MISSING_KEY


async def test_a_good_key_is_no_guess_nor_is_one_that_does_not_open(access, ring):
    for number in range(100):
        ring.add(text_of(number), a_key(revoked_ms=1 if number % 2 else None))
        await access.authenticate(text_of(number), HERE)
    assert not access._guesses._sources


async def test_a_key_that_was_good_passes_where_others_guess(access, ring, clock):
    ring.add()
    other = ring.add(text_of(7))
    await access.authenticate(KEY, HERE)
    for _ in range(AT_ONCE):
        await access.authenticate("sk-1234", HERE)
    assert await reason_of(access) is None
    clock.pass_ms(2000)
    assert await reason_of(access) is None
    assert await reason_of(access, other) is Reason.TOO_MANY_FAILURES
    access.forget()
    assert await reason_of(access) is None


async def test_many_new_good_keys_from_one_address_wait_for_each_other(access, ring):
    texts = [ring.add(text_of(number)) for number in range(500)]
    ring.gate = Gate()
    asking = [asyncio.create_task(access.authenticate(text, HERE)) for text in texts]
    await until_idle()
    assert len(ring.asked) == AT_ONCE
    asking[0].cancel()
    asking[100].cancel()
    ring.gate.open()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(each, Principal) for each in found) == 498


async def test_a_store_that_fails_is_nobodys_guess(access, ring):
    ring.failing = StoreUnavailable()
    for number in range(AT_ONCE + 5):
        with pytest.raises(StoreUnavailable):
            await access.authenticate(text_of(number), HERE)
    assert not access._guesses._sources


# -- end users ------------------------------------------------------------------------------------

TERMS = EndUserTerms(Limits(requests_per_day=5), ("TOKEN",))


def a_principal(**changes) -> Principal:
    principal = Principal(3, 1, "amina", "default", ("TOKEN",), has_end_users=True)
    return replace(principal, **changes)


async def test_the_terms_of_an_end_user_are_remembered_for_a_second(access, ring, clock):
    ring.terms[1, "juma"] = TERMS
    for _ in range(2):
        principal = await access.on_behalf(a_principal(), "juma")
        assert (principal.end_user, principal.end_user_terms) == ("juma", TERMS)
        clock.pass_ms(999)
    assert ring.asked == [(1, "juma")]
    clock.pass_ms(1)
    await access.on_behalf(a_principal(), "juma")
    assert len(ring.asked) == 2


async def test_an_end_user_of_whom_nothing_was_said_is_remembered_too(access, ring):
    for _ in range(2):
        principal = await access.on_behalf(a_principal(), "juma")
        assert (principal.end_user, principal.end_user_terms) == ("juma", None)
    assert len(ring.asked) == 1


async def test_nothing_is_asked_where_an_account_has_no_end_users(access, ring):
    principal = await access.on_behalf(a_principal(has_end_users=False), "juma")
    assert (principal.end_user, principal.end_user_terms, ring.asked) == ("juma", None, [])


async def test_end_users_of_two_accounts_are_two(access, ring):
    ring.terms[1, "juma"] = TERMS
    await access.on_behalf(a_principal(), "juma")
    other = await access.on_behalf(a_principal(account_id=2), "juma")
    assert other.end_user_terms is None


async def test_one_question_for_all_who_wait_for_an_end_user(access, ring):
    ring.gate = Gate()
    asking = [asyncio.create_task(access.on_behalf(a_principal(), "juma")) for _ in range(50)]
    await until_idle()
    ring.gate.open()
    await asyncio.gather(*asking)
    assert len(ring.asked) == 1


async def test_after_forget_an_end_users_terms_are_asked_for_again(access, ring):
    await access.on_behalf(a_principal(), "juma")
    ring.terms[1, "juma"] = TERMS
    access.forget()
    assert (await access.on_behalf(a_principal(), "juma")).end_user_terms == TERMS
