"""Start, watch, restart and stop the engine in the box.

Rule 1: one task owns the child; everyone else reads ``status`` or waits for it to change.
Rule 2: a model that cannot be loaded is not tried again; a child that was ready and ended is.
Rule 3: it does not know what requests are. They go to ``base_url``, which changes at a restart.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import assert_never

from bandari.adapters.engine.backoff import Backoff
from bandari.adapters.engine.errors import (
    EngineCrashed,
    EngineError,
    EngineStartTimeout,
    EngineStopped,
    ModelTooBig,
)
from bandari.adapters.engine.health import answers
from bandari.adapters.engine.memory import available_bytes, check_fits
from bandari.adapters.engine.model_file import check_magic, read_facts
from bandari.adapters.engine.process import ChildProcess
from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.status import (
    Failed,
    Ready,
    Restarting,
    Starting,
    Status,
    Stopped,
)
from bandari.domain.faults import UpstreamNotReady, UpstreamUnreachable

_log = logging.getLogger(__name__)

# At a restart these may pass by themselves; any other error of a start is for a person.
_PASSING = (EngineCrashed, EngineStartTimeout, ModelTooBig)


class EngineSupervisor:
    """The engine as an upstream: ``start``, then ``base_url`` and ``api_key``, in the end ``stop``.

    All of it on one event loop, whose thread must live as long as the engine. ``on_state_change``
    is called on that loop, soon after each change, with the new status.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        on_state_change: Callable[[Status], None] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._on_state_change = on_state_change
        self._monotonic_s = monotonic_s
        self._now_ms = now_ms
        self._status: Status = Stopped()
        self._changed = asyncio.Event()
        self._error: EngineError | None = None
        self._owner: asyncio.Task[None] | None = None
        self._child: ChildProcess | None = None
        self._api_key = ""
        self._context_window = settings.context_window

    @property
    def status(self) -> Status:
        return self._status

    @property
    def base_url(self) -> str:
        """Where a ready engine answers now (``http://127.0.0.1:PORT/v1``).

        Raises ``UpstreamNotReady`` or, when it will not come back, ``UpstreamUnreachable``: the old
        address is never told, since another program may listen there by then.
        """
        match self._status:
            case Ready(base_url):
                return base_url
            case Starting() | Restarting():
                raise UpstreamNotReady
            case Failed() | Stopped():
                raise UpstreamUnreachable
            case never:
                assert_never(never)

    @property
    def api_key(self) -> str:
        """The key that the engine accepts: new at each ``start``, the same across restarts."""
        return self._api_key

    @property
    def context_window(self) -> int:
        """Tokens per slot: what was asked for, at most what the model was trained for."""
        return self._context_window

    @property
    def pid(self) -> int | None:
        """The process that serves now."""
        if self._child is None or not isinstance(self._status, Ready):
            return None
        return self._child.pid

    @property
    def recent_log(self) -> tuple[str, ...]:
        """llama.cpp's last lines. They may quote requests: for a person's eyes, not for the log."""
        return () if self._child is None else self._child.log

    async def start(self) -> None:
        """Load the model. Returns when it is ready, raises an ``EngineError`` that says why not."""
        if self._owner is not None:
            raise RuntimeError("the engine is started already")
        self._error = None
        self._api_key = secrets.token_urlsafe(32)
        self._set(Starting())
        self._owner = asyncio.create_task(self._own(), name="engine-supervisor")
        try:
            await self._settled()
        except EngineError:
            self._owner = None  # it has ended: another start may be tried
            raise
        except UpstreamUnreachable:
            raise EngineStopped from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the engine and wait until it is gone. Requests in flight fail: drain first."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.cancel()
            await asyncio.wait({owner})
        if self._child is not None:
            await self._child.end()
        if not isinstance(self._status, Stopped):
            self._set(Stopped())

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when requests can be served; raise ``UpstreamNotReady`` when that takes too long.

        Raises the ``EngineError`` if the engine failed, ``UpstreamUnreachable`` if it is stopped.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled()
        except TimeoutError:
            raise UpstreamNotReady from None

    async def _settled(self) -> None:
        while True:
            match self._status:
                case Ready():
                    return
                case Failed(reason):
                    raise self._error or EngineError(reason)
                case Stopped():
                    raise UpstreamUnreachable("the engine is stopped")
                case Starting() | Restarting():
                    await self._changed.wait()
                case never:
                    assert_never(never)

    def _set(self, status: Status) -> None:
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()
        if self._on_state_change is not None:
            # Not called directly: what it raises is the loop's to report, not ours to die of.
            asyncio.get_running_loop().call_soon(self._on_state_change, status)

    def _fail(self, error: EngineError) -> None:
        self._error = error
        self._set(Failed(str(error)))

    async def _own(self) -> None:
        """The one task that launches, watches and launches again, until cancelled or failed."""
        backoff = Backoff(
            first_s=self._settings.restart_first_s,
            ceiling_s=self._settings.restart_ceiling_s,
            reset_s=self._settings.restart_reset_s,
        )
        try:
            child = await self._launch()
            while True:
                ready_since_s = self._monotonic_s()
                last_error = await self._until_dead(child)
                uptime_s = self._monotonic_s() - ready_since_s
                child = await self._relaunch(backoff, uptime_s, last_error)
        except EngineError as error:
            _log.error("the engine has failed: %s", error)
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the edge: nobody awaits this task
            _log.exception("the engine's supervisor has failed")
            self._fail(EngineError(f"the engine's supervisor has failed: {error!r}"))

    async def _relaunch(self, backoff: Backoff, uptime_s: float, last_error: str) -> ChildProcess:
        since_ms = self._now_ms()
        attempts = 0
        while True:
            attempts += 1
            self._set(Restarting(since_ms, attempts, last_error))
            delay_s = backoff.after(uptime_s)
            _log.warning("the engine ended: %s; start %d in %.1f s", last_error, attempts, delay_s)
            await asyncio.sleep(delay_s)
            try:
                return await self._launch()
            except _PASSING as error:
                last_error, uptime_s = str(error), 0.0

    async def _launch(self) -> ChildProcess:
        self._context_window, pools = await asyncio.to_thread(_check, self._settings)
        child = await ChildProcess.spawn(
            self._settings, self._context_window, self._api_key, pools=pools
        )
        self._child = child
        try:
            await child.ready(self._settings.start_timeout_s)
        except BaseException:
            await child.kill()
            raise
        host, port = child.address
        self._set(Ready(f"http://{host}:{port}/v1"))
        return child

    async def _until_dead(self, child: ChildProcess) -> str:
        """Why the child is no more: it ended, or hung and was killed."""
        settings = self._settings
        exited = asyncio.create_task(child.exited(), name="engine-exit")
        try:
            silent = 0
            while silent < settings.health_failures:
                done, _ = await asyncio.wait({exited}, timeout=settings.health_interval_s)
                if done:
                    return exited.result()
                alive = await answers(*child.address, settings.health_timeout_s)
                silent = 0 if alive else silent + 1
            if exited.done():
                return exited.result()
            await child.kill()
            return f"hung (no answer from /health within {settings.health_timeout_s:g} s)"
        finally:
            exited.cancel()


def _check(settings: EngineSettings) -> tuple[int, bool]:
    """Refuse what cannot work before a process is spent on it.

    Returns the context per slot, and whether vectors have to be pooled for want of another word.
    """
    check_magic(settings.model_path)
    facts = read_facts(settings.model_path)
    if facts is None:  # llama.cpp will say what is wrong with it
        return settings.context_window, False
    context_window = min(settings.context_window, facts.context_length)
    if settings.check_memory:
        check_fits(facts, context_window, settings.slots, available_bytes())
    return context_window, settings.embeds and not facts.says_pooling
