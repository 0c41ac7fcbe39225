"""Chat Completions with ``system`` beside ``messages``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bandari.domain.chat import ChatRequest, Message, Role, TextPart
from bandari.domain.faults import CallerFault
from bandari.wire.chat_completions import decode_request as plain
from bandari.wire.chat_completions.encode_request import encode_request
from bandari.wire.chat_completions.fields import ignored_fields
from bandari.wire.chat_completions.hybrid import decode_request
from bandari.wire.dialect import Dialect

USER = {"role": "user", "content": "Who are you?"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [USER]} | fields).encode()


def decoded(**fields: Any) -> ChatRequest:
    return decode_request(body(**fields))


def test_system_is_the_first_message() -> None:
    request = decoded(system="You are Alex.", temperature=0.5, stream=True)
    assert request.messages == (
        Message(Role.SYSTEM, (TextPart("You are Alex."),)),
        Message(Role.USER, (TextPart("Who are you?"),)),
    )
    assert request.stream
    assert request.sampling.temperature == 0.5


def test_an_upstream_sees_chat_completions() -> None:
    request = decoded(system="You are Alex\u00e9.")
    sent = json.loads(encode_request(request, "up", Dialect()))
    assert sent["messages"] == [{"role": "system", "content": "You are Alex\u00e9."}, USER]
    assert "system" not in sent
    assert ignored_fields(request, Dialect()) == ()


def test_system_counts_as_prompt() -> None:
    with_system, without = decoded(system="x" * 1000), decoded()
    assert with_system.input_bytes >= without.input_bytes + 1000


@pytest.mark.parametrize("fields", [{}, {"system": None}])
def test_without_it_nothing_differs(fields: dict[str, Any]) -> None:
    assert decoded(**fields) == plain.decode_request(body())


@pytest.mark.parametrize("system", [1, ["a"], {"text": "a"}, True])
def test_it_is_a_string(system: Any) -> None:
    with pytest.raises(CallerFault, match="'system' must be a string") as caught:
        decoded(system=system)
    assert caught.value.param == "system"


def test_errors_count_the_clients_messages() -> None:
    with pytest.raises(CallerFault) as caught:
        decoded(system="a", messages=[{"role": "user"}])
    assert caught.value.param == "messages[0].content"


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"system":"\xff"}', b'{"system":"\\ud800"}'])
def test_what_is_no_request_is_the_callers_fault(text: bytes) -> None:
    with pytest.raises(CallerFault):
        decode_request(text)
