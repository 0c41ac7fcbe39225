"""The wall clock of one process, set while it runs: played by ``stepped_clock.c``."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from tests.support.preloaded import compiled_library

_CONTROL = struct.Struct("=q")


class SteppedClock:
    """Give the process ``variables``, then say how far from the truth its wall clock is."""

    def __init__(self, directory: Path) -> None:
        library = compiled_library(Path(__file__).with_suffix(".c"), directory)
        control = directory / "clock"
        control.write_bytes(_CONTROL.pack(0))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _CONTROL.size)
        self.variables = {"LD_PRELOAD": str(library), "STEPPED_CLOCK_CONTROL": str(control)}

    def be_ahead(self, seconds: int) -> None:
        """From now on; negative: behind."""
        _CONTROL.pack_into(self._control, 0, seconds * 10**9)
