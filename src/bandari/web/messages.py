"""What is Messages' alone: two protocols at one URL, and counting tokens."""

from __future__ import annotations

from bandari.service.counting import Counting
from bandari.service.tracing import request_id
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.chat import Chat
from bandari.web.chat_settings import ChatSettings
from bandari.web.exchange import Exchange
from bandari.web.surface import MESSAGES
from bandari.wire.messages.count_tokens import encode_count
from bandari.wire.messages.decode_request import decode_request


def is_anthropics(exchange: Exchange) -> bool:
    """Whether the client speaks Anthropic's protocol: every client of theirs sends this header."""
    return exchange.header(b"anthropic-version") is not None


def speak_anthropics(exchange: Exchange) -> None:
    """Whatever is answered from here on, errors too, is in Anthropic's protocol."""
    exchange.spell = MESSAGES.spell
    exchange.headers.append((b"request-id", request_id.get().encode()))


class Messages:
    """Anthropic's protocol for its clients; for others, Chat Completions with ``system``."""

    def __init__(self, anthropics: Chat, hybrid: Chat) -> None:
        self._anthropics = anthropics
        self._hybrid = hybrid

    async def __call__(self, exchange: Exchange) -> None:
        if is_anthropics(exchange):
            speak_anthropics(exchange)
            await self._anthropics(exchange)
        else:
            await self._hybrid(exchange)


class CountTokens:
    """``POST /v1/messages/count_tokens``."""

    def __init__(self, admission: Admission, counting: Counting, settings: ChatSettings) -> None:
        self._admission = admission
        self._counting = counting
        self._settings = settings

    async def __call__(self, exchange: Exchange) -> None:
        speak_anthropics(exchange)
        asked = await self._admission.take_in(exchange, MESSAGES.scope)
        if asked is None:
            return
        principal, body = asked
        request = decode_request(
            body, max_messages=self._settings.max_messages, needs_max_tokens=False
        )
        tokens = await self._counting.count(principal, request)
        await exchange.respond(200, problems.JSON, encode_count(tokens))
