"""What a world is made of, drawn: its accounts, models and requests.

Nothing in here happens; it only says what will be there and what will be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec import Raw, Struct
from msgspec.structs import replace
from tests.simulation.upstreams import PROVIDERS, Habits

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults, Group, Model, Target
from bandari.domain.chat import (
    ChatRequest,
    Message,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
from bandari.domain.pricing import FULL_PRICE, PriceRatio, RateCard, token_card

ASSETS = ("TOKEN", "KES")
GROUPS = ("default", "resellers")

_TWO_OF_THE_RICH: dict[str, dict[str, int]] = {"amina": {"TOKEN": 400_000}, "otieno": {}}
_TWO_WITH_WALLETS = {"amina": {"TOKEN": 2_500, "KES": 2_000}, "wanjiru": {"KES": 40_000}}
_RATIOS = (
    *(FULL_PRICE, FULL_PRICE, FULL_PRICE, PriceRatio(3, 2), PriceRatio(5, 2)),
    *(PriceRatio(1, 3), PriceRatio(999_983, 1_000_000), PriceRatio(0)),
)
_MESSAGES = (Message(Role.USER, (TextPart("Habari?"),)),)
_SCHEMA = ResponseFormat("json_schema", name="answer", schema=Raw(b"{}"))
_TOOLS = (Tool("look_up"),)
_CALL = ToolChoice("required")


class AccountPlan(Struct, frozen=True):
    """``first`` is what comes into each wallet at first, ``top_up`` about what comes later.

    ``weight`` is how often it asks, compared with others. ``end_users`` are the names of those whom
    it asks for, with what comes into each of their wallets at first; empty: they have none.
    """

    name: str
    first: dict[str, int]
    top_up: int
    weight: int
    group: str = "default"
    end_users: dict[str, dict[str, int]] = {}
    needs_sub_wallets: bool = False


def accounts(draws: Random) -> Sequence[AccountPlan]:
    """From one without a wallet to one that nothing can empty."""
    plans = [
        AccountPlan("rich", {"TOKEN": 10**12, "KES": 10**12}, 1, 6, end_users=_TWO_OF_THE_RICH),
        AccountPlan("tokens", {"TOKEN": 100_000}, 90_000, 4),
        AccountPlan("shillings", {"KES": 100_000}, 90_000, 4, "resellers"),
        AccountPlan(
            "both",
            {"KES": 5_000, "TOKEN": 30_000},
            30_000,
            4,
            "resellers",
            end_users=_TWO_WITH_WALLETS,
        ),
        AccountPlan(
            *("middling", {"TOKEN": 4_000}, 6_000, 4),
            end_users={"otieno": {"TOKEN": 2_000}, "kamau": {}},
            needs_sub_wallets=True,
        ),
        AccountPlan("poor", {"TOKEN": 1_500}, 5_000, 2),
        AccountPlan("poorer", {"KES": 300}, 2_000, 1),
        AccountPlan("nothing", {}, 0, 1),
    ]
    return plans[: draws.randrange(3, len(plans) + 1)]


def group(draws: Random, name: str) -> Group:
    return Group(name=name, price_ratio=draws.choice(_RATIOS))


def models(draws: Random) -> Sequence[Model]:
    """One for each provider first, then some that can fall back on another provider."""
    found = []
    for number, habits in enumerate(PROVIDERS):
        targets = [_target(habits)]
        if habits.name == "shaky" or draws.random() < 0.4:
            others = [other for other in PROVIDERS if other is not habits]
            targets += [_target(other, 1) for other in draws.sample(others, draws.randrange(1, 3))]
        found.append(_model(draws, f"m{number}", targets))
    return found


def _target(habits: Habits, priority: int = 0) -> Target:
    return Target(habits.name, f"{habits.name}-1", priority)


def _model(draws: Random, name: str, targets: Sequence[Target]) -> Model:
    window = draws.choice((600, 8_192, 32_768, 131_072))
    longest = draws.choice((window, window, 512, 4_096))
    return Model(
        id=name,
        targets=tuple(targets),
        rate_cards=_cards(draws, name),
        context_window=window,
        max_output_tokens=min(longest, window),
        defaults=Defaults(max_tokens=draws.choice((None, None, None, 100))),
        bounds=Bounds(),
    )


def new_prices(draws: Random, models: Sequence[Model]) -> Sequence[Model]:
    """The same models, some of them at other prices."""
    return [
        replace(model, rate_cards=_cards(draws, model.id)) if draws.random() < 0.2 else model
        for model in models
    ]


def _cards(draws: Random, model: str) -> tuple[RateCard, ...]:
    tokens = draws.choice(
        (
            token_card(model),
            token_card(model),
            RateCard(model, "TOKEN", 1_000_000, 100_000, 1_000_000, 0),
            RateCard(model, "TOKEN", 5_000_000, 500_000, 6_250_000, 15_000_000),
        )
    )
    shillings = draws.choice(
        (
            RateCard(model, "KES", 150_000, 50_000, 150_000, 400_000, per_request=3),
            RateCard(model, "KES", 3_333_333, 333_333, 4_000_000, 7_777_777),
            RateCard(model, "KES", 0, 0, 0, 0, per_request=7),
            RateCard(model, "KES", 0, 0, 0, 333_333),
        )
    )
    cards = [tokens, shillings]
    draws.shuffle(cards)
    return tuple(cards[: draws.choice((1, 2, 2))])


class RequestPlan(Struct, frozen=True):
    request: ChatRequest
    prompt_tokens: int
    leaves_after_s: float | None
    pause_s: float
    given_up_after_s: float | None


def request(draws: Random, model: Model, name: str) -> RequestPlan:
    chance = draws.random()
    n = 1 if chance < 0.8 else draws.randrange(2, 5)
    input_bytes = draws.choice((40, 200, 800, 3_000, 3_000, 20_000))
    input_bytes = draws.randrange(input_bytes // 2, input_bytes)
    max_tokens = draws.choice((None, None, 1, 16, 100, 500, 2_000, 4_000))
    format_: ResponseFormat | None = None
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    chance = draws.random()
    if chance < 0.12:
        format_ = _SCHEMA
    elif chance < 0.2:
        tools, choice = _TOOLS, _CALL
    if chance < 0.2:
        max_tokens = draws.choice((None, 100, 2_000, 4_000))
    images = int(draws.random() < 0.03)
    prompt = max(1, int(input_bytes * draws.choice((0.2, 0.25, 0.3, 1.0)))) + 9
    asked = ChatRequest(
        model=model.id,
        messages=_MESSAGES,
        sampling=Sampling(max_tokens=max_tokens, n=n),
        stream=draws.random() < 0.6,
        include_usage=True,
        tools=tools,
        tool_choice=choice,
        response_format=format_,
        user=name,
        input_bytes=input_bytes,
        images=images,
    )
    return RequestPlan(
        request=asked,
        prompt_tokens=prompt,
        leaves_after_s=6.0 * draws.random() ** 2 if draws.random() < 0.2 else None,
        pause_s=draws.random() if draws.random() < 0.1 else 0.0,
        given_up_after_s=(
            draws.choice((0.01, 0.01, 2.0)) * draws.random() if draws.random() < 0.03 else None
        ),
    )
