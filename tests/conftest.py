"""What holds for every test: what cannot run here is named, and in CI it is a failure.

With ``BANDARI_TEST_REQUIRE=all`` a skip counts as a failure, whether a test, a fixture or a whole
module asked for it. An expected failure (``xfail``) is not a skip.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator

import pytest
from tests.support.postgresql import PostgresqlMissing, PostgresqlServer, postgresql_server

REQUIRE_ALL = os.environ.get("BANDARI_TEST_REQUIRE") == "all"


def pytest_configure(config: pytest.Config) -> None:
    required = os.environ.get("BANDARI_TEST_REQUIRE", "")
    if required not in ("", "all"):
        raise pytest.UsageError(f"BANDARI_TEST_REQUIRE is '{required}'; it may only be 'all'")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = reason_of(report)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped here: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRE_ALL and report.skipped:
        reason = reason_of(report)
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} may not be skipped here: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section("skipped on this machine, and why")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5}  {reason}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A throw-away server; one for all tests of the session."""
    try:
        with postgresql_server() as server:
            yield server
    except PostgresqlMissing as missing:
        pytest.skip(str(missing))


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test or a module was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
