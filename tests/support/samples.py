"""Values of the domain that tests start from; each test says only what matters to it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults, Model, Target
from bandari.domain.chat import ChatRequest, Message, Role, Sampling, TextPart
from bandari.domain.keys import Principal
from bandari.domain.pricing import RateCard, token_card

TOKENS = replace(token_card("bandari-1"), id=1)
"""One unit for every token."""

FREE_OUTPUT = RateCard("bandari-1", "TOKEN", 1_000_000, 1_000_000, 1_000_000, 0, id=2)
PER_REQUEST = RateCard("bandari-1", "TOKEN", 0, 0, 0, 0, per_request=7, id=3)
SHILLINGS = RateCard("bandari-1", "KES", 150_000, 50_000, 150_000, 400_000, per_request=3, id=4)


def a_model(**changes: Any) -> Model:
    model = Model(
        id="bandari-1",
        targets=(Target("acme", "acme-1"),),
        rate_cards=(TOKENS,),
        context_window=8192,
        max_output_tokens=4096,
        defaults=Defaults(),
        bounds=Bounds(),
    )
    return replace(model, **changes)


def a_request(
    *,
    max_tokens: int | None = None,
    n: int = 1,
    stream: bool = True,
    input_bytes: int = 36,
    **changes: Any,
) -> ChatRequest:
    """With 36 bytes of input the prompt's bound is 100 tokens."""
    request = ChatRequest(
        model="bandari-1",
        messages=(Message(Role.USER, (TextPart("Hello"),)),),
        sampling=Sampling(max_tokens=max_tokens, n=n),
        stream=stream,
        input_bytes=input_bytes,
    )
    return replace(request, **changes)


def a_principal(**changes: Any) -> Principal:
    principal = Principal(
        key_id=3, account_id=1, account="amina", group="default", assets=("TOKEN",)
    )
    return replace(principal, **changes)
