"""``bandari chat``: a chat in the terminal, as any client would have it."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

from cyclopts import Parameter

from bandari.cli import COMMANDS
from bandari.cli.common import DEFAULTS, Common, Whole, command_group
from bandari.cli.conversation import Conversation
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import remark, say_json
from bandari.config import Settings

with contextlib.suppress(ImportError):  # some builds of Python lack it
    import readline  # noqa: F401  (gives input() a history and line editing)

app = command_group("chat", COMMANDS["chat"])

_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104  (recognised, not listened on)


@app.default
def chat(
    prompt: str | None = None,
    /,
    *,
    model: str | None = None,
    key: Annotated[str | None, Parameter(env_var="BANDARI_API_KEY")] = None,
    url: str | None = None,
    system: str | None = None,
    temperature: Annotated[float | None, Parameter(allow_leading_hyphen=True)] = None,
    max_tokens: Whole | None = None,
    common: Common = DEFAULTS,
) -> None:
    """Chat with a model of a running server, and see what each answer took in tokens.

    With a prompt (or one piped in) there is one answer; without, a conversation that ends with
    Ctrl-D. Ctrl-C stops an answer.

    Parameters
    ----------
    prompt
        What to ask.
    model
        The model's id. Default: the first that the key may use.
    key
        The API key.
    url
        Where the server is. Default: where the configuration says that it listens.
    system
        A system message to begin with.
    temperature
        Passed on to the model.
    max_tokens
        Passed on to the model.
    """
    if not key:
        raise CommandFailed("no API key; give one with --key or in BANDARI_API_KEY", 2)
    conversation = Conversation(url or _own_url(common.settings()), key, model, system)
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None:
        _answer(conversation, prompt, temperature, max_tokens, common.as_json)
        return
    remark(f"{conversation.model}; Ctrl-C stops an answer, Ctrl-D ends the chat")
    while True:
        try:
            text = input("> ")
        except EOFError:
            print()
            return
        if not text.strip():
            continue
        try:
            _answer(conversation, text, temperature, max_tokens, common.as_json)
        except CommandFailed as failure:
            remark(f"({failure})")
        except KeyboardInterrupt:
            remark("\n(stopped)")


def _answer(
    conversation: Conversation,
    text: str,
    temperature: float | None,
    max_tokens: int | None,
    as_json: bool,
) -> None:
    """Ask, and print the answer as it comes."""
    pieces: list[str] = []
    with contextlib.closing(
        conversation.ask(text, temperature=temperature, max_tokens=max_tokens)
    ) as answer:
        for piece in answer:
            pieces.append(piece)
            if not as_json:
                print(_harmless(piece), end="", flush=True)
    usage = conversation.usage
    if as_json:
        say_json(
            {
                "model": conversation.model,
                "text": "".join(pieces),
                "finish_reason": conversation.finish_reason,
                "usage": usage,
            }
        )
        return
    print()
    remark(
        f"({usage.prompt_tokens} + {usage.completion_tokens} = {usage.total_tokens} tokens"
        + (", cut off by a limit)" if conversation.finish_reason == "length" else ")")
    )


def _harmless(text: str) -> str:
    """The text without control characters that would steer the terminal."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def _own_url(settings: Settings) -> str:
    host = settings.server.host
    if host in _ANY_ADDRESS:
        host = "127.0.0.1"
    return (
        f"http://[{host}]:{settings.server.port}"
        if ":" in host
        else (f"http://{host}:{settings.server.port}")
    )
