"""What is said where a limit refuses: which it is, its size, what was asked, and when to come back.

How long that takes is the counter's to know.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from bandari.domain.limits import NS_IN_MS, Allotment, Places, Window
from bandari.domain.outcome import Deny, Reason

SOON_MS: Final = 1000
"""When to come back where others have to end first, and nobody knows when they do."""

NEVER: Final = 2**63


def window_refuses(window: Window, wanted: int, now_ns: int) -> Deny | None:
    """None: there is room for ``wanted`` more."""
    wait_ns = window.wait_ns(wanted, now_ns)
    if wait_ns == 0:
        return None
    if wait_ns is None:
        return Deny(
            Reason.RATE_LIMIT,
            f"Request too large for {window.name}: requested {wanted}, limit {window.limit}. "
            "Shorten the prompt, or ask for a shorter answer.",
            limit=window.name,
        )
    return _full(window, wanted, wait_ns, now_ns)


def overfull_refuses(window: Window, now_ns: int) -> Deny:
    """Where requests were let in before it was known how full it was."""
    wait_ns = window.wait_ns(0, now_ns)
    assert wait_ns, "there is less than nothing left"
    return _full(window, 1, wait_ns, now_ns)


def _full(window: Window, wanted: int, wait_ns: int, now_ns: int) -> Deny:
    wait_ms = -(-wait_ns // NS_IN_MS)
    left = max(0, window.remaining(now_ns))
    return Deny(
        Reason.RATE_LIMIT,
        f"Rate limit reached for {window.name}: limit {window.limit}, requested {wanted}, "
        f"left {left}. Try again in {max(wait_ms, 100) / 1000:.1f} s.",
        retry_after_ms=wait_ms,
        limit=window.name,
    )


def places_refuse(places: Places) -> Deny | None:
    """None: there is a place."""
    if places.taken < places.limit:
        return None
    return Deny(
        Reason.CONCURRENCY_LIMIT,
        f"Limit reached for {places.name}: {places.limit} at once, and as many are being answered. "
        "Try again when one of them has ended.",
        retry_after_ms=SOON_MS,
        limit=places.name,
    )


def allotment_refuses(allotment: Allotment, wanted: int, now_ms: int) -> Deny:
    """Where ``wanted`` is more than is left."""
    limit, used, reserved = allotment.limit, allotment.used, allotment.outstanding
    unit = allotment.asset or "tokens"
    what = "Spend limit" if allotment.asset else "Quota"
    if wanted > limit:
        return Deny(
            _reason(allotment),
            f"Request too large for {allotment.name}: it may come to {wanted} {unit}, and the "
            f"limit is {limit} {unit}. Shorten the prompt, or ask for a shorter answer.",
            limit=allotment.name,
        )
    retry_ms = allotment.ends_in_ms(now_ms)
    if used + wanted <= limit:
        retry_ms = SOON_MS if retry_ms is None else min(SOON_MS, retry_ms)
        hint = "Try again when an answer has ended that is being made."
    elif retry_ms is None:
        hint = "It does not begin anew."
    else:
        anew = datetime.fromtimestamp((now_ms + retry_ms) // 1000, UTC)
        hint = f"It begins anew at {anew:%Y-%m-%dT%H:%M:%SZ}."
    return Deny(
        _reason(allotment),
        f"{what} reached for {allotment.name}: limit {limit} {unit}, used {used}, reserved for "
        f"answers that are being made {reserved}, requested {wanted}. {hint}",
        retry_after_ms=retry_ms,
        limit=allotment.name,
    )


def cut_too_short(allotment: Allotment, reach: int) -> Deny:
    """Where what is left would do for an answer, but not for one that is of use."""
    return Deny(
        _reason(allotment),
        f"What is left of {allotment.name} (limit {allotment.limit}) covers {reach} tokens of an "
        "answer that is of no use if it is cut short. Ask for a shorter one.",
        limit=allotment.name,
    )


def worst(refusals: Iterable[Deny]) -> Deny:
    """The one after which the others let it pass too: never, or else the longest wait."""
    return max(
        refusals, key=lambda deny: NEVER if deny.retry_after_ms is None else deny.retry_after_ms
    )


def _reason(allotment: Allotment) -> Reason:
    return Reason.SPEND_LIMIT if allotment.asset else Reason.KEY_QUOTA
