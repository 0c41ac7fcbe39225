"""The file's ``[models]`` into the catalogue's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bandari.config.checks import check_asset, check_bounds, check_defaults, check_model_id
from bandari.config.limits import check_limits
from bandari.config.positions import Path
from bandari.config.tables import Problems, TableReader, shown, suggestion
from bandari.config.values import (
    DEFAULT_CONTEXT_WINDOW,
    DEFAULT_MODEL,
    Engine,
    ModelTable,
    PriceTable,
    Provider,
    Settings,
    TargetTable,
)
from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import EMBEDDING, GENERATING, LOCAL, Defaults, Model, Target
from bandari.domain.pricing import TOKEN, RateCard, token_card

_APART: Final = ("targets", "prices")
_OF_WRITING: Final = ("max_output_tokens", "defaults", "bounds", "cache", "cache_ttl_s")


def read_models(
    value: object,
    reader: TableReader,
    problems: Problems,
    providers: Sequence[str],
    engine: Engine,
) -> tuple[Model, ...]:
    """The models of the file, or the model in the box where the file has none."""
    table = reader.table(value, ("models",)) or {}
    if not table:
        return (_model_in_the_box(engine),)
    models: list[Model] = []
    holders: dict[str, str] = {model_id: model_id for model_id in table}
    for model_id, content in table.items():
        path = ("models", model_id)
        check_model_id(model_id, path, problems)
        model = _read_model(model_id, content, reader, problems, providers, engine)
        if model is None:
            continue
        models.append(model)
        for at, alias in enumerate(model.aliases):
            check_model_id(alias, (*path, "aliases", at), problems)
            holder = holders.setdefault(alias, model_id)
            if holder != model_id or alias == model_id or alias in model.aliases[:at]:
                problems.add(
                    (*path, "aliases", at), f"'{alias}' already means the model '{holder}'"
                )
    priced = assets_of(models)
    for model in models:
        check_limits(model.limits, ("models", model.id, "limits"), problems, priced)
    return tuple(models)


def assets_of(models: Sequence[Model]) -> frozenset[str]:
    """What is paid in: the assets of all prices, and TOKEN, which open providers ask."""
    return frozenset({TOKEN, *(card.asset for model in models for card in model.rate_cards)})


def check_embedders(
    models: Sequence[Model], providers: Mapping[str, Provider], problems: Problems
) -> None:
    """A model that embeds has targets that can."""
    for model in models:
        if model.endpoints != EMBEDDING:
            continue
        for target in model.targets:
            provider = providers.get(target.provider)
            if provider is not None and provider.protocol != "chat_completions":
                problems.add(
                    ("models", model.id, "targets"),
                    f"the provider '{target.provider}' speaks '{provider.protocol}', "
                    "which has no embeddings",
                )


def check_engine_runs(models: Sequence[Model], running: Settings, problems: Problems) -> None:
    """A server starts engines only when it starts itself."""
    for model in models:
        runs = (
            running.uses_embedding_engine if model.endpoints == EMBEDDING else running.uses_engine
        )
        if not runs and any(target.provider == LOCAL for target in model.targets):
            problems.add(
                ("models", model.id, "targets"),
                "has the target local, and the server runs without that engine; "
                "it has to be restarted for this",
            )


def _model_in_the_box(engine: Engine) -> Model:
    return Model(
        id=DEFAULT_MODEL,
        targets=(Target(LOCAL, DEFAULT_MODEL),),
        rate_cards=(token_card(DEFAULT_MODEL),),
        context_window=engine.context_window,
        max_output_tokens=engine.context_window,
        defaults=Defaults(),
        bounds=Bounds(),
    )


def _read_model(
    model_id: str,
    content: object,
    reader: TableReader,
    problems: Problems,
    providers: Sequence[str],
    engine: Engine,
) -> Model | None:
    path = ("models", model_id)
    keys = reader.table(content, path)
    if keys is None:
        return None
    rest = {key: value for key, value in keys.items() if key not in _APART}
    table = reader.struct(rest, ModelTable, path, _APART)
    embeds = keys.get("kind") == "embedding"
    targets = _read_targets(keys.get("targets"), (*path, "targets"), reader, problems, providers)
    cards = _read_prices(
        model_id, keys.get("prices", {}), (*path, "prices"), reader, problems, embeds
    )
    if table is None or not targets:
        return None
    is_local = any(target.provider == LOCAL for target in targets)
    largest = engine.context_window if is_local else None
    window = table.context_window or largest or DEFAULT_CONTEXT_WINDOW
    if largest is not None and window > largest:
        problems.add(
            (*path, "context_window"),
            f"{window} is more than the {largest} of [engine] context_window, "
            "and the model has the target local",
        )
    output = table.max_output_tokens or window
    is_window_known = "context_window" not in keys or table.context_window is not None
    if output > window and is_window_known:
        problems.add(
            (*path, "max_output_tokens"), f"{output} is more than the context window of {window}"
        )
    _check_kind(keys, table, is_local, engine, path, problems)
    check_bounds(table.bounds, (*path, "bounds"), problems)
    check_defaults(table.defaults, table.bounds, output, (*path, "defaults"), problems)
    return Model(
        id=model_id,
        targets=targets,
        rate_cards=cards,
        context_window=window,
        max_output_tokens=output,
        defaults=table.defaults,
        bounds=table.bounds,
        owned_by=table.owned_by,
        aliases=table.aliases,
        endpoints=EMBEDDING if embeds else GENERATING,
        takes_dimensions=table.takes_dimensions,
        limits=table.limits,
        cache=table.cache,
        cache_ttl_s=table.cache_ttl_s,
    )


def _check_kind(
    keys: Mapping[str, object],
    table: ModelTable,
    is_local: bool,
    engine: Engine,
    path: Path,
    problems: Problems,
) -> None:
    """What a model says must have a meaning for one of its kind."""
    if table.kind == "chat":
        if table.takes_dimensions:
            problems.add((*path, "takes_dimensions"), "is for models of kind 'embedding' only")
        return
    for name in _OF_WRITING:
        if name in keys:
            problems.add((*path, name), "has no meaning for a model of kind 'embedding'")
    if is_local and engine.embedding_model is None:
        problems.add(
            (*path, "targets"),
            "has the target local, and [engine] embedding_model does not name a file for it",
        )
    if is_local and table.takes_dimensions:
        problems.add((*path, "takes_dimensions"), "the engine in the box gives whole vectors only")


def _read_targets(
    value: object,
    path: Path,
    reader: TableReader,
    problems: Problems,
    providers: Sequence[str],
) -> tuple[Target, ...]:
    """Strings are tried in their order; tables by their priority and weight."""
    if value is None:
        problems.add(path, 'is missing; expected a list like ["local:bandari-tiny"]')
        return ()
    if not isinstance(value, list) or not value:
        problems.add(path, f'expected a list like ["local:bandari-tiny"], got {shown(value, path)}')
        return ()
    if len({isinstance(item, dict) for item in value}) > 1:
        problems.add(
            path, "mixes strings (tried in order) and tables (tried by priority); use one of them"
        )
        return ()
    targets: list[Target] = []
    for at, item in enumerate(value):
        here = (*path, at)
        if isinstance(item, dict):
            table = reader.struct(item, TargetTable, here)
        else:
            text = reader.value(item, str, here)
            table = None if text is None else TargetTable(target=text or " ", priority=at)
        target = None if table is None else _target(table, here, problems, providers)
        if target is None:
            continue
        if any(str(target) == str(other) for other in targets):
            problems.add(here, f"'{target}' is named twice")
        targets.append(target)
    return tuple(targets)


def _target(
    table: TargetTable, path: Path, problems: Problems, providers: Sequence[str]
) -> Target | None:
    provider, colon, model = table.target.partition(":")
    if not colon or not model.strip():
        problems.add(
            path, f"expected 'provider:model', like 'local:bandari-tiny', got '{table.target}'"
        )
        return None
    if provider not in providers:
        problems.add(path, f"there is no provider '{provider}'; {suggestion(provider, providers)}")
        return None
    return Target(provider, model, table.priority, table.weight)


def _read_prices(
    model_id: str,
    value: object,
    path: Path,
    reader: TableReader,
    problems: Problems,
    embeds: bool,
) -> tuple[RateCard, ...]:
    """A model that ``embeds`` has no output, and need not say what it costs."""
    cards: list[RateCard] = []
    for asset, content in (reader.table(value, path) or {}).items():
        check_asset(asset, (*path, asset), problems)
        if embeds and isinstance(content, dict):
            content = {"output_per_million": 0, **content}  # noqa: PLW2901 - the same table, whole
        price = reader.struct(content, PriceTable, (*path, asset))
        if price is None:
            continue
        fresh, cached, written = (
            price.input_per_million,
            price.cached_input_per_million,
            price.cache_write_per_million,
        )
        cards.append(
            RateCard(
                model=model_id,
                asset=asset,
                input_per_million=fresh,
                cached_input_per_million=fresh if cached is None else cached,
                cache_write_per_million=fresh if written is None else written,
                output_per_million=price.output_per_million,
                per_request=price.per_request,
                cache_hit_per_million=price.cache_hit_per_million,
            )
        )
    return tuple(cards) or (token_card(model_id),)
