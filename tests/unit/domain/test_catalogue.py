"""The order in which targets are tried, and how a model id is found."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import (
    EMBEDDING,
    GENERATING,
    Defaults,
    Endpoint,
    Model,
    Target,
    by_id,
    check_serves,
    nearest,
    ordered,
)
from bandari.domain.faults import InvalidValue

draws = st.floats(0, 1, exclude_max=True)
targets = st.lists(
    st.builds(
        Target,
        provider=st.sampled_from("abcdef"),
        model=st.just("m"),
        priority=st.integers(-1, 2),
        weight=st.integers(0, 1000),
    ),
    max_size=8,
)


def model(model_id: str, *aliases: str, family: str = "") -> Model:
    return Model(
        id=model_id,
        targets=(Target("local", "m"),),
        rate_cards=(),
        context_window=100,
        max_output_tokens=10,
        defaults=Defaults(),
        bounds=Bounds(),
        aliases=aliases,
        family=family,
    )


def first_of(choices: list[Target], draw: float) -> str:
    return ordered(choices, draw)[0].provider


def test_lower_priorities_come_first_whatever_the_draw() -> None:
    choices = [Target("b", "m", priority=1), Target("a", "m", priority=0, weight=1)]
    assert [str(target) for target in ordered(choices, 0.999)] == ["a:m", "b:m"]


def test_the_draw_picks_the_first_by_weight() -> None:
    choices = [Target("a", "m", weight=1), Target("b", "m", weight=3)]
    firsts = Counter(first_of(choices, step / 100) for step in range(100))
    assert firsts == {"a": 25, "b": 75}


def test_each_tier_is_drawn_by_its_own_weights() -> None:
    choices = [
        Target("a", "m", weight=1),
        Target("b", "m", weight=1),
        Target("c", "m", priority=5, weight=1),
        Target("d", "m", priority=5, weight=3),
    ]
    assert [target.provider for target in ordered(choices, 0.3)] == ["a", "b", "d", "c"]


def test_the_others_follow_in_their_own_order() -> None:
    choices = [Target(name, "m") for name in "abc"]
    assert [target.provider for target in ordered(choices, 0.5)] == ["b", "a", "c"]


def test_a_weight_of_zero_is_never_first_while_another_has_some() -> None:
    choices = [Target("a", "m", weight=0), Target("b", "m", weight=1), Target("c", "m", weight=0)]
    assert {first_of(choices, step / 64) for step in range(64)} == {"b"}


def test_weights_of_zero_alone_keep_their_order() -> None:
    choices = [Target("a", "m", weight=0), Target("b", "m", weight=0)]
    assert [target.provider for target in ordered(choices, 0.7)] == ["a", "b"]


def test_no_targets_have_an_empty_order() -> None:
    assert ordered([], 0.5) == ()


@given(targets, draws)
def test_every_target_is_tried_once_and_by_priority(choices: list[Target], draw: float) -> None:
    result = ordered(choices, draw)
    assert Counter(result) == Counter(choices)
    priorities = [target.priority for target in result]
    assert priorities == sorted(priorities)


def test_nearest_names_the_likeliest_first() -> None:
    known = ["gpt-4o-mini", "gpt-4o", "claude-sonnet-4", "bandari-tiny"]
    assert nearest("gpt4o", known) == ("gpt-4o", "gpt-4o-mini")
    assert nearest("GPT-4O", known)[0] == "gpt-4o"


def test_nearest_keeps_the_spelling_of_what_is_known() -> None:
    assert nearest("krosmlingual", ["KrosMLingual1.0.1"]) == ("KrosMLingual1.0.1",)


def test_nearest_names_nothing_where_nothing_is_near() -> None:
    assert nearest("zzz", ["gpt-4o"]) == ()
    assert nearest("gpt-4o", []) == ()


@pytest.mark.parametrize("count", [1, 2])
def test_nearest_names_no_more_than_asked_for(count: int) -> None:
    assert len(nearest("gpt-4", ["gpt-4a", "gpt-4b", "gpt-4c"], count)) == count


def test_nearest_reads_only_the_beginning_of_a_hostile_name() -> None:
    assert nearest("gpt-4o" + "x" * 10_000_000, ["gpt-4o"]) == ()


def test_models_are_found_by_id_and_by_alias() -> None:
    one, other = model("one", "first", "uno"), model("two")
    index = by_id([one, other])
    assert index == {"one": one, "first": one, "uno": one, "two": other}


def test_a_model_is_counted_under_its_family() -> None:
    assert model("one").label == "one"
    assert model("acme:anything", family="acme").label == "acme"


def test_a_model_writes_unless_it_is_said_to_embed() -> None:
    assert set(GENERATING) | set(EMBEDDING) == set(Endpoint)
    assert not set(GENERATING) & set(EMBEDDING)
    for endpoint in GENERATING:
        check_serves(model("m"), endpoint)
    check_serves(replace(model("m"), endpoints=EMBEDDING), Endpoint.EMBEDDINGS)


def test_who_asks_a_model_at_the_wrong_place_is_told_the_right_one() -> None:
    with pytest.raises(InvalidValue) as raised:
        check_serves(replace(model("nomic"), endpoints=EMBEDDING), Endpoint.MESSAGES)
    assert raised.value.param == "model"
    assert raised.value.message.startswith(
        "The model 'nomic' cannot be asked here: it is served at embeddings only."
    )
    with pytest.raises(InvalidValue) as raised:
        check_serves(model("m"), Endpoint.EMBEDDINGS)
    assert "chat_completions, completions, messages, responses only" in raised.value.message
