"""``bandari ledger``: verify."""

from __future__ import annotations

from bandari.bootstrap.books import open_books
from bandari.cli import COMMANDS
from bandari.cli.border import expected_failures
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import say, say_json
from bandari.cli.progress import bar

app = command_group("ledger", COMMANDS["ledger"])


@app.command
async def verify(*, common: Common = DEFAULTS) -> None:
    """Derive every balance, hold and receipt from the postings again, and compare.

    Prints every difference (the first 1,000) and exits with 1 if there is one.
    """
    with expected_failures(), bar("verifying", "transactions") as on_progress:
        async with open_books(common.settings()) as books:
            result = await books.ledger.verify(on_progress)
    if common.as_json:
        say_json({"clean": result.is_clean, "verification": result})
    else:
        for difference in result.differences:
            say(
                f"{difference.subject}: the books say {difference.stored}, "
                f"the postings {difference.derived}"
            )
    if not result.is_clean:
        raise CommandFailed(f"the ledger has {len(result.differences)} differences")
    if not common.as_json:
        say(
            f"clean: {result.wallets} wallets, {result.transactions} transactions, "
            f"{result.postings} postings, {result.open_holds} open holds, "
            f"{result.receipts} receipts"
        )
