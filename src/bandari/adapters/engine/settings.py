"""What a person may choose about the engine in the box.

Values only: nothing here touches a file or a process.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

MAX_DEFAULT_THREADS = 16  # beyond that llama.cpp waits for memory, not for cores


def default_threads() -> int:
    """Cores that this process may use but one, which is the gateway's; at most 16.

    llama.cpp's threads wait for each other by spinning: where they have to share a core with
    others, an answer takes many times as long.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores - 1, MAX_DEFAULT_THREADS))


class EngineSettings(Struct, frozen=True, kw_only=True):
    """``context_window`` is what each slot gets; the engine allocates ``slots`` times as much.

    An engine that ``embeds`` makes vectors, and does not write: an input must fit into one slot.
    """

    model_path: Path
    model_alias: str = "local"
    embeds: bool = False
    slots: int = 4
    context_window: int = 8192
    threads: int = 0  # 0: as many as default_threads() says
    prompt_cache_mib: int = 256  # llama.cpp's own default is 8192
    # A request holds one of the engine's HTTP threads from start to end, also while it waits for a
    # slot; when none is free not even /health is answered. Keep open requests below this.
    http_threads: int = 1024
    check_memory: bool = True
    start_timeout_s: float = 120.0
    stop_timeout_s: float = 5.0
    health_interval_s: float = 2.0
    health_timeout_s: float = 5.0
    health_failures: int = 2  # in a row, then the child counts as hung
    restart_first_s: float = 0.2
    restart_ceiling_s: float = 10.0
    restart_reset_s: float = 30.0  # healthy for so long: the next restart is quick again
    log_lines: int = 200

    def __post_init__(self) -> None:
        bounds: tuple[tuple[str, float, float], ...] = (
            ("slots", 1, 256),
            ("context_window", 64, 1 << 24),
            ("threads", 0, 512),
            ("prompt_cache_mib", 0, 1 << 20),
            ("http_threads", self.slots + 8, 4096),
            ("start_timeout_s", 0.1, 86_400),
            ("stop_timeout_s", 0.1, 600),
            ("health_interval_s", 0.01, 600),
            ("health_timeout_s", 0.01, 600),
            ("health_failures", 1, 100),
            ("restart_first_s", 0.001, 600),
            ("restart_ceiling_s", self.restart_first_s, 86_400),
            ("restart_reset_s", 0, 86_400),
            ("log_lines", 1, 100_000),
        )
        for name, least, most in bounds:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"engine.{name} is {value}, must be {least} to {most}")
        if not self.model_alias:
            raise ValueError("engine.model_alias is empty")

    @property
    def threads_used(self) -> int:
        return self.threads or default_threads()
