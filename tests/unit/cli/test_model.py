from __future__ import annotations

import json

import pytest

from bandari.adapters import hub
from bandari.cli import app


@pytest.fixture
def bandari(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("BANDARI_CONFIG", raising=False)
    monkeypatch.setenv("BANDARI_DATA", str(tmp_path))

    def bandari(*arguments: str) -> tuple[int, str, str]:
        status = app.run(("model", *arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return bandari


@pytest.fixture
def pulled(monkeypatch):
    """A hub that has every file, and the files it was asked for."""
    asked = []

    def pull(repo, filename, destination, progress):
        asked.append((repo, filename))
        progress(1, 2)
        destination.mkdir(exist_ok=True)
        path = destination / (filename or "chosen.gguf")
        path.write_bytes(b"GGUF")
        return path

    monkeypatch.setattr(hub, "pull", pull)
    return asked


def test_pull_list_remove(bandari, pulled, tmp_path):
    assert bandari("list") == (0, "", "")
    path = tmp_path / "models" / "chosen.gguf"
    status, out, err = bandari("pull", "owner/name")
    assert (status, out) == (0, f"{path}\n")
    assert err == f"Use it: bandari serve --model {path}\n"
    status, out, _ = bandari("pull", "owner/name:other.gguf", "--json")
    assert json.loads(out)["name"] == "other.gguf"
    assert pulled == [("owner/name", None), ("owner/name", "other.gguf")]
    assert bandari("list")[1].splitlines()[0] == f"chosen.gguf\t0.0 MB\t{path}"
    assert [file["name"] for file in json.loads(bandari("list", "--json")[1])] == [
        "chosen.gguf",
        "other.gguf",
    ]
    assert bandari("remove", "chosen.gguf") == (0, "'chosen.gguf' is removed\n", "")
    assert json.loads(bandari("remove", "other.gguf", "--json")[1]) == {"removed": "other.gguf"}
    assert bandari("list", "--json")[1] == "[]\n"


def test_failures(bandari, monkeypatch):
    status, out, err = bandari("remove", "none.gguf")
    assert (status, out) == (1, "")
    assert err.startswith("bandari: there is no model 'none.gguf'")
    assert bandari("pull", ":x") == (2, "", "bandari: ':x' is not REPO or REPO:FILE\n")

    def pull(*_):
        raise hub.HubUnreachable

    monkeypatch.setattr(hub, "pull", pull)
    assert bandari("pull", "a/b") == (1, "", "bandari: The hub cannot be reached.\n")
