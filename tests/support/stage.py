"""A real Bandari before a provider that plays a part: for what the model in the box cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.acting_upstream import Act, ActingUpstream, acting_upstream
from tests.support.server import Bandari, running

ACTED, EMBEDDED = "acted", "embedded"
"""The models' ids."""

CREDIT = 10_000_000
_CONFIG = """
[providers.stage]
base_url = "{url}"
[models.acted]
targets = ["stage:acted"]
[models.embedded]
targets = ["stage:embedded"]
kind = "embedding"
"""


class Stage(NamedTuple):
    server: Bandari
    upstream: ActingUpstream
    key: str
    """Of the account ``visitor``."""

    @property
    def variables(self) -> dict[str, str]:
        """For a client's script."""
        return {"ACTED_URL": self.server.url, "ACTED_KEY": self.key}


@contextmanager
def stage(data: Path, act: Act, config: str = "", **variables: str) -> Iterator[Stage]:
    """Its books must balance at the end, with nothing left held."""
    with (
        acting_upstream(act) as upstream,
        running(data, _CONFIG.format(url=upstream.url) + config, **variables) as server,
    ):
        yield Stage(server, upstream, server.new_key("visitor", CREDIT))
        server.verify()
