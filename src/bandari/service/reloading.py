"""What comes of reading the configuration anew: what changed, or why nothing did.

Values only; who reads, compares and swaps is the room that puts the house together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from bandari.domain.audit_log import Actor


class Changes(Struct, frozen=True):
    """Names of one kind, each sorted. ``changed`` are there before and after, with other terms."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class ReloadOutcome(Struct, frozen=True, kw_only=True):
    """One reload. With ``problems`` (a sentence each, with file and line where there is one) it
    was refused whole, and everything is as it was.

    ``default_provider`` is the new one where it changed. ``needs_restart`` names the keys whose
    new values this process can not take over; it goes on with the old ones.
    """

    problems: tuple[str, ...] = ()
    groups: Changes = Changes()
    models: Changes = Changes()
    providers: Changes = Changes()
    default_provider: str | None = None
    needs_restart: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        return bool(self.problems)

    @property
    def has_changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(
            self.groups or self.models or self.providers or self.default_provider is not None
        )


Reload = Callable[[Actor], Awaitable[ReloadOutcome]]
"""Read the configuration anew, for whom the log of changes is to name. Never raises."""
