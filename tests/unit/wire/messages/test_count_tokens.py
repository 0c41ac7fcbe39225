"""Counting a prompt: what is asked of an upstream, and what a client is answered."""

from __future__ import annotations

import json

from bandari.domain.chat import ChatRequest, Message, Role, Sampling, TextPart, Tool
from bandari.wire.dialect import Dialect
from bandari.wire.messages.count_tokens import encode_count, encode_count_request


def test_an_upstream_is_asked_for_the_prompt_alone() -> None:
    request = ChatRequest(
        "m",
        (Message(Role.SYSTEM, (TextPart("Be brief."),)), Message(Role.USER, (TextPart("Hi"),))),
        sampling=Sampling(temperature=0.5, max_tokens=5, stop=("x",)),
        stream=True,
        tools=(Tool("tide"),),
        user="asha",
    )
    asked = json.loads(encode_count_request(request, "up", Dialect()))
    assert asked == {
        "model": "up",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "tide", "input_schema": {"type": "object"}}],
    }


def test_a_client_is_told_one_number() -> None:
    assert json.loads(encode_count(37)) == {"input_tokens": 37}
