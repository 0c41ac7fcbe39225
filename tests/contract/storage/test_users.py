"""People who operate: found by their admin key, disabled for good."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.contract.storage.changes import BY, changes

from bandari.adapters.storage import Store
from bandari.domain.accounts import Role, User
from bandari.service.ports import NameTaken

OLD, NEW = b"o" * 32, b"n" * 32


async def test_a_user_is_found_by_his_key_and_by_his_id(store: Store) -> None:
    user = await store.users.create_user("Äda", Role.OPERATOR, OLD, "…1234", 5, BY)

    assert (user.name, user.role, user.hint, user.disabled_ms) == (
        *("Äda", Role.OPERATOR, "…1234"),
        None,
    )
    assert await store.users.find_user(OLD) == user
    assert await store.users.find_user(NEW) is None
    assert await store.users.user_of_id(user.id) == user
    ((action, before, after),) = await changes(store, f"user {user.id}")
    assert (action, before) == ("user.create", None)
    assert msgspec.convert(after, User) == user


@pytest.mark.parametrize("user_id", [0, -1, 404, 2**63, 10**40])
async def test_a_user_who_is_not_there(store: Store, user_id: int) -> None:
    assert await store.users.user_of_id(user_id) is None
    assert await store.users.set_role(user_id, Role.OWNER, 5, BY) is None
    assert await store.users.set_user_key(user_id, NEW, "…", 5, BY) is None
    assert await store.users.disable_user(user_id, 5, BY) is None
    assert await changes(store) == []


async def test_a_name_is_given_once(store: Store, other_store: Store) -> None:
    attempts = await asyncio.gather(
        *(
            (store, other_store)[number % 2].users.create_user(
                "ada", Role.OWNER, bytes([number]) * 32, "…", 5, BY
            )
            for number in range(10)
        ),
        return_exceptions=True,
    )

    (made,) = (one for one in attempts if not isinstance(one, NameTaken))
    assert await store.users.list_users(0, 10) == [made]
    assert [action for action, _, _ in await changes(store)] == ["user.create"]


async def test_lists_go_on_where_they_ended(store: Store) -> None:
    made = [
        await store.users.create_user(f"user {n}", Role.AUDITOR, bytes([n]) * 32, "…", 5, BY)
        for n in range(5)
    ]

    assert await store.users.list_users(0, 3) == made[:3]
    assert await store.users.list_users(made[2].id, 3) == made[3:]
    assert await store.users.list_users(-(10**30), 10**30) == made


async def test_a_role_is_changed_once(store: Store) -> None:
    user = await store.users.create_user("ada", Role.AUDITOR, OLD, "…", 5, BY)

    changed = await store.users.set_role(user.id, Role.OWNER, 6, BY)
    again = await store.users.set_role(user.id, Role.OWNER, 7, BY)

    assert changed is not None
    assert changed.role is Role.OWNER
    assert again == changed == await store.users.find_user(OLD)
    _, (action, before, after) = await changes(store, f"user {user.id}")
    assert (action, before["role"], after["role"]) == ("user.role", "auditor", "owner")


async def test_a_new_key_takes_the_place_of_the_former(store: Store) -> None:
    user = await store.users.create_user("ada", Role.OWNER, OLD, "…same", 5, BY)

    # The same end of the hint: it is a change all the same.
    changed = await store.users.set_user_key(user.id, NEW, "…same", 6, BY)

    assert changed == await store.users.find_user(NEW)
    assert await store.users.find_user(OLD) is None
    said = [action for action, _, _ in await changes(store, f"user {user.id}")]
    assert said == ["user.create", "user.key"]


async def test_the_first_time_of_being_disabled_stays(store: Store) -> None:
    user = await store.users.create_user("ada", Role.OWNER, OLD, "…", 5, BY)

    first = await store.users.disable_user(user.id, 6, BY)
    second = await store.users.disable_user(user.id, 7, BY)

    assert first is not None
    assert first.disabled_ms == 6
    assert second == first == await store.users.find_user(OLD)
    said = [action for action, _, _ in await changes(store, f"user {user.id}")]
    assert said == ["user.create", "user.disable"]
