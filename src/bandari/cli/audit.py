"""``bandari audit``: list."""

from __future__ import annotations

from bandari.cli import COMMANDS
from bandari.cli.books import administration
from bandari.cli.common import DEFAULTS, Common, Whole, command_group
from bandari.cli.printing import date_of, remark_on_more, say_json, say_table
from bandari.domain.audit_log import AuditEntry

app = command_group("audit", COMMANDS["audit"])


@app.command(name="list")
async def list_(
    *,
    subject: str | None = None,
    who: str | None = None,
    before: Whole | None = None,
    limit: Whole = 100,
    common: Common = DEFAULTS,
) -> None:
    """List what was changed, and by whom; the latest first.

    Parameters
    ----------
    subject
        Only changes of this, like 'key 12'.
    who
        Only changes by this user; at the command line somebody is 'cli:NAME'.
    before
        Only entries with ids below this one.
    limit
        How many are listed at most, up to 1000.
    """
    async with administration(common.settings()) as admin:
        entries = await admin.audit_entries(subject=subject, who=who, before=before, limit=limit)
    if common.as_json:
        say_json(entries)
    else:
        say_table(
            ("id", "at (UTC)", "who", "action", "subject", "before", "after"),
            [_row(entry) for entry in entries],
        )
    remark_on_more(entries, limit, "--before", lambda entry: entry.id)


def _row(entry: AuditEntry) -> tuple[str, ...]:
    before, after = (
        "" if side is None else bytes(side).decode() for side in (entry.before, entry.after)
    )
    at = date_of(entry.at_ms)
    return (str(entry.id), at, entry.who, entry.action, entry.subject, before, after)
