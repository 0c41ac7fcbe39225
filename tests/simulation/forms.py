"""How much is simulated: worlds of one size, told apart by their seed.

``BANDARI_SIMULATION_SEED`` replays one world. For longer searches, ``BANDARI_SIMULATION_REQUESTS``
says how many requests, and ``BANDARI_SIMULATION_FIRST_SEED`` where the seeds begin.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.simulation.trace import Violation
from tests.simulation.world import Report, run

WORLD_REQUESTS = 1_250


def seeds(requests: int, first: int = 1) -> Sequence[int]:
    """The seeds of as many worlds as it takes, unless the environment says otherwise."""
    only = os.environ.get("BANDARI_SIMULATION_SEED")
    if only is not None:
        return [int(only)]
    requests = int(os.environ.get("BANDARI_SIMULATION_REQUESTS", requests))
    first = int(os.environ.get("BANDARI_SIMULATION_FIRST_SEED", first))
    return range(first, first + -(-requests // WORLD_REQUESTS))


def world(seed: int) -> Report:
    """Run the world of a seed; what it raises says how to see it again."""
    try:
        return run(seed, WORLD_REQUESTS)
    except Violation as violation:
        raise Violation(
            f"{violation}\n\nThis world again:\n"
            f"    BANDARI_SIMULATION_SEED={seed} .venv/bin/pytest tests/simulation -k every_world"
        ) from violation.__cause__
