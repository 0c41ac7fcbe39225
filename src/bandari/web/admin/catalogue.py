"""Groups and models: what the configuration says of them at the moment."""

from __future__ import annotations

from bandari.domain.audit_log import Actor
from bandari.service.administration import Administration
from bandari.service.models import Models
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.requests import check_no_parameters
from bandari.wire.admin import answers


class Catalogue:
    """They are changed in the file, and read again by a reload."""

    def __init__(self, administration: Administration, models: Models) -> None:
        self._administration = administration
        self._models = models

    async def groups(self, exchange: Exchange, _by: Actor) -> None:
        check_no_parameters(exchange)
        body = answers.encode_page(map(answers.group, self._administration.groups()))
        await exchange.respond(200, problems.JSON, body)

    async def models(self, exchange: Exchange, _by: Actor) -> None:
        check_no_parameters(exchange)
        body = answers.encode_page(map(answers.model, self._models.all()))
        await exchange.respond(200, problems.JSON, body)
