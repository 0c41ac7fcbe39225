"""Which core the gateways run on, which one load and upstreams, and how busy each was."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Cores:
    """Numbers of cores as the kernel counts them."""

    gateway: int
    load: int

    @property
    def shared(self) -> bool:
        """Whether load and gateway take each other's time: then only ratios of CPU time count."""
        return self.gateway == self.load


@dataclass(frozen=True)
class Time:
    """What one core did since the machine started, in ticks. ``stolen`` is the hypervisor's."""

    busy: int
    idle: int
    stolen: int


def choose(available: set[int]) -> Cores:
    """The last core for the gateway, the first for the rest; one core for both if there is one."""
    return Cores(gateway=max(available), load=min(available))


def available() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0)


def parse_times(stat: str) -> dict[int, Time]:
    """The cores of a ``/proc/stat``. Time stolen counts as neither busy nor idle."""
    times = {}
    for line in stat.splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, idle, waiting, hard, soft, stolen = map(int, rest.split()[:8])
            busy = user + nice + system + hard + soft
            times[int(name.removeprefix("cpu"))] = Time(busy, idle + waiting, stolen)
    return times


def times() -> dict[int, Time]:
    """What the cores did so far."""
    return parse_times(STAT.read_text())


def busy_share(before: Time, after: Time) -> float:
    """The part of the time between that a core was busy, or taken from us by the hypervisor."""
    taken = after.busy - before.busy + after.stolen - before.stolen
    whole = taken + after.idle - before.idle
    return taken / whole if whole else 0.0
