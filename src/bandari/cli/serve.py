"""``bandari serve``."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from pathlib import Path

from bandari.bootstrap import serving
from bandari.bootstrap.serving import Listening
from bandari.cli import COMMANDS
from bandari.cli.books import administration_of
from bandari.cli.border import expected_failures
from bandari.cli.common import DEFAULTS, Common, Whole, command_group
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import say, say_json
from bandari.config import Overrides, Settings, Source, file_of
from bandari.domain.catalogue import Endpoint
from bandari.service.administration import FIRST_ACCOUNT, FIRST_CREDIT

app = command_group("serve", COMMANDS["serve"])

_OF_AN_ADDRESS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


@app.default
def serve(
    *,
    host: str | None = None,
    port: Whole | None = None,
    model: Path | None = None,
    common: Common = DEFAULTS,
) -> None:
    """Start the server, with the engine in the box if a model needs it.

    The first time, it prints a first key and a line to try it with. On SIGTERM it takes no new
    requests, lets the running ones finish (drain_timeout_ms in the configuration says for how
    long) and ends. On SIGHUP it reads its configuration file anew, as `bandari reload` has it do.
    One server runs per data directory.

    Parameters
    ----------
    host
        The address to listen on. Default: the configuration's, else 127.0.0.1.
    port
        The port to listen on; 0 takes any free one. Default: the configuration's, else 8080.
    model
        A GGUF file for the engine in the box. Default: the configuration's, else bandari-tiny.
    """
    settings = common.settings(host=host, port=port, model=model)
    file = file_of(common.config, os.environ)
    source = Source(
        None if file is None else file.absolute(),
        Overrides(data_dir=common.data, host=host, port=port, model=model),
    )

    def on_listening(listening: Listening) -> asyncio.Future[None]:
        return asyncio.ensure_future(_greet(listening, settings, common.as_json))

    try:
        with expected_failures():
            serving.serve(settings, on_listening, source)
    except OSError as error:
        if error.errno not in _OF_AN_ADDRESS:
            raise
        address = f"{settings.server.host}, port {settings.server.port}"
        raise CommandFailed(f"cannot listen on {address}: {error.strerror}") from error


async def _greet(listening: Listening, settings: Settings, as_json: bool) -> None:
    """Say where the server is; to somebody who has no key yet, give one and show its use."""
    made = await administration_of(listening.store, settings).first_key()
    key = None if made is None else made.text
    chats = (each.id for each in listening.models if Endpoint.CHAT_COMPLETIONS in each.endpoints)
    model = next(chats, "MODEL")
    if as_json:
        say_json({"url": listening.url, "key": key})
    else:
        say(f"Bandari is ready at {listening.url}")
        if key is not None:
            say(
                f"\nYour first key, of the account '{FIRST_ACCOUNT}' with {FIRST_CREDIT} tokens. "
                f"It is shown this once:\n\n  {key}"
            )
        say(f"\nTry it:\n\n  {_curl(listening.url, key or '$BANDARI_API_KEY', model)}\n")
    sys.stdout.flush()


def _curl(url: str, key: str, model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Who are you?"}]})
    body = body.replace("'", "'\\''")
    return (
        f'curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
