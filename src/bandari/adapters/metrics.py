"""The operator's numbers, for Prometheus.

Labels are bounded: no key, account or request appears. Counting is adding to a plain number, ten
times for every answer, so that it costs next to nothing; what is asked for seldom, spelling them,
is the library's. Each number is written by one thread only: the commits' by the ledger's writer,
all others by the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from bandari.domain.usage import Usage

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_COMMIT_BUCKETS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.5, 1, 5),
)

_Labels = tuple[str, ...]


class _Numbers:
    """One metric's values by their labels: a counter's, or a gauge's."""

    def __init__(
        self,
        family: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        labels: _Labels = (),
    ) -> None:
        self._family = family
        self._name = name
        self._text = text
        self._labels = labels
        self.by: defaultdict[_Labels, float] = defaultdict(int)
        if not labels:
            self.by[()] = 0

    def collect(self) -> Iterator[Metric]:
        family = self._family(self._name, self._text, labels=self._labels)
        for labels, value in list(self.by.items()):
            family.add_metric(labels, value)
        yield family


class _Histogram:
    """One metric's observations by their labels: how many within each bound, and their sum."""

    def __init__(
        self, name: str, text: str, bounds: tuple[float, ...], labels: _Labels = ()
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._bounds = bounds
        # For each: a count for every bound and one beyond, and last the sum.
        self._by: defaultdict[_Labels, list[float]] = defaultdict(
            lambda: [0] * (len(bounds) + 1) + [0.0]
        )
        if not labels:
            _ = self._by[()]

    def observe(self, labels: _Labels, value: float) -> None:
        cell = self._by[labels]
        cell[bisect_left(self._bounds, value)] += 1
        cell[-1] += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        for labels, (*counts, total) in list(self._by.items()):
            buckets: list[tuple[str, float]] = []
            reached = 0.0
            for name, count in zip(names, counts, strict=True):
                reached += count
                buckets.append((name, reached))
            family.add_metric(labels, buckets, total)
        yield family


class PrometheusMetrics:
    """Implements the port ``Metrics`` on a registry of its own."""

    def __init__(self, on_first_token: Callable[[str, float], None] | None = None) -> None:
        """``on_first_token`` is told what ``first_token`` is: a model, and seconds."""
        self._on_first_token = on_first_token
        counter, gauge = CounterMetricFamily, GaugeMetricFamily
        self._requests = _Numbers(
            counter, "bandari_requests", "Requests answered.", ("route", "status")
        )
        self._request_seconds = _Histogram(
            "bandari_request_seconds",
            "From the request to the end of its answer.",
            _LATENCY_BUCKETS,
            ("route",),
        )
        self._errors = _Numbers(
            counter, "bandari_errors", "Errors told to clients, by cause.", ("code", "blame")
        )
        self._first_token = _Histogram(
            "bandari_first_token_seconds",
            "From asking the upstream to its first token.",
            _LATENCY_BUCKETS,
            ("model",),
        )
        self._tokens = _Numbers(
            counter, "bandari_tokens", "Tokens of ended answers.", ("model", "kind")
        )
        self._answers = _Numbers(
            counter, "bandari_answers", "Answers, by how they ended.", ("model", "ending")
        )
        self._open = _Numbers(
            gauge, "bandari_open_answers", "Answers being generated now.", ("model",)
        )
        self._overruns = _Numbers(
            counter,
            "bandari_overruns",
            "What answers cost beyond their wallets, in the asset's smallest unit.",
            ("asset",),
        )
        self._upstream_failures = _Numbers(
            counter, "bandari_upstream_failures", "Failed calls to providers.", ("provider", "code")
        )
        self._holds = _Numbers(gauge, "bandari_open_holds", "Holds that are open.")
        self._commit_seconds = _Histogram(
            "bandari_commit_seconds", "Time of one durable commit.", _COMMIT_BUCKETS
        )
        self._commit_operations = _Numbers(
            counter, "bandari_committed_operations", "Operations committed."
        )
        self._refused_guesses = _Numbers(
            counter,
            "bandari_refused_guesses",
            "Requests that were not looked at: too many keys from their address did not open.",
        )
        self._cache_asked = _Numbers(
            counter,
            "bandari_cache_requests",
            "Answers that were looked for in the cache, by whether they were there.",
            ("model", "result"),
        )
        self._replays = _Numbers(
            counter, "bandari_replays", "Requests for answers that were there already."
        )
        self._recordings = _Numbers(
            gauge, "bandari_recordings", "Recordings of answers in memory that can be found."
        )
        self._recorded_bytes = _Numbers(
            gauge, "bandari_recorded_bytes", "What recordings of answers take in memory."
        )
        self._cached = _Numbers(gauge, "bandari_cached_answers", "Answers in the cache.")
        self._cached_bytes = _Numbers(
            gauge, "bandari_cached_bytes", "What the answers in the cache take in memory."
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        for metric in vars(self).values():
            if isinstance(metric, _Numbers | _Histogram):
                yield from metric.collect()

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        self._requests.by[route, str(status)] += 1
        self._request_seconds.observe((route,), seconds)

    def problem_told(self, code: str, blame: str) -> None:
        self._errors.by[code, blame] += 1

    def generation_started(self, model: str) -> None:
        self._open.by[(model,)] += 1

    def first_token(self, model: str, seconds: float) -> None:
        self._first_token.observe((model,), seconds)
        if self._on_first_token is not None:
            self._on_first_token(model, seconds)

    def generation_ended(self, model: str, ending: str, usage: Usage) -> None:
        self._open.by[(model,)] -= 1
        self._answers.by[model, ending] += 1
        tokens = self._tokens.by
        tokens[model, "input"] += usage.input_tokens
        tokens[model, "cached"] += usage.cached_tokens
        tokens[model, "output"] += usage.output_tokens

    def overrun(self, asset: str, amount: int) -> None:
        self._overruns.by[(asset,)] += amount

    def upstream_failed(self, provider: str, code: str) -> None:
        self._upstream_failures.by[provider, code] += 1

    def holds_open(self, count: int) -> None:
        self._holds.by[()] = count

    def cache_asked(self, model: str, *, was_hit: bool) -> None:
        self._cache_asked.by[model, "hit" if was_hit else "miss"] += 1

    def replayed(self) -> None:
        self._replays.by[()] += 1

    def recordings_kept(self, count: int, size_bytes: int) -> None:
        self._recordings.by[()] = count
        self._recorded_bytes.by[()] = size_bytes

    def answers_cached(self, count: int, size_bytes: int) -> None:
        self._cached.by[()] = count
        self._cached_bytes.by[()] = size_bytes

    def guess_refused(self) -> None:
        self._refused_guesses.by[()] += 1

    def committed(self, seconds: float, operations: int) -> None:
        self._commit_seconds.observe((), seconds)
        self._commit_operations.by[()] += operations

    def render(self) -> bytes:
        return generate_latest(self._registry)
