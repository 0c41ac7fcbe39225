"""``POST /v1/completions``: the legacy surface, with openai-python and the model in the box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest
from tests.support.chat import MODEL, Stream, ask, text_of
from tests.support.server import Bandari

PATH = "/v1/completions"
KENYA = "What is the capital of Kenya?"


@pytest.fixture
def sdk(bandari: Bandari, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{bandari.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def test_it_says_what_a_chat_of_one_message_says(sdk: openai.OpenAI, client: httpx.Client) -> None:
    answer = sdk.completions.create(model=MODEL, prompt=KENYA, temperature=0, max_tokens=50)
    assert answer.id.startswith("cmpl-")
    assert (answer.object, answer.model) == ("text_completion", MODEL)
    (choice,) = answer.choices
    chat = ask(client, KENYA)
    assert choice.text == text_of(chat)
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == chat["usage"]["prompt_tokens"]


def test_without_a_limit_it_has_sixteen_tokens(sdk: openai.OpenAI) -> None:
    prompt = "Tell me a long story."
    answer = sdk.completions.create(model=MODEL, prompt=prompt, extra_body={"ignore": 1})
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 16


def test_a_stream_says_the_same(sdk: openai.OpenAI) -> None:
    whole = sdk.completions.create(model=MODEL, prompt=[KENYA], temperature=0)
    chunks = list(
        sdk.completions.create(
            model=MODEL,
            prompt=KENYA,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    texts = [choice.text for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == (
        whole.choices[0].finish_reason
    )


@pytest.mark.parametrize("stream", [True, False])
def test_total_tokens_is_what_is_deducted(
    bandari: Bandari, client: httpx.Client, stream: bool
) -> None:
    before, _ = bandari.wallet("plenty")
    body: dict[str, Any] = {"model": MODEL, "prompt": KENYA, "n": 2, "stop": ["zzz"]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    response = client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    usage = Stream(response.text).usage if stream else response.json()["usage"]
    assert usage is not None
    after, held = bandari.wallet("plenty")
    assert held == 0
    assert before - after == usage["total_tokens"]
    assert bandari.receipt(response.headers["x-bandari-receipt"])["amount"] == before - after
    if stream:
        assert Stream(response.text).data[-1] == "[DONE]"


def test_logprobs_are_lists_side_by_side(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model=MODEL, prompt=KENYA, temperature=0, logprobs=2)
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.tokens
    assert told.token_logprobs
    assert told.top_logprobs
    assert told.text_offset
    assert "".join(told.tokens) == answer.choices[0].text
    assert all(len(top) <= 2 for top in told.top_logprobs)
    assert told.text_offset[:2] == [0, len(told.tokens[0])]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"echo": True}, "echo"),
        ({"suffix": "."}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"prompt": "x " * 20_000}, "prompt"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(
    bandari: Bandari, client: httpx.Client, fields: dict[str, object], param: str
) -> None:
    before = bandari.wallet("plenty")
    response = client.post(PATH, json={"model": MODEL, "prompt": "Hi", **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert bandari.wallet("plenty") == before


def test_what_belongs_to_chats_is_ignored_and_said_so(client: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    response = client.post(
        "/api/v1/llm/completions",
        json={"model": MODEL, "prompt": "Hi", "tools": [tool], "min_p": 0.1},
    )
    assert response.status_code == 200
    assert response.headers["x-bandari-ignored"] == "tools"
