"""API keys, from their making to their end."""

from __future__ import annotations

import json
from itertools import count

import pytest
from msgspec.structs import replace
from tests.support.memory_store import MemoryStore, StoppedClock

from bandari.domain import keys
from bandari.domain.allowance import Limits, Quota
from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import Group
from bandari.domain.faults import InvalidValue, NotFound
from bandari.domain.keys import KeyPolicy, Scope
from bandari.service.administration import Administration, KeyRevoked
from bandari.service.groups import Groups
from bandari.service.policies import MAX_GRACE_MS, YEAR_3000_MS

ME = Actor("me")
NOW_MS = StoppedClock().time_ms


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def groups():
    return Groups({"students": Group(name="students")})


@pytest.fixture
async def admin(store, groups):
    numbers = count(1)
    admin = Administration(
        accounts=store,
        keys=store,
        users=store,
        audit_log=store,
        clock=StoppedClock(),
        groups=groups,
        key_prefix="bd_test_",
        random_bytes=lambda size: bytes([next(numbers)]) * size,
    )
    await admin.create_account("a", ME)
    return admin


async def test_a_key_is_stored_as_digest_and_shown_once(admin, store):
    made = await admin.create_key("a", "laptop", "students", by=ME)
    assert keys.is_well_formed(made.text, "bd_test_")
    assert store.all_keys[0][0] == keys.digest(made.text)
    assert made.text not in repr(made)
    assert made.text not in repr(store.all_keys)
    assert (made.key.account, made.key.name, made.key.group) == ("a", "laptop", "students")
    assert await admin.keys() == await admin.keys("a") == [made.key]
    assert await admin.key(1) == await admin.find_key("1") == made.key
    assert await admin.find_key(made.text) == made.key


async def test_a_key_belongs_to_a_group_that_there_is(admin, groups):
    with pytest.raises(NotFound, match="no group 'student'; known: students") as caught:
        await admin.create_key("a", group="student", by=ME)
    assert caught.value.param == "group"
    with pytest.raises(NotFound, match="no group 'zz'; known: default, students"):
        await admin.create_key("a", group="zz", by=ME)
    with pytest.raises(InvalidValue):
        await admin.create_key("a", "\n", by=ME)
    groups.replace({"zz": Group(name="zz")})
    assert (await admin.create_key("a", group="zz", by=ME)).key.group == "zz"


async def test_a_key_has_a_policy_that_is_checked(admin):
    policy = KeyPolicy(
        scopes=(Scope.MESSAGES,),
        models=("gpt-*",),
        quota=Quota(lifetime=1),
        limits=Limits(spend_per_day={"KES": 1}),
        networks=("10.0.0.0/255.0.0.0",),
        expires_ms=NOW_MS + 1,
    )
    made = await admin.create_key("a", by=ME, policy=policy)
    assert made.key.policy == replace(policy, networks=("10.0.0.0/8",))
    for bad, param in (
        (KeyPolicy(models=()), "policy.models"),
        (KeyPolicy(quota=Quota(per_day=-1)), "policy.quota.per_day"),
        (KeyPolicy(networks=("x",)), "policy.networks[0]"),
        (KeyPolicy(expires_ms=NOW_MS), "policy.expires_ms"),
        (KeyPolicy(expires_ms=YEAR_3000_MS), "policy.expires_ms"),
    ):
        for call in (
            admin.create_key("a", by=ME, policy=bad),
            admin.update_key(1, by=ME, policy=bad),
        ):
            with pytest.raises(InvalidValue) as caught:
                await call
            assert caught.value.param == param
    last = KeyPolicy(expires_ms=YEAR_3000_MS - 1)
    assert (await admin.update_key(1, by=ME, policy=last)).policy == last


async def test_keys_are_listed_page_by_page(admin):
    await admin.create_account("b", ME)
    for account in "aba":
        await admin.create_key(account, by=ME)
    assert [key.id for key in await admin.keys(after=1, limit=1)] == [2]
    assert [key.id for key in await admin.keys("a", 1)] == [3]


async def test_what_is_not_said_of_a_key_stays(admin):
    policy = KeyPolicy(models=("m",))
    await admin.create_key("a", "laptop", by=ME, policy=policy)
    assert (await admin.update_key(1, by=ME, group="students")).policy == policy
    changed = await admin.update_key(1, by=ME, policy=KeyPolicy())
    assert (changed.name, changed.group, changed.policy) == ("laptop", "students", KeyPolicy())
    assert (await admin.update_key(1, by=ME, name="")).name == ""
    with pytest.raises(InvalidValue, match="is not a name"):
        await admin.update_key(1, by=ME, name="/")
    with pytest.raises(NotFound, match="no group 'x'"):
        await admin.update_key(1, by=ME, group="x")


async def test_a_key_may_be_changed_though_its_group_has_gone(admin, groups):
    await admin.create_key("a", group="students", by=ME)
    groups.replace({})
    changed = await admin.update_key(1, by=ME, name="n", group="students")
    assert (changed.name, changed.group) == ("n", "students")


async def test_a_key_that_has_expired_may_be_changed(admin, store):
    await admin.create_key("a", by=ME)
    expired = KeyPolicy(expires_ms=NOW_MS - 1)
    await store.update_key(1, "", "default", expired, NOW_MS, ME)
    policy = replace(expired, models=("m",))
    assert (await admin.update_key(1, by=ME, policy=policy)).policy == policy


async def test_a_key_gets_a_new_secret_and_the_former_one_some_time(admin, store):
    made = await admin.create_key("a", by=ME)
    rotated = await admin.rotate_key(1, 5_000, by=ME)
    assert rotated.text != made.text
    assert keys.is_well_formed(rotated.text, "bd_test_")
    assert store.all_keys[0][0] == keys.digest(rotated.text)
    assert rotated.key.former_expires_ms == NOW_MS + 5_000
    assert (rotated.key.hint, rotated.key.former_hint) == (
        keys.hint(rotated.text, "bd_test_"),
        made.key.hint,
    )
    assert rotated.text not in repr(rotated)
    await admin.rotate_key(1, 0, by=ME)
    await admin.rotate_key(1, MAX_GRACE_MS, by=ME)
    for grace_ms in (-1, MAX_GRACE_MS + 1):
        with pytest.raises(InvalidValue, match="30 days") as caught:
            await admin.rotate_key(1, grace_ms, by=ME)
        assert caught.value.param == "grace_ms"


async def test_a_key_is_revoked_by_id_or_by_itself(admin):
    made = await admin.create_key("a", by=ME)
    other = await admin.create_key("a", by=ME)
    assert (await admin.revoke_key("1", by=ME)).revoked_ms == NOW_MS
    assert (await admin.revoke_key(made.text, by=ME)).id == 1
    assert (await admin.revoke_key(other.key.id, by=ME)).revoked_ms == NOW_MS


async def test_a_key_that_is_revoked_stays_as_it_is(admin):
    await admin.create_key("a", by=ME)
    await admin.revoke_key(1, by=ME)
    for call in (admin.rotate_key(1, 0, by=ME), admin.update_key(1, by=ME, name="n")):
        with pytest.raises(KeyRevoked, match="is revoked for good") as caught:
            await call
        assert (caught.value.status, caught.value.code) == (409, "revoked_api_key")


async def test_a_key_that_is_revoked_meanwhile_gets_no_new_secret(admin, store, monkeypatch):
    await admin.create_key("a", by=ME)

    async def find_it_revoked(*_):
        return None

    monkeypatch.setattr(store, "rotate_key", find_it_revoked)
    with pytest.raises(KeyRevoked):
        await admin.rotate_key(1, 0, by=ME)


@pytest.mark.parametrize(
    "which", ["2", "", "bd_test_x", "9" * 30, "²", "x" * 10_000, "\ud800", "x\0"]
)
async def test_a_key_that_is_not_there_is_not_repeated(admin, which):
    for call in (admin.revoke_key(which, by=ME), admin.find_key(which)):
        with pytest.raises(NotFound) as caught:
            await call
        assert not which or which == "2" or which not in caught.value.message
    for call in (
        admin.key(2),
        admin.revoke_key(2, by=ME),
        admin.rotate_key(2, 0, by=ME),
        admin.update_key(2, by=ME),
    ):
        with pytest.raises(NotFound):
            await call


async def test_no_secret_is_in_the_log(admin, store):
    made = await admin.create_key("a", by=ME)
    rotated = await admin.rotate_key(1, 10, by=ME)
    log = json.dumps([str(entry) for entry in store.audit])
    assert "key.rotate" in log
    for text in (made.text, rotated.text):
        assert text not in log
        assert text[len("bd_test_") : -4] not in log
