"""What the gateways are asked, what the instant upstream answers, and how an answer is judged."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATH = "/chat/completions"
MESSAGES_PATH = "/messages"
RESPONSES_PATH = "/responses"
TOTAL_TOKENS = 15
ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "instant",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Good morning to you"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": TOTAL_TOKENS},
    }
)
"""What the instant upstream says to everything."""


def _event(choices: list[dict[str, Any]], **more: Any) -> str:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000}
    return f"data: {json.dumps({**head, 'model': 'streamed', 'choices': choices, **more})}\n\n"


def _delta(delta: Mapping[str, str], finish: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


STREAMED = "".join(
    (
        _event(_delta({"role": "assistant", "content": ""})),
        *(_event(_delta({"content": text})) for text in ("Good", " morning", " to", " you")),
        _event(_delta({}, "stop")),
        _event([], usage=json.loads(ANSWER)["usage"]),
        "data: [DONE]\n\n",
    )
)
"""The same in events."""

SENTENCE = "The dhow leaves the harbour at dawn with a cargo of cloves. "


class WrongAnswer(Exception):
    """A gateway answered, but not what it should."""


@dataclass(frozen=True)
class Question:
    """One request as it goes to one gateway. ``keys`` are sent in turns where there are several."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    keys: tuple[str, ...] = ()

    def all_headers(self) -> dict[str, str]:
        """With the content type, and with the first key."""
        headers = {"content-type": "application/json", **self.headers}
        if self.keys:
            headers["authorization"] = f"Bearer {self.keys[0]}"
        return headers


def small(model: str) -> bytes:
    """A short question."""
    return _body(model, "Good morning! How are you?", {})


def large(model: str, characters: int = 100_000) -> bytes:
    """A question with a prompt of that many characters."""
    return _body(model, (SENTENCE * (characters // len(SENTENCE) + 1))[:characters], {})


def streaming(model: str, content: str = "Tell me a story.") -> bytes:
    """A short question whose answer is to come in events, its usage with them."""
    more = {"stream": True, "stream_options": {"include_usage": True}}
    return _body(model, content, more)


def _body(model: str, content: str, more: Mapping[str, Any]) -> bytes:
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "messages": messages, **more}).encode()


def ask_once(question: Question, timeout_s: float = 60.0) -> bytes:
    """The body of the answer. Raises ``WrongAnswer`` unless it is a 200, and ``OSError``."""
    parts = urlsplit(question.url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("POST", parts.path, question.body, question.all_headers())
        answer = connection.getresponse()
        body = answer.read()
    except (http.client.HTTPException, ssl.SSLError) as error:
        raise WrongAnswer(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise WrongAnswer(f"status {answer.status}: {body[:300].decode('utf-8', 'replace')}")
    return body


def check_whole(body: bytes) -> None:
    """Raise ``WrongAnswer`` unless the text and the usage are the instant upstream's."""
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"]["content"]
        total = answer["usage"]["total_tokens"]
    except (ValueError, LookupError, TypeError) as error:
        raise WrongAnswer(f"not an answer: {body[:300]!r}") from error
    if text != "Good morning to you" or total != TOTAL_TOKENS:
        raise WrongAnswer(f"another answer than the upstream's: {body[:300]!r}")


def check_streamed(body: bytes) -> None:
    """The same of an answer that came in events, with its usage."""
    events = body.decode("utf-8", "replace").split("\n\n")
    try:
        chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
        text = "".join(delta.get("content") or "" for delta in deltas)
        total = chunks[-1]["usage"]["total_tokens"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WrongAnswer(f"not an answer: {body[:300]!r}") from error
    is_whole = events[-2:] == ["data: [DONE]", ""]
    if text != "Good morning to you" or total != TOTAL_TOKENS or not is_whole:
        raise WrongAnswer(f"another answer than the upstream's: {body[:300]!r}")
