"""The whole program with its books on PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.chat import MODEL, PATH, user
from tests.support.postgresql import PostgresqlServer
from tests.support.server import running

pytestmark = pytest.mark.postgresql


def test_answers_are_charged_on_postgresql(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    url = postgresql.create_database()
    with running(tmp_path / "data", BANDARI_DATABASE_URL=url) as server:
        key = server.new_key("amina", 1000)
        with server.client(key) as client:
            response = client.post(PATH, json={"model": MODEL, "messages": user("Hi")})
        assert response.status_code == 200, response.text
        total = response.json()["usage"]["total_tokens"]
        shown = json.loads(server.cli("account", "show", "amina", "--json").stdout)
        assert shown == {
            "name": "amina",
            "wallets": [{"asset": "TOKEN", "balance": 1000 - total, "held": 0}],
        }
        server.verify()
    assert not (tmp_path / "data" / "bandari.db").exists()
