"""That the benchmark's two rows of Bandari are what they are called."""

from __future__ import annotations

import json
import os
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.instant_upstream import TOTAL_TOKENS, instant_upstream
from tools.bench.gateways import Setting, bandari
from tools.bench.nginx import Upstreams
from tools.bench.question import ask_once, small


@pytest.mark.parametrize(("launcher", "receipts"), [("bandari", 1), ("tools.bench.unbilled", 0)])
def test_only_the_billed_one_writes_receipts(tmp_path: Path, launcher: str, receipts: int) -> None:
    core = min(os.sched_getaffinity(0))
    authority = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    with instant_upstream() as url:
        port = urlsplit(url).port
        assert port is not None
        setting = Setting(tmp_path, core, Upstreams(port, port, port, authority))
        with bandari(launcher)(setting) as running:
            answer = json.loads(ask_once(running.question("instant", small("instant"))))
    assert answer["usage"]["total_tokens"] == TOTAL_TOKENS
    with closing(sqlite3.connect(tmp_path / "data" / "bandari.db")) as database:
        assert database.execute("SELECT count(*) FROM receipts").fetchone() == (receipts,)
        assert database.execute("SELECT count(*) FROM holds").fetchone() == (0,)
