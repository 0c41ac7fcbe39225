"""Who may operate: users with admin keys, and what each role may do.

An admin key is spelled like an API key and kept like one: the store knows its digest. One more,
from the environment, may be the owner's, so that there is a first.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from bandari.domain import keys
from bandari.domain.accounts import Role, User
from bandari.domain.audit_log import Actor
from bandari.domain.faults import CallerFault, InvalidValue, NotFound
from bandari.domain.outcome import Deny, Reason
from bandari.service.account_administration import AlreadyExists
from bandari.service.guesses import Guesses
from bandari.service.policies import MAX_PAGE, check_name, check_page, shown
from bandari.service.ports import Clock, NameTaken, Users

ADMIN_PREFIX: Final = "bandari_admin_"
ADMIN_NAME: Final = "admin"
MAX_GOOD: Final = 1_000
"""Admin keys that have opened, of which it is known that they are no guesses."""


class Action(StrEnum):
    """What a role may or may not do."""

    READ = "read"
    CHANGE = "change"
    CHANGE_USERS = "change_users"


_GUESSED: Final = (Reason.UNKNOWN_KEY, Reason.MALFORMED_KEY)
_MAY: Final = {
    Role.OWNER: frozenset(Action),
    Role.OPERATOR: frozenset({Action.READ, Action.CHANGE}),
    Role.AUDITOR: frozenset({Action.READ}),
}


class Operator(Struct, frozen=True):
    """Who is operating. ``user_id`` is None for the owner from the environment."""

    name: str
    role: Role
    user_id: int | None = None

    def may(self, action: Action) -> bool:
        return action in _MAY[self.role]


class LastOwner(CallerFault):
    """This is the last owner: without one, nobody could make another."""

    status, code = 409, "last_owner"


class UserDisabled(CallerFault):
    """The user is disabled for good."""

    status, code = 409, "user_disabled"


class NewUser(Struct, frozen=True):
    """An admin key that was just made. ``text`` is shown once and kept nowhere."""

    text: str
    user: User

    def __repr__(self) -> str:
        return f"NewUser({self.user!r})"


class Operators:
    """``admin_key`` is the one from the environment, if there is one.

    With ``guesses``, admin keys cannot be tried out any faster than API keys.
    """

    def __init__(
        self,
        *,
        users: Users,
        clock: Clock,
        admin_key: str | None,
        guesses: Guesses | None,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Raises ``InvalidValue`` for an ``admin_key`` that could be guessed, or not be sent."""
        self._users = users
        self._clock = clock
        self._guesses = guesses
        self._random_bytes = random_bytes
        self._good: dict[bytes, None] = {}
        self._admin_digest = None if admin_key is None else _digest_of_admin_key(admin_key)

    async def operator(self, text: str | None, source: str) -> Operator | Deny:
        """Who comes in by that admin key, or why nobody does. ``source`` is an address."""
        if not text:
            return Deny(
                Reason.MISSING_KEY,
                "No admin key was given. Send it as 'Authorization: Bearer YOUR_ADMIN_KEY'.",
            )
        too_long = len(text) > keys.MAX_KEY_CHARACTERS
        digest = keys.digest("" if too_long or not text.isascii() else text)
        if self._guesses is None or digest in self._good:
            return await self._whose(text, digest)
        attempt = await self._guesses.attempt(source)
        if isinstance(attempt, Deny):
            return attempt
        is_guess = False
        try:
            found = await self._whose(text, digest)
            is_guess = isinstance(found, Deny) and found.reason in _GUESSED
        finally:
            attempt.end(failed=is_guess)
        if isinstance(found, Operator):
            self._note_good(digest)
        return found

    def _note_good(self, digest: bytes) -> None:
        """What has opened is no guess, whoever guesses beside it from the same address."""
        self._good[digest] = None
        if len(self._good) > MAX_GOOD:
            del self._good[next(iter(self._good))]

    async def create_user(self, name: str, role: Role, *, by: Actor) -> NewUser:
        """Raises ``AlreadyExists``."""
        check_name(name)
        if name.isdigit() or name.lower() == ADMIN_NAME:
            raise InvalidValue(
                f"A user is not named '{name}': digits alone are ids, and '{ADMIN_NAME}' is the "
                "owner of BANDARI_ADMIN_KEY.",
                param="name",
            )
        text, digest, hint = self._new_admin_key()
        try:
            user = await self._users.create_user(name, role, digest, hint, self._clock.now_ms(), by)
        except NameTaken:
            raise AlreadyExists(f"There is already a user '{name}'.", param="name") from None
        return NewUser(text, user)

    async def users(self, after: int = 0, limit: int = 100) -> Sequence[User]:
        """By id, those after that id; disabled ones too."""
        check_page(limit)
        return await self._users.list_users(after, limit)

    async def user(self, user_id: int) -> User:
        """Raises ``NotFound``."""
        return _there(await self._users.user_of_id(user_id), str(user_id))

    async def find_user(self, which: str) -> User:
        """The user of that id, or of that name. Raises ``NotFound``."""
        if which.isascii() and which.isdigit() and len(which) <= 18:
            return await self.user(int(which))
        async for user in self._all_users():
            if user.name == which:
                return user
        return _there(None, which)

    async def set_role(self, user_id: int, role: Role, *, by: Actor) -> User:
        """Raises ``NotFound``, ``UserDisabled`` and ``LastOwner``."""
        user = await self._enabled(user_id)
        if role is not Role.OWNER:
            await self._check_not_last(user)
        changed = await self._users.set_role(user_id, role, self._clock.now_ms(), by)
        return _there(changed, str(user_id))

    async def rotate_user_key(self, user_id: int, *, by: Actor) -> NewUser:
        """Give a new admin key; the former one opens no more. Raises ``UserDisabled``."""
        await self._enabled(user_id)
        text, digest, hint = self._new_admin_key()
        changed = await self._users.set_user_key(user_id, digest, hint, self._clock.now_ms(), by)
        return NewUser(text, _there(changed, str(user_id)))

    async def disable_user(self, user_id: int, *, by: Actor) -> User:
        """For good. Raises ``NotFound`` and ``LastOwner``."""
        await self._check_not_last(await self.user(user_id))
        changed = await self._users.disable_user(user_id, self._clock.now_ms(), by)
        return _there(changed, str(user_id))

    async def _whose(self, text: str, digest: bytes) -> Operator | Deny:
        if self._admin_digest is not None and hmac.compare_digest(digest, self._admin_digest):
            return Operator(ADMIN_NAME, Role.OWNER)
        if not text.startswith(ADMIN_PREFIX):
            return Deny(
                Reason.UNKNOWN_KEY,
                f"That is no admin key: a user's begins with '{ADMIN_PREFIX}', and is made by "
                "`bandari user create`.",
            )
        if not keys.is_well_formed(text, ADMIN_PREFIX):
            return Deny(
                Reason.MALFORMED_KEY,
                "The admin key is not whole: a character is wrong or missing. Check that it was "
                "copied whole.",
            )
        user = await self._users.find_user(digest)
        if user is None:
            return Deny(Reason.UNKNOWN_KEY, "The admin key is unknown.")
        if user.disabled_ms is not None:
            return Deny(Reason.REVOKED_KEY, "The user of this admin key is disabled.")
        return Operator(user.name, user.role, user.id)

    async def _enabled(self, user_id: int) -> User:
        user = await self.user(user_id)
        if user.disabled_ms is not None:
            raise UserDisabled(f"The user '{user.name}' is disabled for good.")
        return user

    async def _check_not_last(self, user: User) -> None:
        """Whoever has BANDARI_ADMIN_KEY can always make another owner."""
        if self._admin_digest is not None or not _is_owner(user):
            return
        async for other in self._all_users():
            if other.id != user.id and _is_owner(other):
                return
        raise LastOwner(
            f"'{user.name}' is the last owner, and no BANDARI_ADMIN_KEY is set: make another owner "
            "first."
        )

    async def _all_users(self) -> AsyncIterator[User]:
        after = 0
        while page := await self._users.list_users(after, MAX_PAGE):
            for user in page:
                yield user
            after = page[-1].id

    def _new_admin_key(self) -> tuple[str, bytes, str]:
        text = keys.spell(ADMIN_PREFIX, self._random_bytes(keys.SECRET_BYTES))
        return text, keys.digest(text), keys.hint(text, ADMIN_PREFIX)


def _digest_of_admin_key(text: str) -> bytes:
    """A person has chosen it, so that it is looked at for what makes it weak."""
    if not (
        keys.FEWEST_ADMIN_CHARACTERS <= len(text) <= keys.MAX_KEY_CHARACTERS
        and keys.has_admin_characters(text)
    ):
        raise InvalidValue(
            f"BANDARI_ADMIN_KEY must be {keys.FEWEST_ADMIN_CHARACTERS} to "
            f"{keys.MAX_KEY_CHARACTERS} ASCII characters without spaces, and has {len(text)} "
            "characters. For a good one: openssl rand -hex 32"
        )
    return keys.digest(text)


def _is_owner(user: User) -> bool:
    return user.role is Role.OWNER and user.disabled_ms is None


def _there(user: User | None, which: str) -> User:
    if user is None:
        raise NotFound(f"There is no user '{shown(which)}'.", param="user")
    return user
