"""``bandari key``: create, list, revoke."""

from __future__ import annotations

from bandari.cli import COMMANDS
from bandari.cli.books import administration
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.printing import date_of, remark, say, say_json, say_table
from bandari.domain.keys import ApiKey
from bandari.service.administration import DEFAULT_GROUP

app = command_group("key", COMMANDS["key"])


@app.command
async def create(
    account: str,
    /,
    *,
    name: str = "",
    group: str = DEFAULT_GROUP,
    common: Common = DEFAULTS,
) -> None:
    """Create a key for an account and print it. It is shown this once and kept nowhere.

    Parameters
    ----------
    account
        The account that pays for what the key is used for.
    name
        What the key is for, to tell it from others in lists.
    group
        The group whose limits hold for the key, from the configuration.
    """
    async with administration(common.settings()) as admin:
        made = await admin.create_key(account, name, group)
    if common.as_json:
        say_json({"key": made.text, **_described(made.key)})
    else:
        say(made.text)
        remark(f"Key {made.key.id} of '{account}'. Keep it: it cannot be shown again.")


@app.command(name="list")
async def list_(account: str | None = None, /, *, common: Common = DEFAULTS) -> None:
    """List keys, without what would let anybody use them.

    Parameters
    ----------
    account
        Only this account's keys.
    """
    async with administration(common.settings()) as admin:
        keys = await admin.list_keys(account)
    if common.as_json:
        say_json([_described(key) for key in keys])
        return
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


@app.command
async def revoke(key: str, /, *, common: Common = DEFAULTS) -> None:
    """Revoke a key for good. A running server refuses it within a second.

    Parameters
    ----------
    key
        The key's id, as `bandari key list` shows it, or the key itself.
    """
    async with administration(common.settings()) as admin:
        revoked = await admin.revoke_key(key)
    if common.as_json:
        say_json(_described(revoked))
    else:
        say(f"key {revoked.id} ({revoked.hint}) of '{revoked.account}' is revoked")


def _described(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "group": key.group,
        "hint": key.hint,
        "created_ms": key.created_ms,
        "revoked_ms": key.revoked_ms,
    }
