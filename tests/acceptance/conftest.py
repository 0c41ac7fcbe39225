"""One real server with the real engine for all tests that do not stop or starve it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2 as httpx
import pytest
from tests.support.postgresql import PostgresqlServer
from tests.support.server import Bandari, running

MODEL = "bandari-tiny"
PLENTY = 10_000_000


@pytest.fixture(scope="session")
def bandari(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    """A running server. Its books must balance at the end, with nothing left held."""
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    with running(tmp_path_factory.mktemp("bandari") / "data") as server:
        yield server
        server.verify()


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def database(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """On each store in turn: makes the variables of a server with an empty database."""
    if request.param == "sqlite":
        return dict
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return lambda: {"BANDARI_DATABASE_URL": server.create_database()}


@pytest.fixture
def variables(database: Callable[[], dict[str, str]]) -> dict[str, str]:
    """On each store in turn: the variables of a server with an empty database."""
    return database()


@pytest.fixture(scope="session")
def key(bandari: Bandari) -> str:
    """A key of the account ``plenty``, whose wallet does not run out."""
    return bandari.new_key("plenty", PLENTY)


@pytest.fixture
def client(bandari: Bandari, key: str) -> Iterator[httpx.Client]:
    with bandari.client(key) as client:
        yield client
