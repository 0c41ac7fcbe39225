"""The OpenAPI document against what it describes: routes, codecs, faults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import chain

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.support.client import request
from tests.support.described import Described
from tests.support.small_house import SmallHouse

from bandari.domain import faults
from bandari.domain.bounds import Bounds
from bandari.domain.faults import Fault
from bandari.domain.outcome import Deny, Reason
from bandari.domain.problem import of_fault, of_refusal
from bandari.domain.recordings import CacheUse
from bandari.service.administration import AlreadyExists, KeyRevoked, TooLittleFree
from bandari.service.operators import LastOwner, UserDisabled
from bandari.service.recording import RecordingFull
from bandari.web.admin.reload import InvalidConfiguration
from bandari.web.openapi import operation
from bandari.web.openapi.document import SECTIONS, document
from bandari.web.openapi.errors import EITHER, MESSAGES, OPENAI, TYPED
from bandari.web.openapi.own_errors import ADMIN, OWN
from bandari.wire.chat_completions import fields as chat_fields
from bandari.wire.completions import fields as completions_fields
from bandari.wire.embeddings import fields as embeddings_fields
from bandari.wire.messages import fields as messages_fields
from bandari.wire.responses import fields as responses_fields

DOCUMENT = document()
DESCRIBED = Described(DOCUMENT)
OPERATIONS = list(DESCRIBED.operations())


# -- the document as such --------------------------------------------------------------------------


def test_it_is_openapi_3_1():
    errors = [f"{error.message} at {error.json_path}" for error in validator_errors(DOCUMENT)]
    assert errors == []
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_what_is_not_openapi_3_1_is_found():
    assert list(validator_errors({**DOCUMENT, "info": {"title": "Bandari"}}))
    assert list(
        validator_errors({**DOCUMENT, "paths": {"/x": {"get": {"responses": {"200": {}}}}}})
    )


def validator_errors(spec: dict) -> Iterable:
    return OpenAPIV31SpecValidator(json.loads(json.dumps(spec))).iter_errors()


def test_operations_have_ids_of_their_own_and_the_tag_of_a_section():
    ids = [each["operationId"] for _, _, each in OPERATIONS]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, _, each in OPERATIONS for tag in each["tags"]} == tags


def test_every_component_is_used_and_every_reference_leads_to_one():
    used = set(references(DOCUMENT))
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "parameters", "headers")
        for name in DOCUMENT["components"][kind]
    }
    assert used - there == set()
    assert there - used == set()


def references(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        mapping = value.get("discriminator", {}).get("mapping", {})
        yield from (reference for reference in mapping.values())
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        yield from chain.from_iterable(references(each) for each in value)


def test_requests_have_no_defaults():
    """Generators take a field with a default for one that is always there."""
    assert "default" not in {
        key
        for schema in DOCUMENT["components"]["schemas"].values()
        for each in schema.get("properties", {}).values()
        for key in each
    }


def test_sections_are_told_apart_by_their_tags():
    assert len({section.tag for section in SECTIONS}) == len(SECTIONS)


# -- the routes ------------------------------------------------------------------------------------


def test_what_is_served_is_described_and_nothing_else(front):
    app = front(SmallHouse()).app
    routes = [*app._exact.values(), *app._with_id]
    served = {(method, route.path) for route in routes for method in route.endpoints}
    described = {(method, path) for method, path, _ in OPERATIONS}
    assert sorted(served - described) == []
    assert sorted(described - served) == []


def test_twins_are_the_same():
    one, other = operation.BASES
    twins = [path for path in DOCUMENT["paths"] if path.startswith(one + "/")]
    assert twins
    for path in twins:
        pair = [DOCUMENT["paths"][base + path.removeprefix(one)] for base in (one, other)]
        first, second = (
            {method: {**each, "operationId": ""} for method, each in item.items()} for item in pair
        )
        assert first == second


async def test_what_needs_a_key_says_so(front):
    app = front(SmallHouse()).app
    for method, path, each in OPERATIONS:
        client = await request(app, method, re.sub(r"\{\w+\}", "1", path), body=b"{}")
        needs_key = each.get("security") != []
        assert (client.status == 401) is needs_key, (method, path)
        DESCRIBED.check_answer(method, path, client.status, client.headers, client.body)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", ()),
        ("/api/v1/llm/chat/completions/stream", ()),
        ("/v1/completions", ()),
        ("/v1/responses", ()),
        ("/v1/embeddings", ()),
        ("/v1/messages", ()),
        ("/v1/messages", (("anthropic-version", "2023-06-01"),)),
        ("/v1/messages/count_tokens", ()),
    ],
)
async def test_what_is_told_of_limits_is_described(front, key, path, headers):
    """Also with what goes wrong behind the door."""
    app = front(SmallHouse(), rate=1).app
    headers = [("authorization", f"Bearer {key}"), *headers]
    seen = []
    for status in (400, 429):
        client = await request(app, "POST", path, headers=headers, body=b"{}")
        assert client.status == status
        DESCRIBED.check_answer("POST", path, status, client.headers, client.body)
        seen += client.headers
    assert "x-ratelimit-remaining-requests" in seen
    assert "x-bandari-limit" in seen


def test_what_needs_an_admin_key_says_so():
    schemes = DOCUMENT["components"]["securitySchemes"]
    for _, path, each in OPERATIONS:
        is_admins = path.startswith("/admin/")
        named = [scheme for choice in each.get("security", []) for scheme in choice]
        assert named == (["adminBearer", "adminKey"] if is_admins else [])
        assert all(name in schemes for name in named)


async def test_the_deprecated_surface_is_marked_and_says_so(front):
    deprecated = {path for _, path, each in OPERATIONS if each.get("deprecated")}
    assert deprecated == {"/api/v1/llm/chat/completions/stream"}
    client = await front(SmallHouse()).chat(path=deprecated.pop())
    assert client.headers["deprecation"].startswith("@")
    DESCRIBED.check_answer(
        "POST", "/api/v1/llm/chat/completions/stream", client.status, client.headers, client.body
    )


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "carried", "refused"),
    [
        ("ChatCompletionRequest", chat_fields.CARRIED | {"top_k"}, chat_fields.REFUSED),
        ("HybridRequest", chat_fields.CARRIED | {"system"}, chat_fields.REFUSED),
        ("MessagesRequest", messages_fields.CARRIED, messages_fields.REFUSED),
        ("ResponsesRequest", responses_fields.CARRIED, responses_fields.REFUSED),
        ("EmbeddingsRequest", embeddings_fields.CARRIED, frozenset()),
        (
            "CompletionRequest",
            completions_fields.SAME | completions_fields.OWN,
            chat_fields.REFUSED - completions_fields.OWN,
        ),
    ],
)
def test_every_field_that_has_an_effect_is_described(name, carried, refused):
    described = DESCRIBED.schema(name)["properties"].keys()
    assert sorted(carried - described) == []
    assert sorted(refused & described) == []


@pytest.mark.parametrize("name", ["ChatCompletionRequest", "MessagesRequest", "ResponsesRequest"])
def test_bounds_are_those_that_are_checked(name):
    properties = DESCRIBED.schema(name)["properties"]
    for field in Bounds.__struct_fields__:
        described = properties.get(field, {})
        if "minimum" in described:
            assert (described["minimum"], described["maximum"]) == getattr(Bounds(), field)
    assert "maximum" in properties["temperature"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"temperature": 3},
        {"n": 0},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"stop": ["a"] * 5},
        {"logit_bias": {"1": 101}},
        {"temprature": 1},
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
    ],
    ids=json.dumps,
)
def test_a_wrong_request_does_not_fit(body):
    right = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    assert DESCRIBED.fits("ChatCompletionRequest", right)
    assert not DESCRIBED.fits("ChatCompletionRequest", right | body if body else {})


GENERATING = [
    path
    for _, path, each in OPERATIONS
    if "text/event-stream" in DESCRIBED.resolved(each["responses"]["200"])["content"]
    and "requestBody" in each
]


@pytest.mark.parametrize("path", GENERATING)
def test_what_may_be_said_of_the_recording_is_described_wherever_one_is_made(path):
    operation = DESCRIBED.operation("POST", path)
    parameters = [DESCRIBED.resolved(each) for each in operation["parameters"]]
    assert {each["name"] for each in parameters} >= {
        "Idempotency-Key",
        "x-resume-window",
        "x-last-chunk-index",
        "Last-Event-ID",
        "x-bandari-stream",
        "x-bandari-cache",
    }
    told = operation["responses"]["200"]["headers"].keys()
    assert told >= {"x-resume-window", "x-bandari-replayed", "x-bandari-cache", "age"}
    assert {"404", "409"} <= operation["responses"].keys()


def test_recordings_are_made_on_every_surface():
    names = {path.removeprefix(base) for path in GENERATING for base in operation.BASES}
    assert names >= {"/chat/completions", "/completions", "/messages", "/responses"}
    assert "/api/v1/llm/chat/completions/stream" in GENERATING


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("IdempotencyKey", ["order-7", "!", "~" * 255], ["", "a b", "é", "x" * 256]),
        ("ResumeWindow", ["0", "30", "cancel"], ["", "-1", "1.5", "Cancel", "30s"]),
        ("LastChunkIndex", ["0", "9007199254740991"], ["", "-1", "x", "1e3"]),
        ("LastEventId", ["0", "17"], ["", "-1"]),
        ("CacheUse", list(CacheUse), ["", "on", "hit"]),
        ("AfterChunk", [0, 2**53 - 1], [-1, 2**53, "3"]),
    ],
)
def test_the_values_of_a_parameter_are_those_that_are_taken(name, good, bad):
    schema = DOCUMENT["components"]["parameters"][name]["schema"]
    assert [value for value in good if not DESCRIBED.fits(schema, value)] == []
    assert [value for value in bad if DESCRIBED.fits(schema, value)] == []


# -- examples --------------------------------------------------------------------------------------


def test_examples_are_what_they_are_examples_of():
    checked = 0
    for _, _, each in OPERATIONS:
        contents = [each["requestBody"]["content"]] if "requestBody" in each else []
        contents += [DESCRIBED.resolved(answer)["content"] for answer in each["responses"].values()]
        for media_type, content in chain.from_iterable(each.items() for each in contents):
            examples_of = [example["value"] for example in content.get("examples", {}).values()]
            for example in [*examples_of, *([content["example"]] if "example" in content else [])]:
                DESCRIBED.check(content["schema"], example)
                checked += 1
            if media_type == operation.EVENT_STREAM:
                stream = content[operation.STREAM_EXTENSION]["example"].encode()
                assert len(DESCRIBED.check_stream(content, stream)) > 2
    assert checked > 100


def test_every_body_has_an_example():
    assert all(
        each["requestBody"]["content"]["application/json"]["examples"]
        for _, _, each in OPERATIONS
        if "requestBody" in each
    )


# -- errors ----------------------------------------------------------------------------------------


def all_faults(kind: type[Fault] = Fault) -> set[type[Fault]]:
    found = {each for each in vars(faults).values() if isinstance(each, type)}
    return {each for each in found | ELSEWHERE if issubclass(each, kind)}


ELSEWHERE = {
    RecordingFull,
    AlreadyExists,
    InvalidConfiguration,
    KeyRevoked,
    LastOwner,
    TooLittleFree,
    UserDisabled,
}
"""Faults of one use case, which stand beside it."""
PROTOCOLS = (OPENAI, TYPED, MESSAGES, EITHER, OWN, ADMIN)


NOT_OF_AN_OPERATION = {405}
"""What a described operation can answer never: it answers its method."""


def test_every_code_is_told_with_its_status_and_no_other():
    codes = {(fault.status, fault.code) for fault in all_faults()}
    problems = [of_refusal(Deny(reason, "")) for reason in Reason]
    codes |= {(problem.status, problem.code) for problem in problems}
    told = {
        (status, code)
        for protocol in PROTOCOLS
        for status, failure in protocol.failures.items()
        for code in failure.codes
    }
    assert sorted(code for code in codes - told if code[0] not in NOT_OF_AN_OPERATION) == []
    assert sorted(told - codes) == []


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_every_error_fits_its_envelope(protocol):
    for status in protocol.failures:
        answer = DOCUMENT["components"]["responses"].get(f"{protocol.name}{status}")
        if answer is None:
            continue
        schema = answer["content"]["application/json"]["schema"]
        for fault in all_faults():
            if fault.status == status:
                DESCRIBED.check(schema, json.loads(protocol.spell(of_fault(fault(param="x")))))
        assert not DESCRIBED.fits(schema, {"error": "text"})


# -- served ----------------------------------------------------------------------------------------


async def test_the_document_is_served(front):
    client = await request(front(SmallHouse()).app, "GET", "/openapi.json")
    assert (client.status, client.headers["content-type"]) == (200, "application/json")
    assert json.loads(client.body) == json.loads(json.dumps(DOCUMENT))
