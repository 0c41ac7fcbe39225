"""Money for a prompt alone: set aside whole before the upstream is asked, and never extended.

The rule of how much: the prompt's bound, or its exact count where the wallet does not cover the
bound. How a hold ends is the ``Reservation``'s.
"""

from __future__ import annotations

from msgspec import Struct

from bandari.domain.catalogue import Model
from bandari.domain.keys import Principal
from bandari.domain.ledger import Hold
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import ceiling_for
from bandari.service.books import Books, CountInput, Reservation, card_for, no_wallet
from bandari.service.ports import Ledger


class InputHold(Struct, frozen=True):
    """All that is fixed when the hold is placed. ``tokens`` is the prompt's bound."""

    hold_id: str
    epoch: int
    now_ms: int
    principal: Principal
    model: Model
    tokens: int
    user: str | None


async def hold_input(
    books: Books, ledger: Ledger, wanted: InputHold, count_input: CountInput
) -> Reservation | Deny:
    """Set aside what the prompt may cost, or say why not. A refusal costs nothing.

    ``count_input`` counts the prompt exactly where the provider can; it is asked only where the
    bound is more than is free.
    """
    model, principal = wanted.model, wanted.principal
    card = card_for(model, principal)
    if card is None:
        return no_wallet(model, principal)
    tokens, is_exact = wanted.tokens, False
    while True:
        hold = Hold(
            id=wanted.hold_id,
            account_id=principal.account_id,
            asset=card.asset,
            amount=ceiling_for(card, tokens, 0),
            epoch=wanted.epoch,
            key_id=principal.key_id,
            model=model.id,
            rate_card_id=card.id,
            created_ms=wanted.now_ms,
            end_user=principal.end_user or wanted.user,
        )
        try:
            placement = await ledger.place(hold)
        except BaseException:
            # Whatever went wrong, the hold may stand, and nobody else knows of it.
            books.abandon(hold.id)
            raise
        if placement.wallet is None:
            return no_wallet(model, principal)
        if placement.placed:
            reservation = Reservation(ledger, hold, card, tokens, choices=1)
            reservation.exact_input = tokens if is_exact else None
            return reservation
        exact = None if is_exact else await count_input()
        if exact is None:
            return Deny(
                Reason.INSUFFICIENT_BALANCE,
                f"The balance does not cover this request: {placement.wallet.free} {card.asset} "
                f"are free, and the prompt may cost {hold.amount}. Top up and try again.",
            )
        tokens, is_exact = exact, True
