"""What may not even reach SQL: one number or text that a database refuses fails a whole batch."""

from __future__ import annotations

from bandari.domain.ledger import MAX_AMOUNT, Count
from bandari.domain.usage import Usage


def check_amount(amount: int, least: int = 0) -> None:
    """Refuse an amount that no posting may have."""
    if not least <= amount <= MAX_AMOUNT:
        raise ValueError(f"an amount is from {least} to 2^53 - 1, not {amount}")


def check_count(count: Count) -> None:
    """Refuse a count that no column can store."""
    check_usage(count.usage)
    basis = count.basis
    if basis is not None and max(basis.input_bytes, basis.images, basis.output_bytes) > MAX_AMOUNT:
        raise ValueError("a size is at most 2^53 - 1")


def check_usage(usage: Usage) -> None:
    # The kinds of input are part of the input, and each count is at least 0 by construction.
    if max(usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) > MAX_AMOUNT:
        raise ValueError("a count of tokens is at most 2^53 - 1")


def check_text(*texts: str | None) -> None:
    """Refuse what cannot be stored as text: NUL, and halves of surrogate pairs."""
    for text in texts:
        if text is None:
            continue
        if "\0" in text:
            raise ValueError("a text has no NUL characters")
        if not text.isascii():
            text.encode()
