"""Trouble with the disk under one directory of one process, played by ``starved_disk.c``.

The library is preloaded into the process and stands between it and libc, so SQLite meets what it
would meet on a real disk: a sync that takes seconds, a file system that became read-only or full.
"""

from __future__ import annotations

import mmap
import struct
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
_CONTROL = struct.Struct("=4i")


class Trouble(IntEnum):
    WELL = 0
    SLOW = 1
    READ_ONLY = 2
    FULL = 3
    SYNC_FAILS = 4


class StarvedDisk:
    """The control of one process: give it ``variables``, then say what is wrong."""

    def __init__(self, library: Path, control: Path, directory: Path) -> None:
        control.write_bytes(_CONTROL.pack(Trouble.WELL, 0, 0, 0))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _CONTROL.size)
        self.variables = {
            "LD_PRELOAD": str(library),
            "STARVED_DISK_CONTROL": str(control),
            "STARVED_DISK_PREFIX": f"{directory}/bandari.db",
        }

    def become(self, trouble: Trouble, sync_ms: int = 0) -> None:
        """From now on. A sync that is slow at the moment ends when the trouble does."""
        struct.pack_into("=i", self._control, 4, sync_ms)
        struct.pack_into("=i", self._control, 0, trouble)

    @property
    def slowed(self) -> int:
        """How many syncs have been slowed, or are at the moment."""
        return int(_CONTROL.unpack(self._control)[2])

    @property
    def failed(self) -> int:
        """How many calls have failed."""
        return int(_CONTROL.unpack(self._control)[3])
