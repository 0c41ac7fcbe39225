"""Keys: found by digest, revoked for good."""

from __future__ import annotations

from tests.contract.storage.books import Books, open_books

from bandari.adapters.storage import Store


async def test_a_key_is_found_with_its_accounts_assets(books: Books) -> None:
    await books.credit(5, "KES")
    digest = b"d" * 32
    key = await books.store.keys.create_key(
        books.account.id, "phone", "students", digest, "bd_live_…1234", 30
    )

    assert (key.account, key.group, key.revoked_ms) == (books.account.name, "students", None)
    assert await books.store.keys.find_key(digest) == (key, ("TOKEN", "KES"))
    assert await books.store.keys.find_key(b"e" * 32) is None


async def test_a_key_of_an_account_without_wallets(store: Store) -> None:
    account = await store.accounts.create_account("poor", 1)
    key = await store.keys.create_key(account.id, "k", "default", b"p" * 32, "…", 1)

    assert await store.keys.find_key(b"p" * 32) == (key, ())


async def test_listing_all_keys_or_an_accounts(books: Books) -> None:
    other = await open_books(books.store, epoch=books.epoch)

    assert await books.store.keys.list_keys() == [books.key, other.key]
    assert await books.store.keys.list_keys(other.account.id) == [other.key]
    assert await books.store.keys.list_keys(404) == []


async def test_the_first_revocation_stays(books: Books) -> None:
    keys = books.store.keys

    first = await keys.revoke_key(books.key.id, 70)
    second = await keys.revoke_key(books.key.id, 80)

    assert first is not None
    assert first.revoked_ms == 70
    assert second == first
    assert await keys.list_keys() == [first]
    assert await keys.revoke_key(404, 90) is None
