"""How many streams are simulated: worlds of one size, told apart by their seed.

``BANDARI_STREAMS_SEED`` replays one world. For longer searches, ``BANDARI_STREAMS`` says how many
streams, and ``BANDARI_STREAMS_FIRST_SEED`` where the seeds begin.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.simulation.performing import Report
from tests.simulation.streams.world import run
from tests.simulation.trace import Violation

WORLD_STREAMS = 50


def is_one_world() -> bool:
    return "BANDARI_STREAMS_SEED" in os.environ


def seeds(streams: int, first: int = 1) -> Sequence[int]:
    """The seeds of as many worlds as it takes, unless the environment says otherwise."""
    only = os.environ.get("BANDARI_STREAMS_SEED")
    if only is not None:
        return [int(only)]
    streams = int(os.environ.get("BANDARI_STREAMS", streams))
    first = int(os.environ.get("BANDARI_STREAMS_FIRST_SEED", first))
    return range(first, first + -(-streams // WORLD_STREAMS))


def world(seed: int) -> Report:
    """Run the world of a seed; what it raises says how to see it again."""
    try:
        return run(seed, WORLD_STREAMS)
    except Violation as violation:
        raise Violation(
            f"{violation}\n\nThis world again:\n"
            f"    BANDARI_STREAMS_SEED={seed} .venv/bin/pytest tests/simulation -k every_stream"
        ) from violation.__cause__
