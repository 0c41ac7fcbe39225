"""GGUF models from the Hugging Face hub into a folder, and what is in that folder.

Rule 1: what appears under its name in the folder is complete and checked; the rest is a hidden
``.part`` file, from which the next pull of the same content goes on.
Rule 2: huggingface_hub knows the hub (addresses, tokens, HF_ENDPOINT, HF_TOKEN, proxies). It is
imported when something is pulled: it takes half a second. Its own download is not used, since from
version 2 on it begins anew at each call. Bytes come by its session, always by plain HTTP.
Rule 3: blocking. It is for a command, not for an event loop.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from msgspec import Struct

MAGIC = b"GGUF"
REQUEST_TIMEOUT_S = 15.0
ATTEMPTS = 5  # in a row without a new byte
SPARE_BYTES = 256 << 20  # left free: the ledger lives on this disk too

# What people mean when they name no file: the best that most machines can run comes first.
PREFERRED_QUANTS = (
    "Q4_K_M",
    "Q8_0",
    "Q5_K_M",
    "Q6_K",
    "Q4_K_S",
    "Q4_0",
    "Q5_K_S",
    "Q5_0",
    "IQ4_NL",
    "IQ4_XS",
    "Q3_K_M",
    "MXFP4",
    "F16",
    "BF16",
    "F32",
)
_PART_OF_MANY = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_NOT_A_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_FILE_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,250}\.gguf", re.IGNORECASE)

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes there will be; rarely, the first goes back."""


class HubError(Exception):
    """The model cannot be pulled."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class NoSuchRepository(HubError):
    """The hub has no such repository, or does not show it to you."""


class NoSuchFile(HubError):
    """The repository has no such file."""


class AmbiguousFile(HubError):
    """The repository has several models: name the file."""


class HubUnreachable(HubError):
    """The hub cannot be reached."""


class HubRefused(HubError):
    """The hub refuses this download."""


class DownloadDamaged(HubError):
    """What was downloaded is not what the hub announced."""


class DiskFull(HubError):
    """There is not enough space for the model."""


class PullInProgress(HubError):
    """Another process pulls this file at the moment."""


class InvalidModelName(HubError):
    """This is not the name of a model file."""


class ModelNotInstalled(HubError):
    """There is no such model in the folder."""


class InstalledModel(Struct, frozen=True):
    name: str
    size_bytes: int
    path: Path


class RemoteFile(Struct, frozen=True):
    """A file as the hub announces it. Without ``sha256`` only the size can be checked."""

    name: str
    size_bytes: int | None
    sha256: str | None


def pull(
    repo: str,
    filename: str | None,
    destination: Path,
    progress: Progress | None = None,
    *,
    endpoint: str | None = None,
) -> Path:
    """Download one GGUF file of ``repo`` into the folder ``destination``; returns its path there.

    Without ``filename``: the only model, or else the first of ``PREFERRED_QUANTS``. A download that
    was broken off goes on where it stopped; a file that is here already is not fetched again.
    ``endpoint`` is the hub's address (default: HF_ENDPOINT, then the public one). Raises
    ``HubError``, each with one line that says what to do.
    """
    from huggingface_hub import HfApi, hf_hub_url  # noqa: PLC0415 - rule 2

    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or None
    with _errors_of_the_hub(repo):
        api = HfApi(endpoint=endpoint, library_name="bandari")
        info = api.model_info(repo, files_metadata=True, timeout=REQUEST_TIMEOUT_S)
    files = [
        RemoteFile(each.rfilename, each.size, each.lfs.sha256 if each.lfs else None)
        for each in info.siblings or ()
    ]
    file = choose(repo, files, filename)
    target = destination / _checked_name(PurePosixPath(file.name).name)
    url = hf_hub_url(repo, file.name, revision=info.sha, endpoint=endpoint)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if _is_complete(target, file):
            return target
        _fetch_into(target, file, url, repo, progress or _ignore)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"the disk of {destination} is full: free some space") from error
        raise HubError(f"{destination} cannot be written: {error.strerror or error}") from error
    return target


def choose(repo: str, files: Sequence[RemoteFile], filename: str | None) -> RemoteFile:
    """The file that is meant. Raises ``NoSuchFile`` or ``AmbiguousFile`` with the candidates."""
    models = [each for each in files if each.name.lower().endswith(".gguf")]
    if filename is not None:
        for each in models:
            if each.name == filename:
                return _one_piece(repo, each)
        raise NoSuchFile(f"{repo} has no file {filename!r}; {_candidates(models)}")
    single = [
        each
        for each in models
        if not _PART_OF_MANY.search(each.name) and not _NOT_A_MODEL.search(each.name)
    ]
    if len(single) == 1:
        return single[0]
    for quant in PREFERRED_QUANTS:
        named = re.compile(rf"(?:^|[-._/]){quant}(?:[-._/]|$)", re.IGNORECASE)
        found = [each for each in single if named.search(each.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousFile(f"{repo} has several models, name one; {_candidates(found)}")
    if single:
        raise AmbiguousFile(f"{repo} has several models, name one; {_candidates(single)}")
    raise NoSuchFile(f"{repo} has no GGUF model in one file; {_candidates(models)}")


def installed(folder: Path) -> list[InstalledModel]:
    """The models in a folder, by name. A folder that does not exist has none."""
    if not folder.is_dir():
        return []
    return [
        InstalledModel(path.name, path.stat().st_size, path)
        for path in sorted(folder.iterdir())
        if _FILE_NAME.fullmatch(path.name) and path.is_file()
    ]


def remove(folder: Path, name: str) -> None:
    """Delete one model of a folder, and what is left of broken downloads of it."""
    path = folder / _checked_name(name)
    parts = _parts(path)
    if not parts and not path.is_symlink() and not path.is_file():
        raise ModelNotInstalled(f"there is no model {name!r} in {folder}")
    for each in (*parts, path):
        each.unlink(missing_ok=True)


def _ignore(done: int, total: int) -> None:
    """Nobody wants to know the progress."""
    del done, total


def _one_piece(repo: str, file: RemoteFile) -> RemoteFile:
    if _PART_OF_MANY.search(file.name):
        raise NoSuchFile(
            f"{file.name} of {repo} is one part of several, which is not supported:"
            " choose a model that is one file"
        )
    return file


def _candidates(files: Sequence[RemoteFile]) -> str:
    if not files:
        return "it has no GGUF file at all"
    shown = [
        each.name if each.size_bytes is None else f"{each.name} ({_size(each.size_bytes)})"
        for each in files[:40]
    ]
    more = f" and {len(files) - len(shown)} more" if len(files) > len(shown) else ""
    return f"it has {', '.join(shown)}{more}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10_000_000 else f"{count / 1e6:.2f} MB"


def _checked_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise InvalidModelName(f"{name!r} is not the name of a model file (like 'model.gguf')")
    return name


def _part(target: Path, file: RemoteFile) -> Path:
    # The content is in the name: what was begun of another version is not continued.
    content = file.sha256 or f"{file.name}:{file.size_bytes}"
    return target.with_name(
        f".{target.name}.{hashlib.sha256(content.encode()).hexdigest()[:16]}.part"
    )


def _parts(target: Path) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.part")
    if not target.parent.is_dir():
        return []
    return [each for each in target.parent.iterdir() if pattern.fullmatch(each.name)]


def _is_complete(target: Path, file: RemoteFile) -> bool:
    if file.sha256 is None or not target.is_file() or target.stat().st_size != file.size_bytes:
        return False
    return _sha256(target) == file.sha256


def _fetch_into(target: Path, file: RemoteFile, url: str, repo: str, progress: Progress) -> None:
    part = _part(target, file)
    with part.open("a+b") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PullInProgress(f"{target.name} is being pulled by another process") from None
        try:
            _make_room(part, file)
            _download(out, file, url, repo, progress)
            out.flush()
            _check(part, file)
            os.fsync(out.fileno())
        except DownloadDamaged:
            part.unlink(missing_ok=True)  # nothing good can be continued from it
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                part.unlink(missing_ok=True)  # give the space back: the ledger needs it more
            raise
        part.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _make_room(part: Path, file: RemoteFile) -> None:
    missing = max(0, (file.size_bytes or 0) - part.stat().st_size)
    free = shutil.disk_usage(part.parent).free
    if missing and missing + SPARE_BYTES > free:
        raise DiskFull(
            f"{file.name} needs {_size(missing)} more (and {_size(SPARE_BYTES)} to spare), but"
            f" {part.parent} has {_size(free)} free"
        )


def _download(out: BinaryIO, file: RemoteFile, url: str, repo: str, progress: Progress) -> None:
    """Append what is missing, over as many connections as it takes while each brings something."""
    out.seek(0, os.SEEK_END)
    if file.size_bytes is not None and out.tell() > file.size_bytes:
        out.truncate(0)
    barren = 0
    while file.size_bytes is None or out.tell() < file.size_bytes:
        before = out.tell()
        try:
            with _errors_of_the_hub(repo):
                _transfer(out, file, url, progress)
        except HubUnreachable as error:
            barren = 0 if out.tell() > before else barren + 1
            if barren == ATTEMPTS:
                raise HubUnreachable(
                    f"{error}; {_size(out.tell())} of {file.name} are kept: run the same command"
                    " again to go on"
                ) from error
            time.sleep(barren)
        else:
            return


def _transfer(out: BinaryIO, file: RemoteFile, url: str, progress: Progress) -> None:
    """One connection: from where ``out`` ends to the end of the file, or until it breaks."""
    from huggingface_hub import get_session, get_token  # noqa: PLC0415 - rule 2
    from huggingface_hub.utils import (  # type: ignore[attr-defined, unused-ignore]  # noqa: PLC0415
        hf_raise_for_status,
    )

    done = out.tell()
    headers = {"accept-encoding": "identity"}
    if done:
        headers["range"] = f"bytes={done}-"
    if token := get_token():
        headers["authorization"] = f"Bearer {token}"  # a redirect to another host drops it
    session = get_session()
    with session.stream("GET", url, headers=headers, timeout=REQUEST_TIMEOUT_S) as response:
        hf_raise_for_status(response)
        if done and response.status_code != 206:  # it sends the file from its beginning
            out.truncate(0)
            done = 0
        for chunk in response.iter_raw():
            done += len(chunk)
            if file.size_bytes is not None and done > file.size_bytes:
                raise DownloadDamaged(
                    f"the hub sends more than the {file.size_bytes} bytes of {file.name} that it"
                    " announced: pull it again"
                )
            out.write(chunk)
            progress(done, file.size_bytes or done)


def _check(path: Path, file: RemoteFile) -> None:
    size = path.stat().st_size
    if file.size_bytes is not None and size != file.size_bytes:
        raise DownloadDamaged(
            f"{file.name} has {size} bytes, the hub announced {file.size_bytes}: pull it again"
        )
    if file.sha256 is not None and _sha256(path) != file.sha256:
        raise DownloadDamaged(
            f"the checksum of {file.name} is not the one that the hub announced: it was damaged on"
            " the way or exchanged; pull it again"
        )
    with path.open("rb") as content:
        if content.read(len(MAGIC)) != MAGIC:
            raise DownloadDamaged(f"{file.name} is not a GGUF model, whatever its name says")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def _errors_of_the_hub(repo: str) -> Iterator[None]:
    """Stop huggingface_hub's exceptions, and those of its HTTP client, at this border."""
    from huggingface_hub import errors  # noqa: PLC0415 - rule 2

    try:
        yield
    except HubError:
        raise
    except errors.HFValidationError as error:
        raise NoSuchRepository(
            f"{repo!r} is not the name of a repository (like 'owner/name')"
        ) from error
    except errors.GatedRepoError as error:
        raise NoSuchRepository(
            f"{repo} is gated: accept its terms on the hub, and set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise NoSuchRepository(
            f"the hub has no repository {repo}, or it is private: check the name, or set HF_TOKEN"
        ) from error
    except errors.EntryNotFoundError as error:
        raise NoSuchFile(f"the file has vanished from {repo}: pull it again") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubUnreachable("HF_HUB_OFFLINE is set: unset it to pull models") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500 or status in (408, 429):
            raise HubUnreachable(f"the hub answered {status}: try again later") from error
        raise HubRefused(f"the hub answered {status} for {repo}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise HubUnreachable(
            f"what answers is not a hub ({type(error).__name__}): check the network,"
            " and HF_ENDPOINT if it is set"
        ) from error
    except Exception as error:
        if not _is_of_http_client(error):
            raise
        raise HubUnreachable(
            f"the hub cannot be reached ({type(error).__name__}: {error}): check the network,"
            " and HF_ENDPOINT if it is set"
        ) from error


def _is_of_http_client(error: Exception) -> bool:
    # By name: huggingface_hub 1 uses httpx, huggingface_hub 2 httpx2, and neither is ours.
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return not roots.isdisjoint({"httpx", "httpx2"})
