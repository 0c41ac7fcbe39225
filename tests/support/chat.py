"""Asking for answers over plain HTTP, and taking streams apart."""

from __future__ import annotations

import json
from typing import Any

import httpx2 as httpx

MODEL = "bandari-tiny"
PATH = "/v1/chat/completions"


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def ask(client: httpx.Client, text: str = "Hi", **fields: Any) -> dict[str, Any]:
    """A whole answer to one user message, at temperature 0 unless said."""
    body = {"model": MODEL, "messages": user(text), "temperature": 0} | fields
    response = client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def text_of(answer: dict[str, Any], choice: int = 0) -> str:
    return str(answer["choices"][choice]["message"]["content"])


def refused(client: httpx.Client, **fields: Any) -> tuple[int, dict[str, Any]]:
    """The status and the error of a request that must be refused."""
    response = client.post(PATH, json={"model": MODEL, "messages": user("Hi")} | fields)
    assert response.status_code >= 400, response.text
    return response.status_code, response.json()["error"]


class Stream:
    """A stream taken apart: its data lines, chunks, and what they add up to."""

    def __init__(self, text: str) -> None:
        self.blocks = [block.strip() for block in text.split("\n\n") if block.strip()]
        self.data = [block.removeprefix("data: ") for block in self.blocks if block[0] == "d"]
        self.chunks = [json.loads(data) for data in self.data if data != "[DONE]"]

    def text(self, choice: int = 0) -> str:
        return "".join(
            entry["delta"].get("content") or ""
            for chunk in self.chunks
            for entry in chunk.get("choices", ())
            if entry["index"] == choice
        )

    def finish(self, choice: int = 0) -> str | None:
        reasons = [
            entry["finish_reason"]
            for chunk in self.chunks
            for entry in chunk.get("choices", ())
            if entry["index"] == choice and entry["finish_reason"]
        ]
        assert len(reasons) <= 1
        return reasons[0] if reasons else None

    @property
    def usage(self) -> dict[str, Any] | None:
        found = [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]
        assert len(found) <= 1
        return found[0] if found else None


def stream(client: httpx.Client, text: str = "Hi", **fields: Any) -> tuple[Stream, httpx.Headers]:
    """A streamed answer, read to its end."""
    body = {"model": MODEL, "messages": user(text), "temperature": 0, "stream": True} | fields
    response = client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    return Stream(response.text), response.headers
