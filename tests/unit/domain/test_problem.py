"""Every refusal and every fault has a status, a code and a sentence."""

from __future__ import annotations

import inspect
import re

import pytest

from bandari.domain import faults, problem
from bandari.domain.faults import CallerFault, Fault, OwnFault, UpstreamFault
from bandari.domain.outcome import Deny, Reason
from bandari.domain.problem import Blame

FAULTS = [
    value for _, value in inspect.getmembers(faults, inspect.isclass) if issubclass(value, Fault)
]


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.MISSING_KEY, 401, "missing_api_key"),
        (Reason.MALFORMED_KEY, 401, "malformed_api_key"),
        (Reason.UNKNOWN_KEY, 401, "invalid_api_key"),
        (Reason.REVOKED_KEY, 401, "revoked_api_key"),
        (Reason.EXPIRED_KEY, 401, "expired_api_key"),
        (Reason.TOO_MANY_FAILURES, 429, "too_many_failed_attempts"),
        (Reason.SUSPENDED_ACCOUNT, 403, "account_suspended"),
        (Reason.WRONG_NETWORK, 403, "network_not_allowed"),
        (Reason.WRONG_SCOPE, 403, "scope_not_allowed"),
        (Reason.WRONG_ROLE, 403, "role_not_allowed"),
        (Reason.INSUFFICIENT_BALANCE, 402, "insufficient_balance"),
        (Reason.KEY_QUOTA, 429, "insufficient_quota"),
        (Reason.SPEND_LIMIT, 429, "spend_limit_exceeded"),
        (Reason.RATE_LIMIT, 429, "rate_limit_exceeded"),
        (Reason.CONCURRENCY_LIMIT, 429, "concurrency_limit_exceeded"),
    ],
)
def test_a_refusal_is_the_callers(reason: Reason, status: int, code: str) -> None:
    told = problem.of_refusal(Deny(reason, "No."))
    assert (told.status, told.code, told.message) == (status, code, "No.")
    assert told.blame is Blame.CALLER


def test_a_refusal_is_worth_a_retry_if_it_says_when() -> None:
    told = problem.of_refusal(Deny(Reason.RATE_LIMIT, "No.", retry_after_ms=5))
    assert (told.retry, told.retry_after_ms) == (True, 5)
    told = problem.of_refusal(Deny(Reason.KEY_QUOTA, "No."))
    assert (told.retry, told.retry_after_ms) == (False, None)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_can_be_told(reason: Reason) -> None:
    assert 400 <= problem.of_refusal(Deny(reason, "No.")).status < 500


@pytest.mark.parametrize("fault", FAULTS)
def test_the_docstring_is_the_message(fault: type[Fault]) -> None:
    assert fault.__doc__
    told = problem.of_fault(fault())
    assert told.message == str(fault()) == fault.__doc__.strip()
    assert told.message[0].isupper()
    assert told.message[-1] == "."
    assert "\n" not in told.message
    assert told.status == fault.status
    assert re.fullmatch(r"[a-z_]+", told.code)


@pytest.mark.parametrize("fault", FAULTS)
def test_blame_shows_in_the_status(fault: type[Fault]) -> None:
    told = problem.of_fault(fault())
    if issubclass(fault, CallerFault):
        assert told.blame is Blame.CALLER
        assert 400 <= told.status < 500
        assert not told.retry, "the same request would fail again"
    elif issubclass(fault, UpstreamFault):
        assert told.blame is Blame.UPSTREAM
        assert told.status in (502, 503, 504)
    else:
        assert told.blame is Blame.OURS
        assert told.status in (500, 503)


def test_a_refusal_by_the_upstream_is_not_worth_a_retry() -> None:
    assert not problem.of_fault(faults.UpstreamRefused()).retry
    assert problem.of_fault(faults.UpstreamInterrupted()).retry


def test_a_fault_names_its_field_and_its_wait() -> None:
    told = problem.of_fault(OwnFault("Wait.", param="model", retry_after_ms=100))
    assert (told.message, told.param, told.retry_after_ms) == ("Wait.", "model", 100)
