from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from bandari.adapters.providers.transport import HttpTransport, Timeouts

PATIENT = Timeouts(connect_ms=5000, first_event_ms=5000, idle_ms=5000, answer_ms=5000)
"""Long enough never to matter; short enough that a test that hangs is soon seen."""


@pytest.fixture
def transports():
    """Makes a transport that is closed in order: an unclosed one can abort the interpreter."""

    @asynccontextmanager
    async def make(timeouts: Timeouts = PATIENT, **options):
        transport = HttpTransport(timeouts, **options)
        try:
            yield transport
        finally:
            await transport.close()

    return make
