"""Several choices from an upstream that gives fewer per call."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, counted, finish, text, usage

from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    InputCounted,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import UpstreamInterrupted, UpstreamUnreachable
from bandari.domain.usage import Usage
from bandari.service import fan_out
from bandari.service.fan_out import MAX_CALLS_AT_ONCE


@pytest.fixture(autouse=True)
async def _no_task_left_behind():
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


def choices_of(*scripts: Script, at_once: int = 1, **options) -> ScriptedUpstream:
    return ScriptedUpstream(*scripts, max_choices=at_once, **options)


async def everything(upstream, request) -> list:
    events = []
    async with fan_out.generate(upstream, request, "m") as batches:
        async for batch in batches:
            assert batch, "an empty batch says nothing"
            events.extend(batch)
    return events


async def test_an_upstream_that_gives_enough_is_asked_once():
    upstream = choices_of(Script(text("a"), text("b", 1), usage(9, 2)), at_once=2)
    assert await everything(upstream, a_request(n=2)) == [text("a"), text("b", 1), usage(9, 2)]
    assert [call.request.sampling.n for call in upstream.calls] == [2]


async def test_its_refusal_is_raised_on_entering():
    upstream = ScriptedUpstream(Script(entering=[UpstreamUnreachable()]))
    with pytest.raises(UpstreamUnreachable):
        async with fan_out.generate(upstream, a_request(), "m"):
            raise AssertionError("not entered")


async def test_choices_and_their_counts_are_renumbered():
    upstream = choices_of(
        *(
            Script(
                [text(f"{word}"), counted(1, prompt=9)],
                ToolCallDelta(0, 4, "{}"),
                finish(),
            )
            for word in "abc"
        )
    )
    events = await everything(upstream, a_request(n=3))
    of_choice = {n: [event for event in events if event.choice == n] for n in range(3)}
    assert sum(len(some) for some in of_choice.values()) == len(events)
    for choice, word in enumerate("abc"):
        assert of_choice[choice] == [
            TextDelta(choice, word),
            Counted(choice, 9, 0, 1),
            ToolCallDelta(choice, 4, "{}"),
            finish(choice=choice),
        ]


async def test_of_prompts_that_were_counted_early_the_first_calls_is_told():
    scripts = [Script([InputCounted(10 + call), text(f"{call}")]) for call in range(3)]
    events = await everything(choices_of(*scripts), a_request(n=3))
    assert [event for event in events if isinstance(event, InputCounted)] == [InputCounted(10)]
    assert len(events) == 4


async def test_calls_that_give_several_choices_are_numbered_on():
    scripts = [Script(text("a"), text("b", 1)), Script(text("c"), text("d", 1)), Script(text("e"))]
    upstream = choices_of(*scripts, at_once=2)
    events = await everything(upstream, a_request(n=5))
    assert {event.choice: event.text for event in events} == dict(enumerate("abcde"))
    assert [call.request.sampling.n for call in upstream.calls] == [2, 2, 1]


async def test_the_prompt_counts_once_and_outputs_add_up():
    upstream = choices_of(
        Script(text("a"), UsageReported(Usage(10, 3, cached_tokens=4, reasoning_tokens=1))),
        Script(text("b"), usage(10, 1), usage(10, 5)),
        Script(text("c"), UsageReported(Usage(11, 7, cached_tokens=10, reasoning_tokens=2))),
    )
    events = await everything(upstream, a_request(n=3))
    reports = [event for event in events if isinstance(event, UsageReported)]
    assert reports == [UsageReported(Usage(11, 15, cached_tokens=4, reasoning_tokens=3))]
    assert events[-1] is reports[0]


async def test_a_call_without_usage_leaves_the_sum_unsaid():
    upstream = choices_of(Script(text("a"), usage(10, 3)), Script(text("b")))
    events = await everything(upstream, a_request(n=2))
    assert {type(event) for event in events} == {TextDelta}


async def test_seeds_differ_so_that_choices_do():
    request = a_request(n=3)
    seeded = replace(request, sampling=replace(request.sampling, seed=40))
    upstream = choices_of()
    await everything(upstream, seeded)
    assert [call.request.sampling.seed for call in upstream.calls] == [40, 41, 42]
    await everything(upstream, request)
    assert [call.request.sampling.seed for call in upstream.calls[3:]] == [None] * 3


async def test_only_so_many_calls_run_at_once():
    gate = Gate()
    upstream = choices_of(Script(gate, text("a"), finish()))
    answered = asyncio.create_task(everything(upstream, a_request(n=20)))
    await until_idle()
    assert len(upstream.calls) == upstream.open_calls == MAX_CALLS_AT_ONCE
    gate.open()
    events = await answered
    assert len([event for event in events if isinstance(event, ChoiceFinished)]) == 20
    assert upstream.most_open_calls == MAX_CALLS_AT_ONCE
    assert upstream.open_calls == 0


async def test_a_slow_reader_holds_calls_up_and_loses_nothing():
    upstream = choices_of(Script(*(text("x") for _ in range(200))))
    async with fan_out.generate(upstream, a_request(n=2), "m") as batches:
        first = await anext(batches)
        await until_idle()
        assert not any(call.played_to_end for call in upstream.calls)
        rest = [batch async for batch in batches]
    assert len([first, *rest]) == 400


@pytest.mark.parametrize(
    "script",
    [
        Script(entering=[UpstreamUnreachable("b")]),
        Script(text("b"), UpstreamInterrupted("b")),
    ],
)
async def test_a_call_that_fails_ends_them_all(script):
    waiting = Gate()
    upstream = choices_of(Script(text("a"), waiting), script, Script(waiting))
    with pytest.raises((UpstreamUnreachable, UpstreamInterrupted), match="b"):
        await everything(upstream, a_request(n=3))
    assert upstream.open_calls == 0
    assert all(call.left.is_set() for call in upstream.calls)


async def test_of_two_failures_one_is_told():
    upstream = choices_of(Script(UpstreamInterrupted()))
    with pytest.raises(UpstreamInterrupted):
        await everything(upstream, a_request(n=3))


async def test_a_defect_is_carried_to_the_reader_too():
    upstream = choices_of(Script(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await everything(upstream, a_request(n=2))


async def test_a_reader_that_leaves_early_ends_all_calls():
    waiting = Gate()
    upstream = choices_of(Script(text("a"), waiting))
    async with fan_out.generate(upstream, a_request(n=20), "m") as batches:
        await anext(batches)
        await waiting.reached.wait()
    assert upstream.open_calls == 0
    assert len(upstream.calls) == MAX_CALLS_AT_ONCE  # those that waited were never made


async def test_a_reader_that_never_reads_makes_no_call():
    upstream = choices_of()
    async with fan_out.generate(upstream, a_request(n=2), "m"):
        await until_idle()
    assert not upstream.calls


async def test_a_reader_that_is_cancelled_ends_all_calls():
    waiting = Gate()
    upstream = choices_of(Script(text("a"), waiting))
    reading = asyncio.create_task(everything(upstream, a_request(n=3)))
    await waiting.reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert upstream.open_calls == 0


async def test_leaving_waits_until_every_call_has_closed():
    closed = []

    class SlowToClose(ScriptedUpstream):
        @asynccontextmanager
        async def generate(self, request, model, take=None):
            try:
                async with super().generate(request, model, take) as batches:
                    yield batches
            finally:
                await until_idle()
                closed.append(model)

    upstream = SlowToClose(Script(text("a"), Gate()), max_choices=1)
    async with fan_out.generate(upstream, a_request(n=3), "m") as batches:
        await anext(batches)
        await until_idle()
    assert len(closed) == 3
