"""One life of one child process: spawn it, hear that it is ready, notice its end, end it.

It must not know what comes before or after: whether to start again is the supervisor's question.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from bandari.adapters.engine.errors import (
    EngineCrashed,
    EngineNotInstalled,
    EngineStartTimeout,
    ModelNotLoaded,
)
from bandari.adapters.engine.log_tail import LogTail
from bandari.adapters.engine.settings import EngineSettings

_PROGRAM = Path(__file__).with_name("child.py")
_READ_BYTES = 65_536
# The child gets no secrets of ours: only what the interpreter and the number crunching need.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
_ENVIRONMENT_PREFIXES = ("PYTHON", "LD_", "DYLD_", "GGML_", "OMP_", "CUDA_", "HIP_", "ROCR_", "VK_")


class _Report(msgspec.Struct):
    event: Literal["ready", "failed", "not_installed"]
    address: str = ""
    reason: str = ""


class ChildProcess:
    """Made by ``spawn``. Whoever has one calls ``end`` or ``kill``, whatever happened before."""

    def __init__(self, process: Process, settings: EngineSettings) -> None:
        self._process = process
        self._settings = settings
        self._log = LogTail(settings.log_lines)
        self._log_reader = asyncio.create_task(self._read_log(), name="engine-log")
        self.address: tuple[str, int] = ("", 0)

    @classmethod
    async def spawn(
        cls, settings: EngineSettings, context_window: int, api_key: str, *, pools: bool = False
    ) -> ChildProcess:
        """Start the program and hand it its settings. Raises ``EngineCrashed`` if that fails.

        ``pools``: a vector is the mean of its tokens', because the model does not say otherwise.
        On Linux the child dies with the thread that runs the event loop, not only with the process.
        """
        orders = {
            "parent_pid": os.getpid(),
            "api_key": api_key,
            "model_path": os.fspath(settings.model_path),
            "model_alias": settings.model_alias,
            "slots": settings.slots,
            "context_window": context_window,
            "threads": settings.threads_used,
            "http_threads": settings.http_threads,
            "prompt_cache_mib": settings.prompt_cache_mib,
            "embeds": settings.embeds,
            "pools": pools,
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a json.py in the working directory is not ours
                os.fspath(_PROGRAM),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal reaches the parent only
            )
        except OSError as error:
            raise EngineCrashed(f"the engine's process cannot be started: {error}") from error
        child = cls(process, settings)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> tuple[str, ...]:
        return self._log.lines

    async def ready(self, timeout_s: float) -> None:
        """Return once the model is loaded and ``address`` is known, or raise an ``EngineError``."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise EngineStartTimeout(
                f"the engine did not load {self._settings.model_path} within {timeout_s:g} s:"
                " raise the start timeout, or use a smaller model"
            ) from None
        if not line:
            raise EngineCrashed(
                f"the engine ended while it loaded the model: {await self.exited()}"
            )
        try:
            report = msgspec.json.decode(line, type=_Report)
        except msgspec.MsgspecError as error:
            raise EngineCrashed(f"the engine's report cannot be read: {error}") from error
        if report.event == "not_installed":
            said = " ".join((EngineNotInstalled.__doc__ or "").split())
            raise EngineNotInstalled(f"{said} ({report.reason})")
        if report.event == "failed":
            await self.exited()
            reason = self._log.reason() or report.reason
            raise ModelNotLoaded(
                f"the engine cannot load {self._settings.model_path}: {reason}"
                " (if the file is damaged or incomplete, download it again)"
            )
        url = urlsplit(report.address)
        assert url.hostname is not None
        assert url.port is not None
        self.address = (url.hostname, url.port)

    async def exited(self) -> str:
        """Wait for the process to end, and say how it did."""
        code = await self._process.wait()
        await self._log_ended()
        if code >= 0:
            return f"exit status {code}"
        if code == -signal.SIGKILL:
            return "killed by SIGKILL (out of memory?)"
        return f"killed by {signal.Signals(-code).name}"

    async def end(self) -> None:
        """Ask the process to end, kill it if it does not in time, and leave nothing behind."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._settings.stop_timeout_s)
        finally:  # also when we are cancelled while waiting
            self._send_kill()
        await self.kill()

    async def kill(self) -> None:
        """End the process now. Returns when it is gone; harmless if it already is."""
        self._send_kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._log_ended()

    def _send_kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _log_ended(self) -> None:
        # With a limit: whoever inherited the pipe could hold it open.
        await asyncio.wait({self._log_reader}, timeout=self._settings.stop_timeout_s)

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(_READ_BYTES):
            self._log.feed(data)
        self._log.close()


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
