"""Processes: started on a core, watched in /proc, and stopped with their children."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 20.0
TAIL_CHARACTERS = 600


class NotRunning(Exception):
    """A process did not start, or ended by itself. The message has the end of its log."""


class Process:
    """A started process and its descendants. What it says goes to ``log``."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._log = log

    def wait_for_port(self, port: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when it takes connections on the loopback. Raises ``NotRunning``."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise NotRunning(f"did not listen within {timeout_s:.0f} s: {self.tail()}")

    def check(self) -> None:
        """Raise ``NotRunning`` if it has ended."""
        status = self._popen.poll()
        if status is not None:
            raise NotRunning(f"ended with status {status}: {self.tail()}")

    def tail(self) -> str:
        """The end of its log, on one line."""
        return tail(self._log.read_text(errors="replace"))

    def cpu_s(self) -> float:
        """Seconds of CPU that it and its descendants took so far, ended children included."""
        return sum(_cpu_s(pid) for pid in tree(self.pid))

    def resident_bytes(self) -> int:
        """What it and its descendants hold now; a page that several share is counted once."""
        return sum(_rollup(pid, "Pss") for pid in tree(self.pid))

    def peak_bytes(self) -> int:
        """The most that it and its descendants held since ``forget_peak``.

        Kept by the kernel for each process, so that watching costs nothing. Pages that several
        share are counted for each.
        """
        return sum(_peak(pid) for pid in tree(self.pid))

    def forget_peak(self) -> None:
        """Let the peak begin at what is held now."""
        for pid in tree(self.pid):
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        """End it and its descendants, in order if they will."""
        family = tree(self.pid)
        if self._popen.poll() is None:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_TIMEOUT_S)
        for pid in family:
            if pid != self.pid or self._popen.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._popen.wait()


def tail(text: str) -> str:
    """The end of what a process said, on one line."""
    return " ".join(text[-TAIL_CHARACTERS:].split())


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` on one core only."""
    return ["taskset", "--cpu-list", str(core), *command]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's, without proxies (all is on the loopback) and without what would configure
    a gateway.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("BANDARI_", "LITELLM_"))
    }
    return kept | dict(more)


@contextmanager
def running(
    command: Sequence[str],
    core: int,
    log: Path,
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Process]:
    """Start on that core with its output in a file, as a user redirects it; stop at the end."""
    with log.open("wb") as file:
        popen = subprocess.Popen(
            pinned(core, command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(variables or {}),
            cwd=cwd,
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tree(root: int) -> list[int]:
    """A process and its descendants, the ones that still run."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(_fields(int(entry.name))[1])
    found = [root] if root in parents else []
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def parse_cpu_ticks(fields: Sequence[str]) -> int:
    """Ticks from the fields of a ``/proc/PID/stat`` behind its name: own, and of ended children."""
    return sum(int(field) for field in fields[11:15])


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        return parse_cpu_ticks(_fields(pid)) / TICKS_PER_S
    return 0.0


def _rollup(pid: int, name: str) -> int:
    with suppress(OSError):
        return parse_kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), name)
    return 0


def _peak(pid: int) -> int:
    with suppress(OSError):
        return parse_kilobytes(Path(f"/proc/{pid}/status").read_text(), "VmHWM")
    return 0


def parse_kilobytes(text: str, name: str) -> int:
    """Bytes of the line ``name: N kB``; 0 where there is none."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
