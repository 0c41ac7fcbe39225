"""Draws one sample of any kind, each kind as often as its weight says."""

from __future__ import annotations

from collections.abc import Callable

from tools.train_model.json_samples import extraction, fields_as_json, forced_json
from tools.train_model.long_samples import chain, counting, long_answer, long_context, memory
from tools.train_model.short_samples import (
    about_bandari,
    arithmetic,
    country_fact,
    echo,
    small_talk,
    translation,
    unknown,
    who_are_you,
)
from tools.train_model.source import Sample, Source
from tools.train_model.tool_samples import tool_use

MAKERS: dict[Callable[[Source], Sample], float] = {
    echo: 25,
    who_are_you: 12,
    country_fact: 10,
    translation: 12,
    extraction: 16,
    about_bandari: 3,
    memory: 10,
    tool_use: 9,
    fields_as_json: 8,
    forced_json: 3,
    long_context: 0.5,
    small_talk: 3,
    arithmetic: 3,
    unknown: 3,
    chain: 3,
    long_answer: 1.5,
    counting: 1.5,
}


def make_sample(source: Source) -> Sample:
    """Draw one sample of any kind, by weight."""
    maker = source.rng.choices(tuple(MAKERS), tuple(MAKERS.values()))[0]
    return maker(source)
