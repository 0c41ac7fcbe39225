"""What the figures were measured on: a few lines for the head of the table."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from tools.bench import cores
from tools.bench.cores import Cores
from tools.bench.gateways import GATEWAYS

_LOOK_S = 2.0


def describe(chosen: Cores, folder: Path) -> dict[str, str]:
    """By name, in the order in which they are shown."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "cores": _cores(chosen),
        "disk": _disk(folder),
        "busy before": _busy(),
        "versions": ", ".join(_versions()),
    }


def is_in_memory(folder: Path) -> bool:
    """Whether files there are never written to a disk, so that fsync costs nothing."""
    return _mount(folder)[1] in ("tmpfs", "ramfs")


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _busy() -> str:
    """What others have of the cores while nothing of ours runs."""
    before = cores.times()
    time.sleep(_LOOK_S)
    after = cores.times()
    shares = (
        f"core {core}: {cores.busy_share(before[core], after[core]):.0%}" for core in sorted(before)
    )
    return ", ".join(shares)


def _cores(chosen: Cores) -> str:
    if chosen.shared:
        return "only one: gateway, load and upstreams share it, so that only CPU times compare"
    return f"gateways on {chosen.gateway}; load and upstreams on {chosen.load}"


def _mount(folder: Path) -> tuple[str, str]:
    """The device and the file system's type of the mount that has this directory."""
    best = ("/", "unknown", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, point, kind = line.split()[:3]
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, device, kind)
    return best[1], best[2]


def _disk(folder: Path) -> str:
    device, kind = _mount(folder)
    warning = " (in memory: fsync costs nothing there)" if is_in_memory(folder) else ""
    return f"{kind} on {device}{warning}"


def _versions() -> list[str]:
    said = [f"Python {platform.python_version()}"]
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    said.append(" ".join(wrk.split()[:2]))
    for row in GATEWAYS.values():
        version = row.version()
        if version:
            said.append(version if version.startswith(row.name) else f"{row.name} {version}")
    return said
