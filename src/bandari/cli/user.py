"""``bandari user``: create, list, role, rotate, disable."""

from __future__ import annotations

from bandari.cli import COMMANDS
from bandari.cli.books import administration, who_asks
from bandari.cli.common import DEFAULTS, FIRST_PAGE, Common, Page, command_group
from bandari.cli.printing import date_of, remark, remark_on_more, say, say_json, say_table
from bandari.domain.accounts import Role
from bandari.service.administration import NewUser
from bandari.wire.admin import answers

app = command_group("user", COMMANDS["user"])


@app.command
async def create(name: str, /, *, role: Role, common: Common = DEFAULTS) -> None:
    """Create a user and print the admin key. It is shown this once and kept nowhere.

    Parameters
    ----------
    name
        1 to 100 letters, digits, spaces and any of . _ @ + -
    role
        An owner may do everything, an operator everything but change users, an auditor only look.
    """
    async with administration(common.settings()) as admin:
        made = await admin.create_user(name, role, by=who_asks())
    _say_made(made, common)


@app.command(name="list")
async def list_(*, page: Page = FIRST_PAGE, common: Common = DEFAULTS) -> None:
    """List the users, without what would let anybody use their admin keys."""
    async with administration(common.settings()) as admin:
        users = await admin.users(page.after, page.limit)
    if common.as_json:
        say_json([answers.user(user) for user in users])
    else:
        say_table(
            ("id", "name", "role", "admin key", "created (UTC)", "disabled (UTC)"),
            [
                (
                    str(user.id),
                    user.name,
                    user.role.value,
                    user.hint,
                    date_of(user.created_ms),
                    "" if user.disabled_ms is None else date_of(user.disabled_ms),
                )
                for user in users
            ],
        )
    remark_on_more(users, page.limit, "--after", lambda user: user.id)


@app.command
async def role(user: str, role: Role, /, *, common: Common = DEFAULTS) -> None:
    """Give a user another role.

    Parameters
    ----------
    user
        The user's name or id.
    role
        An owner may do everything, an operator everything but change users, an auditor only look.
    """
    async with administration(common.settings()) as admin:
        found = await admin.find_user(user)
        changed = await admin.set_role(found.id, role, by=who_asks())
    if common.as_json:
        say_json(answers.user(changed))
    else:
        say(f"user '{changed.name}' is {changed.role.value}")


@app.command
async def rotate(user: str, /, *, common: Common = DEFAULTS) -> None:
    """Give a user a new admin key and print it. The former one opens no more.

    Parameters
    ----------
    user
        The user's name or id.
    """
    async with administration(common.settings()) as admin:
        found = await admin.find_user(user)
        made = await admin.rotate_user_key(found.id, by=who_asks())
    _say_made(made, common)


@app.command
async def disable(user: str, /, *, common: Common = DEFAULTS) -> None:
    """Disable a user for good. The admin key opens no more.

    Parameters
    ----------
    user
        The user's name or id.
    """
    async with administration(common.settings()) as admin:
        found = await admin.find_user(user)
        disabled = await admin.disable_user(found.id, by=who_asks())
    if common.as_json:
        say_json(answers.user(disabled))
    else:
        say(f"user '{disabled.name}' is disabled")


def _say_made(made: NewUser, common: Common) -> None:
    if common.as_json:
        say_json({"admin_key": made.text, **answers.user(made.user)})
        return
    say(made.text)
    remark(
        f"Admin key of '{made.user.name}' ({made.user.role.value}). Keep it: it cannot be shown "
        "again."
    )
