"""The catalogue in use: which model an id means, and which models there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bandari.domain import catalogue
from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import MAX_MODEL_ID_BYTES, Defaults, Endpoint, Model, Target
from bandari.domain.chat import ChatRequest
from bandari.domain.faults import ModelNotFound
from bandari.domain.keys import Principal
from bandari.domain.pricing import RateCard


class OpenProvider(msgspec.Struct, frozen=True):
    """A provider that serves any of its models as ``name:model``, under one kind of rate card."""

    name: str
    context_window: int
    rate_cards: tuple[RateCard, ...]


class Models:
    """Resolves model ids. ``open_providers`` are those that serve whatever they are asked for.

    A bare name that is no public id means ``default_provider``'s model, if that one is open.
    """

    def __init__(
        self,
        models: Sequence[Model],
        open_providers: Mapping[str, OpenProvider] | None = None,
        default_provider: str | None = None,
    ) -> None:
        self.replace(models, open_providers, default_provider)

    def replace(
        self,
        models: Sequence[Model],
        open_providers: Mapping[str, OpenProvider] | None = None,
        default_provider: str | None = None,
    ) -> None:
        """From here on it is these that there are."""
        self._models = tuple(models)
        self._by_id = catalogue.by_id(models)
        self._open = open_providers or {}
        self._default_provider = default_provider

    def all(self, principal: Principal | None = None) -> Sequence[Model]:
        """Those that the principal may use, or without one all, in the order of configuration."""
        if principal is None:
            return self._models
        return [model for model in self._models if principal.may_use(model.id)]

    def find(self, model_id: str, principal: Principal | None = None) -> Model:
        """The model of that id or alias.

        Raises ``ModelNotFound``, which names the nearest ids. To a principal who may not use it, a
        model is not there, nor in a hint.
        """
        model = self._by_id.get(model_id) or self._at_open_provider(model_id)
        if model is not None and (principal is None or principal.may_use(model.id)):
            return model
        usable = catalogue.by_id(self.all(principal))
        near = catalogue.nearest(model_id, usable)
        shown = model_id if len(model_id) <= 100 else model_id[:100] + "…"
        hint = f" Did you mean {_either(near)}?" if near else " GET /v1/models lists the models."
        raise ModelNotFound(f"The model '{shown}' does not exist.{hint}", param="model")

    def _at_open_provider(self, model_id: str) -> Model | None:
        provider_name, colon, name = model_id.partition(":")
        if not colon:
            provider_name, name = self._default_provider or "", model_id
        provider = self._open.get(provider_name)
        if not name or provider is None or len(model_id.encode()) > MAX_MODEL_ID_BYTES:
            return None
        return Model(
            id=model_id,
            targets=(Target(provider_name, name),),
            rate_cards=provider.rate_cards,
            context_window=provider.context_window,
            max_output_tokens=provider.context_window,
            defaults=Defaults(),
            bounds=Bounds(),
            owned_by=provider_name,
            family=f"{provider_name}:*",
            endpoints=tuple(Endpoint),
            takes_dimensions=True,
        )


_NO_DEFAULTS = Defaults()


def with_defaults(request: ChatRequest, defaults: Defaults) -> ChatRequest:
    """The request with the model's defaults where it says nothing."""
    if defaults == _NO_DEFAULTS:
        return request
    sampling = request.sampling
    changes = {
        name: value
        for name in defaults.__struct_fields__
        if name != "stop"
        and (value := getattr(defaults, name)) is not None
        and getattr(sampling, name) is None
    }
    if defaults.stop and not sampling.stop:
        changes["stop"] = defaults.stop
    if not changes:
        return request
    return msgspec.structs.replace(request, sampling=msgspec.structs.replace(sampling, **changes))


def _either(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
