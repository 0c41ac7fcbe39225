"""``bandari account``: create, credit, show."""

from __future__ import annotations

from bandari.cli import COMMANDS
from bandari.cli.books import administration, who_asks
from bandari.cli.common import DEFAULTS, Common, Whole, command_group
from bandari.cli.printing import date_of, say, say_json, say_table
from bandari.domain.pricing import TOKEN

app = command_group("account", COMMANDS["account"])


@app.command
async def create(name: str, /, *, common: Common = DEFAULTS) -> None:
    """Create an account. It owns wallets and keys.

    Parameters
    ----------
    name
        1 to 100 letters, digits, spaces and any of . _ @ + -
    """
    async with administration(common.settings()) as admin:
        account = await admin.create_account(name)
    if common.as_json:
        say_json({"name": account.name, "created_ms": account.created_ms})
    else:
        say(f"account '{account.name}' created")


@app.command
async def credit(
    name: str,
    amount: Whole,
    /,
    *,
    asset: str = TOKEN,
    why: str = "credited on the command line",
    common: Common = DEFAULTS,
) -> None:
    """Put an amount into one of an account's wallets, and make the wallet if it is new.

    Parameters
    ----------
    name
        The account.
    amount
        A whole number in the asset's smallest unit.
    asset
        What the wallet holds.
    why
        The reason, for the books.
    """
    async with administration(common.settings()) as admin:
        wallet = await admin.credit(name, amount, asset, who=who_asks(), why=why)
    if common.as_json:
        say_json(
            {
                "name": name,
                "asset": wallet.asset,
                "amount": amount,
                "balance": wallet.balance,
                "held": wallet.held,
            }
        )
    else:
        say(f"'{name}' now has {wallet.balance} {wallet.asset}")


@app.command
async def show(name: str, /, *, common: Common = DEFAULTS) -> None:
    """Show an account's wallets: the balance, and what of it running answers hold.

    Parameters
    ----------
    name
        The account.
    """
    async with administration(common.settings()) as admin:
        statement = await admin.statement(name)
    wallets = statement.wallets
    if common.as_json:
        say_json(
            {
                "name": statement.account.name,
                "wallets": [
                    {"asset": wallet.asset, "balance": wallet.balance, "held": wallet.held}
                    for wallet in wallets
                ],
            }
        )
        return
    say(f"'{statement.account.name}', created {date_of(statement.account.created_ms)} UTC")
    if wallets:
        say_table(
            ("asset", "balance", "held"),
            [(wallet.asset, str(wallet.balance), str(wallet.held)) for wallet in wallets],
        )
    else:
        say("no wallet yet; `bandari account credit` makes one")
