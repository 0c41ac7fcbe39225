"""What the acted model can do: the parts that the model in the box does not play reliably.

The last user message says which: ``weather`` calls the tool for two cities at once and then tells
their results, ``think`` thinks first, ``break`` breaks off, ``boat`` describes a boat as JSON or as
the arguments of the tool that it must call. To anything else it says ``GREETING``, piece by piece.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.acting_upstream import Break, Call, Part, Say, Think

GREETING = ("Good ", "morning ", "to ", "you.")
CITIES = ("Nairobi", "Kisumu")
THOUGHT = "Six times seven."
BOAT = {
    "name": "Mtepe",
    "masts": 1,
    "colour": "red",
    "crew": [{"name": f"Sailor {number}", "age": 20 + number} for number in range(12)],
}


def act(body: dict[str, Any]) -> list[Part]:
    messages = body["messages"]
    asked = [message for message in messages if message["role"] == "user"][-1]
    words = _text(asked["content"])
    if "weather" in words:
        results = [_text(message["content"]) for message in messages if message["role"] == "tool"]
        if results:
            return [Say(" and ".join(results)), Say(".")]
        return [Say("Let me look."), *(Call("get_weather", {"city": city}) for city in CITIES)]
    if "think" in words:
        return [Think(THOUGHT[:4]), Think(THOUGHT[4:]), Say("Forty-two.")]
    if "break" in words:
        return [Say("It was a dark"), Break("out of memory")]
    if "boat" in words and body.get("tools"):
        return [Call(body["tools"][0]["function"]["name"], BOAT)]
    if "boat" in words:
        written = json.dumps(BOAT)
        return [Say(written[at : at + 40]) for at in range(0, len(written), 40)]
    return [Say(piece) for piece in GREETING]


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
