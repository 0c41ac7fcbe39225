"""Postings balance, and values that would break the books cannot be built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.ledger import (
    MAX_AMOUNT,
    Difference,
    Line,
    Posting,
    Verification,
    Wallet,
    is_balanced,
)


def test_a_posting_goes_to_a_wallet_or_to_a_line() -> None:
    assert Posting("KES", 5, wallet_id=1).line is None
    assert Posting("KES", -5, line=Line.CASH).wallet_id is None


@pytest.mark.parametrize("places", [{}, {"wallet_id": 1, "line": Line.CASH}])
def test_a_posting_goes_to_exactly_one_place(places: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not to both"):
        Posting("KES", 5, **places)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_postings_amount_is_one_that_every_client_can_read(sign: int) -> None:
    assert Posting("KES", sign * MAX_AMOUNT, wallet_id=1).amount == sign * (2**53 - 1)
    with pytest.raises(ValueError, match=r"2\^53 - 1"):
        Posting("KES", sign * (MAX_AMOUNT + 1), wallet_id=1)


def test_a_transaction_balances_in_each_asset_by_itself() -> None:
    assert is_balanced([])
    assert is_balanced([Posting("KES", 5, wallet_id=1), Posting("KES", -5, line=Line.CASH)])
    assert not is_balanced([Posting("KES", 5, wallet_id=1), Posting("USD", -5, line=Line.CASH)])


@given(st.lists(st.integers(-1000, 1000)), st.integers(1, 1000))
def test_one_unit_too_many_is_noticed(amounts: list[int], excess: int) -> None:
    postings = [Posting("KES", amount, wallet_id=1) for amount in amounts]
    postings.append(Posting("KES", -sum(amounts), line=Line.REVENUE))
    assert is_balanced(postings)
    assert not is_balanced([*postings, Posting("KES", excess, line=Line.REVENUE)])


def test_what_is_free_is_what_is_not_held() -> None:
    assert Wallet(id=1, account_id=1, asset="KES", balance=10, held=4).free == 6


def test_books_are_clean_when_nothing_differs() -> None:
    counts = {"wallets": 1, "transactions": 1, "postings": 2, "open_holds": 0, "receipts": 1}
    assert Verification(**counts, differences=()).is_clean
    assert not Verification(**counts, differences=(Difference("wallet 1", 5, 4),)).is_clean
