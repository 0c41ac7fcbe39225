"""The exposition, read back by the library's own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bandari.adapters.metrics import PrometheusMetrics
from bandari.domain.usage import Usage


def samples(metrics: PrometheusMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, tuple(sorted(labels.items()))]


def test_what_is_counted_adds_up_by_its_labels():
    metrics = PrometheusMetrics()
    metrics.request_ended("/v1/models", 200, 0.001)
    metrics.request_ended("/v1/models", 200, 0.02)
    metrics.request_ended("/v1/models", 404, 0.02)
    metrics.problem_told("not_found", "caller")
    metrics.upstream_failed("cloud", "timeout")
    metrics.overrun("TOKEN", 5)
    metrics.overrun("TOKEN", 7)
    assert value(metrics, "bandari_requests_total", route="/v1/models", status="200") == 2
    assert value(metrics, "bandari_requests_total", route="/v1/models", status="404") == 1
    assert value(metrics, "bandari_errors_total", code="not_found", blame="caller") == 1
    assert value(metrics, "bandari_upstream_failures_total", provider="cloud", code="timeout") == 1
    assert value(metrics, "bandari_overruns_total", asset="TOKEN") == 12


def test_an_answer_is_open_until_it_ends():
    metrics = PrometheusMetrics()
    for _ in range(3):
        metrics.generation_started("tiny")
    metrics.first_token("tiny", 0.3)
    metrics.generation_ended("tiny", "completed", Usage(10, 4, cached_tokens=2))
    assert value(metrics, "bandari_open_answers", model="tiny") == 2
    assert value(metrics, "bandari_answers_total", model="tiny", ending="completed") == 1
    for kind, tokens in (("input", 10), ("cached", 2), ("output", 4)):
        assert value(metrics, "bandari_tokens_total", model="tiny", kind=kind) == tokens
    assert value(metrics, "bandari_first_token_seconds_sum", model="tiny") == 0.3


def test_refused_guesses_are_counted_and_known_before_there_is_one():
    metrics = PrometheusMetrics()
    assert value(metrics, "bandari_refused_guesses_total") == 0
    metrics.guess_refused()
    assert value(metrics, "bandari_refused_guesses_total") == 1


def test_who_wants_to_know_of_first_tokens_is_told():
    told = []
    metrics = PrometheusMetrics(on_first_token=lambda *first: told.append(first))
    metrics.first_token("tiny", 0.3)
    assert told == [("tiny", 0.3)]
    assert value(metrics, "bandari_first_token_seconds_sum", model="tiny") == 0.3


def test_a_histogram_counts_what_lies_within_each_bound():
    metrics = PrometheusMetrics()
    for seconds in (0.0001, 0.0003, 0.002, 7.0):
        metrics.committed(seconds, 3)

    def within(bound: str) -> float:
        return value(metrics, "bandari_commit_seconds_bucket", le=bound)

    # A bound holds what is equal to it.
    assert [within(bound) for bound in ("0.0001", "0.0002", "0.0005", "0.002", "5.0")] == [
        *(1, 1, 2, 3, 3)
    ]
    assert within("+Inf") == value(metrics, "bandari_commit_seconds_count") == 4
    assert value(metrics, "bandari_commit_seconds_sum") == 0.0001 + 0.0003 + 0.002 + 7.0
    assert value(metrics, "bandari_committed_operations_total") == 12


def test_what_has_no_labels_is_there_from_the_start():
    metrics = PrometheusMetrics()
    assert value(metrics, "bandari_open_holds") == 0
    assert value(metrics, "bandari_committed_operations_total") == 0
    assert value(metrics, "bandari_commit_seconds_count") == 0
    metrics.holds_open(4)
    assert value(metrics, "bandari_open_holds") == 4
