"""``bandari receipt``: show."""

from __future__ import annotations

from bandari.cli import COMMANDS
from bandari.cli.books import administration
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.printing import date_of, say, say_json

app = command_group("receipt", COMMANDS["receipt"])


@app.command
async def show(receipt_id: str, /, *, common: Common = DEFAULTS) -> None:
    """Show what an answer cost, and why.

    Parameters
    ----------
    receipt_id
        The answer's x-bandari-receipt header.
    """
    async with administration(common.settings()) as admin:
        receipt = await admin.receipt(receipt_id)
    if common.as_json:
        say_json(receipt)
        return
    usage = receipt.usage
    for name, value in (
        ("receipt", receipt.id),
        ("account", receipt.account),
        ("key", str(receipt.key_id)),
        ("end user", receipt.end_user),
        ("model", f"{receipt.model} ({receipt.target})"),
        ("input", f"{usage.input_tokens} tokens, {usage.cached_tokens} of them cached"),
        ("output", f"{usage.output_tokens} tokens, {usage.reasoning_tokens} of them reasoning"),
        ("counted by", receipt.rule.value),
        ("reasoning effort", receipt.reasoning_effort),
        ("charged", f"{receipt.amount} {receipt.asset} (rate card {receipt.rate_card_version})"),
        ("overrun", f"{receipt.overrun} {receipt.asset}" if receipt.overrun else None),
        ("balance after", f"{receipt.balance_after} {receipt.asset}"),
        (
            "ended",
            receipt.ending.value + (f", {receipt.finish_reason}" * bool(receipt.finish_reason)),
        ),
        ("from", f"{date_of(receipt.created_ms)} UTC"),
        ("to", f"{date_of(receipt.ended_ms)} UTC"),
    ):
        if value is not None:
            say(f"{name:17} {value}")
