"""A server that starts on the books of an earlier version, which had died with answers running."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import former_books
from tests.support.former_books import COUNTED, CREDIT, KEY, SPENT, USAGE
from tests.support.server import running

pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")


def test_open_holds_are_settled_and_the_key_goes_on(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = variables.get("BANDARI_DATABASE_URL", f"sqlite:///{data}/bandari.db")
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
