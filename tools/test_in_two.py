"""Runs all tests in two processes side by side: those of a whole server mostly wait for it, so that
two cores do both in the time of one. What the second says is told when the first has ended.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import IO, Final

SECOND: Final = "tests/acceptance"

_PYTEST: Final = (sys.executable, "-m", "pytest")


def main() -> int:
    """The exit status: that of the first that failed, else 0."""
    with tempfile.TemporaryFile() as said:
        second = _second(said)
        try:
            statuses = [subprocess.run((*_PYTEST, f"--ignore={SECOND}"), check=False).returncode]
            print(f"\n{SECOND}, which ran meanwhile:", flush=True)
            statuses.append(second.wait())
        except KeyboardInterrupt:
            # The terminal has told both; they end their servers and databases.
            second.wait()
            statuses = [130]
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        return next((status for status in statuses if status), 0)


def _second(said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (*_PYTEST, "-o", f"cache_dir=.pytest_cache/{SECOND}", SECOND),
        stdout=said,
        stderr=subprocess.STDOUT,
    )


if __name__ == "__main__":
    sys.exit(main())
