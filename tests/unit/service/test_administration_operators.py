"""Who may operate: users, their admin keys, and the one from the environment."""

from __future__ import annotations

import hmac
from itertools import count

import pytest
from tests.support.memory_store import MemoryStore, StoppedClock

from bandari.domain import keys
from bandari.domain.accounts import Role
from bandari.domain.audit_log import Actor
from bandari.domain.faults import InvalidValue, NotFound, StoreUnavailable
from bandari.domain.outcome import Deny, Reason
from bandari.service import operators
from bandari.service.administration import Action, Administration, AlreadyExists, Operator
from bandari.service.groups import Groups
from bandari.service.guesses import AT_ONCE, Guesses
from bandari.service.operators import LastOwner, UserDisabled

ME = Actor("me")
ADMIN_KEY = "a-long-secret-of-ours"
SOURCE = "192.0.2.1"


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def new(store, clock):
    def new(**more):
        numbers = count(1)
        return Administration(
            accounts=store,
            keys=store,
            users=store,
            audit_log=store,
            clock=clock,
            groups=Groups(),
            key_prefix="bd_test_",
            random_bytes=lambda size: bytes([next(numbers)]) * size,
            **more,
        )

    return new


@pytest.fixture
def admin(new):
    return new()


# Roles


def test_what_each_role_may():
    assert {
        role: [action for action in Action if Operator("x", role).may(action)] for role in Role
    } == {
        Role.OWNER: [Action.READ, Action.CHANGE, Action.CHANGE_USERS],
        Role.OPERATOR: [Action.READ, Action.CHANGE],
        Role.AUDITOR: [Action.READ],
    }


# Coming in


async def test_a_user_comes_in_by_an_admin_key_that_is_shown_once(admin, store):
    made = await admin.create_user("Grace", Role.AUDITOR, by=ME)
    assert keys.is_well_formed(made.text, "bandari_admin_")
    assert await admin.operator(made.text, SOURCE) == Operator("Grace", Role.AUDITOR, 1)
    assert made.user.hint == f"bandari_admin_…{made.text[-4:]}"
    assert store.all_users[0][0] == keys.digest(made.text)
    for told in (repr(made), repr(store.all_users), repr(store.audit)):
        assert made.text not in told


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (None, Reason.MISSING_KEY, "Authorization: Bearer"),
        ("", Reason.MISSING_KEY, "Authorization: Bearer"),
        ("x", Reason.UNKNOWN_KEY, "begins with 'bandari_admin_'"),
        ("bd_test_" + "x" * 49, Reason.UNKNOWN_KEY, "begins with 'bandari_admin_'"),
        ("bandari_admin_x", Reason.MALFORMED_KEY, "copied whole"),
        ("bandari_admin_" + "x" * 10_000, Reason.MALFORMED_KEY, "copied whole"),
        ("bandari_admin_\ud800", Reason.MALFORMED_KEY, "copied whole"),
        (keys.spell("bandari_admin_", b"?" * 32), Reason.UNKNOWN_KEY, "is unknown"),
    ],
)
async def test_who_does_not_come_in(new, text, reason, detail):
    for admin in (new(), new(admin_key=ADMIN_KEY), new(guesses=Guesses(StoppedClock()))):
        denied = await admin.operator(text, SOURCE)
        assert isinstance(denied, Deny)
        assert denied.reason is reason
        assert detail in denied.detail
        assert not text or text not in denied.detail


async def test_an_api_key_is_no_admin_key(admin):
    await admin.create_account("a", ME)
    made = await admin.create_key("a", by=ME)
    denied = await admin.operator(made.text, SOURCE)
    assert denied.reason is Reason.UNKNOWN_KEY


async def test_the_environment_s_admin_key_is_the_owner_s(new, monkeypatch):
    compared = []

    def compare(*digests):
        compared.append(digests)
        return digests[0] == digests[1]

    monkeypatch.setattr(hmac, "compare_digest", compare)
    admin = new(admin_key=ADMIN_KEY)
    assert await admin.operator(ADMIN_KEY, SOURCE) == Operator("admin", Role.OWNER)
    assert (await admin.operator(ADMIN_KEY + "x", SOURCE)).reason is Reason.UNKNOWN_KEY
    assert all(len(side) == 32 for sides in compared for side in sides)
    assert len(compared) == 2
    assert (await new().operator(ADMIN_KEY, SOURCE)).reason is Reason.UNKNOWN_KEY


async def test_the_environment_s_admin_key_may_look_like_a_user_s(new):
    admin = new(admin_key="bandari_admin_mine")
    assert await admin.operator("bandari_admin_mine", SOURCE) == Operator("admin", Role.OWNER)


@pytest.mark.parametrize(
    "text", ["", "x" * 15, "x" * 257, "ü" * 20, "with a space in it", "x" * 20 + "\n"]
)
def test_an_admin_key_that_could_be_guessed_or_not_be_sent_is_refused_at_once(new, text):
    with pytest.raises(InvalidValue, match="BANDARI_ADMIN_KEY must be 16 to 256") as caught:
        new(admin_key=text)
    assert "\n" not in caught.value.message
    assert not text or text not in caught.value.message
    new(admin_key="x" * 16)
    new(admin_key="x" * 256)


# Guessing


async def test_guessing_is_limited_by_where_it_comes_from(new, clock):
    admin = new(admin_key=ADMIN_KEY, guesses=Guesses(clock))
    for number in range(AT_ONCE):
        text = f"guess-{number}" if number % 2 else f"bandari_admin_{number}"
        assert (await admin.operator(text, SOURCE)).reason is not Reason.TOO_MANY_FAILURES
    denied = await admin.operator(ADMIN_KEY, SOURCE)
    assert denied.reason is Reason.TOO_MANY_FAILURES
    assert denied.retry_after_ms
    assert await admin.operator(ADMIN_KEY, "192.0.2.2") == Operator("admin", Role.OWNER)
    clock.time_ms += 60_000
    assert await admin.operator(ADMIN_KEY, SOURCE) == Operator("admin", Role.OWNER)


async def test_a_key_that_has_opened_is_not_locked_out_by_guesses_beside_it(new, clock):
    admin = new(admin_key=ADMIN_KEY, guesses=Guesses(clock))
    assert await admin.operator(ADMIN_KEY, SOURCE) == Operator("admin", Role.OWNER)
    for number in range(AT_ONCE):
        await admin.operator(f"guess-{number}", SOURCE)
    assert (await admin.operator("guess", SOURCE)).reason is Reason.TOO_MANY_FAILURES
    assert await admin.operator(ADMIN_KEY, SOURCE) == Operator("admin", Role.OWNER)


async def test_whoever_knows_a_key_or_sends_none_does_not_guess(new, clock, store):
    admin = new(admin_key=ADMIN_KEY, guesses=Guesses(clock))
    disabled = await admin.create_user("Otto", Role.OWNER, by=ME)
    await admin.disable_user(1, by=ME)
    for _ in range(AT_ONCE + 1):
        assert await admin.operator(ADMIN_KEY, SOURCE) == Operator("admin", Role.OWNER)
        assert (await admin.operator(None, SOURCE)).reason is Reason.MISSING_KEY
        assert (await admin.operator(disabled.text, SOURCE)).reason is Reason.REVOKED_KEY


async def test_an_attempt_ends_though_the_store_fails(new, clock, store, monkeypatch):
    admin = new(guesses=Guesses(clock))
    made = await admin.create_user("Grace", Role.OWNER, by=ME)

    async def fail(digest):
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(store, "find_user", fail)
        for _ in range(AT_ONCE + 1):
            with pytest.raises(StoreUnavailable):
                await admin.operator(made.text, SOURCE)
    assert await admin.operator(made.text, SOURCE) == Operator("Grace", Role.OWNER, 1)


# Users


@pytest.mark.parametrize("name", ["admin", "Admin", "12", "", "a/b", "cli:root"])
async def test_what_no_user_is_named(admin, name):
    with pytest.raises(InvalidValue) as caught:
        await admin.create_user(name, Role.OWNER, by=ME)
    assert caught.value.param == "name"


async def test_a_user_s_name_is_taken_once(admin):
    await admin.create_user("Grace", Role.OWNER, by=ME)
    with pytest.raises(AlreadyExists, match="already a user 'Grace'"):
        await admin.create_user("Grace", Role.AUDITOR, by=ME)


async def test_users_are_found_by_id_or_name(admin):
    for name in ("Grace", "Otto"):
        await admin.create_user(name, Role.OWNER, by=ME)
    otto = await admin.user(2)
    assert otto.name == "Otto"
    assert await admin.find_user("Otto") == await admin.find_user("2") == otto
    assert await admin.users(1) == [otto]
    for call in (admin.user(3), admin.find_user("3"), admin.find_user("x"), admin.find_user("²")):
        with pytest.raises(NotFound, match="There is no user") as caught:
            await call
        assert caught.value.param == "user"


async def test_many_users_are_looked_through_page_by_page(admin, monkeypatch):
    monkeypatch.setattr(operators, "MAX_PAGE", 1)
    for name in ("Grace", "Otto", "Amina"):
        await admin.create_user(name, Role.OWNER, by=ME)
    assert (await admin.find_user("Amina")).id == 3
    await admin.set_role(2, Role.AUDITOR, by=ME)
    assert (await admin.disable_user(1, by=ME)).disabled_ms is not None


async def test_a_user_s_former_admin_key_opens_no_more(admin):
    made = await admin.create_user("Grace", Role.OPERATOR, by=ME)
    rotated = await admin.rotate_user_key(1, by=ME)
    assert rotated.text != made.text
    assert await admin.operator(rotated.text, SOURCE) == Operator("Grace", Role.OPERATOR, 1)
    assert (await admin.operator(made.text, SOURCE)).reason is Reason.UNKNOWN_KEY


async def test_a_role_holds_from_the_next_request_on(admin):
    made = await admin.create_user("Grace", Role.AUDITOR, by=ME)
    assert (await admin.set_role(1, Role.OWNER, by=ME)).role is Role.OWNER
    assert (await admin.operator(made.text, SOURCE)).may(Action.CHANGE_USERS)


async def test_who_is_disabled_does_not_come_in_and_stays_disabled(admin, clock):
    made = await admin.create_user("Grace", Role.OPERATOR, by=ME)
    assert (await admin.disable_user(1, by=ME)).disabled_ms == clock.time_ms
    assert (await admin.operator(made.text, SOURCE)).reason is Reason.REVOKED_KEY
    for call in (admin.set_role(1, Role.OWNER, by=ME), admin.rotate_user_key(1, by=ME)):
        with pytest.raises(UserDisabled, match="'Grace' is disabled for good") as caught:
            await call
        assert (caught.value.status, caught.value.code) == (409, "user_disabled")
    assert (await admin.disable_user(1, by=ME)).disabled_ms == clock.time_ms


async def test_the_last_owner_stays(admin):
    await admin.create_user("Grace", Role.OWNER, by=ME)
    await admin.create_user("Otto", Role.OPERATOR, by=ME)
    await admin.create_user("Former", Role.OWNER, by=ME)
    await admin.disable_user(3, by=ME)
    for call in (
        admin.disable_user(1, by=ME),
        admin.set_role(1, Role.OPERATOR, by=ME),
        admin.set_role(1, Role.AUDITOR, by=ME),
    ):
        with pytest.raises(LastOwner, match="'Grace' is the last owner") as caught:
            await call
        assert (caught.value.status, caught.value.code) == (409, "last_owner")
    assert (await admin.set_role(1, Role.OWNER, by=ME)).role is Role.OWNER
    await admin.set_role(2, Role.OWNER, by=ME)
    assert (await admin.set_role(1, Role.AUDITOR, by=ME)).role is Role.AUDITOR
    assert (await admin.disable_user(1, by=ME)).disabled_ms is not None


async def test_with_the_environment_s_admin_key_nobody_has_to_stay(new):
    admin = new(admin_key=ADMIN_KEY)
    await admin.create_user("Grace", Role.OWNER, by=ME)
    assert (await admin.set_role(1, Role.AUDITOR, by=ME)).role is Role.AUDITOR
    await admin.set_role(1, Role.OWNER, by=ME)
    assert (await admin.disable_user(1, by=ME)).disabled_ms is not None
