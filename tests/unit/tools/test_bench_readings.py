"""What the benchmark reads of the machine and of what others write."""

from __future__ import annotations

import json

import pytest
from tools.bench import cores, nginx, processes, prometheus, wrk
from tools.bench.cores import Cores, Time
from tools.bench.paced_answers import ANSWERS, text_of
from tools.bench.question import ANSWER, WrongAnswer, check_whole, large, small
from tools.bench.stream_reader import EventScanner
from tools.bench.streaming_upstream import chunks


def test_gateway_and_load_have_different_cores_where_there_are_two() -> None:
    chosen = cores.choose({0, 1, 5})
    assert chosen == Cores(gateway=5, load=0)
    assert not chosen.shared


def test_one_core_is_shared_and_says_so() -> None:
    assert cores.choose({3}).shared


def test_times_are_those_of_the_cores_and_not_of_their_sum() -> None:
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 1 2\n"
    assert cores.parse_times(stat) == {0: Time(busy=1 + 2 + 3 + 6 + 7, idle=4 + 5, stolen=8)}


def test_stolen_time_makes_a_core_busy() -> None:
    assert cores.busy_share(Time(10, 10, 0), Time(15, 20, 5)) == 0.5
    assert cores.busy_share(Time(1, 1, 1), Time(1, 1, 1)) == 0.0


def test_cpu_time_is_user_and_system_own_and_of_ended_children() -> None:
    stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 0 0".rpartition(")")[2].split()
    assert processes.parse_cpu_ticks(stat) == 100 + 20 + 3 + 4


def test_memory_is_read_in_bytes() -> None:
    text = "Rss:   10 kB\nPss:      4 kB\nPss_Anon:  3 kB\n"
    assert processes.parse_kilobytes(text, "Pss") == 4096
    assert processes.parse_kilobytes(text, "VmHWM") == 0


MEASURED = {
    "seconds": 2.0,
    "requests": 100,
    "connect": 0,
    "read": 0,
    "write": 0,
    "status": 0,
    "timeout": 0,
    "p50_us": 1500.0,
    "p99_us": 9000.0,
    "max_us": 9500.0,
}


def written(**changes: float) -> str:
    return f"Running 2s test\nMEASURED {json.dumps(MEASURED | changes)}\nTransfer/sec: 1MB\n"


def test_wrk_is_read_by_what_our_script_writes() -> None:
    figures = wrk.parse(written())
    assert figures == {"requests": 100, "requests_per_s": 50.0, "p50_ms": 1.5, "p99_ms": 9.0}


@pytest.mark.parametrize("error", ["connect", "read", "write", "status", "timeout"])
def test_one_answer_that_fails_fails_the_sample(error: str) -> None:
    with pytest.raises(wrk.LoadFailed, match="beside 100 answers: 1 "):
        wrk.parse(written(**{error: 1}))


def test_no_answer_at_all_is_no_figure() -> None:
    with pytest.raises(wrk.NoneCame):
        wrk.parse(written(requests=0))


def test_a_wrk_that_did_not_run_says_why() -> None:
    with pytest.raises(wrk.LoadFailed, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1\n")


def page(counts: dict[str, int], seconds: float, operations: int) -> str:
    lines = [f'bandari_commit_seconds_bucket{{le="{le}"}} {n}.0' for le, n in counts.items()]
    lines += [f"bandari_commit_seconds_sum {seconds}"]
    lines += [f"bandari_committed_operations_total {operations}.0"]
    return "\n".join(lines)


def test_commits_between_two_pages() -> None:
    before = prometheus.parse(page({"0.001": 10, "0.002": 10, "+Inf": 10}, 0.005, 20))
    after = prometheus.parse(page({"0.001": 11, "0.002": 13, "+Inf": 14}, 0.025, 60))
    since = after.since(before)
    assert since.count == 4
    assert since.mean_ms() == pytest.approx(5.0)
    assert since.operations_per_commit() == 10
    # The second of four is in the middle of the two that took one to two milliseconds.
    assert since.median_ms() == pytest.approx(1.5)


def test_without_commits_there_is_no_median() -> None:
    none = prometheus.parse("")
    assert (none.count, none.median_ms(), none.mean_ms(), none.operations_per_commit()) == (0,) * 4


def test_the_median_of_commits_beyond_all_bounds_is_the_last_bound() -> None:
    assert prometheus.parse(page({"5.0": 0, "+Inf": 4}, 40, 4)).median_ms() == 5000


@pytest.mark.parametrize("path", ANSWERS)
def test_times_of_events_are_found_once_however_they_are_cut(path: str) -> None:
    answer = ANSWERS[path]
    sent = [10**18 + number for number in range(3)]
    texts = [text_of(now_ns) for now_ns in sent]
    events = [answer.event(number, text) for number, text in enumerate(texts)]
    text = chunks([*answer.opening, *events, *answer.ending(texts)])
    for size in range(1, 60):
        scanner = EventScanner()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert [found for piece in pieces for found in scanner.feed(piece)] == sent


def test_a_frame_is_a_chunk_of_its_length() -> None:
    assert chunks([b"data: a\n\n", b"x" * 16]) == b"9\r\ndata: a\n\n\r\n10\r\n%b\r\n" % (b"x" * 16)


def test_the_upstreams_own_answer_is_right_and_others_are_not() -> None:
    check_whole(ANSWER.encode())
    wrong = (b"", b"{}", b"[]", ANSWER.replace("15", "16").encode(), ANSWER[:-1].encode())
    for body in wrong:
        with pytest.raises(WrongAnswer):
            check_whole(body)


def test_prompts_have_their_size() -> None:
    content = json.loads(large("m"))["messages"][0]["content"]
    assert len(content) == 100_000
    assert "stream" not in json.loads(small("m"))


def test_upstreams_have_base_urls(tmp_path) -> None:  # type: ignore[no-untyped-def]
    upstreams = nginx.Upstreams(1, 2, 3, tmp_path)
    assert upstreams.base_url("instant") == "http://127.0.0.1:1/v1"
    assert upstreams.base_url("tls") == "https://localhost:2/v1"
    assert upstreams.base_url("streaming") == "http://127.0.0.1:3/v1"
