"""C libraries of the tests, compiled to stand between a process and libc (``LD_PRELOAD``)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def compiled_library(source: Path, directory: Path) -> Path:
    """The library, compiled into a directory; without a compiler the test is skipped."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed (gcc)")
    library = directory / f"{source.stem}.so"
    subprocess.run(
        [
            *(compiler, "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"),
            *("-o", str(library), str(source), "-ldl"),
        ],
        check=True,
    )
    return library
