"""Keys: found by digest, rotated with a time of grace, revoked for good."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from tests.contract.storage.books import Books, open_books
from tests.contract.storage.changes import BY, changes
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import Store
from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits, Quota
from bandari.domain.faults import OwnFault
from bandari.domain.keys import ApiKey, FoundKey, KeyPolicy, Scope
from bandari.domain.recordings import CacheUse

POLICY = KeyPolicy(
    scopes=(Scope.MESSAGES, Scope.USAGE),
    models=("gpt-*", "o'hara"),
    quota=Quota(lifetime=9, per_day=8),
    limits=Limits(tokens_per_day=7),
    networks=("10.0.0.0/8",),
    expires_ms=99,
    resume_window_s=0,
    cache=CacheUse.OFF,
    cache_ttl_s=60,
)
OLD, NEW, NEWER = b"o" * 32, b"n" * 32, b"m" * 32


def digest_of(books: Books) -> bytes:
    """Of the key that ``open_books`` makes."""
    return int(books.account.name.removeprefix("customer ")).to_bytes(32)


async def test_a_key_is_found_with_what_its_account_is(books: Books) -> None:
    await books.credit(5, "KES")
    await books.credit(5, "USD", end_user="tom")
    suspended = AccountPolicy(is_suspended=True)
    await books.store.accounts.set_account_policy(books.account.id, suspended, 3, BY)
    key = await books.store.keys.create_key(
        books.account.id, "phone", "students", OLD, "bd_live_…1234", 30, BY, POLICY
    )

    assert (key.account, key.group, key.revoked_ms) == (books.account.name, "students", None)
    assert key.policy == POLICY
    assert await books.store.keys.find_key(OLD) == FoundKey(
        key, ("TOKEN", "KES"), suspended, has_end_users=True
    )
    assert await books.store.keys.key_of_id(key.id) == key
    assert await books.store.keys.find_key(NEW) is None


async def test_a_key_of_an_account_without_wallets(store: Store) -> None:
    account = await store.accounts.create_account("poor", 1, BY)
    key = await store.keys.create_key(account.id, "k", "default", OLD, "…", 1, BY)

    assert await store.keys.find_key(OLD) == FoundKey(key, ())


@pytest.mark.parametrize("key_id", [0, -1, 404, 2**63, 10**40])
async def test_a_key_that_is_not_there(store: Store, key_id: int) -> None:
    keys = store.keys

    assert await keys.key_of_id(key_id) is None
    assert await keys.update_key(key_id, "a", "b", POLICY, 1, BY) is None
    assert await keys.rotate_key(key_id, NEW, "…", 9, 1, BY) is None
    assert await keys.revoke_key(key_id, 90, BY) is None
    assert await changes(store) == []


async def test_listing_all_keys_or_an_accounts(books: Books) -> None:
    other = await open_books(books.store, epoch=books.epoch)
    more = [
        await books.store.keys.create_key(other.account.id, "k", "g", bytes([n]) * 32, "…", 1, BY)
        for n in range(3)
    ]
    keys = books.store.keys

    assert await keys.list_keys() == [books.key, other.key, *more]
    assert await keys.list_keys(other.account.id) == [other.key, *more]
    assert await keys.list_keys(other.account.id, limit=2) == [other.key, more[0]]
    assert await keys.list_keys(other.account.id, more[0].id, 2) == more[1:]
    assert await keys.list_keys(after=other.key.id, limit=1) == more[:1]
    assert await keys.list_keys(404) == []


async def test_what_a_key_may_is_changed_once(books: Books) -> None:
    keys = books.store.keys

    changed = await keys.update_key(books.key.id, "phone", "staff", POLICY, 70, BY)
    again = await keys.update_key(books.key.id, "phone", "staff", POLICY, 80, BY)

    assert changed is not None
    assert (changed.name, changed.group, changed.policy) == ("phone", "staff", POLICY)
    assert again == changed == await keys.key_of_id(books.key.id)
    _, (action, before, after) = await changes(books.store, f"key {books.key.id}")
    assert action == "key.update"
    assert msgspec.convert(before, ApiKey) == books.key
    assert msgspec.convert(after, ApiKey) == changed
    assert after["policy"]["scopes"] == ["messages", "usage"]


async def test_the_former_secret_opens_too(books: Books) -> None:
    keys, key = books.store.keys, books.key
    present = digest_of(books)

    rotated = await keys.rotate_key(key.id, NEW, "…new", 100, 70, BY)

    assert rotated is not None
    assert (rotated.hint, rotated.former_hint, rotated.former_expires_ms) == ("…new", "…abcd", 100)
    assert await keys.find_key(NEW) == FoundKey(rotated, ("TOKEN",))
    assert await keys.find_key(present) == FoundKey(rotated, ("TOKEN",), is_former=True)
    action, before, after = (await changes(books.store, f"key {key.id}"))[-1]
    assert (action, before["hint"], after["hint"]) == ("key.rotate", "…abcd", "…new")


async def test_the_secret_before_the_former_one_opens_no_more(books: Books) -> None:
    keys, key = books.store.keys, books.key
    present = digest_of(books)

    await keys.rotate_key(key.id, NEW, "…new", 100, 70, BY)
    # The same end of the hint, and the same time: it is a change all the same.
    await keys.rotate_key(key.id, NEWER, "…new", 100, 71, BY)
    await keys.rotate_key(key.id, OLD, "…new", 100, 72, BY)

    assert await keys.find_key(present) is None
    assert await keys.find_key(NEW) is None
    former, found = await keys.find_key(NEWER), await keys.find_key(OLD)
    assert former is not None
    assert found is not None
    assert (former.is_former, found.is_former) == (True, False)
    said = [action for action, _, _ in await changes(books.store, f"key {key.id}")]
    assert said == ["key.create", *["key.rotate"] * 3]


async def test_a_secret_is_one_keys_only(books: Books) -> None:
    other = await open_books(books.store, epoch=books.epoch)
    before = await changes(books.store)

    with pytest.raises(OwnFault):
        await books.store.keys.rotate_key(books.key.id, digest_of(other), "…", 100, 70, BY)
    with pytest.raises(OwnFault):
        await books.store.keys.create_key(books.account.id, "k", "g", digest_of(other), "…", 70, BY)

    assert await changes(books.store) == before
    assert await books.store.keys.list_keys() == [books.key, other.key]


async def test_a_present_secret_goes_before_a_former_one(books: Books) -> None:
    other = await open_books(books.store, balance=0, epoch=books.epoch)
    await books.store.keys.rotate_key(books.key.id, NEW, "…", 100, 70, BY)
    await books.store.keys.rotate_key(other.key.id, digest_of(books), "…", 100, 70, BY)

    found = await books.store.keys.find_key(digest_of(books))

    assert found is not None
    assert (found.key.id, found.assets, found.is_former) == (other.key.id, (), False)


async def test_the_first_revocation_stays(books: Books) -> None:
    keys = books.store.keys

    first = await keys.revoke_key(books.key.id, 70, BY)
    second = await keys.revoke_key(books.key.id, 80, BY)

    assert first is not None
    assert first.revoked_ms == 70
    assert second == first
    assert await keys.list_keys() == [first]
    said = await changes(books.store, f"key {books.key.id}")
    assert [action for action, _, _ in said] == ["key.create", "key.revoke"]
    assert said[-1][2]["revoked_ms"] == 70


async def test_a_revoked_key_is_found_and_not_rotated(books: Books) -> None:
    keys, key = books.store.keys, books.key
    await keys.rotate_key(key.id, NEW, "…new", 100, 70, BY)
    await keys.revoke_key(key.id, 71, BY)

    assert await keys.rotate_key(key.id, NEWER, "…newer", 100, 72, BY) is None
    for digest in (NEW, digest_of(books)):
        found = await keys.find_key(digest)
        assert found is not None
        assert found.key.revoked_ms == 71
    assert await keys.find_key(NEWER) is None


async def test_revoking_while_rotating(store: Store, other_store: Store) -> None:
    for number in range(20):
        books = await open_books(store, balance=0)
        digest = bytes([100 + number]) * 32

        rotated, revoked = await asyncio.gather(
            store.keys.rotate_key(books.key.id, digest, "…", 100, 70, BY),
            other_store.keys.revoke_key(books.key.id, 71, BY),
        )

        assert revoked is not None
        actions = [action for action, _, _ in await changes(store, f"key {books.key.id}")]
        if rotated is None:
            assert actions == ["key.create", "key.revoke"]
            assert await store.keys.find_key(digest) is None
        else:
            assert actions == ["key.create", "key.rotate", "key.revoke"]
        now = await store.keys.key_of_id(books.key.id)
        assert now == revoked


BROKEN = ["", "null", "[]", "{", '{"networks": "all"}', '{"is_free": true}', '{"expires_ms": "1"}']


@pytest.mark.parametrize("table", ["keys", "accounts"])
@pytest.mark.parametrize("text", BROKEN)
async def test_a_policy_that_cannot_be_read_lets_nobody_in(
    books: Books, tamper: Tamper, table: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    tamper(f"UPDATE {table} SET policy = '{text}'")

    with caplog.at_level(logging.ERROR), pytest.raises(OwnFault, match="cannot be read"):
        await books.store.keys.find_key(digest_of(books))

    whose = f"key {books.key.id}" if table == "keys" else f"account {books.account.id}"
    assert f"{whose} cannot be read" in caplog.text


async def test_one_account_does_not_see_anothers_keys(books: Books) -> None:
    other = await open_books(books.store, epoch=books.epoch)
    await books.credit(1, "KES")

    assert await books.store.keys.list_keys(other.account.id) == [other.key]
    found = await books.store.keys.find_key(digest_of(other))
    assert found == FoundKey(other.key, ("TOKEN",))
