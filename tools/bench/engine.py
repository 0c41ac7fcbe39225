"""Tokens a second through Bandari, and from the same engine directly, in the same run.

Starts Bandari with a GGUF of about half a billion parameters (random weights; written on the first
run, or given by --model), then asks for the same streams by turns: straight from the engine, and
through Bandari with its ledger on disk. The ratio is the result; absolute figures belong to one
machine.

    python -m tools.bench.engine [--model FILE.gguf] [--streams 8] [--tokens 64] [--rounds 3]
                                 [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bandari.bootstrap import serving
from bandari.bootstrap.serving import Listening
from bandari.cli.books import administration_of
from bandari.config import Overrides, load
from bandari.domain.audit_log import Actor
from bandari.domain.pricing import TOKEN

DEFAULT_MODEL = Path(__file__).parent.parent.parent / "build" / "random-half-billion.gguf"
PLENTY = 100_000_000
BY = Actor("bench")
CONFIG = """
[engine]
slots = {streams}
context_window = 1024
[models.bench]
targets = ["local:bench"]
"""


async def tokens_of_stream(url: str, key: str, prompt: str, tokens: int) -> int:
    """Ask for one stream and read it to its end; returns its completion tokens."""
    parts = urlsplit(url)
    body = json.dumps(
        {
            "model": "bench",
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": tokens,
            "temperature": 0,
        }
    ).encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
    head = (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.read()
    while more := await reader.read():
        answer += more
    writer.close()
    for line in answer.split(b"\n"):
        if line.startswith(b"data: {") and b'"completion_tokens"' in line:
            return int(json.loads(line[6:])["usage"]["completion_tokens"])
    raise RuntimeError(answer[:500].decode("utf-8", "replace"))


async def rate(url: str, key: str, streams: int, tokens: int, salt: int) -> float:
    """Tokens a second over that many streams at once."""
    began = time.perf_counter()
    counts = await asyncio.gather(
        *(
            tokens_of_stream(url, key, f"Tell me story {salt} of ship {number}", tokens)
            for number in range(streams)
        )
    )
    return sum(counts) / (time.perf_counter() - began)


async def drive(arguments: argparse.Namespace) -> None:
    """The load, in a process of its own."""
    ways = json.loads(os.environ["BENCH_WAYS"])
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for way, (url, key) in ways.items():
        await rate(url, key, arguments.streams, 8, 99)
        print(f"warmed up: {way}", file=sys.stderr)
    salts = itertools.count(100)  # no prompt comes twice: none is in the engine's cache
    for number in range(arguments.rounds):
        order = list(ways) if number % 2 == 0 else list(reversed(ways))
        for way in order:
            url, key = ways[way]
            figure = await rate(url, key, arguments.streams, arguments.tokens, next(salts))
            rates[way].append(figure)
            print(f"round {number + 1}  {way:9}  {figure:8.1f} tokens/s", file=sys.stderr)
    if arguments.json:
        print(json.dumps(rates))
        return
    medians = {way: statistics.median(figures) for way, figures in rates.items()}
    for way, figures in rates.items():
        print(
            f"{way:9}  median {medians[way]:8.1f} tokens/s"
            f"  (from {min(figures):.1f} to {max(figures):.1f})"
        )
    print(f"ratio      {medians['through'] / medians['directly']:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the rates as JSON")
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        asyncio.run(drive(arguments))
        return 0
    if not arguments.model.exists():
        arguments.model.parent.mkdir(parents=True, exist_ok=True)
        script = Path(__file__).parent.parent / "random_gguf.py"
        command = [sys.executable, str(script), str(arguments.model)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bandari-bench-") as folder:
        return serve_and_drive(arguments, Path(folder))


def serve_and_drive(arguments: argparse.Namespace, folder: Path) -> int:
    config = folder / "bench.toml"
    config.write_text(CONFIG.format(streams=arguments.streams))
    overrides = Overrides(data_dir=folder / "data", port=0, model=arguments.model)
    settings = load(config, overrides, {})
    status = 1

    async def on_listening(listening: Listening) -> None:
        nonlocal status
        admin = administration_of(listening.store, settings)
        await admin.create_account("bench", BY)
        await admin.credit("bench", PLENTY, TOKEN, why="bench", by=BY)
        key = (await admin.create_key("bench", by=BY)).text
        engine = listening.engine
        assert engine is not None
        ways = {
            "directly": (engine.base_url, engine.api_key),
            "through": (f"{listening.url}/v1", key),
        }
        load_process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tools.bench.engine"),
            "--drive",
            f"--streams={arguments.streams}",
            f"--tokens={arguments.tokens}",
            f"--rounds={arguments.rounds}",
            *(["--json"] if arguments.json else []),
            env=os.environ | {"BENCH_WAYS": json.dumps(ways)},
        )
        status = await load_process.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    serving.serve(settings, on_listening)
    return status


if __name__ == "__main__":
    sys.exit(main())
