"""What the two guides tell to type, typed into a shell beside a real server; and every answer as
the OpenAPI document describes it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.described import Described
from tests.support.server import Bandari, environment, running

DOCS = Path(__file__).parent.parent.parent / "docs"
ADMIN_KEY = "the-key-of-the-first-owner"
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    """A server with an admin key. Its books must balance at the end."""
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    data = tmp_path_factory.mktemp("operated") / "data"
    with running(data, BANDARI_ADMIN_KEY=ADMIN_KEY) as server:
        yield server
        server.verify()


def typed(house: Bandari, page: str, folder: Path, **variables: str) -> str:
    """Everything that a guide tells to type, in its order. Fails with the first line that fails."""
    blocks = _SHELL.findall((DOCS / page).read_text())
    assert len(blocks) > 3
    script = "set -eu\n" + "".join(blocks)
    done = subprocess.run(
        ["bash", "-c", re.sub(r"^export .*$", "", script, flags=re.MULTILINE)],
        cwd=folder,
        env=environment(BANDARI_URL=house.url, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_operators_guide_can_be_typed(house: Bandari, tmp_path: Path) -> None:
    said = typed(house, "operator-api.md", tmp_path, BANDARI_ADMIN_KEY=ADMIN_KEY)
    assert '"balance":999500' in said
    assert '"role":"auditor"' in said
    assert (tmp_path / "receipts.csv").read_text().startswith("id,account,")
    assert (tmp_path / "usage.jsonl").exists()
    assert house.wallet("amina") != (0, 0)


def test_the_customers_guide_can_be_typed(house: Bandari, tmp_path: Path) -> None:
    key = house.new_key("customer", 1_000_000)
    said = typed(house, "usage-api.md", tmp_path, BANDARI_API_KEY=key)
    assert '"object":"balance"' in said
    assert '"object":"receipt"' in said
    assert '"balance":50000' in said


@pytest.fixture(scope="module")
def described(house: Bandari) -> Described:
    with house.client() as client:
        return Described(client.get("/openapi.json").json())


def test_every_answer_is_as_described(house: Bandari, described: Described) -> None:
    """One round through the operator API, with the document's own examples."""
    with house.client(ADMIN_KEY) as client:

        def do(method: str, path: str, status: int = 200, body: Any = None, **at: object) -> Any:
            answer = client.request(method, path.format(**at), json=body)
            assert answer.status_code == status, (method, path, answer.text)
            described.check_answer(method, path, status, answer.headers, answer.content)
            return answer.json()

        def example(method: str, path: str) -> Any:
            content = described.operation(method, path)["requestBody"]["content"]
            (first, *_) = content["application/json"]["examples"].values()
            return first["value"]

        base = "/admin/v1"
        do("POST", f"{base}/accounts", body={"name": "all"})
        do("POST", f"{base}/accounts", 409, body={"name": "all"})
        one, whom = f"{base}/accounts/{{account}}", {"account": "all", "end_user": "é /1"}
        for method, path in (
            ("PATCH", one),
            ("POST", f"{one}/credits"),
            ("POST", f"{one}/adjustments"),
            ("PUT", f"{one}/end-users/{{end_user}}"),
            ("POST", f"{one}/end-users/{{end_user}}/transfers"),
        ):
            escaped = whom | {"end_user": "%C3%A9%20%2F1"}
            do(method, path, body=example(method, path), **escaped)
            do(method, path, 400, body={"amont": 5}, **escaped)
            do(method, path, 404, body=example(method, path), account="none", end_user="x")
            do("GET", one, account="all")
        for path in ("wallets", "end-users", "end-users/{end_user}"):
            do("GET", f"{one}/{path}", account="all", end_user="%C3%A9%20%2F1")
        made = do("POST", f"{base}/keys", body=example("POST", f"{base}/keys") | {"account": "all"})
        key = {"key_id": made["key"]["id"]}
        for method, more in (("GET", ""), ("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke")):
            path = f"{base}/keys/{{key_id}}{more}"
            has_body = "requestBody" in described.operation(method, path)
            do(method, path, body=example(method, path) if has_body else None, **key)
        made = do("POST", f"{base}/users", body={"name": "wanjiru", "role": "owner"})
        user = {"user_id": made["user"]["id"]}
        do("PATCH", f"{base}/users/{{user_id}}", body={"role": "auditor"}, **user)
        do("POST", f"{base}/users/{{user_id}}/rotate", **user)
        do("POST", f"{base}/users/{{user_id}}/disable", **user)
        do("POST", f"{base}/users/{{user_id}}/rotate", 409, **user)
        for path in ("accounts", "keys", "users", "groups", "models", "receipts", "usage", "audit"):
            do("GET", f"{base}/{path}")
        do("GET", f"{base}/receipts/{{receipt}}", 404, receipt="none")
        do("POST", f"{base}/reload")
