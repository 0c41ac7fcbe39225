"""The audit log: no change without its entry, no entry without its change, and no secrets in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.contract.storage.books import Books
from tests.contract.storage.changes import BY, changes, refusing
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import Store
from bandari.domain.accounts import AccountPolicy, Role, User
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor, AuditEntry
from bandari.domain.faults import OwnFault
from bandari.domain.keys import KeyPolicy
from bandari.domain.ledger import Line, TransactionKind

SECRETS = {name: name[:1].encode() * 32 for name in ("key", "rotated", "user", "admin", "new")}

Doing = Callable[[Books, User], Awaitable[object]]


def _money(kind: TransactionKind, end_user: str) -> Doing:
    return lambda books, _: books.store.accounts.transfer(
        *(books.account.id, "KES", 5, Line.CASH, kind, "why", 9, BY, end_user)
    )


DOINGS: dict[str, tuple[str, Doing]] = {
    "account.create": (
        "accounts INSERT",
        lambda books, _: books.store.accounts.create_account("new", 9, BY),
    ),
    "account.policy": (
        "accounts UPDATE",
        lambda books, _: books.store.accounts.set_account_policy(
            books.account.id, AccountPolicy(is_suspended=True), 9, BY
        ),
    ),
    "wallet.credit": ("postings INSERT", _money(TransactionKind.CREDIT, "")),
    "wallet.adjustment": ("postings INSERT", _money(TransactionKind.ADJUSTMENT, "tom")),
    "wallet.transfer": (
        "postings INSERT",
        lambda books, _: books.store.accounts.move(
            books.account.id, "ada", "TOKEN", 5, "why", 9, BY
        ),
    ),
    "end_user.limits": (
        "end_users UPDATE",
        lambda books, _: books.store.accounts.set_end_user_limits(
            books.account.id, "tom", Limits(requests_per_day=1), 9, BY
        ),
    ),
    "key.create": (
        "keys INSERT",
        lambda books, _: books.store.keys.create_key(
            books.account.id, "new", "g", SECRETS["new"], "…", 9, BY
        ),
    ),
    "key.update": (
        "keys UPDATE",
        lambda books, _: books.store.keys.update_key(
            books.key.id, "renamed", "g", KeyPolicy(expires_ms=7), 9, BY
        ),
    ),
    "key.rotate": (
        "keys UPDATE",
        lambda books, _: books.store.keys.rotate_key(
            books.key.id, SECRETS["rotated"], "…", 8, 9, BY
        ),
    ),
    "key.revoke": (
        "keys UPDATE",
        lambda books, _: books.store.keys.revoke_key(books.key.id, 9, BY),
    ),
    "user.create": (
        "users INSERT",
        lambda books, _: books.store.users.create_user(
            "new", Role.OWNER, SECRETS["new"], "…", 9, BY
        ),
    ),
    "user.role": (
        "users UPDATE",
        lambda books, user: books.store.users.set_role(user.id, Role.OWNER, 9, BY),
    ),
    "user.key": (
        "users UPDATE",
        lambda books, user: books.store.users.set_user_key(user.id, SECRETS["admin"], "…", 9, BY),
    ),
    "user.disable": (
        "users UPDATE",
        lambda books, user: books.store.users.disable_user(user.id, 9, BY),
    ),
}
by_doing = pytest.mark.parametrize("action", DOINGS)


@pytest.fixture
async def user(books: Books) -> User:
    return await books.store.users.create_user("u", Role.AUDITOR, SECRETS["user"], "…", 4, BY)


async def everything(store: Store) -> list[object]:
    """All that the doings could change."""
    accounts = await store.accounts.list_accounts(0, 100)
    return [
        accounts,
        await store.keys.list_keys(),
        *[await store.keys.find_key(digest) for digest in SECRETS.values()],
        await store.users.list_users(0, 100),
        *[await store.users.find_user(digest) for digest in SECRETS.values()],
        *[await store.accounts.list_end_users(one.id, "", 100) for one in accounts],
        *[
            await store.accounts.wallets(one.id, name)
            for one in accounts
            for name in ("", "tom", "ada")
        ],
        (await store.ledger.verify()).transactions,
    ]


@by_doing
async def test_every_change_says_so(books: Books, user: User, action: str) -> None:
    before = await changes(books.store)

    await DOINGS[action][1](books, user)

    said = (await changes(books.store))[len(before) :]
    assert [one for one, _, _ in said if one != "end_user.create"] == [action]
    assert all(was != became for _, was, became in said if action not in ("user.key",))


@by_doing
async def test_a_change_whose_entry_fails_is_not_made(
    books: Books, user: User, action: str, kind: str, tamper: Tamper
) -> None:
    before = await everything(books.store)
    tamper(*refusing(kind, "audit_log", "INSERT"))

    with pytest.raises(OwnFault):
        await DOINGS[action][1](books, user)

    assert await everything(books.store) == before


@by_doing
async def test_a_change_that_fails_has_no_entry(
    books: Books, user: User, action: str, kind: str, tamper: Tamper
) -> None:
    what, doing = DOINGS[action]
    before = await changes(books.store)
    tamper(*refusing(kind, *what.split()))

    with pytest.raises(OwnFault):
        await doing(books, user)

    assert await changes(books.store) == before


async def test_what_fails_beside_others_fails_alone(books: Books, user: User) -> None:
    async def fail() -> None:
        with pytest.raises(OwnFault):
            await books.store.keys.create_key(404, "k", "g", SECRETS["key"], "…", 9, BY)

    before = await changes(books.store)
    await asyncio.gather(
        books.store.keys.revoke_key(books.key.id, 9, BY),
        fail(),
        books.store.users.disable_user(user.id, 9, BY),
        books.store.accounts.move(books.account.id, "tom", "TOKEN", 5, "why", 9, BY),
    )

    said = (await changes(books.store))[len(before) :]
    assert sorted(action for action, _, _ in said) == [
        *("end_user.create", "key.revoke", "user.disable", "wallet.transfer")
    ]


async def test_no_secret_is_in_it(books: Books, user: User) -> None:
    for _, doing in DOINGS.values():
        await doing(books, user)

    entries = await books.store.audit_log.entries(subject=None, who=None, before=None, limit=1_000)
    text = msgspec.json.encode(entries)
    assert b"digest" not in text
    for secret in SECRETS.values():
        assert secret not in text
        assert secret.hex().encode() not in text


async def test_entries_come_the_latest_first_and_page_by_page(store: Store) -> None:
    log = store.audit_log
    for number in range(5):
        who = Actor(("ada", "o'hara")[number % 2], f"req-{number}")
        await log.write("reload", f"models {number % 3}", None, {"number": number}, number, who)

    whole = await log.entries(subject=None, who=None, before=None, limit=10)
    assert [entry.at_ms for entry in whole] == [4, 3, 2, 1, 0]
    assert whole[0] == AuditEntry(
        *(whole[0].id, 4, "ada", "reload", "models 1", None),
        msgspec.Raw(b'{"number":4}'),
        "req-4",
    )

    async def page(
        subject: str | None, who: str | None, before: int | None = None, limit: int = 2
    ) -> list[int]:
        entries = await log.entries(subject=subject, who=who, before=before, limit=limit)
        return [entry.at_ms for entry in entries]

    assert await page(None, None) == [4, 3]
    assert await page(None, None, whole[1].id) == [2, 1]
    assert await page(None, None, whole[3].id) == [0]
    assert await page("models 0", None) == [3, 0]
    assert await page("models 0", None, whole[1].id) == [0]
    assert await page(None, "o'hara") == [3, 1]
    assert await page("models 0", "o'hara") == [3]
    assert await page("models", None) == []
    assert await page(None, None, 10**30, 10**30) == [4, 3, 2, 1, 0]
    assert await page(None, None, -(10**30)) == []


async def test_an_entry_has_a_bound(store: Store) -> None:
    with pytest.raises(ValueError, match="bytes"):
        await store.audit_log.write("reload", "models", None, {"a": "x" * 300_000}, 1, BY)
    with pytest.raises(ValueError, match="NUL"):
        await store.audit_log.write("reload", "\0", None, {}, 1, BY)

    assert await changes(store) == []
