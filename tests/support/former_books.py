"""Books as an earlier version of Bandari left them: written in its schema, not by this program."""

from __future__ import annotations

from typing import Any

import sqlalchemy

from bandari.adapters.storage.migrate import upgrade
from bandari.adapters.storage.store import open_database
from bandari.domain import keys

ACCOUNT, CREDIT, SPENT = "amina", 10_000, 60
KEY = keys.spell("bd_live_", bytes(32))
COUNTED, UNCOUNTED = "rcpt_counted", "rcpt_uncounted"
HELD = {COUNTED: 1_500, UNCOUNTED: 700}
USAGE = (40, 30, 8, 0, 5)
"""How far the one hold had come that was counted, in the order of ``Usage``."""

RECEIPT = "rcpt_old"
_KINDS = ("input", "output", "cached", "cache_write", "reasoning")
_MILLION = 1_000_000


def write_former_books(url: str) -> None:
    """Revision 0001: an account with a key, a charge, and two open holds of a server that died."""
    database = open_database(url)
    database.create()
    upgrade(database, "0001")
    engine = database.migration_engine()
    with engine.begin() as connection:
        tables = sqlalchemy.MetaData()
        tables.reflect(connection)
        for table, rows in _ROWS.items():
            connection.execute(tables.tables[table].insert(), rows)
    engine.dispose()


def _tokens(*numbers: int) -> dict[str, Any]:
    return dict(zip((f"{kind}_tokens" for kind in _KINDS), numbers, strict=True))


def _postings(transaction_id: int, amount: int, line: str) -> list[dict[str, Any]]:
    posting = {"transaction_id": transaction_id, "asset": "TOKEN", "wallet_id": None, "line": None}
    return [
        posting | {"position": 0, "amount": amount, "wallet_id": 1},
        posting | {"position": 1, "amount": -amount, "line": line},
    ]


_OF = {"wallet_id": 1, "key_id": 1, "rate_card_id": 1, "model": "m", "created_ms": 1}
_HOLD = _OF | {"epoch": 1, "end_user": None} | dict.fromkeys(_tokens(*USAGE))
_ROWS: dict[str, list[dict[str, Any]]] = {
    "accounts": [{"name": ACCOUNT, "created_ms": 1}],
    "wallets": [
        {
            "account_id": 1,
            "asset": "TOKEN",
            "balance": CREDIT - SPENT,
            "held": sum(HELD.values()),
        }
    ],
    "keys": [
        {
            "account_id": 1,
            "name": "laptop",
            "group_name": "default",
            "digest": keys.digest(KEY),
            "hint": "kkkk",
            "created_ms": 1,
        }
    ],
    "rate_cards": [
        {
            "model": "m",
            "asset": "TOKEN",
            "version": 1,
            "input_per_million": _MILLION,
            "cached_input_per_million": _MILLION,
            "cache_write_per_million": _MILLION,
            "output_per_million": _MILLION,
            "per_request": 0,
        }
    ],
    "epochs": [{"opened_ms": 1}],
    "transactions": [{"kind": "credit", "created_ms": 1}, {"kind": "charge", "created_ms": 1}],
    "postings": [*_postings(1, CREDIT, "cash"), *_postings(2, -SPENT, "revenue")],
    "receipts": [
        {
            **_OF,
            **_tokens(40, 20, 0, 0, 0),
            "id": RECEIPT,
            "transaction_id": 2,
            "target": "local:m",
            "amount": SPENT,
            "overrun": 0,
            "balance_after": CREDIT - SPENT,
            "rule": "estimated",
            "ending": "completed",
            "ended_ms": 2,
        }
    ],
    "holds": [
        {
            **_HOLD,
            **_tokens(*USAGE),
            "id": COUNTED,
            "amount": HELD[COUNTED],
            "end_user": "otieno",
        },
        {**_HOLD, "id": UNCOUNTED, "amount": HELD[UNCOUNTED]},
    ],
}
