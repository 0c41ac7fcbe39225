"""Answers as the codecs write them, whole and streamed, against the OpenAPI document."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from functools import partial

import pytest
from msgspec import Raw, structs
from tests.support.described import Described, events_of
from tests.support.samples import a_model

from bandari.domain.accounts import AccountPolicy, Role
from bandari.domain.allowance import Limits, Quota
from bandari.domain.audit_log import AuditEntry
from bandari.domain.catalogue import Endpoint, Group
from bandari.domain.chat import Seal
from bandari.domain.embeddings import Embeddings, EncodingFormat
from bandari.domain.estimate import Basis
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)
from bandari.domain.faults import UpstreamInterrupted
from bandari.domain.keys import KeyPolicy, Scope
from bandari.domain.ledger import Ending, Line
from bandari.domain.problem import of_fault
from bandari.domain.recordings import CacheUse
from bandari.domain.reports import Dimension
from bandari.domain.usage import CountRule, Usage
from bandari.service.inference import Opening
from bandari.web import surface
from bandari.web.openapi import samples
from bandari.web.openapi.document import document
from bandari.wire.admin import answers
from bandari.wire.admin import bodies as admin_bodies
from bandari.wire.chat_completions import models as openai
from bandari.wire.embeddings.encode_answer import encode_answer
from bandari.wire.messages import models as anthropic
from bandari.wire.messages.encode_answer import PING
from bandari.wire.reports import bodies
from bandari.wire.responses.compaction import CompactionEncoder
from bandari.wire.responses.decode_request import decode_request
from bandari.wire.responses.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.responses.history import Page, encode_input_items, with_ids
from bandari.wire.responses.response_object import (
    CANCELLED,
    QUEUED,
    ResponseFrame,
    ResponseObject,
    encode_deleted,
)

DESCRIBED = Described(document())

LOGPROBS = (TokenLogprob("Hi", -0.5, [72, 105], (TopLogprob("Hi", -0.5, [72, 105]),)),)
SEALED = ReasoningSealed(0, Seal("messages", "c2lnbmVk"))
EVERYTHING: Sequence[Event] = (
    ReasoningDelta(0, "Let me"),
    ReasoningDelta(0, " see."),
    SEALED,
    ReasoningSealed(0, Seal("messages", "c2VhbGVk", is_thought=True)),
    TextDelta(0, "Hi", LOGPROBS),
    TextDelta(0, " there."),
    RefusalDelta(0, "I will not."),
    ToolCallDelta(0, 0, '{"city":', "call_1", "get_weather"),
    ToolCallDelta(0, 0, '"Nairobi"}'),
    ToolCallDelta(0, 1, "{}", "call_2", "get_weather"),
    ChoiceFinished(0, FinishReason.TOOL_CALLS),
)
CUT: Sequence[Event] = (TextDelta(0, "Hi"), ChoiceFinished(0, FinishReason.LENGTH))
SAFE: Sequence[Event] = (ChoiceFinished(0, FinishReason.CONTENT_FILTER),)
STOPPED: Sequence[Event] = (TextDelta(0, "Hi"), ChoiceFinished(0, FinishReason.STOP, "there"))
ANSWERS = {"everything": EVERYTHING, "cut": CUT, "safe": SAFE, "stopped": STOPPED}
USAGE = Usage(30, 12, 8, 4, 3)
OPENING = Opening("01m7z9ezq8pz5cqwp2zt3ttm1q", 1_795_272_703, "bandari-tiny", 17)
PROBLEM = of_fault(UpstreamInterrupted(param="x"))

MESSAGE = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "m", "messages": MESSAGE, "logprobs": True, "top_logprobs": 1}
SURFACES = {
    "/v1/chat/completions": (surface.CHAT_COMPLETIONS, CHAT),
    "/api/v1/llm/chat/completions/stream": (surface.TYPED_STREAM, CHAT),
    "/v1/messages": (
        surface.MESSAGES,
        {"model": "m", "messages": MESSAGE, "max_tokens": 9, "stop_sequences": ["there"]},
    ),
    "/v1/responses": (
        None,
        {
            "model": "m",
            "input": [{"role": "user", "content": "Hi"}],
            "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}},
            "tools": [{"type": "web_search"}, {"type": "function", "name": "get_weather"}],
            "reasoning": {"effort": "low", "summary": "auto"},
            "metadata": {"a": "b"},
        },
    ),
    "/v1/completions": (surface.COMPLETIONS, {"model": "m", "prompt": "Hi", "logprobs": 1}),
}


def encoder_of(path: str, **more: object):
    which, fields = SURFACES[path]
    body = json.dumps(fields | more).encode()
    if which is not None:
        return which.encoder(which.decode(body, max_messages=9), OPENING)
    wanted = decode_request(body)
    frame = ResponseFrame(echo=wanted.echo, include_encrypted=True, include_logprobs=True)
    kind = StreamEncoder if wanted.chat.stream else WholeEncoder
    return kind(envelope(), frame, now_s=lambda: 1)


def content_of(path: str, media_type: str) -> dict:
    return DESCRIBED.operation("POST", path)["responses"]["200"]["content"].get(media_type)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", [path for path in SURFACES if "stream" not in path])
def test_whole_answers_are_described(path, answer):
    encoder = encoder_of(path)
    encoder.events(ANSWERS[answer])
    (body,) = encoder.close(USAGE)
    DESCRIBED.check(content_of(path, "application/json")["schema"], json.loads(body))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("path", SURFACES)
def test_streamed_answers_are_described(path, answer):
    frames = streamed(path, ANSWERS[answer])
    assert DESCRIBED.check_stream(content_of(path, "text/event-stream"), frames)


@pytest.mark.parametrize("path", SURFACES)
def test_streams_that_fail_are_described(path):
    encoder = encoder_of(path, **streaming(path))
    frames = b"".join([*encoder.events(CUT[:1]), *encoder.problem(PROBLEM)])
    values = DESCRIBED.check_stream(content_of(path, "text/event-stream"), frames)
    assert "error" in json.dumps(values[-1])


def streamed(path: str, events: Sequence[Event]) -> bytes:
    encoder = encoder_of(path, **streaming(path))
    return b"".join([*encoder.events(events), *encoder.close(USAGE)])


def streaming(path: str) -> dict:
    return {} if path.endswith("/stream") else {"stream": True}


def response_encoder(background: bool) -> StreamEncoder:
    frame = ResponseFrame(background=background)
    return StreamEncoder(envelope(), frame, now_s=lambda: 1)


def envelope():
    return surface.envelope_of("resp_", OPENING)


def test_no_event_is_described_that_nobody_sends():
    """Every member of every union of events is one that some answer has."""
    queued = response_encoder(background=True)
    extra = {
        "/v1/messages": PING,
        "/v1/responses": b"".join([*queued.events(CUT), *queued.close(USAGE)]),
    }
    unions = {
        "/v1/messages": "MessageStreamEvent",
        "/v1/responses": "ResponseStreamEvent",
        "/api/v1/llm/chat/completions/stream": "TypedStreamEvent",
    }
    for path, name in unions.items():
        field = DESCRIBED.schema(name)["discriminator"]["propertyName"]
        failing = encoder_of(path, **streaming(path))
        frames = [
            *(streamed(path, events) for events in ANSWERS.values()),
            *failing.problem(PROBLEM),
            extra.get(path, b""),
        ]
        seen = {
            event.name if field == "event" else json.loads(event.data)[field]
            for event in events_of(b"".join(frames))
        }
        assert seen == DESCRIBED.schema(name)["discriminator"]["mapping"].keys()


@pytest.mark.parametrize(
    "encode",
    [
        lambda response: response.encode(QUEUED),
        lambda response: response.encode(CANCELLED),
        lambda response: response.failed(PROBLEM, output=b"[]"),
    ],
    ids=["queued", "cancelled", "failed"],
)
def test_responses_in_every_state_are_described(encode):
    response = ResponseObject(envelope(), ResponseFrame(background=True))
    DESCRIBED.check("Response", json.loads(encode(response)))


def test_what_else_is_answered_about_responses_is_described():
    DESCRIBED.check("DeletedResponse", json.loads(encode_deleted("resp_1")))
    compaction = CompactionEncoder(envelope())
    compaction.events(CUT)
    (body,) = compaction.close(USAGE)
    DESCRIBED.check("Compaction", json.loads(body))
    items = [
        b'{"type":"message","role":"user","content":"Hi"}',
        b'{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}',
        b'{"type":"reasoning","summary":[]}',
        b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}',
        b'{"type":"function_call_output","call_id":"c","output":"22"}',
    ]
    shown = with_ids(map(Raw, items), lambda prefix: f"{prefix}1")
    for page in (Page(), Page("asc", 2)):
        DESCRIBED.check("InputItemList", json.loads(encode_input_items(shown, page)))


@pytest.mark.parametrize("encoding", EncodingFormat)
def test_vectors_are_described(encoding):
    vectors = Embeddings((array("f", [0.5, -1.0]).tobytes(), array("f", [0.0, 2.0]).tobytes()))
    *_, last = steps(encode_answer(vectors, USAGE, "m", encoding))
    DESCRIBED.check("EmbeddingList", json.loads(last))


def steps(generator):
    """What a generator yields, and at last what it returns."""
    result = yield from generator
    yield result


def test_models_are_described_in_both_forms():
    for encode, name in (
        (partial(openai.encode_model, latency_of=lambda _: 210), "Model"),
        (partial(openai.encode_model, latency_of=lambda _: None), "Model"),
        (anthropic.encode_model, "AnthropicModel"),
    ):
        DESCRIBED.check(name, json.loads(encode(a_model(), 1_700_000_000)))
    values = DESCRIBED.schema("Model")["properties"]["endpoints"]["items"]["enum"]
    assert values == list(Endpoint)


# -- what operators and customers are told ---------------------------------------------------------

FULL_LIMITS = Limits(
    requests_per_minute=1,
    requests_per_hour=2,
    requests_per_day=3,
    tokens_per_minute=4,
    tokens_per_hour=5,
    tokens_per_day=6,
    concurrent_requests=7,
    spend_per_day={"KES": 8},
    spend_per_month={"KES": 9},
)
FULL_KEY = structs.replace(
    samples.KEY,
    policy=KeyPolicy(
        scopes=tuple(Scope),
        models=("gpt-*",),
        quota=Quota(lifetime=1, per_day=2, per_month=3),
        limits=FULL_LIMITS,
        networks=("10.0.0.0/8",),
        expires_ms=9,
        resume_window_s=0,
        cache=CacheUse.REFRESH,
        cache_ttl_s=1,
    ),
    former_hint="x",
    former_expires_ms=5,
    revoked_ms=6,
)
FULL_POLICY = AccountPolicy(
    limits=FULL_LIMITS,
    end_user_limits=FULL_LIMITS,
    names_end_users=False,
    needs_sub_wallets=True,
    is_suspended=True,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Account", answers.account(structs.replace(samples.ACCOUNT, policy=FULL_POLICY))),
        ("Account", answers.account(samples.ACCOUNT, (samples.WALLET, samples.SUB_WALLET))),
        ("EndUser", answers.end_user(structs.replace(samples.END_USER, limits=None))),
        ("EndUser", answers.end_user(structs.replace(samples.END_USER, limits=FULL_LIMITS), ())),
        ("Key", answers.key(FULL_KEY)),
        ("NewKey", answers.new_key("x", samples.KEY)),
        ("User", answers.user(structs.replace(samples.USER, disabled_ms=5))),
        ("NewUser", answers.new_user("x", samples.USER)),
        ("Group", answers.group(samples.GROUP)),
        ("Group", answers.group(Group(name="x", limits_together=FULL_LIMITS))),
        ("ConfiguredModel", answers.model(a_model(limits=FULL_LIMITS, aliases=("x",)))),
        ("ConfiguredModel", answers.model(a_model(cache=CacheUse.USE, cache_ttl_s=60))),
        ("AuditEntry", answers.audit_entry(samples.AUDIT_ENTRY)),
        ("AuditEntry", answers.audit_entry(AuditEntry(1, 2, "w", "a", "s"))),
    ],
)
def test_what_operators_are_told_is_described(name, value):
    DESCRIBED.check(name, json.loads(answers.encode(value)))


@pytest.mark.parametrize("tells_target", [True, False])
@pytest.mark.parametrize("basis", [None, Basis(1, 2, 3)])
def test_receipts_are_described(tells_target, basis):
    receipt = structs.replace(samples.RECEIPT, basis=basis, end_user=None, finish_reason=None)
    spell = {"tells_target": tells_target}
    DESCRIBED.check("Receipt", json.loads(bodies.receipt_body(receipt, **spell)))
    DESCRIBED.check("ReceiptList", json.loads(bodies.receipts_body([receipt], 5, **spell)))
    for line in bodies.receipt_lines([receipt] * 2, **spell).splitlines():
        DESCRIBED.check("ReceiptEntry", json.loads(line))


@pytest.mark.parametrize("by", [(), (Dimension.DAY,), tuple(set(Dimension) - {Dimension.DAY})])
def test_usage_is_described(by):
    row = structs.replace(samples.USAGE_ROW, account="a", key_id=1, end_user="", model="m")
    DESCRIBED.check("UsageReport", json.loads(bodies.usage_body([row], by)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Limits", Limits),
        ("Quota", Quota),
        ("KeyPolicy", KeyPolicy),
        ("AccountPolicy", AccountPolicy),
        ("NewAccountRequest", admin_bodies.NewAccount),
        ("AccountChangeRequest", admin_bodies.AccountChange),
        ("CreditRequest", admin_bodies.Credit),
        ("AdjustmentRequest", admin_bodies.Adjustment),
        ("TransferRequest", admin_bodies.Transfer),
        ("EndUserRequest", admin_bodies.EndUserChange),
        ("NewKeyRequest", admin_bodies.NewKeyOf),
        ("KeyChangeRequest", admin_bodies.KeyChange),
        ("RotationRequest", admin_bodies.Rotation),
        ("NewUserRequest", admin_bodies.NewUserOf),
        ("RoleRequest", admin_bodies.RoleChange),
    ],
)
def test_every_field_that_is_read_is_described(name, kind):
    schema = DESCRIBED.schema(name)
    fields = structs.fields(kind)
    assert schema["properties"].keys() == {field.name for field in fields}
    assert set(schema.get("required", ())) == {field.name for field in fields if field.required}


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        ("KeyPolicy", "scopes", Scope),
        ("KeyPolicy", "cache", CacheUse),
        ("ConfiguredModel", "cache", CacheUse),
        ("User", "role", Role),
        ("AdjustmentRequest", "line", Line),
        ("ReceiptEntry", "ending", Ending),
        ("ReceiptEntry", "rule", CountRule),
        ("UsageReport", "by", Dimension),
    ],
)
def test_every_value_is_described(name, field, values):
    described = DESCRIBED.schema(name)["properties"][field]
    listed = described.get("items", described)["enum"]
    assert {value for value in listed if value is not None} == {*values}
