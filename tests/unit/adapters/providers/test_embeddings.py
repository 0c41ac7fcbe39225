"""An upstream that makes embeddings, over real sockets."""

from __future__ import annotations

import asyncio
import struct

import pytest
from tests.support.embedding_house import a_text
from tests.support.gates import Gate
from tests.support.http_upstream import CUT, HttpUpstream, Reply, json_body

from bandari.adapters.providers import embeddings as module
from bandari.adapters.providers.embeddings import MAX_COUNTED_INPUTS, ProviderEmbeddings
from bandari.adapters.providers.tokenizers import TOKENIZERS
from bandari.adapters.providers.upstream import Address
from bandari.domain.embeddings import Embeddings
from bandari.domain.faults import (
    ContextLengthExceeded,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamMalformed,
    UpstreamNotReady,
    UpstreamOverloaded,
    UpstreamRefused,
)
from bandari.domain.usage import Usage
from bandari.wire.dialect import Dialect
from bandari.wire.embeddings.decode_request import decode_request

PLAIN = Dialect()
LLAMA_CPP, VLLM = TOKENIZERS["llama_cpp"], TOKENIZERS["vllm"]


def upstream(server, transport, dialect=PLAIN, **options) -> ProviderEmbeddings:
    address = Address(f"{server.url}/v1", {"authorization": "Bearer k"})
    return ProviderEmbeddings("acme", transport, lambda: address, dialect, **options)


def good(*vectors, usage=None):
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return json_body({"data": data, "usage": usage})


async def test_what_is_asked_and_what_comes_back(transports):
    reply = good([1.0, 2.0], [3.0, 4.0], usage={"prompt_tokens": 7, "total_tokens": 7})
    async with HttpUpstream(reply) as server, transports() as http:
        asked = decode_request(b'{"model":"m","input":["a","b"],"encoding_format":"base64","x":1}')
        answer = await upstream(server, http).embed(asked, "acme-1")
        (request,) = server.requests
    assert answer == Embeddings(
        (struct.pack("<2f", 1, 2), struct.pack("<2f", 3, 4)), Usage(input_tokens=7)
    )
    assert (request.method, request.path) == ("POST", "/v1/embeddings")
    assert request.headers["authorization"] == "Bearer k"
    assert request.json == {"model": "acme-1", "input": ["a", "b"], "encoding_format": "base64"}


async def test_the_answer_must_fit_the_question(transports):
    async with HttpUpstream(good([1.0, 2.0])) as server, transports() as http:
        asked = upstream(server, http)
        await asked.embed(a_text(dimensions=2), "m")
        with pytest.raises(UpstreamMalformed):
            await asked.embed(a_text(dimensions=3), "m")
        with pytest.raises(UpstreamMalformed):
            await asked.embed(a_text("a", "b"), "m")


async def test_fields_go_to_who_names_them(transports):
    request = decode_request(b'{"model":"m","input":"a","truncate":"END","other":1}')
    named = Dialect(extra_fields=frozenset({"truncate"}))
    async with HttpUpstream(good([1.0])) as server, transports() as http:
        asked = upstream(server, http, named)
        assert asked.ignored(request) == ("other",)
        await asked.embed(request, "m")
        assert server.requests[0].json["truncate"] == "END"


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (json_body({"error": {"message": "no"}}, 401), UpstreamRefused),
        (json_body({"error": "?"}, 500), UpstreamFault),
        (
            json_body({"error": {"message": "input (9 tokens) is too large to process."}}, 500),
            ContextLengthExceeded,
        ),
        (json_body({}), UpstreamMalformed),
        (Reply(b'{"data":[', CUT), UpstreamInterrupted),
        (Reply(b"oops", CUT, status=500), UpstreamFault),
    ],
)
async def test_what_is_no_answer_is_a_fault(transports, reply, fault):
    async with HttpUpstream(reply) as server, transports() as http:
        with pytest.raises(fault) as raised:
            await upstream(server, http).embed(a_text(), "m")
    assert type(raised.value) is fault


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ({"retry_after_ms": "1500"}, 1500),
        ({"retry_after": "2"}, 2000),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "²"}, None),
        ({"retry_after": "99999999"}, 86_400_000),
        ({"retry_after": "9999999999"}, None),
        ({}, None),
    ],
)
async def test_when_to_try_again_is_kept(transports, headers, milliseconds):
    async with HttpUpstream(json_body({}, 429, **headers)) as server, transports() as http:
        with pytest.raises(UpstreamOverloaded) as raised:
            await upstream(server, http).embed(a_text(), "m")
    assert raised.value.retry_after_ms == milliseconds


async def test_an_answer_that_is_too_large_is_not_read(transports, monkeypatch):
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 50)
    async with HttpUpstream(good([0.125] * 100)) as server, transports() as http:
        with pytest.raises(UpstreamMalformed):
            await upstream(server, http).embed(a_text(), "m")


async def test_while_there_is_nobody_to_ask_its_fault_is_raised(transports):
    def nobody():
        raise UpstreamNotReady

    async with transports() as http:
        asked = ProviderEmbeddings("local", http, nobody, Dialect(), tokenizer=LLAMA_CPP)
        with pytest.raises(UpstreamNotReady):
            await asked.embed(a_text(), "m")
        assert await asked.count_input(a_text(), "m") is None


# -- counting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokenizer", "field", "added"),
    [(LLAMA_CPP, "content", "add_special"), (VLLM, "prompt", "add_special_tokens")],
)
async def test_texts_are_counted_with_what_is_added_to_them(transports, tokenizer, field, added):
    replies = (json_body({"tokens": [2, 5, 3]}), json_body({"tokens": [2, 3]}))
    async with HttpUpstream(*replies) as server, transports() as http:
        counted = await upstream(server, http, tokenizer=tokenizer).count_input(
            a_text("a", "b"), "acme-1"
        )
        first, second = server.requests
    assert counted == 5
    assert first.path == "/tokenize"
    assert first.json == {"model": "acme-1", field: "a", added: True}
    assert second.json[field] == "b"


async def test_tokens_are_counted_without_asking(transports):
    async with HttpUpstream(json_body({})) as server, transports() as http:
        counted = await upstream(server, http).count_input(a_text(inputs=((1, 2), (3,))), "m")
        assert counted == 3
        assert not server.requests


async def test_many_texts_are_not_counted(transports):
    reply = json_body({"tokens": [1]})
    async with HttpUpstream(reply) as server, transports() as http:
        asked = upstream(server, http, tokenizer=LLAMA_CPP)
        most = a_text(*["x"] * MAX_COUNTED_INPUTS)
        assert await asked.count_input(most, "m") == MAX_COUNTED_INPUTS
        assert await asked.count_input(a_text(*["x"] * (MAX_COUNTED_INPUTS + 1)), "m") is None


@pytest.mark.parametrize(
    "reply",
    [json_body({"tokens": [1]}, 500), json_body({}), json_body([]), Reply(b"{", CUT)],
)
async def test_who_cannot_count_says_nothing(transports, reply):
    async with HttpUpstream(reply) as server, transports() as http:
        asked = upstream(server, http, tokenizer=LLAMA_CPP)
        assert await asked.count_input(a_text(), "m") is None


async def test_counting_has_a_limit_of_its_own(transports, monkeypatch):
    monkeypatch.setattr(module, "COUNT_S", 0.01)
    never = Gate()
    async with HttpUpstream(Reply(never)) as server, transports() as http:
        asked = upstream(server, http, tokenizer=LLAMA_CPP)
        async with asyncio.timeout(2):
            assert await asked.count_input(a_text(), "m") is None


async def test_without_a_tokenizer_nobody_counts(transports):
    async with HttpUpstream(json_body({"tokens": [1]})) as server, transports() as http:
        assert await upstream(server, http).count_input(a_text(), "m") is None
        mute = TOKENIZERS["llama_cpp"]
        mute = type(mute)(prompt_path="/x", prompt_body=mute.prompt_body)
        assert await upstream(server, http, tokenizer=mute).count_input(a_text(), "m") is None
        assert not server.requests
