"""Whether a model fits into memory.

Asked before it is loaded: afterwards the kernel answers, and it kills.
"""

from __future__ import annotations

import os
from pathlib import Path

from bandari.adapters.engine.errors import ModelTooBig
from bandari.adapters.engine.model_file import ModelFacts

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
_GIB = 1 << 30


def needed_bytes(facts: ModelFacts, context_window: int, slots: int) -> int:
    """A lower bound: the weights, and the key-value cache of every slot."""
    return facts.file_bytes + slots * facts.kv_bytes(context_window)


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """What can still be used without swapping, within this container's limit; None if unknown."""
    candidates = [
        each for each in (_from_meminfo(meminfo), _from_cgroup(cgroup)) if each is not None
    ]
    return min(candidates) if candidates else _from_sysconf()


def check_fits(facts: ModelFacts, context_window: int, slots: int, available: int | None) -> None:
    """Raise ``ModelTooBig`` with both numbers if the model cannot fit."""
    needed = needed_bytes(facts, context_window, slots)
    if available is None or needed <= available:
        return
    cache = needed - facts.file_bytes
    raise ModelTooBig(
        f"the model needs {_gib(needed)} of memory ({_gib(facts.file_bytes)} weights +"
        f" {_gib(cache)} for {slots} slots of {context_window} tokens) but {_gib(available)} is"
        " available: use a smaller model or quantisation, fewer slots or a smaller context window"
    )


def _gib(count: int) -> str:
    return f"{count / _GIB:.2f} GiB"


def _from_meminfo(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _from_cgroup(root: Path) -> int | None:
    """Cgroup v2: the limit, less what is used and cannot be dropped."""
    try:
        limit = int((root / "memory.max").read_text())  # "max" is no limit: ValueError
        used = int((root / "memory.current").read_text())
        for line in (root / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                used -= int(line.split()[1])
        return max(0, limit - used)
    except (OSError, ValueError, IndexError):
        return None


def _from_sysconf() -> int | None:
    """Physical memory, where the platform tells: an upper bound of what is available."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
