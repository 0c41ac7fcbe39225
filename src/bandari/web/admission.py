"""Who may come in: the key, then the limits of its group; and the headers that tell of them."""

from __future__ import annotations

from bandari.domain.keys import Principal
from bandari.domain.outcome import Allow, Deny
from bandari.service.limiting import Limiter
from bandari.service.ports import Metrics
from bandari.web import problems
from bandari.web.chat_settings import ChatSettings
from bandari.web.exchange import Exchange
from bandari.web.keys import KeyCheck


class Admission:
    """A refusal is told here; who is let in comes back as a principal."""

    def __init__(
        self, keys: KeyCheck, limiter: Limiter, metrics: Metrics, settings: ChatSettings
    ) -> None:
        self._keys = keys
        self._limiter = limiter
        self._metrics = metrics
        self._settings = settings

    async def identify(self, exchange: Exchange) -> Principal | None:
        """Whose key it is. Raises ``InvalidValue`` for an end user that cannot be kept."""
        principal = await self._keys.principal(exchange)
        if isinstance(principal, Deny):
            await self.tell(exchange, principal)
            return None
        return principal

    async def take_in(self, exchange: Exchange) -> tuple[Principal, bytes] | None:
        """Who asks, and the body, of a request that counts against the limits of the key's group.

        Raises what reading a body raises.
        """
        principal = await self._admit(exchange)
        if principal is None:
            return None
        settings = self._settings
        return principal, await exchange.body(settings.max_body_bytes, settings.body_timeout_ms)

    async def _admit(self, exchange: Exchange) -> Principal | None:
        principal = await self.identify(exchange)
        if principal is None:
            return None
        admission = self._limiter.admit(principal)
        _limit_headers(exchange, admission)
        if isinstance(admission, Deny):
            await self.tell(exchange, admission)
            return None
        return principal

    async def tell(self, exchange: Exchange, denial: Deny) -> None:
        await problems.tell(exchange, denial, self._metrics)


def _limit_headers(exchange: Exchange, admission: Allow | Deny) -> None:
    if admission.limit is None:
        return
    remaining = reset_ms = 0
    if isinstance(admission, Allow):
        remaining, reset_ms = admission.remaining or 0, admission.reset_ms or 0
    else:
        reset_ms = admission.retry_after_ms or 0
    exchange.headers += (
        (b"x-ratelimit-limit-requests", b"%d" % admission.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % remaining),
        (b"x-ratelimit-reset-requests", duration(reset_ms).encode()),
    )


def duration(milliseconds: int) -> str:
    """A duration as OpenAI's headers spell it: ``12ms``, ``1.5s``, ``6m0s``."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
