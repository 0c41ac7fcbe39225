"""The operator's numbers, for Prometheus.

Labels are bounded: no key, account or request appears.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from bandari.domain.usage import Usage

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_COMMIT_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class _ByLabels(dict[Any, Any]):
    """A metric's children by their labels: the library's own look-up costs ten times as much."""

    def __init__(self, metric: Counter | Gauge | Histogram) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: Any) -> Any:
        child = self._metric.labels(*(labels if isinstance(labels, tuple) else (labels,)))
        self[labels] = child
        return child


class PrometheusMetrics:
    """Implements the port ``Metrics`` on a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = _ByLabels(
            Counter(
                "bandari_requests", "Requests answered.", ["route", "status"], registry=registry
            )
        )
        self._request_seconds = _ByLabels(
            Histogram(
                "bandari_request_seconds",
                "From the request to the end of its answer.",
                ["route"],
                buckets=_LATENCY_BUCKETS,
                registry=registry,
            )
        )
        self._errors = _ByLabels(
            Counter(
                "bandari_errors",
                "Errors told to clients, by cause.",
                ["code", "blame"],
                registry=registry,
            )
        )
        self._first_token = _ByLabels(
            Histogram(
                "bandari_first_token_seconds",
                "From asking the upstream to its first token.",
                ["model"],
                buckets=_LATENCY_BUCKETS,
                registry=registry,
            )
        )
        self._tokens = _ByLabels(
            Counter(
                "bandari_tokens", "Tokens of ended answers.", ["model", "kind"], registry=registry
            )
        )
        self._answers = _ByLabels(
            Counter(
                "bandari_answers",
                "Answers, by how they ended.",
                ["model", "ending"],
                registry=registry,
            )
        )
        self._open = _ByLabels(
            Gauge(
                "bandari_open_answers", "Answers being generated now.", ["model"], registry=registry
            )
        )
        self._overruns = _ByLabels(
            Counter(
                "bandari_overruns",
                "What answers cost beyond their wallets, in the asset's smallest unit.",
                ["asset"],
                registry=registry,
            )
        )
        self._upstream_failures = _ByLabels(
            Counter(
                "bandari_upstream_failures",
                "Failed calls to providers.",
                ["provider", "code"],
                registry=registry,
            )
        )
        self._holds = Gauge("bandari_open_holds", "Holds that are open.", registry=registry)
        self._commit_seconds = Histogram(
            "bandari_commit_seconds",
            "Time of one durable commit.",
            buckets=_COMMIT_BUCKETS,
            registry=registry,
        )
        self._commit_operations = Counter(
            "bandari_committed_operations", "Operations committed.", registry=registry
        )

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        self._requests[route, str(status)].inc()
        self._request_seconds[route].observe(seconds)

    def problem_told(self, code: str, blame: str) -> None:
        self._errors[code, blame].inc()

    def generation_started(self, model: str) -> None:
        self._open[model].inc()

    def first_token(self, model: str, seconds: float) -> None:
        self._first_token[model].observe(seconds)

    def generation_ended(self, model: str, ending: str, usage: Usage) -> None:
        self._open[model].dec()
        self._answers[model, ending].inc()
        self._tokens[model, "input"].inc(usage.input_tokens)
        self._tokens[model, "cached"].inc(usage.cached_tokens)
        self._tokens[model, "output"].inc(usage.output_tokens)

    def overrun(self, asset: str, amount: int) -> None:
        self._overruns[asset].inc(amount)

    def upstream_failed(self, provider: str, code: str) -> None:
        self._upstream_failures[provider, code].inc()

    def holds_open(self, count: int) -> None:
        self._holds.set(count)

    def committed(self, seconds: float, operations: int) -> None:
        self._commit_seconds.observe(seconds)
        self._commit_operations.inc(operations)

    def render(self) -> bytes:
        return generate_latest(self._registry)
