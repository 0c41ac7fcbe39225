"""Long work tells how far it is, and ends when its caller does."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bandari.adapters.storage.long_work import CalledOff, Progress, run_long


async def test_it_reports_in_the_event_loop() -> None:
    told: list[tuple[int, int, int]] = []

    def work(report: Progress) -> str:
        report(1, 2)
        report(2, 2)
        return "done"

    result = await run_long(work, lambda *how: told.append((*how, threading.get_ident())))

    assert result == "done"
    assert told == [(1, 2, threading.get_ident()), (2, 2, threading.get_ident())]


async def test_a_failure_is_the_callers() -> None:
    def work(_: Progress) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await run_long(work, lambda _done, _total: None)


async def test_work_that_is_called_off_is_over_when_its_caller_is() -> None:
    started = asyncio.Event()
    go_on = threading.Event()
    ends: list[str] = []

    def work(report: Progress) -> None:
        try:
            report(0, 1)
            go_on.wait()
            report(1, 1)
        except CalledOff:
            ends.append("tidied up")
            raise

    caller = asyncio.create_task(run_long(work, lambda _done, _total: started.set()))
    await started.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ends == ["tidied up"]
