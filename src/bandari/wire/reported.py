"""What an upstream reports at its end, whichever protocol it says it in."""

from __future__ import annotations

from bandari.domain.events import UsageReported
from bandari.domain.faults import UpstreamMalformed
from bandari.domain.usage import Usage


def reported_usage(
    prompt: int, answer: int, *, cached: int | None, cache_write: int | None, reasoning: int | None
) -> UsageReported:
    """Tokens by kind; what is None was not told. Raises ``UpstreamMalformed``."""
    try:
        usage = Usage(
            input_tokens=prompt,
            output_tokens=answer,
            cached_tokens=cached or 0,
            cache_write_tokens=cache_write or 0,
            reasoning_tokens=reasoning or 0,
        )
    except ValueError:
        raise UpstreamMalformed("The model's provider reported an impossible usage.") from None
    return UsageReported(usage)
