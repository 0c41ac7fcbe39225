"""How the benchmark has answers kept, or given again: what it asks, and of whom."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tools.bench import own_house, question, streaming_upstream
from tools.bench.cached import FORMS
from tools.bench.gateways import Running
from tools.bench.keeping import DEFAULT, KEYED, MISSES, OFF, SIZES, WAYS, WINDOW
from tools.bench.nginx import Upstreams
from tools.bench.question import STREAMED, WrongAnswer, check_streamed
from tools.bench.stream_reader import StreamFailed, Task, read
from tools.bench.streaming_upstream import AT_ONCE, HELD

from bandari.config import Settings, load

SUBJECT = Running(cast(Any, None), {"streaming": "http://127.0.0.1:1/v1"}, keys=("key",))


def settings(folder: Path, more: str) -> Settings:
    config = folder / "bench.toml"
    config.write_text(own_house.configuration(Upstreams(1, 2, 3, folder), more))
    return load(config, environ={})


def test_only_the_first_row_is_configured_otherwise(tmp_path: Path) -> None:
    kept = {name: settings(tmp_path, way.more).streams.keep for name, way in WAYS.items()}
    assert kept == dict.fromkeys(WAYS, "memory") | {OFF: "off"}


def test_every_model_that_is_asked_for_is_configured(tmp_path: Path) -> None:
    found = {model.id: model.targets[0] for model in settings(tmp_path, "").models}
    streamed = {"idle", *SIZES, *(HELD + model for model in SIZES)}
    assert all(str(found[model]) == f"streaming:{model}" for model in streamed)
    assert {str(found[form.model]) for form in FORMS.values()} == {
        "instant:instant",
        "streamed:streamed",
    }


@pytest.mark.parametrize("name", [KEYED, MISSES])
def test_what_is_to_be_one_of_a_kind_has_a_mark_and_is_another_in_every_sample(name: str) -> None:
    asked, again = (WAYS[name].task(SUBJECT, 2, 3) for _ in range(2))
    assert (asked.headers, asked.body) != (again.headers, again.body)
    assert asked.mark in asked.body + "".join(asked.headers.values())


@pytest.mark.parametrize("name", [OFF, DEFAULT, WINDOW])
def test_the_others_are_asked_alike(name: str) -> None:
    asked, again = (WAYS[name].task(SUBJECT, 2, 3) for _ in range(2))
    assert asked == again
    assert ("x-resume-window" in asked.headers) == (name == WINDOW)


def test_streamed_answers_are_judged() -> None:
    check_streamed(STREAMED.encode())
    for wrong in (STREAMED.replace(" you", " me"), STREAMED[:-20], "", '{"choices": []}'):
        with pytest.raises(WrongAnswer):
            check_streamed(wrong.encode())


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    transports = []

    class Streaming(streaming_upstream.Streaming):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)
            super().connection_made(transport)

    server = await asyncio.get_running_loop().create_server(Streaming, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{question.PATH}"
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("model", SIZES)
async def test_events_that_come_at_once_are_all_read_and_so_is_their_end(model: str) -> None:
    async with upstream() as url:
        body = question.streaming(model).decode()
        outcome = await read(Task(url, {}, body, 2, 3, events=AT_ONCE[model]))
    assert (outcome.answers, outcome.events) == (6, 6 * AT_ONCE[model])
    assert outcome.size > 200 * outcome.events


@pytest.mark.parametrize("model", ["idle", HELD + "short"])
async def test_streams_that_are_held_are_open_when_all_their_events_have_come(model: str) -> None:
    seen = []
    events = AT_ONCE[model.removeprefix(HELD)]

    async def opened() -> None:
        seen.append("open")

    async with upstream() as url:
        body = question.streaming(model).decode()
        outcome = await read(Task(url, {}, body, 2, events=events, hold=True, at_once=1), opened)
    assert (seen, outcome.events) == (["open"], 2 * events)


async def test_no_two_answers_are_asked_for_alike_where_there_is_a_mark() -> None:
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for number in range(2):
            with pytest.raises(StreamFailed):
                await read(Task(url, {"a": "x-####"}, "{}", 1 + number, mark="####"))
    assert sorted(re.findall(rb"a: (\S+)", b"".join(heads))) == [b"x-0000", b"x-0000", b"x-0001"]
