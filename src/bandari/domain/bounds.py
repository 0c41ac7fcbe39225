"""The bounds of a request's fields: what every system allows, and what a model narrows.

A value out of bounds is refused with the field and the bound named; nothing is clamped silently.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bandari.domain.chat import ChatRequest, Role
from bandari.domain.faults import InvalidRequest, InvalidValue, MissingField

MAX_INTEGER: Final = 2**53 - 1
MAX_STOP_SEQUENCES: Final = 4
MAX_CHOICES: Final = 128
MAX_TOP_LOGPROBS: Final = 20

Range = tuple[float, float]


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Inclusive ranges of numbers, and the roles that messages may have."""

    temperature: Range = (0, 2)
    top_p: Range = (0, 1)
    presence_penalty: Range = (-2, 2)
    frequency_penalty: Range = (-2, 2)
    max_tokens: tuple[int, int] = (1, MAX_INTEGER)
    n: tuple[int, int] = (1, MAX_CHOICES)
    roles: tuple[Role, ...] = tuple(Role)


def check(request: ChatRequest, bounds: Bounds) -> None:
    """Raise the ``CallerFault`` that names the first field of ``request`` that is out of bounds."""
    sampling = request.sampling
    if not request.messages:
        raise InvalidValue("'messages' must hold at least one message.", param="messages")
    for name, value, (low, high) in (
        ("temperature", sampling.temperature, bounds.temperature),
        ("top_p", sampling.top_p, bounds.top_p),
        ("presence_penalty", sampling.presence_penalty, bounds.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty, bounds.frequency_penalty),
        ("max_tokens", sampling.max_tokens, bounds.max_tokens),
        ("n", sampling.n, bounds.n),
        ("top_logprobs", sampling.top_logprobs, (0, MAX_TOP_LOGPROBS)),
        ("seed", sampling.seed, (-MAX_INTEGER, MAX_INTEGER)),
    ):
        if value is not None and not low <= value <= high:
            raise InvalidValue(
                f"'{name}' must be between {_number(low)} and {_number(high)}, and is "
                f"{_number(value)}.",
                param=name,
            )
    if len(sampling.stop) > MAX_STOP_SEQUENCES:
        raise InvalidValue(
            f"'stop' may hold at most {MAX_STOP_SEQUENCES} sequences, and holds "
            f"{len(sampling.stop)}.",
            param="stop",
        )
    if "" in sampling.stop:
        raise InvalidValue("'stop' may not hold an empty sequence.", param="stop")
    if sampling.top_logprobs is not None and not sampling.logprobs:
        raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    if len(bounds.roles) < len(Role):
        _check_roles(request, bounds)
    _check_tools(request)
    _check_results(request)


def _number(value: float) -> str:
    """A number exactly as it is, as far as anyone wants to read it."""
    text = str(value).removesuffix(".0")
    return text if len(text) <= 24 else f"{text[:20]}…"


def _check_roles(request: ChatRequest, bounds: Bounds) -> None:
    for index, message in enumerate(request.messages):
        if message.role not in bounds.roles:
            allowed = ", ".join(bounds.roles)
            raise InvalidValue(
                f"Role must be one of {allowed}; 'messages[{index}].role' is '{message.role}'.",
                param=f"messages[{index}].role",
            )


def _check_results(request: ChatRequest) -> None:
    """Every result has its call in an earlier turn. Codecs that know better places say so first."""
    made: set[str] = set()
    for index, message in enumerate(request.messages):
        if message.role is Role.TOOL and message.tool_call_id not in made:
            raise InvalidValue(
                f"'messages[{index}].tool_call_id' names no call of an earlier message: no "
                "assistant's 'tool_calls' has that id.",
                param=f"messages[{index}].tool_call_id",
            )
        made.update(call.id for call in message.tool_calls)


def _check_tools(request: ChatRequest) -> None:
    choice = request.tool_choice
    if choice is None:
        return
    if choice.forces_call and not request.tools:
        raise MissingField("'tool_choice' asks for a call, but 'tools' is empty.", param="tools")
    if choice.name is not None and all(tool.name != choice.name for tool in request.tools):
        raise InvalidValue(
            f"'tool_choice' names the tool '{choice.name}', which is not among 'tools'.",
            param="tool_choice",
        )
