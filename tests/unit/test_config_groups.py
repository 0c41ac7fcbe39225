"""``[groups]`` and limits: what a group's terms are, and which cannot be."""

from __future__ import annotations

import re

import pytest

from bandari.config import ConfigError, Settings, load
from bandari.domain.allowance import MAX_RATE, UNLIMITED, Limits
from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.catalogue import Group
from bandari.domain.pricing import FULL_PRICE, PriceRatio

MODELS = """
[providers.open]
base_url = "https://llm.acme.example/v1"
any_model = true
[models."gpt-4o"]
targets = ["local:bandari-tiny"]
aliases = ["gpt-4o-latest"]
prices.KES = { input_per_million = 1, output_per_million = 2 }
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Settings:
        file = tmp_path / "bandari.toml"
        file.write_text(text)
        return load(file, environ={"HOME": str(tmp_path), "RATIO": "3/4"})

    return read


@pytest.fixture
def problems(read):
    def problems(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text)
        return [re.sub(r"^.*bandari\.toml:", "", line) for line in caught.value.problems]

    return problems


def group(more: str) -> str:
    return f"[groups.g]\n{more}\n"


def test_a_group_that_says_nothing_may_everything_at_full_price(read):
    assert read("[groups.g]").groups == {
        "default": Group(name="default"),
        "g": Group(
            name="g",
            models=None,
            price_ratio=FULL_PRICE,
            priority=0,
            limits=UNLIMITED,
            limits_per_account=UNLIMITED,
            limits_per_end_user=UNLIMITED,
            limits_together=UNLIMITED,
        ),
    }


def test_everything_that_a_group_can_say(read):
    text = """
    [groups.g]
    models = ["gpt-4o", "*-mini", "open:anything"]
    price_ratio = "4/5"
    priority = 9
    limits_per_account = { requests_per_hour = 7 }
    limits_per_end_user = { requests_per_day = 8 }
    limits_together = { concurrent_requests = 9 }
    [groups.g.limits]
    requests_per_minute = 1
    requests_per_hour = 2
    requests_per_day = 3
    tokens_per_minute = 4
    tokens_per_hour = 5
    tokens_per_day = 6
    concurrent_requests = 7
    spend_per_day = { KES = 8, TOKEN = 9 }
    spend_per_month = { KES = 10 }
    """
    assert read(MODELS + text).groups["g"] == Group(
        name="g",
        models=("gpt-4o", "*-mini", "open:anything"),
        price_ratio=PriceRatio(4, 5),
        priority=9,
        limits=Limits(
            requests_per_minute=1,
            requests_per_hour=2,
            requests_per_day=3,
            tokens_per_minute=4,
            tokens_per_hour=5,
            tokens_per_day=6,
            concurrent_requests=7,
            spend_per_day={"KES": 8, "TOKEN": 9},
            spend_per_month={"KES": 10},
        ),
        limits_per_account=Limits(requests_per_hour=7),
        limits_per_end_user=Limits(requests_per_day=8),
        limits_together=Limits(concurrent_requests=9),
    )


def test_a_models_own_limits(read):
    said = "limits = { tokens_per_minute = 5, spend_per_day = { KES = 6 } }"
    (model,) = read(MODELS + said).models
    assert model.limits == Limits(tokens_per_minute=5, spend_per_day={"KES": 6})


# The price ratio is what is written, exactly


@pytest.mark.parametrize(
    ("written", "ratio"),
    [
        ('"4/5"', PriceRatio(4, 5)),
        ('"8/10"', PriceRatio(4, 5)),
        ('"1.25"', PriceRatio(5, 4)),
        ('"2"', PriceRatio(2, 1)),
        ("2", PriceRatio(2, 1)),
        ("0", PriceRatio(0, 1)),
        ('"0/7"', PriceRatio(0, 1)),
        ("1000", PriceRatio(1000, 1)),
        ("1.25", PriceRatio(5, 4)),
        ("0.1", PriceRatio(1, 10)),
        ("0.8", PriceRatio(4, 5)),
        ("1_0.5", PriceRatio(21, 2)),
        ("1e-3", PriceRatio(1, 1000)),
        ("2.5E1", PriceRatio(25, 1)),
        ("0.000001", PriceRatio(1, 1_000_000)),
        ('"1/1000000"', PriceRatio(1, 1_000_000)),
        ('"${RATIO}"', PriceRatio(3, 4)),
    ],
)
def test_a_price_ratio_is_taken_as_written(read, written, ratio):
    assert read(group(f"price_ratio = {written}")).groups["g"].price_ratio == ratio


@pytest.mark.parametrize(
    "written",
    [
        "-1",
        "-0.5",
        "true",
        "nan",
        "inf",
        "[]",
        "1.00000000000000001",  # a float would make 1 of it
        "99999999999999999999999999",
        '""',
        '"1/0"',
        '"4 / 5"',
        '"-1"',
        '"4/5/6"',
        '"1,25"',
        '".5"',
        '"٣"',
        '"1e999"',
        '"${NOPE}"',
    ],
)
def test_what_is_no_price_ratio_is_refused(problems, written):
    (problem,) = problems(group(f"price_ratio = {written}"))
    assert problem.startswith("2: groups.g.price_ratio: ")
    assert ("expected a price ratio like" in problem) is ("NOPE" not in written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("1001", "a price ratio is from 0 to 1000, and this is 1001"),
        ('"1000.1"', "a price ratio is from 0 to 1000, and this is '1000.1'"),
        ("0.0000001", "denominator is from 1 to 1000000, and this is 0.0000001"),
        ('"1/1000001"', "denominator is from 1 to 1000000, and this is '1/1000001'"),
    ],
)
def test_a_price_ratio_has_bounds(problems, written, why):
    (problem,) = problems(group(f"price_ratio = {written}"))
    assert problem.startswith("2: groups.g.price_ratio: ")
    assert problem.endswith(why)


# What is refused, with line and reason


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("groups = 1", "1: groups: expected a table, got 1"),
        ("[groups]\ng = 1", "2: groups.g: expected a table, got 1"),
        (group("price_ration = 1"), "2: groups.g.price_ration: unknown key; did you mean 'price_r"),
        (group("priority = 10"), "2: groups.g.priority: expected an integer from 0 to 9, got 10"),
        (group("priority = -1"), "2: groups.g.priority: expected an integer from 0 to 9, got -1"),
        (group("priority = 1.0"), "2: groups.g.priority: expected an integer from 0 to 9, got 1.0"),
        (group('models = "gpt-4o"'), "2: groups.g.models: expected a list; each of it a string"),
        (group('models = ["a", ""]'), "groups.g.models[1]: expected a string that is not empty"),
        (group('models = ["a *"]'), "groups.g.models[0]: a model id has no spaces"),
        (
            group('models = ["bandari-tiny",\n"bandari-tinny"]'),
            "3: groups.g.models[1]: there is no model 'bandari-tinny'; did you mean 'bandari-tiny'",
        ),
        (group("limits = 3"), "2: groups.g.limits: expected a table, got 3"),
        (
            group("limits.requests_per_minut = 1"),
            "2: groups.g.limits.requests_per_minut: unknown key; did you mean 'requests_per_minute",
        ),
        (
            group("limits_together.requests_per_day = 0"),
            f"groups.g.limits_together.requests_per_day: expected an integer from 1 to {MAX_RATE}",
        ),
        (
            group("limits_per_end_user.tokens_per_day = 9007199254740992"),
            f"tokens_per_day: expected an integer from 1 to {MAX_INTEGER}, got 9007199254740992",
        ),
        (
            group("limits_per_account.concurrent_requests = 1.5"),
            "2: groups.g.limits_per_account.concurrent_requests: expected an integer from 1 to",
        ),
        (
            group("[groups.g.limits.spend_per_day]\nTOKEN = 1\nkes = 2"),
            "4: groups.g.limits.spend_per_day.kes: an asset is 2 to 16 capital letters and digits",
        ),
        (
            group("[groups.g.limits.spend_per_month]\nTOKEN = 0"),
            "3: groups.g.limits.spend_per_month.TOKEN: expected an integer from 1 to",
        ),
        (
            group("limits.spend_per_day = { TOKENS = 1 }"),
            "spend_per_day.TOKENS: nothing is priced in 'TOKENS'; did you mean 'TOKEN'?",
        ),
        (
            group("limits.spend_per_day = 1"),
            "limits.spend_per_day: expected a table; each value an",
        ),
        (
            '[models.m]\ntargets = ["local:a"]\nlimits.spend_per_day = { KES = 1 }',
            "3: models.m.limits.spend_per_day.KES: nothing is priced in 'KES'",
        ),
        (
            '[models.m]\ntargets = ["local:a"]\nlimits.request_per_day = 1',
            "3: models.m.limits.request_per_day: unknown key; did you mean 'requests_per_day'?",
        ),
    ],
)
def test_refused_with_line_and_reason(problems, text, problem):
    assert any(problem in line for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("gpt-4o", None),
        ("gpt-5*", None),  # what is not there yet may come by another pattern's name
        ("*", None),
        ("open:gpt-5", None),
        ("gpt-4o-latest", "'gpt-4o-latest' is an alias of 'gpt-4o'; name that"),
        ("gpt-5", "there is no model 'gpt-5'; did you mean 'gpt-4o'?"),
        ("closed:gpt-5", "there is no model 'closed:gpt-5'"),
        ("open:", "there is no model 'open:'"),
        ("local:bandari-tiny", "there is no model 'local:bandari-tiny'"),
        ("gpt-?o", "there is no model 'gpt-?o'"),
    ],
)
def test_a_pattern_without_a_star_names_a_model(read, problems, pattern, problem):
    text = MODELS + group(f'models = ["{pattern}"]')
    if problem is None:
        assert read(text).groups["g"].models == (pattern,)
    else:
        assert any(problem in line for line in problems(text)), problems(text)


def test_where_bare_names_are_served_any_may_be_named(read):
    text = 'default_provider = "open"\n' + MODELS + group('models = ["gpt-5"]')
    assert read(text).groups["g"].models == ("gpt-5",)
