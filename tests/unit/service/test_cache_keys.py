from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct
from msgspec.structs import replace

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Original,
    OtherPart,
    OtherTool,
    ReasoningPart,
    ResponseFormat,
    Role,
    Sampling,
    Seal,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from bandari.service.cache_keys import IRRELEVANT, MAX_CANONICAL_BYTES, cache_key

SCHEMA = Raw(b'{"type":"object","properties":{"city":{"type":"string"},"n":{"enum":[1,2.5]}}}')
FULL = ChatRequest(
    model="an-alias",
    messages=(
        Message(Role.SYSTEM, (TextPart("Be brief."),)),
        Message(
            Role.USER,
            (
                TextPart("What is this?"),
                ImagePart("https://example.com/a.png", "low"),
                OtherPart("chat_completions", "file", Raw(b'{"a":1}'), "messages[1].content[2]"),
            ),
            name="amina",
        ),
        Message(
            Role.ASSISTANT,
            (
                ReasoningPart("Hm."),
                ReasoningPart("", Seal("messages", "c2VhbA==", is_thought=True)),
                TextPart("I look."),
            ),
            tool_calls=(
                ToolCall("call_1", "weather", '{"city":"Kisumu"}'),
                ToolCall("call_2", "weather", '{"city":"Voi"}'),
            ),
        ),
        Message(Role.TOOL, (TextPart("rain"),), tool_call_id="call_1", is_error=True),
    ),
    sampling=Sampling(
        temperature=0.7,
        top_p=0.9,
        top_k=40,
        max_tokens=100,
        stop=("\n", "END"),
        n=2,
        seed=7,
        logit_bias={"11": 2.0, "5": -100.0},
        logprobs=True,
        top_logprobs=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
    ),
    stream=True,
    include_usage=True,
    tools=(
        Tool("weather", "Tells it.", SCHEMA, strict=True),
        OtherTool("messages", "bash", Raw(b'{"type":"bash_20250124"}'), "tools[1]"),
    ),
    tool_choice=ToolChoice("named", "weather"),
    parallel_tool_calls=False,
    response_format=ResponseFormat("json_schema", "answer", SCHEMA, strict=False),
    user="u1",
    reasoning_effort="low",
    input_bytes=100,
    images=1,
    original=Original(
        "chat_completions",
        {"messages": Raw(b"[]"), "verbosity": Raw(b'"low"'), "temperature": Raw(b"0.7")},
        ("verbosity",),
        ("messages[].prefix",),
    ),
)


def key(request: ChatRequest, **other: Any) -> bytes:
    asked = {"account_id": 1, "end_user": None, "model_id": "m"} | other
    return cache_key(asked["account_id"], asked["end_user"], asked["model_id"], request)


def changes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values that differ from this one in one place, each with that place."""
    if isinstance(value, Original):
        return
    if isinstance(value, Struct):
        for name in value.__struct_fields__:
            for place, changed in changes(getattr(value, name), f"{path}.{name}"):
                yield place, replace(value, **{name: changed})
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            for place, changed in changes(item, f"{path}[{index}]"):
                yield place, (*value[:index], changed, *value[index + 1 :])
        if value:
            yield f"{path}[less]", value[1:]
            yield f"{path}[more]", (*value, value[-1])
        if value != value[::-1]:
            yield f"{path}[reversed]", value[::-1]
    elif isinstance(value, Mapping):
        yield f"{path}[more]", {**value, "77": 1.0}
        for name, number in value.items():
            yield f"{path}[less {name}]", {k: v for k, v in value.items() if k != name}
            yield f"{path}[{name}]", {**value, name: number + 1}
    else:
        yield path, changed_scalar(value)
        if value is not None:
            yield f"{path}[none]", None


def changed_scalar(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return not value
        case Role():
            return Role.DEVELOPER if value is not Role.DEVELOPER else Role.USER
        case Raw():
            return Raw(b'{"other":%b}' % bytes(value))
        case str():
            return value + "x"
        case int():
            return value + 1
        case float():
            return value + 0.25
    raise AssertionError(f"nobody knows how to change {value!r}")


def is_relevant(place: str) -> bool:
    return not any(
        place.endswith((f".{name}", f".{name}[none]", f".{name}[more]")) for name in IRRELEVANT
    )


def test_every_change_of_what_matters_is_another_request():
    keys = {"": key(FULL)}
    for place, changed in changes(FULL):
        if is_relevant(place):
            keys[place] = key(changed)
    assert len(keys) > 100
    assert len(set(keys.values())) == len(keys)


def test_no_change_of_what_does_not_matter_is():
    places = [place for place, _ in changes(FULL) if not is_relevant(place)]
    assert {place.split("[none]")[0].rpartition(".")[2] for place in places} == IRRELEVANT - {
        "original"
    }
    for place, changed in changes(FULL):
        if not is_relevant(place):
            assert key(changed) == key(FULL), place


def test_who_asks_and_which_model_matter():
    plain = ChatRequest("m", ())
    keys = [
        key(plain),
        key(plain, account_id=2),
        key(plain, end_user="1"),
        key(plain, end_user=""),
        key(plain, end_user="m"),
        key(plain, model_id="M"),
        key(plain, account_id=2**53),
    ]
    assert len(set(keys)) == len(keys)
    assert {len(one) for one in keys} == {32}


# -- what is the same ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["temperature", "top_p", "presence_penalty", "frequency_penalty"])
@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, 0.0), (0.0, -0.0), (-2, -2.0)])
def test_numbers_are_the_same_however_they_are_written(name: str, one: float, other: float):
    def with_it(value: float) -> bytes:
        return key(ChatRequest("m", (), Sampling(**{name: value})))  # type: ignore[arg-type]

    assert with_it(one) == with_it(other)
    assert with_it(one) != with_it(one + 1)


def test_a_seed_keeps_all_its_digits():
    seeds = [2**53, 2**53 + 1, 2**63, 2**64 + 1, 2**64 + 2, -(2**64), 10**400]
    keys = [key(ChatRequest("m", (), Sampling(seed=seed))) for seed in seeds]
    assert len(set(keys)) == len(seeds)


def test_numbers_that_are_none_do_not_stop_it():
    weird = [math.nan, math.inf, -math.inf, 1e308, 5e-324, 2.0**53, 2.0**53 + 2, 2.0**70]
    keys = [key(ChatRequest("m", (), Sampling(temperature=value))) for value in weird]
    assert len(set(keys)) == len(weird)
    assert key(ChatRequest("m", (), Sampling(temperature=math.nan))) == keys[0]


def test_the_order_of_biases_does_not_matter():
    one = Sampling(logit_bias={"1": 5.0, "20": -5, "3": 0.0})
    other = Sampling(logit_bias={"3": -0.0, "20": -5.0, "1": 5})
    assert key(ChatRequest("m", (), one)) == key(ChatRequest("m", (), other))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [shuffled(item) for item in value]
    return value


def with_json(raw: bytes) -> list[ChatRequest]:
    """A request for each place where JSON may be."""
    encoded = Raw(raw)
    return [
        ChatRequest("m", (), tools=(Tool("f", None, encoded),)),
        ChatRequest("m", (), tools=(OtherTool("p", "f", encoded, "tools[0]"),)),
        ChatRequest("m", (), response_format=ResponseFormat("json_schema", "f", encoded)),
        ChatRequest("m", (Message(Role.USER, (OtherPart("p", "k", encoded, "here"),)),)),
        ChatRequest("m", (), original=Original("p", {"extra": encoded}, ("extra",))),
        ChatRequest("m", (), original=Original("p", {"extra": encoded}, (), ("extra[].a.b",))),
    ]


@given(json_values)
def test_neither_white_space_nor_the_order_of_keys_matters_in_json(value: Any):
    compact = with_json(json.dumps(value).encode())
    spaced = with_json(json.dumps(shuffled(value), indent=3, ensure_ascii=False).encode())
    for one, other in zip(compact, spaced, strict=True):
        assert key(one) == key(other)
    assert len({key(one) for one in compact}) == len(compact)


@given(json_values, json_values)
def test_json_that_says_something_else_is_another_request(one: Any, other: Any):
    is_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    pairs = zip(
        with_json(json.dumps(one).encode()), with_json(json.dumps(other).encode()), strict=True
    )
    for first, second in pairs:
        assert (key(first) == key(second)) is is_same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"18446744073709551617", b"18446744073709551618"),
        (b"1e400", b"1e401"),
        (b"[" * 100_000 + b"]" * 100_000, b"[" * 100_001 + b"]" * 100_001),
        (b'{"a":"\\ud800"}', b'{"a":"\\ud801"}'),
        (b'{"a":"\xff"}', b'{"a":"\xfe"}'),
        (b"not json", b"not  json"),
        (b"", b" "),
        (b'"' + b"x" * MAX_CANONICAL_BYTES + b'"', b'"' + b"x" * MAX_CANONICAL_BYTES + b'" '),
    ],
    ids=["big", "huge", "deep", "surrogate", "not UTF-8", "not JSON", "empty", "long"],
)
def test_what_cannot_be_brought_into_one_spelling_counts_as_it_is(one: bytes, other: bytes):
    for first, second in zip(with_json(one), with_json(other), strict=True):
        assert key(first) == key(first) != key(second)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\\ud800"])
def test_lone_surrogates_are_told_apart(text: str):
    texts = [text, text + text, text + "x", repr(text)]
    keys = [key(ChatRequest("m", (Message(Role.USER, (TextPart(one),)),))) for one in texts]
    assert len(set(keys)) == len(texts)


# -- ambiguity -------------------------------------------------------------------------------------

words = st.sampled_from(["", "a", "ab", "b", "null", "[]", "\x00", "', '"])
maybe = st.none() | words
raws = st.sampled_from([b"{}", b"[]", b'"a"', b"null", b"1"]).map(Raw)
seals = st.builds(Seal, words, words, st.booleans())
parts = (
    st.builds(TextPart, words)
    | st.builds(ImagePart, words, maybe)
    | st.builds(ReasoningPart, words, st.none() | seals)
    | st.builds(OtherPart, words, words, raws, st.just("here"))
)
calls = st.builds(ToolCall, words, words, words)
messages = st.builds(
    Message,
    st.sampled_from(Role),
    st.lists(parts, max_size=2).map(tuple),
    maybe,
    st.lists(calls, max_size=2).map(tuple),
    maybe,
    st.booleans(),
)
flags = st.none() | st.booleans()
numbers = st.none() | st.sampled_from([0.0, 1.0, 0.5])
counts = st.none() | st.sampled_from([0, 1])
requests = st.builds(
    ChatRequest,
    model=st.just("m"),
    messages=st.lists(messages, max_size=2).map(tuple),
    sampling=st.builds(
        Sampling,
        numbers,
        numbers,
        counts,
        counts,
        st.lists(words, max_size=2).map(tuple),
        st.sampled_from([1, 2]),
        counts,
        st.none() | st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from([0.0, 1.5])),
        st.booleans(),
        counts,
        numbers,
        numbers,
    ),
    tools=st.lists(
        st.builds(Tool, words, maybe, st.none() | raws, flags)
        | st.builds(OtherTool, words, words, raws, st.just("here")),
        max_size=2,
    ).map(tuple),
    tool_choice=st.none() | st.builds(ToolChoice, words, maybe),
    parallel_tool_calls=flags,
    response_format=st.none() | st.builds(ResponseFormat, words, maybe, st.none() | raws, flags),
    reasoning_effort=maybe,
)


@given(requests, requests, st.data())
def test_two_requests_that_differ_are_never_the_same(
    one: ChatRequest, other: ChatRequest, data: st.DataObject
):
    assert (key(one) == key(other)) is (meaning(one) == meaning(other))
    near = [changed for place, changed in changes(one) if is_relevant(place)]
    changed = data.draw(st.sampled_from(near))
    assert key(changed) != key(one)


def meaning(value: Any) -> Any:
    if isinstance(value, Raw):
        return json.loads(bytes(value))
    if isinstance(value, Struct):
        fields = [name for name in value.__struct_fields__ if name not in IRRELEVANT]
        return [type(value).__name__, [meaning(getattr(value, name)) for name in fields]]
    if isinstance(value, tuple):
        return [meaning(item) for item in value]
    return value


# -- the client's own JSON -------------------------------------------------------------------------


def own(fields: dict[str, bytes], unknown: tuple[str, ...] = (), untold: tuple[str, ...] = ()):
    kept = {name: Raw(raw) for name, raw in fields.items()}
    return ChatRequest("m", (), original=Original("chat_completions", kept, unknown, untold))


def test_what_a_value_of_the_request_stands_for_counts_once():
    assert key(own({"temperature": b"1", "messages": b"[]"})) == key(ChatRequest("m", ()))


def test_what_none_stands_for_counts():
    keys = [
        key(own({"min_p": b"1"})),
        key(own({"min_p": b"1"}, ("min_p",))),
        key(own({"min_p": b"2"}, ("min_p",))),
        key(own({"min_p": b"2"}, (), ("min_p",))),
        key(own({"min_p": b"2", "min_q": b"2"}, ("min_p", "min_q"))),
        key(own({}, ("min_p",))),
        key(own({}, ("min_q",))),
        key(own({}, (), ("min_p",))),
        key(own({}, (), ("min_q",))),
        key(own({"min_p": b'"2"'}, ("min_p",))),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("path", ["tools[].cache_control", "tools.a", "tools[2]", "tools"])
def test_of_a_field_in_part_untold_all_counts(path: str):
    one = own({"tools": b'[{"name":"a","x":1}]'}, (), (path,))
    other = own({"tools": b'[{"name":"a","x":2}]'}, (), (path,))
    shuffled_keys = own({"tools": b'[ {"x":1, "name":"a"} ]'}, (), (path,))
    assert key(one) != key(other)
    assert key(one) == key(shuffled_keys)


def test_a_field_whose_name_looks_like_a_path_counts_beside_the_field_that_it_looks_like():
    for changed in ({"a.b": b"2", "a": b"1"}, {"a.b": b"1", "a": b"2"}):
        assert key(own({"a.b": b"1", "a": b"1"}, ("a.b",))) != key(own(changed, ("a.b",)))


def test_the_same_unknown_field_means_something_else_in_another_protocol():
    request = own({"store": b"true"}, ("store",))
    assert request.original is not None
    other = replace(request, original=replace(request.original, protocol="responses"))
    assert key(request) != key(other)


# -- the words of a protocol -----------------------------------------------------------------------

WORDS: dict[str, frozenset[str] | None] = {
    "": frozenset({"messages", "tools", "top_p", "bias"}),
    "messages": frozenset({"role", "content"}),
    "content": frozenset({"type", "text"}),
    "tools": frozenset({"name", "schema"}),
    "schema": None,
    "bias": None,
}
MESSAGE = b'{"role":"user","content":[{"type":"text","text":"Hi"}]}'


def worded(**fields: bytes) -> bytes:
    kept = {name: Raw(raw) for name, raw in fields.items()}
    return key(ChatRequest("m", (), original=Original("p", kept, words=WORDS)))


PLAIN = key(ChatRequest("m", ()))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": b"[%b]" % MESSAGE},
        {"messages": b'[ { "role" : "user" , "content" : "Hi" } ]'},
        {"messages": b'[{"role":"user","content":null,"extra":null}]'},
        {"messages": b'"[{"'},
        {"top_p": b"0.5", "bias": b'{"whatever":{"it":"is"}}', "unknown": b"null"},
        {"tools": b'[{"name":"f","schema":{"deep":%b}}]' % (b"[" * 500 + b"]" * 500)},
        {"tools": b"[]", "messages": b"{}"},
    ],
    ids=str,
)
def test_what_values_stand_for_does_not_count_again(fields: dict[str, bytes]):
    assert worded(**fields) == PLAIN


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": b"1"},
        {"messages": b'[{"role":"user","content":"Hi","prefix":true}]'},
        {"messages": b'[%b,%b,{"role":"user","content":[{"mark":0}]}]' % (MESSAGE, MESSAGE)},
        {"messages": b'[{ "role" : "user" , "content" : [ { "mark" : 0 } ] }]'},
        {"messages": b'[{"role":{"content":"here"}}]'},
        {"messages": b'[[[{"x":1}]]]'},
        {"messages": b'[{"role":"user","content":[{"name":"f"}]}]'},
        {"tools": b'[{"name":"f","schema":{},"strict":false}]'},
        {"messages": b'[{"role":'},
        {"messages": b"[" * 100_000 + b"]" * 100_000},
        {"content": b'[{"type":"text"}]'},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_what_they_do_not_stand_for_does(fields: dict[str, bytes]):
    assert worded(**fields) != PLAIN
    assert worded(**fields) == worded(**fields)


def test_only_the_fields_count_in_which_there_is_more():
    more = b'[{"role":"user","prefix":true}]'
    one = worded(messages=more, top_p=b"1", tools=b"[]")
    assert one == worded(messages=b' [ {"prefix": true, "role": "user"} ]', top_p=b"1.0")
    assert one != worded(messages=more.replace(b"true", b"false"), top_p=b"1")
