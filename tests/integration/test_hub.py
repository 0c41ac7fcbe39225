"""Pulling models from a hub that the test serves: what is asked for, and what goes wrong."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from bandari.adapters import hub
from bandari.adapters.hub import (
    AmbiguousFile,
    DiskFull,
    DownloadDamaged,
    HubError,
    HubRefused,
    HubUnreachable,
    InstalledModel,
    InvalidModelName,
    ModelNotInstalled,
    NoSuchFile,
    NoSuchRepository,
    PullInProgress,
    RemoteFile,
    choose,
    installed,
    pull,
    remove,
)

REPO = "acme/tiny-GGUF"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = b"GGUF" + struct.pack("<I", 3) + bytes(range(256)) * 12_000  # about 3 MB


class StubHub(ThreadingHTTPServer):
    """One repository. Every request is kept; the download can be made to break or to lie."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {"tiny-Q4_K_M.gguf": MODEL}
        self.announced_sha256: str | None = None
        self.announced_size: int | None = None
        self.cut_after: list[int] = []  # for each download in turn: bytes until the cut
        self.reset = False  # cut by RST and not by FIN
        self.ignore_range = False
        self.gated = False
        self.down = False
        self.login_page = False
        self.forbidden = False
        self.cdn_host = "127.0.0.1"
        self.authorizations: list[str | None] = []
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def ranges(self) -> list[str | None]:
        return [each for _, path, each in self.requests if path.startswith("/cdn/")]

    def siblings(self) -> list[dict[str, Any]]:
        found = []
        for name, content in self.files.items():
            sha256 = self.announced_sha256 or hashlib.sha256(content).hexdigest()
            size = self.announced_size or len(content)
            entry: dict[str, Any] = {"rfilename": name, "size": size, "blobId": "b" * 40}
            if name.endswith(".gguf"):
                entry["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
            found.append(entry)
        return found

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is part of these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StubHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("range")))
        self.server.authorizations.append(self.headers.get("authorization"))
        if self.server.down:
            self.answer(503, {})
        elif self.server.login_page:
            self.answer(200, {"content-type": "text/html"}, b"<!doctype html>")
        elif path == f"/api/models/{REPO}" and self.server.gated:
            self.answer(403, {"x-error-code": "GatedRepo"})
        elif path == f"/api/models/{REPO}":
            info = {"id": REPO, "sha": COMMIT, "siblings": self.server.siblings()}
            self.answer(200, {}, json.dumps(info).encode())
        elif match := re.fullmatch(rf"/{REPO}/resolve/{COMMIT}/(.+)", path):
            self.resolve(match[1])
        elif path.startswith("/cdn/") and self.server.forbidden:
            self.answer(403, {})
        elif path.startswith("/cdn/"):
            self.download(self.server.files[path.removeprefix("/cdn/")])
        else:
            self.answer(404, {"x-error-code": "RepoNotFound"})

    def resolve(self, name: str) -> None:
        if name not in self.server.files:
            self.answer(404, {"x-error-code": "EntryNotFound"})
            return
        content = self.server.files[name]
        headers = {
            "location": f"http://{self.server.cdn_host}:{self.server.server_address[1]}/cdn/{name}",
            "x-repo-commit": COMMIT,
            "x-linked-etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "x-linked-size": str(len(content)),
            "etag": f'"{"b" * 40}"',
        }
        self.answer(302, headers)

    def download(self, content: bytes) -> None:
        asked = self.headers.get("range")
        headers = {"etag": '"x"', "accept-ranges": "bytes"}
        status, first = 200, 0
        if asked is not None and not self.server.ignore_range:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206
            headers["content-range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first:]
        cut = self.server.cut_after.pop(0) if self.server.cut_after else None
        if cut is None:
            self.answer(status, headers, body)
            return
        self.answer(status, headers, body, sent=cut)
        if self.server.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def answer(
        self, status: int, headers: dict[str, str], body: bytes = b"", sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])
            self.wfile.flush()


@pytest.fixture
def stub() -> Iterator[StubHub]:
    with StubHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_the_only_model_is_pulled_and_checked(stub: StubHub, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = pull(
        REPO, None, folder, lambda done, total: seen.append((done, total)), endpoint=stub.url
    )
    assert path == folder / "tiny-Q4_K_M.gguf"
    assert path.read_bytes() == MODEL
    assert names(folder) == ["tiny-Q4_K_M.gguf"]
    assert seen[-1] == (len(MODEL), len(MODEL))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_nothing_but_plain_http_is_asked_for(stub: StubHub, folder: Path) -> None:
    pull(REPO, None, folder, endpoint=stub.url)
    assert [(method, path) for method, path, _ in stub.requests] == [
        ("GET", f"/api/models/{REPO}"),
        ("GET", f"/{REPO}/resolve/{COMMIT}/tiny-Q4_K_M.gguf"),
        ("GET", "/cdn/tiny-Q4_K_M.gguf"),
    ]


def test_hf_endpoint_is_respected(
    stub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", stub.url)
    assert pull(REPO, None, folder).read_bytes() == MODEL


def test_what_is_here_already_is_not_fetched_again(stub: StubHub, folder: Path) -> None:
    pull(REPO, None, folder, endpoint=stub.url)
    pull(REPO, None, folder, endpoint=stub.url)
    assert len(stub.ranges()) == 1


def test_a_newer_version_replaces_the_old_one(stub: StubHub, folder: Path) -> None:
    pull(REPO, None, folder, endpoint=stub.url)
    newer = MODEL[:-1] + b"!"
    stub.files["tiny-Q4_K_M.gguf"] = newer
    assert pull(REPO, None, folder, endpoint=stub.url).read_bytes() == newer


def test_a_file_in_a_subfolder_lands_in_the_folder(stub: StubHub, folder: Path) -> None:
    stub.files = {"deep/er/other.gguf": MODEL, "tiny-Q4_K_M.gguf": b"GGUF"}
    path = pull(REPO, "deep/er/other.gguf", folder, endpoint=stub.url)
    assert path == folder / "other.gguf"


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_cut_in_the_middle_goes_on_by_itself(
    stub: StubHub, folder: Path, reset: bool
) -> None:
    stub.cut_after, stub.reset = [2_000_000], reset
    path = pull(REPO, None, folder, endpoint=stub.url)
    assert path.read_bytes() == MODEL
    first, second = stub.ranges()
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 2_000_000


def test_a_later_pull_asks_only_for_the_rest(stub: StubHub, folder: Path) -> None:
    stub.cut_after, stub.reset = [2_000_000, *[0] * 20], False
    with pytest.raises(HubUnreachable, match="run the same command again"):
        pull(REPO, None, folder, endpoint=stub.url)
    assert installed(folder) == []
    (part,) = folder.iterdir()
    kept = part.stat().st_size
    assert 0 < kept <= 2_000_000
    assert part.read_bytes() == MODEL[:kept]

    stub.cut_after, stub.requests = [], []
    assert pull(REPO, None, folder, endpoint=stub.url).read_bytes() == MODEL
    assert stub.ranges() == [f"bytes={kept}-"]
    assert names(folder) == ["tiny-Q4_K_M.gguf"]


def test_the_part_of_another_version_is_not_continued(stub: StubHub, folder: Path) -> None:
    stub.cut_after = [2_000_000, *[0] * 20]
    with pytest.raises(HubUnreachable):
        pull(REPO, None, folder, endpoint=stub.url)
    newer = b"GGUF" + MODEL[4:][::-1]
    stub.files["tiny-Q4_K_M.gguf"] = newer
    stub.cut_after, stub.requests = [], []
    assert pull(REPO, None, folder, endpoint=stub.url).read_bytes() == newer
    assert stub.ranges() == [None]


def test_a_hub_that_ignores_ranges_is_survived(stub: StubHub, folder: Path) -> None:
    stub.cut_after, stub.ignore_range = [2_000_000], True
    assert pull(REPO, None, folder, endpoint=stub.url).read_bytes() == MODEL


def test_a_wrong_checksum_is_refused_and_nothing_kept(stub: StubHub, folder: Path) -> None:
    stub.announced_sha256 = "0" * 64
    with pytest.raises(DownloadDamaged, match="checksum"):
        pull(REPO, None, folder, endpoint=stub.url)
    assert names(folder) == []


def test_a_damaged_part_is_not_continued_for_ever(stub: StubHub, folder: Path) -> None:
    stub.cut_after = [2_000_000, *[0] * 20]
    with pytest.raises(HubUnreachable):
        pull(REPO, None, folder, endpoint=stub.url)
    (part,) = folder.iterdir()
    with part.open("r+b") as content:
        content.write(b"flip")
    stub.cut_after = []
    with pytest.raises(DownloadDamaged):
        pull(REPO, None, folder, endpoint=stub.url)
    assert pull(REPO, None, folder, endpoint=stub.url).read_bytes() == MODEL


def test_an_old_model_survives_a_bad_download(stub: StubHub, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny-Q4_K_M.gguf").write_bytes(b"GGUF old")
    stub.announced_sha256 = "0" * 64
    with pytest.raises(DownloadDamaged):
        pull(REPO, None, folder, endpoint=stub.url)
    assert (folder / "tiny-Q4_K_M.gguf").read_bytes() == b"GGUF old"


def test_more_bytes_than_announced_are_refused(stub: StubHub, folder: Path) -> None:
    stub.announced_size = 1_000_000
    with pytest.raises(DownloadDamaged, match="more than the 1000000 bytes"):
        pull(REPO, None, folder, endpoint=stub.url)
    assert names(folder) == []


def test_fewer_bytes_than_announced_are_refused(stub: StubHub, folder: Path) -> None:
    stub.announced_size = 4_000_000
    with pytest.raises(HubError):
        pull(REPO, None, folder, endpoint=stub.url)
    assert installed(folder) == []


def test_what_is_not_gguf_is_refused(stub: StubHub, folder: Path) -> None:
    stub.files = {"tiny.gguf": b"<!doctype html>"}
    with pytest.raises(DownloadDamaged, match="not a GGUF model"):
        pull(REPO, None, folder, endpoint=stub.url)
    assert names(folder) == []


def test_no_such_repository(stub: StubHub, folder: Path) -> None:
    with pytest.raises(NoSuchRepository, match=r"no repository acme/nope.*HF_TOKEN"):
        pull("acme/nope", None, folder, endpoint=stub.url)
    assert not folder.exists()


def test_a_name_that_is_none(stub: StubHub, folder: Path) -> None:
    with pytest.raises(NoSuchRepository, match="not the name of a repository"):
        pull("../../etc/passwd", None, folder, endpoint=stub.url)


def test_a_gated_repository(stub: StubHub, folder: Path) -> None:
    stub.gated = True
    with pytest.raises(NoSuchRepository, match="gated"):
        pull(REPO, None, folder, endpoint=stub.url)


def test_no_such_file_lists_those_there_are(stub: StubHub, folder: Path) -> None:
    stub.files["README.md"] = b"#"
    with pytest.raises(NoSuchFile, match=r"no file 'x\.gguf'; it has tiny-Q4_K_M\.gguf \(3\.07 MB"):
        pull(REPO, "x.gguf", folder, endpoint=stub.url)


def test_a_hub_that_is_down(stub: StubHub, folder: Path) -> None:
    stub.down = True
    with pytest.raises(HubUnreachable, match="503"):
        pull(REPO, None, folder, endpoint=stub.url)


def test_a_login_page_instead_of_a_hub(stub: StubHub, folder: Path) -> None:
    stub.login_page = True
    with pytest.raises(HubUnreachable, match="not a hub"):
        pull(REPO, None, folder, endpoint=stub.url)


def test_a_download_that_is_refused_is_not_tried_again(stub: StubHub, folder: Path) -> None:
    stub.forbidden = True
    with pytest.raises(HubRefused, match="403"):
        pull(REPO, None, folder, endpoint=stub.url)
    assert len(stub.ranges()) == 1


def test_a_token_goes_to_the_hub_and_not_where_it_redirects_to(
    stub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    stub.cdn_host = "localhost"
    pull(REPO, None, folder, endpoint=stub.url)
    info, resolve, cdn = stub.authorizations
    assert info == resolve == "Bearer hf_secret"
    assert cdn is None


def test_no_network(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and nobody listens
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(HubUnreachable, match="check the network"):
            pull(REPO, None, folder, endpoint=endpoint)


def test_too_little_space_is_said_before_the_download(
    stub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskFull, match=r"needs 3\.07 MB more.*has 0\.00 MB free"):
        pull(REPO, None, folder, endpoint=stub.url)
    assert stub.ranges() == []


def test_a_disk_that_fills_up_gets_its_space_back(stub: StubHub, folder: Path) -> None:
    def full(done: int, total: int) -> None:
        if done > 1_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFull, match="free some space"):
        pull(REPO, None, folder, full, endpoint=stub.url)
    assert names(folder) == []


def test_a_folder_that_cannot_be_made(stub: StubHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HubError, match="cannot be written"):
        pull(REPO, None, tmp_path / "file" / "models", endpoint=stub.url)


def test_two_pulls_at_once_do_not_mix(stub: StubHub, folder: Path) -> None:
    folder.mkdir()
    file = RemoteFile("tiny-Q4_K_M.gguf", len(MODEL), hashlib.sha256(MODEL).hexdigest())
    with hub._part(folder / file.name, file).open("a+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PullInProgress):
            pull(REPO, None, folder, endpoint=stub.url)
    assert pull(REPO, None, folder, endpoint=stub.url).read_bytes() == MODEL


def test_importing_it_does_not_import_the_hub() -> None:
    code = "import sys, bandari.adapters.hub; sys.exit('huggingface_hub' in sys.modules)"
    source = Path(hub.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(source)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def remote(*names: str) -> list[RemoteFile]:
    return [RemoteFile(name, 1_000_000_000, "0" * 64) for name in names]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["README.md", "a.gguf"], "a.gguf"),
        (["a-F16.gguf", "a-Q4_K_M.gguf", "a-Q8_0.gguf"], "a-Q4_K_M.gguf"),
        (["a-F16.gguf", "a-q8_0.gguf", "a-Q2_K.gguf"], "a-q8_0.gguf"),
        (["a.Q4_K_M.gguf", "a.Q4_K_S.gguf"], "a.Q4_K_M.gguf"),
        (["Q8_0/a.gguf", "F16/a.gguf"], "Q8_0/a.gguf"),
        (["a-IQ4_XS.gguf", "a-F32.gguf"], "a-IQ4_XS.gguf"),
        (["mmproj-a-Q4_K_M.gguf", "a-Q8_0.gguf"], "a-Q8_0.gguf"),
        (
            ["a-Q4_K_M-00001-of-00002.gguf", "a-Q4_K_M-00002-of-00002.gguf", "a-Q2_K.gguf"],
            "a-Q2_K.gguf",
        ),
    ],
)
def test_the_default_choice(offered: list[str], chosen: str) -> None:
    assert choose(REPO, remote(*offered), None).name == chosen


@pytest.mark.parametrize(
    "offered",
    [["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], ["a-small.gguf", "a-large.gguf"]],
)
def test_no_choice_lists_the_candidates(offered: list[str]) -> None:
    with pytest.raises(AmbiguousFile) as caught:
        choose(REPO, remote(*offered), None)
    assert all(f"{name} (1.00 GB)" in str(caught.value) for name in offered)


def test_a_repository_without_models() -> None:
    with pytest.raises(NoSuchFile, match="no GGUF file at all"):
        choose(REPO, remote("README.md", "model.safetensors"), None)


def test_one_part_of_many_is_refused() -> None:
    with pytest.raises(NoSuchFile, match="one part of several"):
        choose(REPO, remote("a-00001-of-00002.gguf"), "a-00001-of-00002.gguf")


def test_installed_lists_models_and_nothing_else(folder: Path) -> None:
    assert installed(folder) == []
    folder.mkdir()
    (folder / "b.gguf").write_bytes(b"GGUF")
    (folder / "a.GGUF").write_bytes(b"GGUF12")
    (folder / ".a.gguf.0123456789abcdef.part").write_bytes(b"G")
    (folder / "notes.txt").write_text("")
    (folder / "dir.gguf").mkdir()
    assert installed(folder) == [
        InstalledModel("a.GGUF", 6, folder / "a.GGUF"),
        InstalledModel("b.gguf", 4, folder / "b.gguf"),
    ]


def test_remove_takes_the_model_and_its_parts(folder: Path) -> None:
    folder.mkdir()
    for name in (
        "a.gguf",
        "b.gguf",
        ".a.gguf.0123456789abcdef.part",
        ".ab.gguf.0123456789abcdef.part",
    ):
        (folder / name).write_bytes(b"GGUF")
    remove(folder, "a.gguf")
    assert names(folder) == [".ab.gguf.0123456789abcdef.part", "b.gguf"]
    with pytest.raises(ModelNotInstalled, match=r"no model 'a\.gguf'"):
        remove(folder, "a.gguf")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a.gguf", "/etc/a.gguf", "sub/a.gguf", "a\\b.gguf", ".hidden.gguf", "a.txt",
     "a\0.gguf", "a\n.gguf", "x" * 300 + ".gguf"],
)  # fmt: skip
def test_remove_refuses_what_is_not_a_plain_name(folder: Path, name: str) -> None:
    folder.mkdir()
    outside = folder.parent / "a.gguf"
    outside.write_bytes(b"GGUF")
    with pytest.raises(InvalidModelName):
        remove(folder, name)
    assert outside.exists()


def test_remove_takes_a_link_and_not_what_it_points_to(folder: Path) -> None:
    folder.mkdir()
    outside = folder.parent / "precious.gguf"
    outside.write_bytes(b"GGUF")
    (folder / "link.gguf").symlink_to(outside)
    remove(folder, "link.gguf")
    assert names(folder) == []
    assert outside.exists()
