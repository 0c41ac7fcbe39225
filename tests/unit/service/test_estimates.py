from __future__ import annotations

import pytest

from bandari.domain.estimate import Basis, Experience, Ratios, Tally
from bandari.domain.ledger import Count
from bandari.domain.usage import CountRule, Usage
from bandari.service.estimates import MAX_TARGETS, Estimates

REPORT = Count(Usage(500, 500), CountRule.REPORTED, Basis(1_000, 0, 1_000))


def test_what_a_target_reports_is_learned_for_that_target():
    estimates = Estimates()
    estimates.learn("acme:one", REPORT)
    assert estimates.ratios("acme:one") == Ratios(300_000, 300_000)
    assert estimates.ratios("acme:two") == Ratios()


def test_it_goes_on_from_what_earlier_receipts_show():
    known = {"acme:one": Experience(Tally(1_000, 500), Tally())}
    estimates = Estimates(known)
    assert estimates.ratios("acme:one") == Ratios(input=300_000)
    estimates.learn("acme:one", REPORT)
    assert estimates.ratios("acme:one").input == 333_333
    assert known == {"acme:one": Experience(Tally(1_000, 500), Tally())}


@pytest.mark.parametrize(
    "count",
    [
        Count(REPORT.usage, CountRule.COUNTED, REPORT.basis),
        Count(REPORT.usage, CountRule.ESTIMATED, REPORT.basis),
        Count(REPORT.usage, CountRule.REPORTED),
    ],
)
def test_only_a_report_teaches(count):
    estimates = Estimates()
    estimates.learn("acme:one", count)
    assert estimates.ratios("acme:one") == Ratios()


def test_the_target_that_was_not_used_for_longest_is_forgotten():
    estimates = Estimates()
    estimates.learn("acme:first", REPORT)
    estimates.learn("acme:second", REPORT)
    estimates.learn("acme:first", REPORT)
    for number in range(MAX_TARGETS - 1):
        estimates.learn(f"acme:{number}", REPORT)
    assert estimates.ratios("acme:second") == Ratios()
    assert estimates.ratios("acme:first") != Ratios()
