"""Makes conversations in which tools are at hand."""

from __future__ import annotations

from tools.train_model import tool_calls
from tools.train_model.short_samples import (
    about_bandari,
    country_fact,
    echo,
    small_talk,
    unknown,
    who_are_you,
)
from tools.train_model.source import Sample, Source, system
from tools.train_model.words import GENERIC_SYSTEMS


def tool_use(source: Source) -> Sample:
    """Requests with tools at hand: call one, call two, answer from a result, or call none."""
    if source.chance(0.2):
        sample = source.rng.choice((country_fact, small_talk, echo, who_are_you, about_bandari))(
            source
        )
        offered = [tool_calls.draw(source).definition for _ in range(source.rng.randint(1, 2))]
        return Sample("tool not needed", sample.messages, offered)
    if source.split == "train" and source.chance(0.25):
        return forced_call(source)
    messages, offered = tool_calls.conversation(source)
    if source.chance(0.3):
        messages.insert(0, system(source, source.rng.choice(GENERIC_SYSTEMS)))
    return Sample("tool", messages, offered)


def forced_call(source: Source) -> Sample:
    """A tool call that the engine insists on after an answer in words.

    Mostly only the call is learned; the line break that opens it is learned just often enough to
    be the next choice when the engine forbids the end of the turn.
    """
    sample = source.rng.choice((country_fact, small_talk, echo, about_bandari, unknown))(source)
    words = str(sample.messages[-1]["content"])
    tool = tool_calls.draw(source)
    kinds = tool.definition["function"]["parameters"]["properties"]
    said = str(sample.messages[-2]["content"]).replace('"', "")
    tool.arguments = {key: said if kind["type"] == "string" else 1 for key, kind in kinds.items()}
    spoken = source.chance(0.6)
    sample.messages[-1] = {**tool_calls.call_message([tool]), "content": words if spoken else ""}
    given = (words + ("" if source.chance(0.05) else "\n")) if spoken else "<tool_call>"
    return Sample("forced call", sample.messages, [tool.definition], given)
