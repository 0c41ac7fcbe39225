"""The program in the engine's child process: load the model, say so, and die with the parent.

Rule 1: it imports nothing of Bandari's, so that it starts fast. It is run as a file, and works as
``python -m bandari.adapters.engine.child`` too.
Rule 2: one JSON object comes on the first line of stdin (the key is in it: arguments are visible to
everyone); then stdin stays open, and its end means that the parent is gone.
Rule 3: stdout carries one JSON object per line, ours; whatever llama.cpp prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1
_MAX_SETTINGS_BYTES = 65_536
_POOLING_MEAN = 1  # LLAMA_POOLING_TYPE_MEAN


def main() -> None:
    report = _take_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which drains first
    settings: dict[str, Any] = json.loads(sys.stdin.buffer.readline(_MAX_SETTINGS_BYTES))
    _die_with(settings["parent_pid"])
    threading.Thread(target=_exit_at_end_of_stdin, name="parent-watch", daemon=True).start()
    try:
        import xllamacpp  # noqa: PLC0415 - after the watch is up, and its absence is a report
    except ImportError as error:
        _tell(report, {"event": "not_installed", "reason": str(error)})
        os._exit(3)
    try:
        server = xllamacpp.Server(_params(xllamacpp.CommonParams(), settings))
    except (RuntimeError, ValueError) as error:  # llama.cpp's reason is on stderr
        _tell(report, {"event": "failed", "reason": str(error)})
        os._exit(4)
    _tell(report, {"event": "ready", "address": server.listening_address})
    threading.Event().wait()  # SIGTERM ends the process by its default action


def _params(params: Any, settings: dict[str, Any]) -> Any:
    params.model.path = settings["model_path"]
    params.model_alias = {settings["model_alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_window"]
    params.kv_unified = False  # each slot has its share, whatever the others do
    params.ctx_shift = False  # an answer that fills the context ends with "length"
    params.fit_params = False  # never shrink the context behind our back
    params.cache_ram_mib = settings["prompt_cache_mib"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_threads_http = settings["http_threads"]
    params.use_jinja = True
    params.warmup = True
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.ui = False
    if settings["embeds"]:
        params.embedding = True
        # What one vector is made of is computed in one batch, or refused.
        params.n_batch = params.n_ubatch = settings["context_window"]
        if settings["pools"]:
            params.pooling_type = _POOLING_MEAN
    return params


def _take_stdout() -> int:
    """Keep stdout for ourselves; what C++ prints there goes to stderr."""
    report = os.dup(1)
    os.dup2(2, 1)
    return report


def _tell(report: int, event: dict[str, str]) -> None:
    os.write(report, json.dumps(event).encode() + b"\n")


def _die_with(parent_pid: int) -> None:
    """On Linux the kernel kills us when the parent dies, even while llama.cpp holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(2)


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
