"""The rules of the audit, without a database; what they find in one is in the contract tests."""

from __future__ import annotations

from bandari.adapters.storage.audit import MAX_DIFFERENCES, Audit, PostingRow
from bandari.domain.ledger import Difference

CREDIT: list[PostingRow] = [(1, "TOKEN", 100, 1, None), (1, "TOKEN", -100, None, "cash")]


def test_one_pass_over_two_pages() -> None:
    audit = Audit()
    audit.wallet(1, "TOKEN", 70, 20)
    audit.hold("open", 1, 20, None)
    audit.transactions([(1, "credit")], CREDIT, [])
    audit.transactions(
        [(2, "charge"), (3, "charge")],
        [(2, "TOKEN", -30, 1, None), (2, "TOKEN", 30, None, "revenue")],
        [(2, "paid", 1, 30, 0, 70), (3, "free", 1, 0, 0, 70)],
    )

    verification = audit.close()

    assert verification.differences == ()
    assert (verification.wallets, verification.open_holds) == (1, 1)
    assert (verification.transactions, verification.postings, verification.receipts) == (3, 4, 2)


def test_a_balance_runs_on_from_page_to_page() -> None:
    audit = Audit()
    audit.wallet(1, "TOKEN", 100, 0)
    audit.transactions([(1, "credit")], CREDIT, [])
    audit.transactions([(2, "charge")], [], [(2, "free", 1, 0, 0, 99)])

    assert audit.close().differences == (Difference("receipt free: balance after", 99, 100),)


def test_the_numbers_are_followed_in_their_order() -> None:
    """A charge of nothing has no postings: its place is among those that have some."""
    audit = Audit()
    audit.wallet(1, "TOKEN", 200, 0)
    later: list[PostingRow] = [(3, "TOKEN", 100, 1, None), (3, "TOKEN", -100, None, "cash")]
    kinds = [(1, "credit"), (2, "charge"), (3, "credit")]
    audit.transactions(kinds, CREDIT + later, [(2, "free", 1, 0, 0, 100)])

    assert audit.close().differences == ()


def test_counting_goes_on_when_enough_was_found() -> None:
    audit = Audit()
    count = MAX_DIFFERENCES + 10
    audit.transactions([(number, "charge") for number in range(count)], [], [])

    verification = audit.close()

    assert len(verification.differences) == MAX_DIFFERENCES
    assert verification.transactions == count
