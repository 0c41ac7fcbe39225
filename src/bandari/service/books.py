"""Money for one answer: set aside before, extended while it runs, charged exactly at its end.

Owns the rule of how much is held and how far an answer may go; the ledger behind the port owns the
books themselves. Design: a hold covers the prompt's bound and the next 1,024 x n output tokens, and
rolls as the answer goes, so that a large context window locks up no small wallet.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec import Struct

from bandari.domain.catalogue import Model
from bandari.domain.chat import ChatRequest
from bandari.domain.faults import ContextLengthExceeded
from bandari.domain.keys import Principal
from bandari.domain.ledger import Charge, Count, Ending, Hold, Receipt
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import RateCard, ceiling_for, charge_for, output_tokens_within
from bandari.service.ports import HoldAlreadyEnded, Ledger

ROLL_TOKENS = 1024
"""Output tokens per choice that a hold reaches ahead."""

TEMPLATE_TOKENS = 64
"""What a chat template may add to a prompt beyond the bytes of its JSON."""

IMAGE_BOUND_TOKENS = 4096
"""The bound of one image's tokens; what an image costs beyond it goes to overruns."""

MAX_PLACE_ATTEMPTS = 4

CountInput = Callable[[], Awaitable[int | None]]


class HoldRequest(Struct, frozen=True):
    """All that is fixed when a hold is placed."""

    hold_id: str
    epoch: int
    now_ms: int
    principal: Principal
    model: Model
    request: ChatRequest


class Reservation:
    """An open hold and how far it reaches. Ends once: ``post`` or ``void``.

    Below ``sure_output`` tokens of output there is nothing to ask ``covers`` for.
    """

    __slots__ = (
        "_extension",
        "_held",
        "_input",
        "_is_denied",
        "_ledger",
        "card",
        "choices",
        "exact_input",
        "hold_id",
        "max_tokens",
        "shortened",
        "sure_output",
    )

    def __init__(
        self,
        ledger: Ledger,
        hold: Hold,
        card: RateCard,
        input_tokens: int,
        choices: int,
    ) -> None:
        self._ledger = ledger
        self._held = hold.amount
        self._input = input_tokens
        self._extension: asyncio.Task[int] | None = None
        self._is_denied = False
        self.card = card
        self.choices = choices
        self.hold_id = hold.id
        self.exact_input: int | None = None
        self.max_tokens: int | None = None
        self.shortened = False
        self._set_sure_output()

    def know_input(self, tokens: int) -> None:
        """The prompt's exact count is known now; what its bound held too much covers output."""
        if tokens != self._input:
            self._input = tokens
            self._set_sure_output()

    def _set_sure_output(self) -> None:
        covered = self.covered_output
        if covered is None:
            self.sure_output = math.inf
        else:
            self.sure_output = covered - ROLL_TOKENS * self.choices // 2

    @property
    def limit(self) -> int | None:
        """The most output tokens, over all choices, that the answer was asked to have."""
        return None if self.max_tokens is None else self.max_tokens * self.choices

    @property
    def covered_output(self) -> int | None:
        """Output tokens, over all choices, that the hold covers; None where output is free."""
        return output_tokens_within(self.card, self._input, self._held)

    async def covers(self, output_tokens: int) -> bool:
        """Whether the answer may go on after ``output_tokens``. Rolls the hold on as needed.

        Extends in the background while there is still room, so that the stream has no gap; waits
        for the extension only when the room is used up. What was denied is asked for again only
        then.
        """
        while True:
            covered = self.covered_output
            if covered is None or output_tokens < self.sure_output:
                return True
            if self.limit is not None and covered >= self.limit:
                return True
            if self._extension is None:
                if self._is_denied and output_tokens < covered:
                    return True
                self._extension = asyncio.create_task(self._extend(max(output_tokens, covered)))
            if output_tokens < covered:
                if self._extension.done():
                    self._take_extension()
                return True
            # What is under way was asked for when the answer was not as long: it may not be enough.
            await asyncio.wait({self._extension})
            self._take_extension()
            if self._is_denied:
                return False

    async def post(
        self,
        count: Count,
        ending: Ending,
        *,
        target: str,
        ended_ms: int,
        finish_reason: str | None,
        reasoning_effort: str | None,
    ) -> Receipt:
        """Charge exactly what was counted and end the hold. Durable when this returns."""
        await self._settle_extension()
        return await self._ledger.post(
            Charge(
                hold_id=self.hold_id,
                amount=charge_for(self.card, count.usage),
                count=count,
                ending=ending,
                target=target,
                ended_ms=ended_ms,
                finish_reason=finish_reason,
                reasoning_effort=reasoning_effort,
            )
        )

    async def void(self) -> None:
        """End the hold without a charge."""
        await self._settle_extension()
        await self._ledger.void(self.hold_id)

    async def _extend(self, output_tokens: int) -> int:
        """Reach ahead of ``output_tokens``, by one token at least.

        Counted from what is held, so that a prompt larger than its bound is made up for too.
        """
        next_token = output_tokens + 1
        furthest = output_tokens + ROLL_TOKENS * self.choices
        if self.limit is not None:
            furthest = max(next_token, min(furthest, self.limit))
        least = ceiling_for(self.card, self._input, next_token) - self._held
        want = ceiling_for(self.card, self._input, furthest) - self._held
        return await self._ledger.extend(self.hold_id, max(want, 1), max(least, 1))

    def _take_extension(self) -> None:
        extension, self._extension = self._extension, None
        assert extension is not None, "only what was asked for can be taken"
        granted = extension.result()
        self._held += granted
        self._set_sure_output()
        self._is_denied = granted == 0

    async def _settle_extension(self) -> None:
        """An extension under way has to end before the hold does; whether it failed is all one."""
        if self._extension is not None:
            await asyncio.wait({self._extension})
            self._extension.exception()
            self._extension = None


class _Prompt:
    """The prompt's size: bounded by bytes at first, counted exactly where a doubt is worth a
    call.
    """

    __slots__ = ("_count", "_counted", "exact", "tokens")

    def __init__(self, request: ChatRequest, model: Model, count: CountInput) -> None:
        bound = request.input_bytes + TEMPLATE_TOKENS + request.images * IMAGE_BOUND_TOKENS
        self.tokens = min(bound, model.context_window)
        self.exact: int | None = None
        self._count = count
        self._counted = False

    async def make_exact(self) -> None:
        if not self._counted:
            self._counted = True
            self.exact = await self._count()
            if self.exact is not None:
                self.tokens = self.exact


class Books:
    """Places holds. Everything that it refuses costs nothing.

    A hold that was asked for and belongs to no answer (its caller was told of a failure, or left)
    is kept in mind until it is known to have ended: ``end_strays``.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._strays: deque[str] = deque()

    @property
    def has_strays(self) -> bool:
        return bool(self._strays)

    async def end_strays(self) -> None:
        """Void the holds that belong to no answer. Raises like the ledger."""
        while self._strays:
            await self._void(self._strays[0])
            self._strays.popleft()

    def abandon(self, hold_id: str) -> None:
        """The hold belongs to no answer, if it stands."""
        self._strays.append(hold_id)

    async def hold(self, wanted: HoldRequest, count_input: CountInput) -> Reservation | Deny:
        """Set aside what the answer may cost at first, or say why not.

        ``count_input`` counts the prompt exactly where the provider can; it is asked only where the
        bound in bytes leaves a doubt. Raises ``ContextLengthExceeded`` for a prompt that does not
        fit.
        """
        model, request, principal = wanted.model, wanted.request, wanted.principal
        card = card_for(model, principal)
        if card is None:
            return no_wallet(model, principal)
        prompt = _Prompt(request, model, count_input)
        limit, windowed = await _limit_within_window(request, model, prompt)
        whole = model.max_output_tokens if limit is None else limit
        ahead = min(whole, ROLL_TOKENS)
        choices = request.sampling.n
        free = 0
        for _ in range(MAX_PLACE_ATTEMPTS):
            hold = _hold(wanted, card, ceiling_for(card, prompt.tokens, ahead * choices))
            try:
                placement = await self._ledger.place(hold)
                if placement.wallet is None:
                    return no_wallet(model, principal)
                free = placement.wallet.free + (hold.amount if placement.placed else 0)
                reach = _reach(card, prompt.tokens, free, choices, whole)
                if reach < whole:
                    await prompt.make_exact()
                    reach = _reach(card, prompt.tokens, free, choices, whole)
                useless = reach < 1 or (reach < whole and _needs_whole(request, reach))
                if useless:
                    if placement.placed:
                        await self._void(hold.id)
                    break
            except BaseException:
                # Whatever went wrong, the hold may stand, and nobody else knows of it.
                self.abandon(hold.id)
                raise
            if placement.placed:
                reservation = Reservation(self._ledger, hold, card, prompt.tokens, choices)
                reservation.exact_input = prompt.exact
                reservation.shortened = windowed or reach < whole
                reservation.max_tokens = reach if reach < whole else limit
                return reservation
            ahead = min(ahead, reach)
        needed = ceiling_for(card, prompt.tokens, choices)
        return Deny(
            Reason.INSUFFICIENT_BALANCE,
            f"The balance does not cover this request: {free} {card.asset} are free, and the "
            f"prompt with the shortest useful answer may cost {max(needed, free + 1)}. "
            "Top up and try again.",
        )

    async def _void(self, hold_id: str) -> None:
        """It may have ended by itself: never placed, voided after all, or settled by a server that
        took this one for dead.
        """
        with suppress(HoldAlreadyEnded):
            await self._ledger.void(hold_id)


def _reach(card: RateCard, input_tokens: int, amount: int, choices: int, whole: int) -> int:
    """Output tokens per choice that ``amount`` covers, at most ``whole``; below 1: not even one."""
    tokens = output_tokens_within(card, input_tokens, amount)
    return whole if tokens is None else min(whole, tokens // choices)


def _needs_whole(request: ChatRequest, reach: int) -> bool:
    """Whether an answer shortened to ``reach`` is useless: half a call, half a document of JSON.

    Where the client set no limit, what a hold reaches ahead is taken to be long enough.
    """
    structured = (request.tool_choice is not None and request.tool_choice.forces_call) or (
        request.response_format is not None and request.response_format.kind == "json_schema"
    )
    return structured and (request.sampling.max_tokens is not None or reach < ROLL_TOKENS)


async def _limit_within_window(
    request: ChatRequest, model: Model, prompt: _Prompt
) -> tuple[int | None, bool]:
    """The limit of output tokens: the client's, cut to what the model and its window leave.

    Returns the limit (None: only the window ends the answer) and whether the client's was cut.
    """
    asked = request.sampling.max_tokens
    window = model.context_window
    needed = min(asked or 1, model.max_output_tokens)
    if prompt.tokens + needed > window:
        await prompt.make_exact()
    if prompt.exact is not None and prompt.exact >= window:
        raise ContextLengthExceeded(
            f"The prompt has {prompt.exact} tokens; the model's context window holds {window}.",
            param="messages",
        )
    if asked is None and model.max_output_tokens >= window:
        return None, False
    limit = min(asked or model.max_output_tokens, model.max_output_tokens)
    if prompt.tokens + limit > window:
        # Without an exact count, half of the bound in bytes is taken for the prompt.
        known = prompt.tokens if prompt.exact is not None else min(prompt.tokens, window) // 2
        limit = min(limit, max(1, window - known))
    return limit, asked is not None and limit < asked


def _hold(wanted: HoldRequest, card: RateCard, amount: int) -> Hold:
    return Hold(
        id=wanted.hold_id,
        account_id=wanted.principal.account_id,
        asset=card.asset,
        amount=amount,
        epoch=wanted.epoch,
        key_id=wanted.principal.key_id,
        model=wanted.model.id,
        rate_card_id=card.id,
        created_ms=wanted.now_ms,
        end_user=wanted.principal.end_user or wanted.request.user,
    )


def card_for(model: Model, principal: Principal) -> RateCard | None:
    """The card of the first asset, in the model's order, that the account has a wallet in."""
    for card in model.rate_cards:
        if card.asset in principal.assets:
            return card
    return None


def no_wallet(model: Model, principal: Principal) -> Deny:
    assets = " or ".join(card.asset for card in model.rate_cards)
    return Deny(
        Reason.INSUFFICIENT_BALANCE,
        f"The account '{principal.account}' has no balance in {assets}, in which this model is "
        "paid.",
    )
