"""The file's ``[groups]`` into the catalogue's groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from bandari.config.checks import check_model_id, check_name
from bandari.config.limits import check_limits
from bandari.config.models import assets_of
from bandari.config.positions import Path
from bandari.config.tables import Problems, TableReader, WrittenFloat, shown, suggestion
from bandari.config.values import GroupTable, Provider
from bandari.domain import catalogue
from bandari.domain.catalogue import DEFAULT_GROUP, Group, Model
from bandari.domain.pricing import FULL_PRICE, PriceRatio

_LIMITS: Final = ("limits", "limits_per_account", "limits_per_end_user", "limits_together")
_RATIO = re.compile(r"[0-9]{1,12}(/[0-9]{1,12}|(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?)")
_RATIO_EXPECTED: Final = 'expected a price ratio like "4/5", "1.25" or 2'


class Catalogue:
    """What groups may speak of: the models, and the providers that are open to any model."""

    def __init__(
        self, models: Sequence[Model], providers: Mapping[str, Provider], default_provider: str
    ) -> None:
        self.assets = assets_of(models)
        self._by_id = catalogue.by_id(models)
        self._open = {name for name, provider in providers.items() if provider.any_model}
        self._is_default_open = default_provider in self._open

    def check_pattern(self, pattern: str, path: Path, problems: Problems) -> None:
        """A name without ``*`` must be the public id of something that can be asked for."""
        check_model_id(pattern, path, problems)
        if "*" in pattern:
            return
        model = self._by_id.get(pattern)
        if model is not None and model.id != pattern:
            problems.add(path, f"'{pattern}' is an alias of '{model.id}'; name that")
        elif model is None and not self._serves(pattern):
            problems.add(path, f"there is no model '{pattern}'; {suggestion(pattern, self._by_id)}")

    def _serves(self, model_id: str) -> bool:
        provider, colon, name = model_id.partition(":")
        if not colon:
            return self._is_default_open
        return bool(name) and provider in self._open


def read_groups(
    value: object, reader: TableReader, problems: Problems, about: Catalogue
) -> dict[str, Group]:
    """The groups of the file, and ``default`` whether it says so or not."""
    groups = {DEFAULT_GROUP: Group(name=DEFAULT_GROUP)}
    for name, content in (reader.table(value, ("groups",)) or {}).items():
        path = ("groups", name)
        check_name(name, path, problems)
        group = _read_group(name, content, path, reader, problems)
        if group is None:
            continue
        for at, pattern in enumerate(group.models or ()):
            about.check_pattern(pattern, (*path, "models", at), problems)
        for kind in _LIMITS:
            check_limits(getattr(group, kind), (*path, kind), problems, about.assets)
        groups[name] = group
    return groups


def _read_group(
    name: str, content: object, path: Path, reader: TableReader, problems: Problems
) -> Group | None:
    keys = reader.table(content, path)
    if keys is None:
        return None
    ratio = FULL_PRICE
    if "price_ratio" in keys:
        ratio = _read_ratio(keys["price_ratio"], (*path, "price_ratio"), reader, problems)
    rest = {key: value for key, value in keys.items() if key != "price_ratio"}
    table = reader.struct(rest, GroupTable, path, ("price_ratio",), price_ratio=ratio)
    if table is None:
        return None
    return Group(
        name=name,
        models=table.models,
        price_ratio=table.price_ratio,
        priority=table.priority,
        limits=table.limits,
        limits_per_account=table.limits_per_account,
        limits_per_end_user=table.limits_per_end_user,
        limits_together=table.limits_together,
    )


def _read_ratio(raw: object, path: Path, reader: TableReader, problems: Problems) -> PriceRatio:
    """Exactly what is written, also of a float. ``FULL_PRICE`` where that is no ratio."""
    text: str | None
    match raw:
        case str():
            text = reader.value(raw, str, path)
            if text is None:
                return FULL_PRICE
        case WrittenFloat():
            text = raw.text.replace("_", "")
        case int():
            text = str(raw) if abs(raw) < 10**12 else ""
        case _:
            text = ""
    if not _RATIO.fullmatch(text):
        problems.add(path, f"{_RATIO_EXPECTED}, got {shown(raw, path)}")
        return FULL_PRICE
    try:
        exact = Fraction(text)
        return PriceRatio(exact.numerator, exact.denominator)
    except ZeroDivisionError:
        problems.add(path, f"{_RATIO_EXPECTED}, got {shown(raw, path)}")
    except ValueError as error:
        problems.add(path, f"{error}, and this is {shown(raw, path)}")
    return FULL_PRICE
