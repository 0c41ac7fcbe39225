"""One conversation with a running server over its public API, for the terminal.

Standard library only: what a newcomer runs first must not depend on a tuned HTTP client.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterator
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from bandari.cli.failure import CommandFailed
from bandari.domain.faults import UpstreamMalformed
from bandari.wire.sse import SseDecoder

TIMEOUT_S = 600
_READ_BYTES = 65_536
_LONGEST_BODY_BYTES = 2**20


class Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _Choice(Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Error(Struct):
    message: str = "the server sent an error without a message"


class _Chunk(Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: _Error | None = None


class _ErrorBody(Struct):
    error: _Error


class _ModelRow(Struct):
    id: str


class _ModelPage(Struct):
    data: list[_ModelRow]


_read_chunk = msgspec.json.Decoder(_Chunk).decode


class Conversation:
    """Messages back and forth with one model. A turn that failed is as if it had never been.

    ``usage`` and ``finish_reason`` are those of the last answer.
    """

    def __init__(self, url: str, key: str, model: str | None, system: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandFailed(f"'{url}' is not a URL like http://127.0.0.1:8080", 2)
        if not key.isascii() or not key.isprintable():
            raise CommandFailed("the key has characters that no key has", 2)
        self._url = url
        self._https = parts.scheme == "https"
        self._address = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/").removesuffix("/v1")
        self._key = key
        self._messages = [{"role": "system", "content": system}] if system else []
        self.model = model or self._first_model()
        self.usage = Usage()
        self.finish_reason: str | None = None

    def ask(
        self, text: str, *, temperature: float | None = None, max_tokens: int | None = None
    ) -> Generator[str, None, None]:
        """The answer's text as it comes. Leaving the iteration ends the answer on the server."""
        question = {"role": "user", "content": text}
        body: dict[str, object] = {
            "model": self.model,
            "messages": [*self._messages, question],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if temperature is not None:
            body["temperature"] = temperature
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        self.usage, self.finish_reason = Usage(), None
        said: list[str] = []
        connection = self._connection()
        try:
            response = self._send(connection, "POST", "/v1/chat/completions", body)
            for piece in self._pieces(response):
                said.append(piece)
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise CommandFailed(f"the connection to {self._url} broke: {error}") from error
        finally:
            connection.close()
        self._messages += [question, {"role": "assistant", "content": "".join(said)}]

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[str]:
        decoder = SseDecoder()
        while content := response.read1(_READ_BYTES):
            for event in _events(decoder, content):
                if event == b"[DONE]":
                    return
                try:
                    chunk = _read_chunk(event)
                except msgspec.DecodeError as error:
                    raise CommandFailed(f"{self._url} sent an event that is no chunk") from error
                if chunk.error is not None:
                    raise CommandFailed(chunk.error.message)
                if chunk.usage is not None:
                    self.usage = chunk.usage
                for choice in chunk.choices:
                    self.finish_reason = choice.finish_reason or self.finish_reason
                    piece = choice.delta.content or choice.delta.refusal
                    if piece:
                        yield piece
        raise CommandFailed(f"{self._url} broke the answer off before its end")

    def _first_model(self) -> str:
        connection = self._connection()
        try:
            response = self._send(connection, "GET", "/v1/models")
            page = msgspec.json.decode(response.read(_LONGEST_BODY_BYTES), type=_ModelPage)
        except msgspec.DecodeError as error:
            raise CommandFailed(f"{self._url} does not list models as Bandari does") from error
        finally:
            connection.close()
        if not page.data:
            raise CommandFailed("this key may use no model; name one with --model")
        return page.data[0].id

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        try:
            return kind(self._address, timeout=TIMEOUT_S)
        except http.client.InvalidURL as error:
            raise CommandFailed(f"'{self._url}' is not a URL: {error}", 2) from error

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
    ) -> http.client.HTTPResponse:
        try:
            connection.request(
                method,
                self._path + path,
                body=None if body is None else json.dumps(body).encode(),
                headers={
                    "authorization": f"Bearer {self._key}",
                    "content-type": "application/json",
                },
            )
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise CommandFailed(
                f"no server answers at {self._url} ({reason}); start one with `bandari serve`"
            ) from error
        if response.status == 200:
            return response
        content = response.read(_LONGEST_BODY_BYTES)
        try:
            message = msgspec.json.decode(content, type=_ErrorBody).error.message
        except msgspec.DecodeError:
            message = f"{self._url} answered with status {response.status}"
        raise CommandFailed(message)


def _events(decoder: SseDecoder, content: bytes) -> Iterator[bytes]:
    try:
        for event in decoder.feed(content):
            yield event.data
    except UpstreamMalformed as error:
        raise CommandFailed("the server sent an event that is too large") from error
