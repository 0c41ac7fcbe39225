"""The engine in the box as real processes: it starts, answers, dies, comes back, and is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.integration.engine.conftest import DEADLINE_S, Engine, alive, eventually

from bandari.adapters.engine.errors import (
    EngineCrashed,
    EngineStartTimeout,
    EngineStopped,
    ModelFileMissing,
    ModelNotLoaded,
    ModelTooBig,
    NotAModelFile,
)
from bandari.adapters.engine.memory import available_bytes
from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.status import Failed, Ready, Restarting, Starting, Stopped
from bandari.domain.faults import UpstreamNotReady, UpstreamUnreachable

pytestmark = pytest.mark.engine

MakeEngine = Callable[[EngineSettings], Engine]


def of_process(pid: int, what: str) -> str:
    path = Path(f"/proc/{pid}/{what}")
    if not path.exists():
        pytest.skip(f"no {path}: this platform does not show a process's {what}")
    return path.read_bytes().decode(errors="replace")


async def test_it_starts_and_answers(engine_in_box: Engine) -> None:
    status, answer = await engine_in_box.chat(max_tokens=3)
    assert status == 200
    assert answer["usage"]["completion_tokens"] <= 3
    assert answer["model"] == "local"
    assert engine_in_box.states.seen == [
        Starting(),
        Ready(engine_in_box.supervisor.base_url),
    ]


async def test_each_slot_has_its_whole_context(engine_in_box: Engine) -> None:
    _, slots = await engine_in_box.get("/slots")
    assert [slot["n_ctx"] for slot in slots] == [engine_in_box.supervisor.context_window] * 2


async def test_the_context_is_not_larger_than_the_model_knows(
    model_path: Path, engines: MakeEngine
) -> None:
    engine = engines(EngineSettings(model_path=model_path, slots=1, context_window=1 << 20))
    await engine.supervisor.start()
    _, slots = await engine.get("/slots")
    assert slots[0]["n_ctx"] == engine.supervisor.context_window < 1 << 20


async def test_slots_work_at_the_same_time(engine_in_box: Engine) -> None:
    streams = [await engine_in_box.stream() for _ in range(2)]

    async def both() -> bool:
        return await engine_in_box.busy_slots() == 2

    await eventually(both, "two slots are busy")
    for stream in streams:
        stream.close()


async def test_closing_a_stream_frees_its_slot(engine_in_box: Engine) -> None:
    stream = await engine_in_box.stream()

    async def busy() -> bool:
        return await engine_in_box.busy_slots() == 1

    async def idle() -> bool:
        return await engine_in_box.busy_slots() == 0

    await eventually(busy, "the slot is busy")
    stream.close()
    await eventually(idle, "the slot is free")
    _, slots = await engine_in_box.get("/slots")
    used = next(slot for slot in slots if "next_token" in slot)
    assert used["next_token"][0]["n_decoded"] < engine_in_box.supervisor.context_window - 200


async def test_many_open_requests_do_not_silence_it(engine_in_box: Engine) -> None:
    # With llama.cpp's default of HTTP threads 20 are enough to starve /health.
    writers = [await engine_in_box.send_stream() for _ in range(60)]

    async def queued() -> bool:
        return await engine_in_box.metric("requests_deferred") == 58

    await eventually(queued, "two are served and all others wait")
    assert await engine_in_box.get("/health") == (200, {"status": "ok"})
    for writer in writers:
        writer.close()

    async def idle() -> bool:
        return await engine_in_box.metric("requests_processing") == 0

    await eventually(idle, "nobody is served, since nobody listens")


async def test_the_key_is_needed_and_not_visible(engine_in_box: Engine) -> None:
    key = engine_in_box.supervisor.api_key
    assert len(key) >= 32
    status, _ = await engine_in_box.get("/slots", headers={})
    assert status == 401
    assert key not in of_process(engine_in_box.pid, "cmdline")
    assert key not in of_process(engine_in_box.pid, "environ")


async def test_our_secrets_are_not_handed_down(
    model_path: Path, engines: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANDARI_ADMIN_KEY", "a-secret-of-ours")
    engine = engines(EngineSettings(model_path=model_path, slots=1, context_window=512))
    await engine.supervisor.start()
    assert "a-secret-of-ours" not in of_process(engine.pid, "environ")


async def test_it_listens_on_loopback_only_and_in_its_own_session(engine_in_box: Engine) -> None:
    url = urlsplit(engine_in_box.supervisor.base_url)
    assert url.hostname == "127.0.0.1"
    with socket.socket() as other:
        other.settimeout(DEADLINE_S)
        assert other.connect_ex(("127.0.0.2", url.port or 0)) != 0
    assert os.getsid(engine_in_box.pid) == engine_in_box.pid != os.getsid(0)


async def test_a_killed_child_is_restarted_and_answers_again(engine_in_box: Engine) -> None:
    supervisor = engine_in_box.supervisor
    key = supervisor.api_key
    await engine_in_box.states.until(Ready)
    stream = await engine_in_box.stream()
    killed = engine_in_box.pid
    os.kill(killed, signal.SIGKILL)

    restarting = await engine_in_box.states.until(Restarting)
    assert restarting.attempts == 1
    assert "SIGKILL" in restarting.last_error
    assert restarting.since_ms > 1_600_000_000_000
    with pytest.raises(UpstreamNotReady):
        _ = supervisor.base_url
    assert supervisor.pid is None
    assert b"[DONE]" not in await stream.rest()
    stream.close()

    await supervisor.wait_ready(DEADLINE_S)
    assert engine_in_box.pid != killed
    assert supervisor.api_key == key
    assert (await engine_in_box.chat(max_tokens=1))[0] == 200


async def test_a_crash_is_noticed_without_waiting_for_a_poll(
    model_path: Path, engines: MakeEngine
) -> None:
    engine = engines(
        EngineSettings(
            model_path=model_path, slots=1, context_window=512, health_interval_s=10 * DEADLINE_S
        )
    )
    await engine.supervisor.start()
    os.kill(engine.pid, signal.SIGSEGV)
    restarting = await engine.states.until(Restarting)
    assert "SIGSEGV" in restarting.last_error


async def test_a_hung_child_is_killed_and_restarted(model_path: Path, engines: MakeEngine) -> None:
    engine = engines(
        EngineSettings(
            model_path=model_path,
            slots=1,
            context_window=512,
            health_interval_s=0.05,
            health_timeout_s=0.5,
        )
    )
    await engine.supervisor.start()
    hung = engine.pid
    os.kill(hung, signal.SIGSTOP)
    restarting = await engine.states.until(Restarting)
    assert "hung" in restarting.last_error
    assert not alive(hung)
    await engine.supervisor.wait_ready(DEADLINE_S)
    assert (await engine.chat(max_tokens=1))[0] == 200


async def test_a_model_damaged_while_it_runs_is_not_tried_for_ever(
    model_path: Path, engines: MakeEngine, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copy(model_path, copy)
    engine = engines(EngineSettings(model_path=copy, slots=1, context_window=512))
    await engine.supervisor.start()
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(copy.read_bytes()[:-1000])
    damaged.replace(copy)  # the running one keeps its file
    os.kill(engine.pid, signal.SIGKILL)
    failed = await engine.states.until(Failed)
    assert "corrupted or incomplete" in failed.reason
    with pytest.raises(UpstreamUnreachable):
        _ = engine.supervisor.base_url
    with pytest.raises(ModelNotLoaded):
        await engine.supervisor.wait_ready(DEADLINE_S)


@pytest.mark.usefixtures("open_files")
async def test_stop_leaves_nothing_behind(model_path: Path, engines: MakeEngine) -> None:
    engine = engines(EngineSettings(model_path=model_path, slots=1, context_window=512))
    await engine.supervisor.start()
    pid, url = engine.pid, urlsplit(engine.supervisor.base_url)
    await engine.supervisor.stop()
    assert engine.supervisor.status == Stopped()
    with pytest.raises(ProcessLookupError):  # gone, and waited for
        os.kill(pid, 0)
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", url.port or 0)) != 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(UpstreamUnreachable):
        _ = engine.supervisor.base_url
    await engine.supervisor.stop()  # again is harmless


async def test_it_can_be_started_again_with_a_new_key(engine_in_box: Engine) -> None:
    key = engine_in_box.supervisor.api_key
    with pytest.raises(RuntimeError, match="started already"):
        await engine_in_box.supervisor.start()
    await engine_in_box.supervisor.stop()
    await engine_in_box.supervisor.start()
    assert engine_in_box.supervisor.api_key != key
    assert (await engine_in_box.chat(max_tokens=1))[0] == 200


async def test_stop_during_the_start_ends_both(model_path: Path, engines: MakeEngine) -> None:
    engine = engines(EngineSettings(model_path=model_path, slots=1, context_window=512))
    starting = asyncio.create_task(engine.supervisor.start())
    await engine.states.until(Starting)
    await engine.supervisor.stop()
    with pytest.raises(EngineStopped):
        await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_start_leaves_no_process(model_path: Path, engines: MakeEngine) -> None:
    engine = engines(EngineSettings(model_path=model_path, slots=1, context_window=512))
    starting = asyncio.create_task(engine.supervisor.start())
    await engine.states.until(Starting)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert engine.supervisor.status == Stopped()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_waiting_for_readiness_has_a_limit(model_path: Path, engines: MakeEngine) -> None:
    engine = engines(
        EngineSettings(
            model_path=model_path,
            restart_first_s=DEADLINE_S * 2,
            restart_ceiling_s=DEADLINE_S * 2,
            slots=1,
            context_window=512,
        )
    )
    with pytest.raises(UpstreamUnreachable):
        await engine.supervisor.wait_ready(1)
    await engine.supervisor.start()
    await engine.supervisor.wait_ready(1)
    os.kill(engine.pid, signal.SIGKILL)
    await engine.states.until(Restarting)
    with pytest.raises(UpstreamNotReady):
        await engine.supervisor.wait_ready(0.01)


async def test_a_start_that_takes_too_long_is_given_up(
    model_path: Path, engines: MakeEngine
) -> None:
    engine = engines(EngineSettings(model_path=model_path, start_timeout_s=0.1, http_threads=4096))
    with pytest.raises(EngineStartTimeout, match=r"within 0\.1 s"):
        await engine.supervisor.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_missing_model(engines: MakeEngine, tmp_path: Path) -> None:
    engine = engines(EngineSettings(model_path=tmp_path / "none.gguf"))
    with pytest.raises(ModelFileMissing, match="does not exist"):
        await engine.supervisor.start()
    assert isinstance(engine.supervisor.status, Failed)


async def test_not_a_model(engines: MakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<!doctype html>")
    with pytest.raises(NotAModelFile, match="not a GGUF model"):
        await engines(EngineSettings(model_path=path)).supervisor.start()


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.999])
async def test_a_truncated_model(
    model_path: Path, engines: MakeEngine, tmp_path: Path, kept: float
) -> None:
    path = tmp_path / "cut.gguf"
    shutil.copy(model_path, path)
    os.truncate(path, max(24, int(path.stat().st_size * kept)))
    engine = engines(EngineSettings(model_path=path, slots=1, context_window=512))
    with pytest.raises(ModelNotLoaded) as caught:
        await engine.supervisor.start()
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "check the input params" not in message  # the reason, not xllamacpp's shrug
    assert engine.supervisor.status == Failed(message)
    await engine.states.until(Failed)
    assert [type(each) for each in engine.states.seen] == [Starting, Failed]


async def test_a_model_too_big_for_memory_is_refused_before_it_is_loaded(
    model_path: Path, engines: MakeEngine, tmp_path: Path
) -> None:
    available = available_bytes()
    if available is None:
        pytest.skip("this platform does not tell how much memory there is")
    path = tmp_path / "huge.gguf"
    shutil.copy(model_path, path)
    os.truncate(path, 2 * available)  # sparse
    engine = engines(EngineSettings(model_path=path))
    with pytest.raises(ModelTooBig, match=r"needs [\d.]+ GiB .* but [\d.]+ GiB is available"):
        await engine.supervisor.start()
    assert engine.supervisor.recent_log == ()  # no process was started


async def test_an_interpreter_that_cannot_be_run(
    model_path: Path, engines: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    engine = engines(EngineSettings(model_path=model_path, slots=1, context_window=512))
    with pytest.raises(EngineCrashed, match="cannot be started"):
        await engine.supervisor.start()
