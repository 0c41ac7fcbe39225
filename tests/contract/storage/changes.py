"""What the audit log says, and a database that refuses to write, for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from bandari.adapters.storage import Store
from bandari.domain.audit_log import Actor

BY = Actor("amina", "req-1")

Change = tuple[str, Any, Any]


async def changes(store: Store, subject: str | None = None, who: str | None = None) -> list[Change]:
    """Action, before and after of every entry, the oldest first."""
    entries = await store.audit_log.entries(subject=subject, who=who, before=None, limit=1_000)
    return [
        (entry.action, _value(entry.before), _value(entry.after)) for entry in reversed(entries)
    ]


def refusing(kind: str, table: str, event: str) -> tuple[str, ...]:
    """SQL after which nothing can be inserted into (or updated in) a table any more."""
    trigger = f"CREATE TRIGGER refuse_{table} BEFORE {event} ON {table}"
    if kind == "sqlite":
        return (f"{trigger} BEGIN SELECT RAISE(ABORT, 'refused'); END",)
    body = "BEGIN RAISE EXCEPTION 'refused'; END"
    return (
        f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $${body}$$",
        f"{trigger} FOR EACH ROW EXECUTE FUNCTION refuse()",
    )


def _value(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else msgspec.json.decode(raw)
