"""``bandari account``: create, credit, adjust, transfer, show, list, set, end-users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bandari.cli import COMMANDS
from bandari.cli.books import administration, who_asks
from bandari.cli.common import DEFAULTS, FIRST_PAGE, Common, Page, Whole, command_group
from bandari.cli.policy import NO_LIMITS, NOTHING_OF_ACCOUNTS, AccountOptions, LimitOptions
from bandari.cli.printing import (
    date_of,
    remark_on_more,
    say,
    say_json,
    say_table,
    spelled_policy,
)
from bandari.domain.accounts import AccountPolicy
from bandari.domain.ledger import Wallet
from bandari.domain.pricing import TOKEN
from bandari.service.policies import policy_from
from bandari.wire.admin import answers

app = command_group("account", COMMANDS["account"])

ON_THE_COMMAND_LINE = "on the command line"


@app.command
async def create(
    name: str,
    /,
    *,
    options: AccountOptions = NOTHING_OF_ACCOUNTS,
    limits: LimitOptions = NO_LIMITS,
    common: Common = DEFAULTS,
) -> None:
    """Create an account. It owns wallets and keys.

    Its limits hold for all its keys together.

    Parameters
    ----------
    name
        1 to 100 letters, digits, spaces and any of . _ @ + -
    """
    policy = policy_from(options.document(limits), AccountPolicy)
    async with administration(common.settings()) as admin:
        account = await admin.create_account(name, who_asks(), policy)
    if common.as_json:
        say_json(answers.account(account))
    else:
        say(f"account '{account.name}' created")


@app.command(name="set")
async def set_(
    name: str,
    /,
    *,
    options: AccountOptions = NOTHING_OF_ACCOUNTS,
    limits: LimitOptions = NO_LIMITS,
    common: Common = DEFAULTS,
) -> None:
    """Change what an account may do. What is not said stays as it is; `none` takes it away.

    A running server goes by it within a second.

    Parameters
    ----------
    name
        The account.
    """
    document = options.document(limits)
    async with administration(common.settings()) as admin:
        before = (await admin.account(name)).account.policy
        policy = policy_from(document, AccountPolicy, onto=before)
        account = await admin.set_account_policy(name, policy, who_asks())
    if common.as_json:
        say_json(answers.account(account))
    else:
        say(f"account '{account.name}': {spelled_policy(account.policy)}")


@app.command
async def credit(
    name: str,
    amount: Whole,
    /,
    *,
    asset: str = TOKEN,
    end_user: str = "",
    why: str = f"credited {ON_THE_COMMAND_LINE}",
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
    end_user
        The end user whose wallet it is. Default: it is the account's own.
    why
        The reason, for the books.
    """
    async with administration(common.settings()) as admin:
        wallet = await admin.credit(name, amount, asset, why=why, by=who_asks(), end_user=end_user)
    _say_booked(name, amount, wallet, common)


@app.command
async def adjust(
    name: str,
    amount: Whole,
    /,
    *,
    asset: str = TOKEN,
    end_user: str = "",
    why: str,
    common: Common = DEFAULTS,
) -> None:
    """Put a wallet right: more or, with a minus sign, less. No money has come in or gone out.

    Parameters
    ----------
    name
        The account.
    amount
        A whole number in the asset's smallest unit, like 500 or -500.
    asset
        What the wallet holds.
    end_user
        The end user whose wallet it is. Default: it is the account's own.
    why
        The reason, for the books.
    """
    async with administration(common.settings()) as admin:
        wallet = await admin.adjust(name, amount, asset, why=why, by=who_asks(), end_user=end_user)
    _say_booked(name, amount, wallet, common)


@app.command
async def transfer(
    name: str,
    end_user: str,
    amount: Whole,
    /,
    *,
    asset: str = TOKEN,
    why: str = f"transferred {ON_THE_COMMAND_LINE}",
    common: Common = DEFAULTS,
) -> None:
    """Move an amount from an account's own wallet to its end user's; with a minus sign, back.

    An end user who has a wallet pays from it, and can spend no more than is in it.

    Parameters
    ----------
    name
        The account.
    end_user
        The end user, by the name that requests have for him.
    amount
        A whole number in the asset's smallest unit, like 500 or -500.
    asset
        What the wallets hold.
    why
        The reason, for the books.
    """
    async with administration(common.settings()) as admin:
        own, his = await admin.transfer(name, end_user, amount, asset, why=why, by=who_asks())
    if common.as_json:
        say_json(
            {"name": name, "wallet": _of_wallet(own), "end_user": _of_end_user(end_user, [his])}
        )
    else:
        say(
            f"'{name}' now has {own.balance} {own.asset}, and its end user '{end_user}' "
            f"{his.balance} {his.asset}"
        )


@app.command
async def show(name: str, /, *, common: Common = DEFAULTS) -> None:
    """Show an account's wallets: the balance, and what of it running answers hold.

    Parameters
    ----------
    name
        The account.
    """
    async with administration(common.settings()) as admin:
        statement = await admin.account(name)
    account, wallets = statement.account, statement.wallets
    if common.as_json:
        say_json({"name": account.name, "wallets": [_of_wallet(wallet) for wallet in wallets]})
        return
    say(f"'{account.name}', created {date_of(account.created_ms)} UTC")
    if account.policy != AccountPolicy():
        say(spelled_policy(account.policy))
    if wallets:
        say_table(
            ("asset", "balance", "held"),
            [(wallet.asset, str(wallet.balance), str(wallet.held)) for wallet in wallets],
        )
    else:
        say("no wallet yet; `bandari account credit` makes one")


@app.command(name="list")
async def list_(*, page: Page = FIRST_PAGE, common: Common = DEFAULTS) -> None:
    """List the accounts and what they may do."""
    async with administration(common.settings()) as admin:
        accounts = await admin.accounts(page.after, page.limit)
    if common.as_json:
        say_json([answers.account(account) for account in accounts])
    else:
        say_table(
            ("id", "name", "created (UTC)", "policy"),
            [
                (
                    str(account.id),
                    account.name,
                    date_of(account.created_ms),
                    spelled_policy(account.policy),
                )
                for account in accounts
            ],
        )
    remark_on_more(accounts, page.limit, "--after", lambda account: account.id)


@app.command(name="end-users")
async def end_users(
    name: str,
    /,
    *,
    after: str = "",
    limit: Whole = 100,
    common: Common = DEFAULTS,
) -> None:
    """List an account's end users that have limits or wallets of their own.

    Parameters
    ----------
    name
        The account.
    after
        Begin behind the end user of this name.
    limit
        How many are listed at most, up to 1000.
    """
    async with administration(common.settings()) as admin:
        listed = await admin.end_users(name, after, limit)
        wallets = [(await admin.end_user(name, each.name))[1] for each in listed]
    if common.as_json:
        say_json(
            [
                {**_of_end_user(each.name, its), "limits": each.limits}
                for each, its in zip(listed, wallets, strict=True)
            ]
        )
    else:
        say_table(
            ("end user", "wallets", "limits"),
            [
                (
                    each.name,
                    ", ".join(f"{wallet.balance} {wallet.asset}" for wallet in its),
                    "the account's" if each.limits is None else spelled_policy(each.limits),
                )
                for each, its in zip(listed, wallets, strict=True)
            ],
        )
    remark_on_more(listed, limit, "--after", lambda each: each.name)


def _say_booked(name: str, amount: int, wallet: Wallet, common: Common) -> None:
    whose = f"the end user '{wallet.end_user}' of '{name}'" if wallet.end_user else f"'{name}'"
    if not common.as_json:
        say(f"{whose} now has {wallet.balance} {wallet.asset}")
        return
    of_end_user = {"end_user": wallet.end_user} if wallet.end_user else {}
    said = {"asset": wallet.asset, "amount": amount, "balance": wallet.balance}
    say_json({"name": name, **of_end_user, **said, "held": wallet.held})


def _of_wallet(wallet: Wallet) -> Mapping[str, object]:
    return {"asset": wallet.asset, "balance": wallet.balance, "held": wallet.held}


def _of_end_user(name: str, wallets: Sequence[Wallet]) -> Mapping[str, object]:
    return {"name": name, "wallets": [_of_wallet(wallet) for wallet in wallets]}
