from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest
import uvloop
from tests.support.certificates import Authority

from bandari.adapters.providers.pool import tls_context
from bandari.adapters.providers.transport import HttpTransport, Timeouts

PATIENT = Timeouts(connect_ms=5000, first_event_ms=5000, idle_ms=5000, answer_ms=5000)
"""Long enough never to matter; short enough that a test that hangs is soon seen."""

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(config, item):
    """Sockets behave a little differently on the loop that the server runs on, so every test runs
    on both. A module may name other ``LOOPS``.
    """
    return getattr(item.module, "LOOPS", LOOPS)


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch):
    """Whatever the machine's environment says."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def transports():
    """Makes a transport that is closed in the end."""

    @asynccontextmanager
    async def make(timeouts: Timeouts = PATIENT, **options):
        transport = HttpTransport(timeouts, **options)
        try:
            yield transport
        finally:
            await transport.close()

    return make


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority):
    """Of a server that is reached as ``localhost`` or, through a proxy, as ``upstream.test``."""
    return authority.server("localhost", "upstream.test")


@pytest.fixture
def trusted(authority, monkeypatch):
    """The machine trusts ``authority``; what it trusted before was only read once."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()
