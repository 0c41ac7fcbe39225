"""Money for one answer, set aside before it is made, and what it claims of its limits.

Owns the rule of how much is held and how far an answer may go; the ledger behind the port owns the
books themselves. Design: a hold covers the prompt's bound and the next 1,024 x n output tokens, and
rolls as the answer goes, so that a large context window locks up no small wallet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from bandari.domain.catalogue import Model
from bandari.domain.chat import ChatRequest
from bandari.domain.faults import ContextLengthExceeded
from bandari.domain.keys import Principal
from bandari.domain.ledger import Hold
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import (
    FULL_PRICE,
    RateCard,
    ceiling_for,
    output_tokens_within,
)
from bandari.domain.recordings import OpenedRecording
from bandari.service.claims import Claim
from bandari.service.limiting import Limiter
from bandari.service.ports import HoldAlreadyEnded, Ledger
from bandari.service.reservation import ROLL_TOKENS, Reservation
from bandari.service.wanted import Wanted

TEMPLATE_TOKENS = 64
"""What a chat template may add to a prompt beyond the bytes of its JSON."""

IMAGE_BOUND_TOKENS = 4096
"""The bound of one image's tokens; what an image costs beyond it goes to overruns."""

MAX_PLACE_ATTEMPTS = 4

CountInput = Callable[[], Awaitable[int | None]]


class IdempotencyKeyTaken(Exception):
    """Another answer has it: one of another server, or of this one before it was started."""


class HoldRequest(Struct, frozen=True):
    """All that is fixed when a hold is placed. ``recording`` is opened with it."""

    hold_id: str
    epoch: int
    now_ms: int
    principal: Principal
    model: Model
    request: ChatRequest
    recording: OpenedRecording | None = None


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
        self.ledger = ledger
        self._strays: deque[tuple[str, str | None] | Reservation] = deque()

    @property
    def has_strays(self) -> bool:
        return bool(self._strays)

    async def end_strays(self) -> None:
        """Void the holds that belong to no answer. Raises like the ledger."""
        while self._strays:
            stray = self._strays[0]
            if isinstance(stray, tuple):
                await self._void(*stray)
            else:
                with suppress(HoldAlreadyEnded):
                    await stray.void()
            self._strays.popleft()

    def abandon(self, reservation: Reservation) -> None:
        """What is reserved belongs to no answer."""
        reservation.abandon()
        self._strays.append(reservation)

    def abandon_hold(self, hold: Hold) -> None:
        """The hold, if it stands, and its recording: they belong to no answer."""
        self._strays.append((hold.id, _recording_id(hold)))

    async def hold(
        self, wanted: HoldRequest, count_input: CountInput, limiter: Limiter | None = None
    ) -> Reservation | Deny:
        """Set aside what the answer may cost at first, or say why not.

        ``count_input`` counts the prompt exactly where the provider can; it is asked only where the
        bound in bytes leaves a doubt. Raises ``ContextLengthExceeded`` for a prompt that does not
        fit, ``IdempotencyKeyTaken``, and like the ledger and the ``limiter``.
        """
        model, request, principal = wanted.model, wanted.request, wanted.principal
        payer = payer_for(model, principal)
        if isinstance(payer, Deny):
            return payer
        prompt = _Prompt(request, model, count_input)
        limit, windowed = await _limit_within_window(request, model, prompt)
        whole = model.max_output_tokens if limit is None else limit
        length = _Length(limit, whole, windowed)
        claim = None
        if limiter is not None:
            claimed = await limiter.claim(_claimed(wanted, payer.card, prompt, whole))
            if isinstance(claimed, Deny):
                return claimed
            claim = claimed
        placed: Reservation | Deny | None = None
        try:
            placed = await self._place(wanted, payer, prompt, length, claim)
        finally:
            if claim is not None and not isinstance(placed, Reservation):
                claim.release()
        return placed

    async def _place(
        self,
        wanted: HoldRequest,
        payer: Payer,
        prompt: _Prompt,
        length: _Length,
        claim: Claim | None,
    ) -> Reservation | Deny:
        """Hold the money, for as long an answer as it and the claim cover."""
        request, card, whole = wanted.request, payer.card, length.whole
        most = whole if claim is None else min(whole, claim.reach)
        ahead = min(most, ROLL_TOKENS)
        choices = request.sampling.n
        free = 0
        for _ in range(MAX_PLACE_ATTEMPTS):
            hold = hold_of(wanted, payer, ceiling_for(card, prompt.tokens, ahead * choices))
            try:
                placement = await self.ledger.place(hold)
                if placement.is_taken:
                    raise IdempotencyKeyTaken
                if placement.wallet is None:
                    return no_wallet(wanted.model, wanted.principal)
                free = placement.wallet.free + (hold.amount if placement.placed else 0)
                reach = _reach(card, prompt.tokens, free, choices, most)
                if reach < most:
                    await prompt.make_exact()
                    reach = _reach(card, prompt.tokens, free, choices, most)
                useless = reach < 1 or (reach < whole and _needs_whole(request, reach))
                if useless:
                    if placement.placed:
                        await self._void(hold.id, _recording_id(hold))
                    break
            except IdempotencyKeyTaken:
                raise
            except BaseException:
                # Whatever went wrong, the hold may stand, and nobody else knows of it.
                self.abandon_hold(hold)
                raise
            if placement.placed:
                if claim is not None:
                    claim.shrink(prompt.tokens, reach * choices)
                reservation = Reservation(self.ledger, hold, card, prompt.tokens, choices, claim)
                reservation.exact_input = prompt.exact
                reservation.shortened = length.windowed or reach < whole
                reservation.max_tokens = reach if reach < whole else length.limit
                return reservation
            ahead = min(ahead, reach)
        needed = ceiling_for(card, prompt.tokens, choices)
        return Deny(
            Reason.INSUFFICIENT_BALANCE,
            f"The balance does not cover this request: {free} {card.asset} are free, and the "
            f"prompt with the shortest useful answer may cost {max(needed, free + 1)}. "
            "Top up and try again.",
        )

    async def _void(self, hold_id: str, recording_id: str | None) -> None:
        """It may have ended by itself: never placed, voided after all, or settled by a server that
        took this one for dead.
        """
        with suppress(HoldAlreadyEnded):
            await self.ledger.void(hold_id, recording_id)


class _Length(Struct, frozen=True):
    """How long an answer may become, in tokens per choice.

    ``limit`` is what it was asked to have at most (None: only the window ends it), ``windowed``
    whether the window has cut that, ``whole`` the most that it can have.
    """

    limit: int | None
    whole: int
    windowed: bool


def _claimed(wanted: HoldRequest, card: RateCard, prompt: _Prompt, whole: int) -> Wanted:
    """All that the client asked for, or what a hold reaches ahead where it set no limit."""
    request = wanted.request
    rolls = request.sampling.max_tokens is None
    return Wanted(
        principal=wanted.principal,
        model=wanted.model,
        card=card,
        prompt=prompt,
        whole=whole,
        ahead=min(whole, ROLL_TOKENS) if rolls else whole,
        rolls=rolls,
        choices=request.sampling.n,
        is_useless=lambda reach: _needs_whole(request, reach),
    )


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


def hold_of(wanted: HoldRequest, payer: Payer, amount: int) -> Hold:
    """The hold of ``amount`` for what is wanted."""
    card = payer.card
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
        end_user=wanted.principal.end_user,
        sub_wallet=payer.sub_wallet,
        price_ratio=card.ratio,
        recording=wanted.recording,
    )


def _recording_id(hold: Hold) -> str | None:
    return None if hold.recording is None else hold.recording.id


class Payer(Struct, frozen=True):
    """Whose wallet pays, and by which card: with the ratio of the group that asks.

    ``sub_wallet`` is the end user whose wallet it is; empty: it is the account's own.
    """

    card: RateCard
    sub_wallet: str = ""


def payer_for(model: Model, principal: Principal) -> Payer | Deny:
    """The first asset, in the model's order, that the end user has a wallet in, or the account."""
    terms, ratio = principal.end_user_terms, principal.group_terms.price_ratio
    sub_wallet = principal.end_user if terms is not None and terms.assets else None
    if sub_wallet is None and principal.end_user and principal.account_policy.needs_sub_wallets:
        return Deny(
            Reason.INSUFFICIENT_BALANCE,
            f"The end user '{principal.end_user}' has no wallet, and the account "
            f"'{principal.account}' pays for none who has not.",
        )
    assets = terms.assets if sub_wallet and terms is not None else principal.assets
    for card in model.rate_cards:
        if card.asset in assets:
            priced = card if ratio == FULL_PRICE else replace(card, ratio=ratio)
            return Payer(priced, sub_wallet or "")
    return no_wallet(model, principal)


def no_wallet(model: Model, principal: Principal) -> Deny:
    assets = " or ".join(card.asset for card in model.rate_cards)
    terms = principal.end_user_terms
    pays_himself = terms is not None and terms.assets
    who = f"end user '{principal.end_user}'" if pays_himself else f"account '{principal.account}'"
    return Deny(
        Reason.INSUFFICIENT_BALANCE,
        f"The {who} has no balance in {assets}, in which this model is paid.",
    )
