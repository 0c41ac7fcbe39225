from __future__ import annotations

import asyncio


def pytest_asyncio_loop_factories(config, item):
    """A module may name other ``LOOPS`` than asyncio's own."""
    return getattr(item.module, "LOOPS", {"asyncio": asyncio.new_event_loop})
