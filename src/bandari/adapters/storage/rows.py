"""Counts as rows: the values of the columns that ``statements.COUNT`` names, in its order."""

from __future__ import annotations

from bandari.adapters.storage.statements import BASIS, COUNT
from bandari.domain.estimate import Basis
from bandari.domain.ledger import Count
from bandari.domain.usage import Usage

_NOT_COUNTED = (None,) * len(COUNT)
_NO_BASIS = (None,) * len(BASIS)


def count_row(count: Count | None) -> tuple[int | str | None, ...]:
    if count is None:
        return _NOT_COUNTED
    return (*usage_row(count.usage), count.rule.value, *basis_row(count.basis))


def usage_row(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def basis_row(basis: Basis | None) -> tuple[int | None, ...]:
    if basis is None:
        return _NO_BASIS
    ratios = basis.ratios
    return (basis.input_bytes, basis.images, basis.output_bytes, ratios.input, ratios.output)
