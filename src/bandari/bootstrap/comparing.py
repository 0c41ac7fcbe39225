"""What is different between two configurations: for who asked, and for the log of changes.

No secret is in either: of providers there are only the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from bandari.config import Settings
from bandari.domain.catalogue import Model
from bandari.service.reloading import Changes, ReloadOutcome

MAX_ENTRY_BYTES: Final = 128 * 1024
"""Of what the log of changes is told of one side; beyond, it is told how many there are."""

_FOR_A_RESTART: Final = ("server", "engine", "responses", "streams", "cache")

T = TypeVar("T")


def compared(present: Settings, wanted: Settings, started_with: Settings) -> ReloadOutcome:
    """What taking over ``wanted`` changes, and what of it only a restart can."""
    is_same_default = wanted.default_provider == present.default_provider
    return ReloadOutcome(
        groups=_changes(present.groups, wanted.groups),
        models=_changes(_by_id(present), _by_id(wanted)),
        providers=_changes(present.providers, wanted.providers),
        default_provider=None if is_same_default else wanted.default_provider,
        needs_restart=_needs_restart(started_with, wanted),
    )


def entry(
    present: Settings, wanted: Settings, outcome: ReloadOutcome
) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """What was before, and what is after, of all that changes."""
    groups, models, providers = outcome.groups, outcome.models, outcome.providers
    return (
        _terms(
            present,
            (*groups.removed, *groups.changed),
            (*models.removed, *models.changed),
            (*providers.removed, *providers.changed),
        ),
        _terms(
            wanted,
            (*groups.added, *groups.changed),
            (*models.added, *models.changed),
            (*providers.added, *providers.changed),
        ),
    )


def _terms(
    settings: Settings, groups: Sequence[str], models: Sequence[str], providers: Sequence[str]
) -> Mapping[str, object]:
    by_id = _by_id(settings)
    told = {
        "default_provider": settings.default_provider,
        "groups": {name: settings.groups[name] for name in groups},
        "models": {model_id: _of_model(by_id[model_id]) for model_id in models},
        "providers": providers,
    }
    if len(msgspec.json.encode(told)) <= MAX_ENTRY_BYTES:
        return told
    counts = {"groups": len(groups), "models": len(models), "providers": len(providers)}
    return {"default_provider": settings.default_provider, **counts}


def _of_model(model: Model) -> Mapping[str, object]:
    """As the file has it, with what was left out."""
    return {
        "aliases": model.aliases,
        "targets": [str(target) for target in model.targets],
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "defaults": model.defaults,
        "bounds": model.bounds,
        "limits": model.limits,
        "cache": model.cache,
        "cache_ttl_s": model.cache_ttl_s,
        "prices": {
            card.asset: {
                "input_per_million": card.input_per_million,
                "cached_input_per_million": card.cached_input_per_million,
                "cache_write_per_million": card.cache_write_per_million,
                "output_per_million": card.output_per_million,
                "per_request": card.per_request,
                "cache_hit_per_million": card.cache_hit_per_million,
            }
            for card in model.rate_cards
        },
    }


def _needs_restart(running: Settings, wanted: Settings) -> tuple[str, ...]:
    keys = [
        f"{table}.{name}"
        for table in _FOR_A_RESTART
        for name in getattr(running, table).__struct_fields__
        if getattr(getattr(running, table), name) != getattr(getattr(wanted, table), name)
    ]
    if running.database_url != wanted.database_url:
        keys.append("store.url")
    if running.key_prefix != wanted.key_prefix:
        keys.append("key_prefix")
    return tuple(keys)


def _by_id(settings: Settings) -> Mapping[str, Model]:
    return {model.id: model for model in settings.models}


def _changes(before: Mapping[str, T], after: Mapping[str, T]) -> Changes:
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(
            sorted(name for name in after.keys() & before.keys() if after[name] != before[name])
        ),
    )
