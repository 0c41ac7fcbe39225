"""Reading the configuration anew, while everything goes on."""

from __future__ import annotations

from bandari.domain.audit_log import Actor
from bandari.domain.faults import CallerFault
from bandari.service.reloading import Reload
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.requests import check_says_nothing
from bandari.wire.admin import answers


class InvalidConfiguration(CallerFault):
    """The configuration has mistakes; everything stays as it is."""

    status, code = 409, "invalid_configuration"


class Reloading:
    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    async def __call__(self, exchange: Exchange, by: Actor) -> None:
        """Raises ``InvalidConfiguration`` with every mistake, its file and its line."""
        await check_says_nothing(exchange)
        outcome = await self._reload(by)
        if outcome.is_refused:
            raise InvalidConfiguration(
                "The configuration is refused whole, and the old one stays. "
                + " ".join(outcome.problems)
            )
        body = answers.encode(
            {
                "groups": outcome.groups,
                "models": outcome.models,
                "providers": outcome.providers,
                "default_provider": outcome.default_provider,
                "needs_restart": outcome.needs_restart,
            }
        )
        await exchange.respond(200, problems.JSON, body)
