"""``bandari key``: create, list, show, set, rotate, revoke."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from bandari.cli import COMMANDS
from bandari.cli.books import administration, who_asks
from bandari.cli.common import DEFAULTS, FIRST_PAGE, Common, Page, command_group
from bandari.cli.moments import span_ms
from bandari.cli.policy import NO_LIMITS, NOTHING_OF_KEYS, KeyOptions, LimitOptions
from bandari.cli.printing import (
    date_of,
    remark,
    remark_on_more,
    say,
    say_json,
    say_table,
    spelled_policy,
)
from bandari.domain.catalogue import DEFAULT_GROUP
from bandari.domain.keys import ApiKey, KeyPolicy
from bandari.service.policies import policy_from
from bandari.wire.admin import answers

app = command_group("key", COMMANDS["key"])

Span = Annotated[str, Parameter(metavar="SPAN", show_default=False)]


@app.command
async def create(
    account: str,
    /,
    *,
    name: str = "",
    group: str = DEFAULT_GROUP,
    options: KeyOptions = NOTHING_OF_KEYS,
    limits: LimitOptions = NO_LIMITS,
    common: Common = DEFAULTS,
) -> None:
    """Create a key for an account and print it. It is shown this once and kept nowhere.

    What is not said is not limited, but by its account and its group.

    Parameters
    ----------
    account
        The account that pays for what the key is used for.
    name
        What the key is for, to tell it from others in lists.
    group
        The group whose limits hold for the key, from the configuration.
    """
    policy = policy_from(options.document(limits), KeyPolicy)
    async with administration(common.settings()) as admin:
        made = await admin.create_key(account, name, group, by=who_asks(), policy=policy)
    if common.as_json:
        say_json({"key": made.text, **answers.key(made.key)})
    else:
        say(made.text)
        remark(f"Key {made.key.id} of '{account}'. Keep it: it cannot be shown again.")


@app.command(name="list")
async def list_(
    account: str | None = None, /, *, page: Page = FIRST_PAGE, common: Common = DEFAULTS
) -> None:
    """List keys, without what would let anybody use them.

    Parameters
    ----------
    account
        Only this account's keys.
    """
    async with administration(common.settings()) as admin:
        keys = await admin.keys(account, page.after, page.limit)
    if common.as_json:
        say_json([answers.key(key) for key in keys])
    else:
        say_table(
            ("id", "account", "key", "name", "group", "created (UTC)", "revoked (UTC)"),
            [
                (
                    str(key.id),
                    key.account,
                    key.hint,
                    key.name,
                    key.group,
                    date_of(key.created_ms),
                    "" if key.revoked_ms is None else date_of(key.revoked_ms),
                )
                for key in keys
            ],
        )
    remark_on_more(keys, page.limit, "--after", lambda key: key.id)


@app.command
async def show(key: str, /, *, common: Common = DEFAULTS) -> None:
    """Show what a key may do.

    Parameters
    ----------
    key
        The key's id, as `bandari key list` shows it, or the key itself.
    """
    async with administration(common.settings()) as admin:
        found = await admin.find_key(key)
    _say_key(found, common)


@app.command(name="set")
async def set_(
    key: str,
    /,
    *,
    name: str | None = None,
    group: str | None = None,
    options: KeyOptions = NOTHING_OF_KEYS,
    limits: LimitOptions = NO_LIMITS,
    common: Common = DEFAULTS,
) -> None:
    """Change what a key may do. What is not said stays as it is; `none` takes it away.

    A running server goes by it within a second.

    Parameters
    ----------
    key
        The key's id, as `bandari key list` shows it, or the key itself.
    name
        What the key is for.
    group
        The group whose limits hold for the key.
    """
    document = options.document(limits)
    async with administration(common.settings()) as admin:
        found = await admin.find_key(key)
        policy = policy_from(document, KeyPolicy, onto=found.policy)
        changed = await admin.update_key(
            found.id, by=who_asks(), name=name, group=group, policy=policy
        )
    _say_key(changed, common)


@app.command
async def rotate(key: str, /, *, grace: Span = "0", common: Common = DEFAULTS) -> None:
    """Give a key a new secret and print it. Everything else about the key stays.

    Parameters
    ----------
    key
        The key's id, as `bandari key list` shows it, or the key itself.
    grace
        For how long the present secret opens too, like 24h; at most 30d. Default: not at all.
    """
    grace_ms = span_ms(grace, "--grace")
    async with administration(common.settings()) as admin:
        found = await admin.find_key(key)
        made = await admin.rotate_key(found.id, grace_ms, by=who_asks())
    if common.as_json:
        say_json({"key": made.text, **answers.key(made.key)})
        return
    say(made.text)
    until = made.key.former_expires_ms
    remark(
        f"Key {made.key.id} of '{made.key.account}'. Keep it: it cannot be shown again. The former "
        + (
            f"secret opens until {date_of(until)} UTC."
            if grace_ms and until
            else "one opens no more."
        )
    )


@app.command
async def revoke(key: str, /, *, common: Common = DEFAULTS) -> None:
    """Revoke a key for good. A running server refuses it within a second.

    Parameters
    ----------
    key
        The key's id, as `bandari key list` shows it, or the key itself.
    """
    async with administration(common.settings()) as admin:
        revoked = await admin.revoke_key(key, by=who_asks())
    if common.as_json:
        say_json(answers.key(revoked))
    else:
        say(f"key {revoked.id} ({revoked.hint}) of '{revoked.account}' is revoked")


def _say_key(key: ApiKey, common: Common) -> None:
    if common.as_json:
        say_json(answers.key(key))
        return
    former, until = key.former_hint, key.former_expires_ms
    for title, value in (
        ("id", str(key.id)),
        ("account", key.account),
        ("key", key.hint),
        ("name", key.name),
        ("group", key.group),
        ("may", spelled_policy(key.policy)),
        ("created", f"{date_of(key.created_ms)} UTC"),
        ("revoked", f"{date_of(key.revoked_ms)} UTC" if key.revoked_ms else ""),
        ("former", f"{former}, until {date_of(until)} UTC" if former and until else ""),
    ):
        if value:
            say(f"{title:9} {value}")
