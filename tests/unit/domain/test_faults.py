"""The taxonomy of faults: each has a status, a code of its own, and its docstring for a message."""

from __future__ import annotations

import inspect
import re

import pytest

from bandari.domain import faults
from bandari.domain.faults import CallerFault, Fault, OwnFault, UpstreamFault


def subclasses(fault: type[Fault]) -> list[type[Fault]]:
    return [fault, *(each for child in fault.__subclasses__() for each in subclasses(child))]


def of_this_room(fault: type[Fault]) -> bool:
    return fault.__module__ == faults.__name__


FAULTS = [fault for fault in subclasses(Fault) if of_this_room(fault)]


def test_the_walk_finds_every_fault() -> None:
    classes = [value for _, value in inspect.getmembers(faults, inspect.isclass)]
    assert {each for each in classes if issubclass(each, Fault)} == set(FAULTS)


def test_codes_tell_faults_apart() -> None:
    leaves = [fault for fault in FAULTS if not fault.__subclasses__()]
    codes = [fault.code for fault in leaves]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.InvalidJson, 400, "invalid_json"),
        (faults.MissingField, 400, "missing_required_parameter"),
        (faults.ContextLengthExceeded, 400, "context_length_exceeded"),
        (faults.ModelNotFound, 404, "model_not_found"),
        (faults.MethodNotAllowed, 405, "method_not_allowed"),
        (faults.RequestTimeout, 408, "request_timeout"),
        (faults.RequestTooLarge, 413, "request_too_large"),
        (faults.UpstreamUnreachable, 502, "upstream_unreachable"),
        (faults.UpstreamOverloaded, 503, "upstream_overloaded"),
        (faults.UpstreamTimeout, 504, "upstream_timeout"),
        (faults.OwnFault, 500, "internal_error"),
        (faults.StoreUnavailable, 503, "store_unavailable"),
    ],
)
def test_statuses_and_codes_that_clients_rely_on(
    fault: type[Fault], status: int, code: str
) -> None:
    assert (fault.status, fault.code) == (status, code)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_docstring_is_the_message(fault: type[Fault]) -> None:
    assert fault.__doc__
    assert fault().message == str(fault()) == fault.__doc__.strip()
    assert re.fullmatch(r"[A-Z][^\n]*\.", fault().message), "one sentence or two, on one line"
    assert re.fullmatch(r"[a-z_]+", fault.code)


def test_a_message_of_its_own_takes_the_docstrings_place() -> None:
    fault = OwnFault("Wait.", param="model", retry_after_ms=100)
    assert (str(fault), fault.message) == ("Wait.", "Wait.")
    assert (fault.param, fault.retry_after_ms) == ("model", 100)


def test_every_fault_has_somebody_to_blame() -> None:
    blamed = (CallerFault, UpstreamFault, OwnFault)
    assert all(issubclass(fault, blamed) for fault in FAULTS if fault is not Fault)
