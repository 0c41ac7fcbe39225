"""The groups in use: what the configuration says of them now, and ``default`` for all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bandari.domain.catalogue import DEFAULT_GROUP, Group


class Groups:
    """A group that is not configured, or not any more, has the terms of ``default``."""

    def __init__(self, groups: Mapping[str, Group] | None = None) -> None:
        self.replace(groups or {})

    def replace(self, groups: Mapping[str, Group]) -> None:
        """From here on it is these, also for keys that are in use."""
        self._groups = {DEFAULT_GROUP: Group(name=DEFAULT_GROUP), **groups}

    def of(self, name: str) -> Group:
        """The terms of the group of that name."""
        return self._groups.get(name) or self._groups[DEFAULT_GROUP]

    def all(self) -> Sequence[Group]:
        """By name."""
        return [group for _, group in sorted(self._groups.items())]

    def __contains__(self, name: object) -> bool:
        return name in self._groups
