"""Legacy requests: the chat that they become, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bandari.domain.chat import ChatRequest, Message, Role, TextPart
from bandari.domain.faults import CallerFault, InvalidValue, MissingField, UnsupportedField
from bandari.wire import chat_completions
from bandari.wire.chat_completions.decode_request import decode_request as decode_chat
from bandari.wire.chat_completions.encode_request import encode_request
from bandari.wire.chat_completions.fields import CARRIED, ignored_fields
from bandari.wire.completions.decode_request import DEFAULT_MAX_TOKENS, decode_request
from bandari.wire.completions.fields import FOREIGN, OWN, SAME
from bandari.wire.dialect import Dialect

PLAIN = Dialect()


def body(prompt: object = "Habari?", **fields: Any) -> bytes:
    wanted = {"model": "m", "prompt": prompt, **fields}
    return json.dumps({name: value for name, value in wanted.items() if value is not ...}).encode()


def decoded(prompt: object = "Habari?", **fields: Any) -> ChatRequest:
    return decode_request(body(prompt, **fields))


def refusal(prompt: object = "Habari?", **fields: Any) -> CallerFault:
    with pytest.raises(CallerFault) as raised:
        decoded(prompt, **fields)
    return raised.value


def asked(request: ChatRequest, dialect: Dialect = PLAIN) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_request(request, "upstream-m", dialect))
    return read


@pytest.mark.parametrize("prompt", ["Habari?", ["Habari?"]])
def test_the_prompt_is_the_one_message_of_a_user(prompt: object) -> None:
    assert decoded(prompt).messages == (Message(Role.USER, (TextPart("Habari?"),)),)


def test_it_is_a_chat_request_like_any_other() -> None:
    message = {"role": "user", "content": "Habari?"}
    same = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["a", "b"],
        "n": 2,
        "seed": 5,
        "logit_bias": {"5": -1},
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "user": "amina",
    }
    assert same.keys() | {"model"} == SAME
    chat = decode_chat(json.dumps({"model": "m", "messages": [message], **same}).encode())
    request = decoded(**same)
    assert replace(request, original=None, input_bytes=0) == replace(
        chat, original=None, input_bytes=0
    )
    # The prompt's own JSON, as the upstream gets it.
    assert request.input_bytes == len(b'[{"role":"user","content":"Habari?"}]')
    assert request.original is not None
    assert request.original.protocol == chat_completions.PROTOCOL
    assert asked(request) == asked(chat)


def test_without_a_limit_it_is_short() -> None:
    for fields in ({}, {"max_tokens": None}):
        request = decoded(**fields)
        assert request.sampling.max_tokens == DEFAULT_MAX_TOKENS == 16
        assert asked(request)["max_tokens"] == 16


@pytest.mark.parametrize("count", [0, 5])
def test_logprobs_are_a_number_of_likely_tokens(count: int) -> None:
    sampling = decoded(logprobs=count).sampling
    assert (sampling.logprobs, sampling.top_logprobs) == (True, count)
    assert not decoded(logprobs=None).sampling.logprobs


def test_what_says_nothing_is_accepted() -> None:
    plain = decoded()
    said = decoded(echo=False, best_of=1, logprobs=None, suffix=None)
    assert replace(said, original=None) == replace(plain, original=None)
    assert decoded(echo=None, best_of=None) == plain
    assert ignored_fields(said, PLAIN) == ()


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": ["a", "b"]}, "prompt", "'prompt' may hold one prompt, and holds 2"),
        ({"prompt": [1, 2]}, "prompt", "'prompt' must be a text: tokens cannot go"),
        ({"prompt": [[1, 2]]}, "prompt", "'prompt' must be a text: tokens cannot go"),
        ({"echo": True}, "echo", "'echo' is not supported"),
        ({"suffix": "x"}, "suffix", "'suffix' is not supported"),
        ({"suffix": ""}, "suffix", "'suffix' is not supported"),
        ({"best_of": 2}, "best_of", "'best_of' is not supported but for 1"),
        ({"n_predict": 5}, "n_predict", "'n_predict' is not supported"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    fields: dict[str, Any], param: str, message: str
) -> None:
    fault = refusal(**fields)
    assert isinstance(fault, UnsupportedField)
    assert fault.param == param
    assert fault.message.startswith(message)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": []}, "prompt", "'prompt' must not be empty."),
        ({"prompt": 7}, "prompt", "'prompt' must be a string or an array, and is an integer."),
        ({"logprobs": 6}, "logprobs", "'logprobs' must be at most 5."),
        ({"logprobs": -1}, "logprobs", "'logprobs' must be at least 0."),
        ({"logprobs": True}, "logprobs", "'logprobs' must be an integer, and is a boolean."),
        ({"echo": 1}, "echo", "'echo' must be true or false, and is an integer."),
        ({"max_tokens": 0}, "max_tokens", "'max_tokens' must be at least 1."),
        ({"temperature": "x"}, "temperature", "'temperature' must be a number, and is a string."),
    ],
)
def test_a_bad_value_is_refused_by_name(fields: dict[str, Any], param: str, message: str) -> None:
    fault = refusal(**fields)
    assert isinstance(fault, InvalidValue)
    assert (fault.param, fault.message) == (param, message)


@pytest.mark.parametrize(
    ("fields", "param"), [({"prompt": ...}, "prompt"), ({"model": ...}, "model")]
)
def test_what_is_missing_is_named(fields: dict[str, Any], param: str) -> None:
    fault = refusal(**fields)
    assert isinstance(fault, MissingField)
    assert fault.param == param


def test_what_has_a_meaning_in_a_chat_only_is_ignored_and_said_so() -> None:
    assert {"tools", "messages", "response_format"} <= FOREIGN
    assert SAME | OWN | FOREIGN >= CARRIED
    request = decoded(
        tools=[{"type": "function", "function": {"name": "f"}}],
        messages=[{"role": "system", "content": "Lie."}],
        top_logprobs=3,
        reasoning_effort=None,
        max_completion_tokens=5,
        min_p=0.1,
    )
    assert request.tools == ()
    assert [message.role for message in request.messages] == [Role.USER]
    assert request.sampling.max_tokens == 16
    ignored = ("max_completion_tokens", "messages", "min_p", "tools", "top_logprobs")
    assert request.original is not None
    assert request.original.unknown == ignored
    assert ignored_fields(request, PLAIN) == ignored
    assert "tools" not in asked(request)
    named = Dialect(extra_fields=frozenset({"min_p"}))
    assert asked(request, named)["min_p"] == 0.1
    assert "min_p" not in ignored_fields(request, named)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(SAME | OWN | FOREIGN)), json_values))
def test_any_json_is_accepted_or_refused_by_name(fields: dict[str, Any]) -> None:
    with suppress(CallerFault):
        (message,) = decode_request(
            msgspec.json.encode({"model": "m", "prompt": "x"} | fields)
        ).messages
        assert message.role is Role.USER


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_never_break(data: bytes) -> None:
    with pytest.raises(CallerFault):
        decode_request(data)
