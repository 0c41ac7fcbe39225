"""What the benchmark's upstream says in each protocol, and what the clients of (e) ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tools.bench import own_house, question, streaming_upstream
from tools.bench.gateways import Running
from tools.bench.nginx import Upstreams
from tools.bench.paced_answers import ANSWERS, PROMPT_TOKENS, text_of
from tools.bench.translated import BASE, FEW, PAIRS, Pair, asked

from bandari.adapters.providers.protocols import AnswerDecoder
from bandari.config import load
from bandari.domain.chat import ChatRequest
from bandari.domain.events import ChoiceFinished, Event, FinishReason, TextDelta, UsageReported
from bandari.wire.chat_completions.decode_answer import AnswerDecoder as ChatDecoder
from bandari.wire.chat_completions.decode_request import decode_request as decode_chat
from bandari.wire.messages.decode_answer import AnswerDecoder as MessagesDecoder
from bandari.wire.messages.decode_request import decode_request as decode_messages
from bandari.wire.responses.decode_answer import AnswerDecoder as ResponsesDecoder
from bandari.wire.responses.decode_request import decode_request as decode_responses
from bandari.wire.sse import SseDecoder

DECODERS: dict[str, Callable[[], AnswerDecoder]] = {
    question.PATH: ChatDecoder,
    question.MESSAGES_PATH: MessagesDecoder,
    question.RESPONSES_PATH: ResponsesDecoder,
}
REQUESTS: dict[str, tuple[str, Callable[[bytes], ChatRequest]]] = {
    "chat": ("/chat/completions", decode_chat),
    "messages": ("/messages", decode_messages),
    "responses": ("/responses", lambda body: decode_responses(body).chat),
}
PROTOCOLS = {"chat": "chat_completions", "messages": "messages", "responses": "responses"}
URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize("path", ANSWERS)
def test_the_upstreams_answers_are_answers_of_their_protocols(path: str) -> None:
    answer = ANSWERS[path]
    texts = [text_of(now_ns) for now_ns in range(streaming_upstream.EVENTS)]
    said = [answer.event(number, text) for number, text in enumerate(texts)]
    decoder, sse = DECODERS[path](), SseDecoder()
    events: list[Event] = []
    for frame in (*answer.opening, *said, *answer.ending(texts)):
        (event,) = sse.feed(frame)
        events += decoder.stream_event(event)
    assert decoder.is_over
    told = [event.text for event in events if isinstance(event, TextDelta)]
    assert told == [text.decode() for text in texts]
    assert ChoiceFinished(0, FinishReason.STOP) in events
    (usage,) = (event.usage for event in events if isinstance(event, UsageReported))
    assert (usage.input_tokens, usage.output_tokens) == (PROMPT_TOKENS, len(texts))


def test_events_of_responses_are_numbered_in_their_order() -> None:
    answer = ANSWERS[question.RESPONSES_PATH]
    said = [answer.event(number, b"x") for number in range(3)]
    frames = [*answer.opening, *said, *answer.ending([b"x"] * 3)]
    events = SseDecoder().feed(b"".join(frames))
    told = [json.loads(event.data) for event in events]
    assert [fields["sequence_number"] for fields in told] == list(range(len(frames)))
    assert [fields["type"] for fields in told] == [event.name for event in events]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_is_asked_in_the_clients_protocol_and_answered_in_the_providers(
    pair: Pair, tmp_path: Path
) -> None:
    subject = Running(cast(Any, None), {"streaming": URL}, keys=("key",))
    path, decode = REQUESTS[pair.client]
    one = asked(subject, pair)
    assert one.url == URL + path
    assert one.all_headers()["authorization"] == "Bearer key"
    request = decode(one.body)
    assert request.stream
    config = tmp_path / "bench.toml"
    config.write_text(own_house.configuration(Upstreams(1, 2, 3, tmp_path)))
    settings = load(config, environ={})
    (model,) = (model for model in settings.models if model.id == request.model)
    (target,) = model.targets
    assert target.model == "paced"
    assert settings.providers[target.provider].protocol == PROTOCOLS[pair.provider]


def test_every_two_protocols_are_a_pair_and_the_base_is_first() -> None:
    assert {(pair.client, pair.provider) for pair in PAIRS} == {
        (client, provider) for client in PROTOCOLS for provider in PROTOCOLS
    }
    assert PAIRS[0] == FEW[0] == BASE
    assert not BASE.is_translated


def test_the_quick_form_reads_and_writes_each_protocol_translated() -> None:
    few = [pair for pair in FEW if pair.is_translated]
    assert sorted(pair.client for pair in few) == sorted(PROTOCOLS)
    assert sorted(pair.provider for pair in few) == sorted(PROTOCOLS)


def test_an_answer_of_responses_is_not_kept() -> None:
    subject = Running(cast(Any, None), {"streaming": URL})
    assert not decode_responses(asked(subject, Pair("responses", "chat")).body).store
