"""The command line over a store in memory."""

from __future__ import annotations

import pytest
from tests.support.memory_store import MemoryStore
from tests.support.reports_in_memory import ReportsInMemory

from bandari.cli import app, books, ledger


@pytest.fixture
def reports():
    return ReportsInMemory()


@pytest.fixture
def store(monkeypatch, tmp_path, reports):
    store = MemoryStore()
    store.reports = reports
    for module in (books, ledger):
        monkeypatch.setattr(module, "open_books", store.open)
    for name in ("BANDARI_CONFIG", "BANDARI_DATABASE_URL", "BANDARI_API_KEY", "BANDARI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BANDARI_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return store


@pytest.fixture
def bandari(store, capsys):
    def bandari(*arguments: str) -> tuple[int, str, str]:
        status = app.run(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return bandari
