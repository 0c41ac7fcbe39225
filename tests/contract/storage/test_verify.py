"""The audit: clean books pass, and every kind of damage is found and named."""

from __future__ import annotations

import pytest
from tests.contract.storage.books import Books, charge, open_books
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import Store
from bandari.domain.ledger import Difference


@pytest.fixture
async def books(store: Store) -> Books:
    """Wallet 1: credited 1,000 (transaction 1), charged 60 (2), overdrawn 70 beyond (3), 0 held."""
    books = await open_books(store)
    await store.ledger.post(charge(await books.place("paid"), 60))
    await store.ledger.post(charge(await books.place("overdrawn"), 1_010))
    await books.credit(500)
    await books.place("open", 200)
    return books


async def test_clean_books(books: Books) -> None:
    steps: list[tuple[int, int]] = []

    verification = await books.store.ledger.verify(lambda done, of: steps.append((done, of)))

    assert verification.is_clean
    assert verification.wallets == 1
    assert verification.transactions == 4
    assert verification.postings == 9
    assert verification.open_holds == 1
    assert verification.receipts == 2
    last = steps[-1][1]
    assert steps == [(done, last) for done in range(last + 1)]


async def test_empty_books(store: Store) -> None:
    assert (await store.ledger.verify()).is_clean


INSERT_HOLD = (
    "INSERT INTO holds (id, wallet_id, amount, epoch, key_id, rate_card_id, model, created_ms)"
    " VALUES ('{}', {}, 0, 1, 1, 1, 'm', 1)"
)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param(
            "UPDATE postings SET amount = amount + 3 WHERE transaction_id = 2 AND position = 1",
            [Difference("transaction 2: sum of its postings", 0, 3)],
            id="a line's posting changed",
        ),
        pytest.param(
            "UPDATE postings SET amount = amount + 3 WHERE transaction_id = 1 AND position = 0",
            [
                Difference("transaction 1: sum of its postings", 0, 3),
                Difference("wallet 1: balance", 500, 503),
                Difference("receipt paid: balance after", 940, 943),
                Difference("receipt overdrawn: balance after", 0, 3),
            ],
            id="a wallet's posting changed",
        ),
        pytest.param(
            "DELETE FROM postings WHERE transaction_id = 4",
            [Difference("wallet 1: balance", 500, 0)],
            id="a credit's postings lost",
        ),
        pytest.param(
            "UPDATE postings SET asset = 'KES' WHERE transaction_id = 1",
            [Difference("a posting of transaction 1: wallet with its asset", 1, 0)],
            id="another asset",
        ),
        pytest.param(
            "UPDATE postings SET asset = 'KES' WHERE transaction_id = 1 AND position = 1",
            [
                Difference("transaction 1: sum of its postings", 0, -1_000),
                Difference("transaction 1: sum of its postings", 0, 1_000),
            ],
            id="two assets in a transaction",
        ),
        pytest.param(
            "DELETE FROM transactions WHERE id = 4",
            [
                Difference("a posting of transaction 4: transaction", 4, 0),
                Difference("a posting of transaction 4: transaction", 4, 0),
            ],
            id="a transaction lost",
        ),
        pytest.param(
            "UPDATE wallets SET balance = balance + 1",
            [Difference("wallet 1: balance", 501, 500)],
            id="a balance changed",
        ),
        pytest.param(
            "UPDATE wallets SET held = held - 1",
            [Difference("wallet 1: held", 199, 200)],
            id="a reserve changed",
        ),
        pytest.param(
            "UPDATE wallets SET held = 501",
            [
                Difference("wallet 1: held", 501, 200),
                Difference("wallet 1: free, which is never negative", -1, 0),
            ],
            id="more held than there is",
        ),
        pytest.param(
            "UPDATE holds SET amount = 201",
            [Difference("wallet 1: held", 200, 201)],
            id="a hold changed",
        ),
        pytest.param(
            INSERT_HOLD.format("lost", 77),
            [Difference("hold lost: wallet", 77, 0)],
            id="a hold without a wallet",
        ),
        pytest.param(
            INSERT_HOLD.format("paid", 1),
            [Difference("hold paid: open, although it has a receipt", 1, 0)],
            id="an open hold with a receipt",
        ),
        pytest.param(
            "DELETE FROM receipts WHERE id = 'paid'",
            [Difference("transaction 2: receipts of a charge", 0, 1)],
            id="a receipt lost",
        ),
        pytest.param(
            "UPDATE receipts SET transaction_id = 4 WHERE id = 'paid'",
            [
                Difference("transaction 2: receipts of a charge", 0, 1),
                Difference("receipt paid: transaction of its charge", 4, 0),
                Difference("receipt paid: amount", 60, -500),
                Difference("receipt paid: balance after", 940, 500),
            ],
            id="a receipt of another transaction",
        ),
        pytest.param(
            "UPDATE receipts SET amount = 61 WHERE id = 'paid'",
            [Difference("receipt paid: amount", 61, 60)],
            id="a receipt's amount changed",
        ),
        pytest.param(
            "UPDATE receipts SET overrun = 0 WHERE id = 'overdrawn'",
            [Difference("receipt overdrawn: overrun", 0, 70)],
            id="an overrun hidden",
        ),
        pytest.param(
            "UPDATE receipts SET balance_after = 941 WHERE id = 'paid'",
            [Difference("receipt paid: balance after", 941, 940)],
            id="a balance after changed",
        ),
        pytest.param(
            "UPDATE receipts SET wallet_id = 2 WHERE id = 'paid'",
            [Difference("receipt paid: amount", 60, 0)],
            id="a receipt of another wallet",
        ),
    ],
)
async def test_damage_is_found(
    books: Books, tamper: Tamper, damage: str, found: list[Difference]
) -> None:
    tamper(damage)

    verification = await books.store.ledger.verify()

    assert sorted(map(str, verification.differences)) == sorted(map(str, found))


async def test_at_most_a_thousand_differences(books: Books, tamper: Tamper) -> None:
    first, last = INSERT_HOLD.format("lost 0", 77).split(" VALUES ")
    rows = ", ".join(last.replace("lost 0", f"lost {number}") for number in range(1_100))
    tamper(f"{first} VALUES {rows}")

    assert len((await books.store.ledger.verify()).differences) == 1_000
