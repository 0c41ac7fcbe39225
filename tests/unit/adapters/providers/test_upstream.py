"""An upstream that speaks Chat Completions, over real sockets."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from tests.support.gates import Gate
from tests.support.http_upstream import CUT, RESET, HttpUpstream, Reply, json_body, sse
from tests.support.samples import a_request

from bandari.adapters.providers import upstream as module
from bandari.adapters.providers.local import LLAMA_CPP, TOKENIZER
from bandari.adapters.providers.protocols import PROTOCOLS
from bandari.adapters.providers.tokenizers import TOKENIZERS
from bandari.adapters.providers.transport import Timeouts
from bandari.adapters.providers.upstream import Address, ProviderUpstream
from bandari.domain.chat import Original
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    FinishReason,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import (
    ContextLengthExceeded,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamInvalidRequest,
    UpstreamMalformed,
    UpstreamNotReady,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from bandari.domain.usage import Usage
from bandari.wire.chat_completions import PROTOCOL
from bandari.wire.dialect import Dialect

CHAT = PROTOCOLS["chat_completions"]
PLAIN = Dialect()


def delta(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})


FINISH = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}'
GOOD = (delta("Habari "), delta("yako 🦁"), FINISH, USAGE, "[DONE]")
GOOD_EVENTS = [
    TextDelta(0, "Habari "),
    TextDelta(0, "yako 🦁"),
    ChoiceFinished(0, FinishReason.STOP),
    UsageReported(Usage(9, 2)),
]


def upstream(server, transport, dialect=PLAIN, **options) -> ProviderUpstream:
    address = Address(f"{server.url}/v1", {"authorization": "Bearer k"})
    return ProviderUpstream("acme", transport, lambda: address, CHAT, dialect, **options)


async def generated(asked, request=None) -> list:
    events = []
    async with asked.generate(request or a_request(), "acme-1") as batches:
        async for batch in batches:
            assert batch
            events.extend(batch)
    return events


async def answer_of(reply, transports, request=None, dialect=PLAIN) -> list:
    async with HttpUpstream(reply) as server, transports() as http:
        return await generated(upstream(server, http, dialect), request)


# -- asking ----------------------------------------------------------------------------------------


async def test_what_is_asked(transports):
    async with HttpUpstream(sse(*GOOD)) as server, transports() as http:
        await generated(upstream(server, http), a_request(max_tokens=5, stream=False))
        asked = server.requests[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == "Bearer k"
    assert asked.json["model"] == "acme-1"
    # A stream also for a client that wants the answer whole: only so are there counts.
    assert asked.json["stream"] is True
    assert asked.json["stream_options"] == {"include_usage": True}


async def test_a_provider_that_cannot_stream_is_asked_for_the_whole(transports):
    whole = {
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    }
    async with HttpUpstream(json_body(whole)) as server, transports() as http:
        events = await generated(upstream(server, http, Dialect(streams=False)))
        assert "stream" not in server.requests[0].json
    assert events == [
        TextDelta(0, "Hi"),
        ChoiceFinished(0, FinishReason.STOP),
        UsageReported(Usage(9, 2)),
    ]


async def test_the_address_is_asked_before_each_request(transports):
    async with HttpUpstream(sse(*GOOD)) as one, HttpUpstream(sse(*GOOD)) as two:
        places = iter([one.url, two.url])
        async with transports() as http:
            asked = ProviderUpstream("a", http, lambda: Address(next(places), {}), CHAT, PLAIN)
            await generated(asked)
            await generated(asked)
        assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_while_there_is_nobody_to_ask_its_fault_is_raised(transports):
    def nowhere() -> Address:
        raise UpstreamNotReady

    async with transports() as http:
        asked = ProviderUpstream("a", http, nowhere, CHAT, PLAIN, tokenizer=TOKENIZER)
        with pytest.raises(UpstreamNotReady):
            await generated(asked)
        assert await asked.count_input(a_request(), "m") is None


async def test_fields_that_the_provider_is_not_given_are_named():
    fields = {"top_k": msgspec.Raw(b"5"), "zebra": msgspec.Raw(b"1")}
    request = a_request(original=Original(PROTOCOL, fields, unknown=("top_k", "zebra")))
    asked = ProviderUpstream("a", None, lambda: None, CHAT, Dialect(frozenset({"top_k"})))
    assert asked.ignored(request) == ("zebra",)


# -- streams ---------------------------------------------------------------------------------------


async def test_a_good_stream(transports):
    assert await answer_of(sse(*GOOD), transports) == GOOD_EVENTS


async def test_a_stream_cut_anywhere_says_the_same(transports):
    whole = b"".join(f"data: {data}\r\n\r\n".encode() for data in GOOD)
    for size in (1, 2, 3, 7, 100):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert await answer_of(sse(*pieces), transports) == GOOD_EVENTS, size


async def test_events_come_as_soon_as_they_are_sent(transports):
    gate = Gate()
    async with (
        HttpUpstream(sse(GOOD[0], gate, *GOOD[1:])) as server,
        transports() as http,
        upstream(server, http).generate(a_request(), "m") as batches,
    ):
        assert list(await anext(batches)) == GOOD_EVENTS[:1]
        gate.open()
        assert [event async for batch in batches for event in batch] == GOOD_EVENTS[1:]


async def test_comments_and_empty_chunks_are_no_events(transports):
    steps = (b": ping\n\n", '{"choices":[]}', *GOOD, b": bye\n\n")
    assert await answer_of(sse(*steps), transports) == GOOD_EVENTS


async def test_running_counts_of_the_engine(transports):
    counted = json.loads(delta("a")) | {"timings": {"prompt_n": 1, "cache_n": 9, "predicted_n": 4}}
    steps = (json.dumps(counted), FINISH, USAGE, "[DONE]")
    async with HttpUpstream(sse(*steps)) as server, transports() as http:
        events = await generated(upstream(server, http, LLAMA_CPP))
        assert server.requests[0].json["timings_per_token"] is True
    assert events[:2] == [TextDelta(0, "a"), Counted(0, 10, 9, 4)]


async def test_a_stream_without_done_is_whole_when_every_choice_finished(transports):
    assert await answer_of(sse(*GOOD[:4]), transports) == GOOD_EVENTS


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_a_clean_end_without_a_finish_is_an_interruption(transports, kept):
    with pytest.raises(UpstreamInterrupted):
        await answer_of(sse(*GOOD[:kept]), transports)


async def test_every_choice_has_to_finish(transports):
    with pytest.raises(UpstreamInterrupted):
        await answer_of(sse(*GOOD[:4]), transports, a_request(n=2))


@pytest.mark.parametrize("end", [RESET, CUT])
@pytest.mark.parametrize("kept", [1, 3])
async def test_a_stream_that_breaks_off_is_an_interruption(transports, end, kept):
    with pytest.raises(UpstreamInterrupted):
        await answer_of(sse(*GOOD[:kept], end), transports)


@pytest.mark.parametrize("end", [RESET, CUT])
async def test_what_happens_to_the_connection_after_done_is_all_one(transports, end):
    assert await answer_of(sse(*GOOD, end), transports) == GOOD_EVENTS


async def test_an_upstream_that_stays_open_after_done_does_not_hold_the_answer_up(
    transports, monkeypatch
):
    monkeypatch.setattr(module, "END_OF_BODY_S", 0.02)
    async with HttpUpstream(sse(*GOOD, Gate())) as server, transports() as http:
        assert await generated(upstream(server, http)) == GOOD_EVENTS
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)


async def test_a_connection_is_used_again_after_a_stream(transports):
    async with HttpUpstream(sse(*GOOD)) as server, transports() as http:
        for _ in range(3):
            await generated(upstream(server, http))
        assert server.connections == 1


async def test_the_end_of_the_body_may_come_a_little_after_done(transports):
    gate = Gate()

    async def end_it() -> None:
        await gate.reached.wait()
        asyncio.get_running_loop().call_later(0.05, gate.open)

    async with HttpUpstream(sse(*GOOD, gate), sse(*GOOD)) as server, transports() as http:
        _, events = await asyncio.gather(end_it(), generated(upstream(server, http)))
        assert events == GOOD_EVENTS
        await generated(upstream(server, http))
        assert server.connections == 1  # it was waited for, so the connection can be used again


async def test_an_error_in_the_stream(transports):
    error = '{"error":{"message":"out of memory","type":"server_error"}}'
    with pytest.raises(UpstreamFault, match="out of memory"):
        await answer_of(sse(GOOD[0], error), transports)


@pytest.mark.parametrize("nonsense", ["<html>", '{"choices":{}}', '{"choices":['])
async def test_an_event_that_cannot_be_read(transports, nonsense):
    with pytest.raises(UpstreamMalformed):
        await answer_of(sse(GOOD[0], nonsense), transports)


async def test_leaving_early_closes_the_upstreams_connection(transports):
    async with HttpUpstream(sse(GOOD[0], Gate())) as server, transports() as http:
        async with upstream(server, http).generate(a_request(), "m") as batches:
            await anext(batches)
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)


async def test_an_upstream_that_falls_silent(transports):
    limits = Timeouts(first_event_ms=5000, idle_ms=40, answer_ms=5000)
    async with HttpUpstream(sse(GOOD[0], Gate())) as server, transports(limits) as http:
        with pytest.raises(UpstreamTimeout):
            await generated(upstream(server, http))


async def test_a_second_call_where_one_was_asked_for_ends_the_generation(transports):
    def call(index: int) -> str:
        piece = {"index": index, "id": f"c{index}", "function": {"name": "f", "arguments": "{}"}}
        return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})

    request = a_request(parallel_tool_calls=False)
    async with HttpUpstream(sse(call(0), call(1), Gate())) as server, transports() as http:
        events = await generated(upstream(server, http), request)
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)
    assert [event.index for event in events if isinstance(event, ToolCallDelta)] == [0]
    assert events[-1] == ChoiceFinished(0, FinishReason.TOOL_CALLS)


# -- whole answers ---------------------------------------------------------------------------------

WHOLE = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}


async def test_a_whole_answer_to_a_request_for_a_stream(transports):
    assert (await answer_of(json_body(WHOLE), transports))[0] == TextDelta(0, "Hi")


async def test_the_kind_of_an_answer_is_read_in_any_case(transports):
    steps = [f"data: {data}\n\n".encode() for data in GOOD]
    reply = Reply(*steps, headers={"content-type": "Text/Event-Stream; charset=utf-8"})
    assert await answer_of(reply, transports) == GOOD_EVENTS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{"index":0,"message":{"content":"Hi"}}]}',
    ],
)
async def test_a_whole_answer_that_cannot_be_read(transports, body):
    with pytest.raises(UpstreamMalformed):
        await answer_of(Reply(body, framing="length"), transports)


async def test_a_whole_answer_that_breaks_off(transports):
    reply = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{", CUT, raw=True)
    with pytest.raises(UpstreamInterrupted):
        await answer_of(reply, transports)


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, UpstreamInvalidRequest),
        (401, UpstreamRefused),
        (403, UpstreamRefused),
        (404, UpstreamRefused),
        (408, UpstreamTimeout),
        (422, UpstreamInvalidRequest),
        (429, UpstreamOverloaded),
        (500, UpstreamFault),
        (302, UpstreamFault),
        (503, UpstreamOverloaded),
        (504, UpstreamTimeout),
    ],
)
async def test_a_status_is_a_fault(transports, status, fault):
    body = {"error": {"message": "because", "type": "x"}}
    with pytest.raises(fault) as caught:
        await answer_of(json_body(body, status=status), transports)
    assert type(caught.value) is fault


async def test_a_prompt_that_is_too_long_is_the_callers_fault(transports):
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 9008, "n_ctx": 8192}
    with pytest.raises(ContextLengthExceeded, match=r"9008.*8192"):
        await answer_of(json_body({"error": error}, status=400), transports)


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ({"retry_after": "2"}, 2000),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1500),
        ({"retry_after": "99999999"}, 86_400_000),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "999999999"}, None),
        ({}, None),
    ],
)
async def test_when_to_come_back_is_passed_on(transports, headers, milliseconds):
    with pytest.raises(UpstreamOverloaded) as caught:
        await answer_of(json_body({}, status=429, **headers), transports)
    assert caught.value.retry_after_ms == milliseconds


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"x" * 70_000, status=500),
        Reply(b"{", RESET, status=500),
        Reply(b"not json", status=500),
    ],
    ids=["too large", "broken off", "unreadable"],
)
async def test_an_error_is_told_by_its_status_where_its_body_says_nothing(transports, reply):
    with pytest.raises(UpstreamFault, match="status 500"):
        await answer_of(reply, transports)


# -- counting the prompt ---------------------------------------------------------------------------


async def test_the_prompt_is_counted_where_the_server_can(transports):
    reply = json_body({"input_tokens": 533, "object": "response.input_tokens"})
    async with HttpUpstream(reply) as server, transports() as http:
        asked = upstream(server, http, tokenizer=TOKENIZER)
        assert await asked.count_input(a_request(), "acme-1") == 533
        assert server.requests[0].path == "/v1/chat/completions/input_tokens"
        assert server.requests[0].json["messages"]


async def test_elsewhere_nobody_is_asked(transports):
    async with HttpUpstream(json_body({})) as server, transports() as http:
        assert await upstream(server, http).count_input(a_request(), "m") is None
        assert not server.requests


@pytest.mark.parametrize(
    "reply",
    [
        json_body({"error": {}}, status=404),
        json_body({"tokens": 5}),
        json_body({"count": -5}),
        json_body({}),
        json_body({"input_tokens": "5"}),
        Reply(b"\xff", framing="length"),
        Reply(RESET, raw=True),
        Reply(b"x" * 70_000),
    ],
)
async def test_a_count_that_fails_is_no_count(transports, reply):
    async with HttpUpstream(reply) as server, transports() as http:
        assert (
            await upstream(server, http, tokenizer=TOKENIZER).count_input(a_request(), "m") is None
        )


async def test_a_text_is_counted_where_the_server_can(transports):
    reply = json_body({"tokens": [5, {"id": 6, "piece": "x"}, 7]})
    async with HttpUpstream(reply) as server, transports() as http:
        asked = upstream(server, http, tokenizer=TOKENIZER)
        assert asked.counts_text
        assert await asked.count_text("one two", "acme-1") == 3
        assert server.requests[0].path == "/tokenize"
        assert server.requests[0].json == {
            "model": "acme-1",
            "content": "one two",
            "add_special": False,
        }


async def test_elsewhere_no_text_is_sent(transports):
    async with HttpUpstream(json_body({})) as server, transports() as http:
        asked = upstream(server, http)
        assert not asked.counts_text
        assert await asked.count_text("one two", "m") is None
        assert not server.requests


async def test_vllm_counts_prompt_and_text_in_one_place(transports):
    reply = json_body({"count": 12, "max_model_len": 4096, "tokens": [1] * 12})
    async with HttpUpstream(reply, reply) as server, transports() as http:
        asked = upstream(server, http, tokenizer=TOKENIZERS["vllm"])
        assert await asked.count_input(a_request(), "acme-1") == 12
        assert await asked.count_text("one two", "acme-1") == 12
        assert [request.path for request in server.requests] == ["/tokenize", "/tokenize"]
        assert server.requests[0].json["messages"]
        assert server.requests[1].json["prompt"] == "one two"
