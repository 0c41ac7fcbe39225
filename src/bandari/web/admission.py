"""Who may come in: the key, what it may be used for, then the limits; and the headers that tell of
them.
"""

from __future__ import annotations

from bandari.domain.keys import Principal, Scope
from bandari.domain.outcome import Deny, Reason
from bandari.service.limiting import Limiter
from bandari.service.ports import Metrics
from bandari.web import problems
from bandari.web.chat_settings import ChatSettings
from bandari.web.exchange import Exchange
from bandari.web.keys import KeyCheck
from bandari.web.limit_headers import tell_limits


class Admission:
    """A refusal is told here; who is let in comes back as a principal."""

    def __init__(
        self, keys: KeyCheck, limiter: Limiter, metrics: Metrics, settings: ChatSettings
    ) -> None:
        self._keys = keys
        self._limiter = limiter
        self._metrics = metrics
        self._settings = settings

    async def identify(self, exchange: Exchange, scope: Scope | None = None) -> Principal | None:
        """Whose key it is, if it may be used for ``scope``.

        Raises ``InvalidValue`` for an end user that cannot be kept.
        """
        principal = await self._keys.principal(exchange)
        if isinstance(principal, Deny):
            await self.tell(exchange, principal)
            return None
        if scope is not None and not await self.may_use(exchange, principal, scope):
            return None
        return principal

    async def may_use(self, exchange: Exchange, principal: Principal, scope: Scope) -> bool:
        """Whether the key may be used for ``scope``; if not, that is told."""
        scopes = principal.policy.scopes
        if scopes is None or scope in scopes:
            return True
        await self.tell(exchange, _out_of_scope(scope, scopes))
        return False

    async def take_in(self, exchange: Exchange, scope: Scope) -> tuple[Principal, bytes] | None:
        """Who asks, and the body, of a request that counts against the limits.

        Raises what reading a body raises.
        """
        principal = await self.identify(exchange, scope)
        if principal is None:
            return None
        admission = self._limiter.admit(principal)
        if isinstance(admission, Deny):
            await self.tell(exchange, admission)
            return None
        tell_limits(exchange, admission)
        settings = self._settings
        return principal, await exchange.body(settings.max_body_bytes, settings.body_timeout_ms)

    async def on_behalf(self, principal: Principal, user: str | None) -> Principal:
        """The principal with the end user that the body names, if nothing else has named one.

        Raises ``InvalidValue`` for an end user that cannot be kept.
        """
        if not user or principal.end_user or not principal.account_policy.names_end_users:
            return principal
        return await self._keys.on_behalf(principal, user, "user")

    async def tell(self, exchange: Exchange, denial: Deny) -> None:
        tell_limits(exchange, denial)
        await problems.tell(exchange, denial, self._metrics)


def _out_of_scope(scope: Scope, scopes: tuple[Scope, ...]) -> Deny:
    what_for = f"for {', '.join(scopes)} only" if scopes else "for nothing"
    return Deny(
        Reason.WRONG_SCOPE, f"This API key may not be used for {scope}: it may be used {what_for}."
    )
