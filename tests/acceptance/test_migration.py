"""A server that starts on the books of an earlier version, which had died with answers running."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import former_books
from tests.support.former_books import COUNTED, CREDIT, KEY, SPENT, USAGE
from tests.support.postgresql import PostgresqlServer
from tests.support.server import running


@pytest.mark.parametrize(
    "store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def test_open_holds_are_settled_and_the_key_goes_on(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    variables = {}
    url = f"sqlite:///{data}/bandari.db"
    if store == "postgresql":
        postgresql: PostgresqlServer = request.getfixturevalue("postgresql")
        url = variables["BANDARI_DATABASE_URL"] = postgresql.create_database()
    former_books.write_former_books(url)
    charged = USAGE[0] + USAGE[1]
    with running(data, **variables) as server:
        assert server.wallet(former_books.ACCOUNT) == (CREDIT - SPENT - charged, 0)
        assert server.query("SELECT * FROM holds") == []
        receipt = server.receipt(COUNTED)
        assert (receipt["amount"], receipt["rule"]) == (charged, "counted")
        assert (receipt["ending"], receipt["end_user"]) == ("server_died", "otieno")
        with server.client(KEY) as client:
            answer = client.post(
                "/v1/chat/completions",
                json={
                    "model": "bandari-tiny",
                    "messages": [{"role": "user", "content": "Hello"}],
                    "max_tokens": 3,
                },
            )
            assert answer.status_code == 200
        total = answer.json()["usage"]["total_tokens"]
        assert server.wallet(former_books.ACCOUNT) == (CREDIT - SPENT - charged - total, 0)
        server.verify()
