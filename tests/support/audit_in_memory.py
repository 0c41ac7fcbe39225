"""The port ``AuditLog`` in memory, and how the other doubles enter their changes in it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bandari.domain.audit_log import Actor, AuditEntry


class AuditInMemory:
    def __init__(self) -> None:
        self.audit: list[AuditEntry] = []

    def enter(
        self, action: str, subject: str, before: object, after: object, now_ms: int, by: Actor
    ) -> None:
        was, became = (
            None if side is None else msgspec.Raw(msgspec.json.encode(side))
            for side in (before, after)
        )
        number = len(self.audit) + 1
        self.audit.append(
            AuditEntry(number, now_ms, by.name, action, subject, was, became, by.request_id)
        )

    # The port.

    async def entries(
        self, *, subject: str | None, who: str | None, before: int | None, limit: int
    ) -> Sequence[AuditEntry]:
        wanted = [
            entry
            for entry in reversed(self.audit)
            if subject in (None, entry.subject) and who in (None, entry.who)
        ]
        return [entry for entry in wanted if before is None or entry.id < before][:limit]

    async def write(
        self, action: str, subject: str, before: object, after: object, now_ms: int, by: Actor
    ) -> None:
        self.enter(action, subject, before, after, now_ms, by)
