"""Whether a child answers. It says nothing about the model: /health does not wait for a slot."""

from __future__ import annotations

import asyncio

_REQUEST = b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"


async def answers(host: str, port: int, timeout_s: float) -> bool:
    """True if ``/health`` says 200 in time."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_REQUEST)
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: a first line longer than the buffer
        return False
