"""How many tokens a prompt has, for who asks before asking for an answer. Nothing is charged."""

from __future__ import annotations

from collections.abc import Mapping

from bandari.domain import bounds
from bandari.domain.catalogue import Endpoint, check_serves
from bandari.domain.chat import ChatRequest
from bandari.domain.estimate import Basis
from bandari.domain.keys import Principal
from bandari.service.estimates import Estimates
from bandari.service.models import Models
from bandari.service.ports import Upstream


class Counting:
    """Asks the model's first target; where that cannot count, the prompt is estimated."""

    def __init__(
        self, models: Models, upstreams: Mapping[str, Upstream], estimates: Estimates
    ) -> None:
        self._models = models
        self._upstreams = upstreams
        self._estimates = estimates

    def use(self, upstreams: Mapping[str, Upstream]) -> None:
        """From here on it is these that are asked."""
        self._upstreams = upstreams

    async def count(self, principal: Principal, request: ChatRequest) -> int:
        """Raises the ``CallerFault`` that asking for the answer would raise."""
        model = self._models.find(request.model, principal)
        check_serves(model, Endpoint.CHAT_COMPLETIONS)
        bounds.check(request, model.bounds)
        target = model.targets[0]
        counted = await self._upstreams[target.provider].count_input(request, target.model)
        if counted is not None:
            return counted
        ratios = self._estimates.ratios(str(target))
        return Basis(request.input_bytes, request.images, 0, ratios).input_tokens
