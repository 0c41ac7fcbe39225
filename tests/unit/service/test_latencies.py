from __future__ import annotations

from bandari.service.latencies import LAST_ANSWERS, Latencies


def test_there_is_none_before_there_is_an_answer():
    latencies = Latencies()
    latencies.observe("other", 1.0)
    assert latencies.median_ms("fikra") is None


def test_it_is_the_median_in_milliseconds():
    latencies = Latencies()
    for seconds in (9.0, 0.1, 0.2):
        latencies.observe("fikra", seconds)
    assert latencies.median_ms("fikra") == 200
    latencies.observe("fikra", 0.3)
    assert latencies.median_ms("fikra") == 250


def test_only_the_last_answers_count():
    latencies = Latencies()
    for _ in range(LAST_ANSWERS):
        latencies.observe("fikra", 9.0)
    for _ in range(LAST_ANSWERS):
        latencies.observe("fikra", 0.1)
    assert latencies.median_ms("fikra") == 100
