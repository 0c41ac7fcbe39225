"""``bandari receipt``: show, list."""

from __future__ import annotations

from bandari.cli import COMMANDS
from bandari.cli.books import desk
from bandari.cli.common import DEFAULTS, FIRST_PAGE, Common, Page, command_group
from bandari.cli.printing import date_of, remark, say, say_json, say_table
from bandari.cli.selection import EVERYTHING, ReceiptFilter
from bandari.domain.estimate import IMAGE_TOKENS, Basis
from bandari.domain.pricing import FULL_PRICE
from bandari.domain.usage import CountRule
from bandari.wire.reports.fields import of_receipt

app = command_group("receipt", COMMANDS["receipt"])


@app.command
async def show(receipt_id: str, /, *, common: Common = DEFAULTS) -> None:
    """Show what an answer cost, and why.

    Parameters
    ----------
    receipt_id
        The answer's x-bandari-receipt header.
    """
    async with desk(common.settings()) as opened:
        receipt = await opened.reporting.receipt(receipt_id)
    if common.as_json:
        say_json(of_receipt(receipt))
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
        ("repeated", _repeated(receipt.repeated_tokens)),
        ("counted by", receipt.rule.value),
        ("text seen", _seen(receipt.basis)),
        ("estimate", _estimate(receipt.basis) if receipt.rule is CountRule.ESTIMATED else None),
        ("reasoning effort", receipt.reasoning_effort),
        ("price ratio", str(receipt.price_ratio) if receipt.price_ratio != FULL_PRICE else None),
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


@app.command(name="list")
async def list_(
    *, which: ReceiptFilter = EVERYTHING, page: Page = FIRST_PAGE, common: Common = DEFAULTS
) -> None:
    """List receipts in the order in which answers were charged."""
    async with desk(common.settings()) as opened:
        selection = await which.selection(opened.admin)
        found = await opened.reporting.receipts(selection, page.after, page.limit)
    if common.as_json:
        say_json([of_receipt(receipt) for receipt in found.receipts])
    else:
        say_table(
            ("charged (UTC)", "receipt", "account", "key", "model", "tokens", "amount", "asset"),
            [
                (
                    date_of(receipt.ended_ms),
                    receipt.id,
                    receipt.account,
                    str(receipt.key_id),
                    receipt.model,
                    str(receipt.usage.total_tokens),
                    str(receipt.amount),
                    receipt.asset,
                )
                for receipt in found.receipts
            ],
        )
    if found.next is not None:
        remark(f"There are more: --after {found.next}")


def _repeated(tokens: int) -> str | None:
    return f"{tokens} tokens of an answer that was kept" if tokens else None


def _seen(basis: Basis | None) -> str | None:
    if basis is None:
        return None
    images = f" and {basis.images} images" if basis.images else ""
    return f"{basis.input_bytes} bytes of prompt{images}, {basis.output_bytes} of answer"


def _estimate(basis: Basis | None) -> str | None:
    """What to multiply the bytes with, each product rounded up."""
    if basis is None:
        return None
    ratios = basis.ratios
    images = f", {IMAGE_TOKENS} an image" if basis.images else ""
    return (
        f"{ratios.input / 1e6:.6f} tokens a byte of prompt{images}, "
        f"{ratios.output / 1e6:.6f} a byte of answer, each rounded up"
    )
