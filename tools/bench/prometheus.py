"""What Bandari's own ``/metrics`` say of its store's commits."""

from __future__ import annotations

import http.client
import re
from collections.abc import Sequence
from dataclasses import dataclass

_BUCKET = re.compile(r'^bandari_commit_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)
_SUM = re.compile(r"^bandari_commit_seconds_sum (\S+)$", re.MULTILINE)
_OPERATIONS = re.compile(r"^bandari_committed_operations_total (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Commits:
    """Since the server started: (upper bound in seconds, how many up to it), their time, what
    they carried.
    """

    buckets: Sequence[tuple[float, float]]
    seconds: float
    operations: float

    @property
    def count(self) -> float:
        return self.buckets[-1][1] if self.buckets else 0.0

    def since(self, before: Commits) -> Commits:
        """What came after ``before``."""
        buckets = [
            (bound, count - former)
            for (bound, count), (_, former) in zip(self.buckets, before.buckets, strict=True)
        ]
        seconds, operations = self.seconds - before.seconds, self.operations - before.operations
        return Commits(buckets, seconds, operations)

    def median_ms(self) -> float:
        """The median commit, as if they were spread evenly within their bucket."""
        half, low, below = self.count / 2, 0.0, 0.0
        for bound, count in self.buckets:
            if count >= half and count > below:
                high = low if bound == float("inf") else bound
                return 1000 * (low + (high - low) * (half - below) / (count - below))
            low, below = bound, count
        return 0.0

    def mean_ms(self) -> float:
        return 1000 * self.seconds / self.count if self.count else 0.0

    def operations_per_commit(self) -> float:
        return self.operations / self.count if self.count else 0.0


def parse(text: str) -> Commits:
    """The commits in a page of Prometheus' text format."""
    buckets = [(float(bound), float(count)) for bound, count in _BUCKET.findall(text)]
    seconds, operations = _SUM.search(text), _OPERATIONS.search(text)
    return Commits(
        buckets,
        float(seconds[1]) if seconds else 0.0,
        float(operations[1]) if operations else 0.0,
    )


def commits(port: int) -> Commits:
    """Ask the server on that port of the loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return parse(connection.getresponse().read().decode())
    finally:
        connection.close()
