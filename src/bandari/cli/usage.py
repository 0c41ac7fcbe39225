"""``bandari usage``: show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from bandari.cli import COMMANDS
from bandari.cli.books import desk
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import date_of, remark, say_json, say_table
from bandari.cli.selection import EVERYTHING, ReceiptFilter
from bandari.domain.catalogue import nearest
from bandari.domain.reports import Dimension, UsageRow
from bandari.wire.reports.exports import EXPORTS
from bandari.wire.reports.fields import of_usage_row

app = command_group("usage", COMMANDS["usage"])


@app.command
async def show(
    *,
    which: ReceiptFilter = EVERYTHING,
    by: str = "",
    csv: Annotated[bool, Parameter(negative="")] = False,
    jsonl: Annotated[bool, Parameter(negative="")] = False,
    common: Common = DEFAULTS,
) -> None:
    """Show how much was used and what it cost, added up.

    Parameters
    ----------
    by
        What to tell apart, like day,model: hour, day or month, account, key, end_user, model.
    csv
        Answer in CSV, with a header.
    jsonl
        Answer in JSON Lines, a row in each.
    """
    if csv + jsonl + common.as_json > 1:
        raise CommandFailed("only one of --csv, --jsonl and --json", 2)
    dimensions = _dimensions(by)
    async with desk(common.settings()) as opened:
        selection = await which.selection(opened.admin, by_the_hour=True)
        rows = await opened.reporting.usage(selection, dimensions)
    if csv or jsonl:
        form = EXPORTS["csv" if csv else "jsonl"]
        sys.stdout.buffer.write(form.usage_head(dimensions) + form.usage(rows, dimensions))
    elif common.as_json:
        say_json([of_usage_row(row, dimensions) for row in rows])
    elif rows:
        _say_rows(rows, dimensions)
    else:
        remark("nothing was charged")


def _dimensions(text: str) -> Sequence[Dimension]:
    dimensions = []
    for name in filter(None, (part.strip().replace("-", "_") for part in text.split(","))):
        try:
            dimensions.append(Dimension(name))
        except ValueError:
            known = [each.value for each in Dimension]
            hint = ", ".join(nearest(name, known, 1) or known)
            raise CommandFailed(f"--by: there is no {name[:100]!a}; known: {hint}", 2) from None
    return dimensions


def _say_rows(rows: Sequence[UsageRow], dimensions: Sequence[Dimension]) -> None:
    columns = [each.value.replace("_", " ") for each in dimensions]
    say_table(
        (*columns, "requests", "input", "output", "amount", "overrun", "asset"),
        [
            (
                *(_told(row, each) for each in dimensions),
                str(row.requests),
                str(row.usage.input_tokens),
                str(row.usage.output_tokens),
                str(row.amount),
                str(row.overrun),
                row.asset,
            )
            for row in rows
        ],
    )


def _told(row: UsageRow, dimension: Dimension) -> str:
    match dimension:
        case Dimension.HOUR | Dimension.DAY | Dimension.MONTH:
            at = "" if row.start_ms is None else date_of(row.start_ms)
            return at[: {"hour": 16, "day": 10, "month": 7}[dimension.value]]
        case Dimension.KEY:
            return str(row.key_id)
        case Dimension.ACCOUNT:
            return row.account or ""
        case Dimension.END_USER:
            return row.end_user or ""
        case Dimension.MODEL:
            return row.model or ""
