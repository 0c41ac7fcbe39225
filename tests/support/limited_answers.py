"""Asking under limits, and looking at what is counted of it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.plain_encoder import PlainEncoder
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import counted
from tests.support.small_house import SmallHouse

from bandari.domain.allowance import Limits, Quota
from bandari.domain.keys import KeyPolicy
from bandari.domain.limits import Allotment, Places, Window

PROMPT = 100


def count(prompt: int, output: int):
    return counted(output, prompt)


def asking(quota: Quota | None = None, **limits):
    return a_principal(policy=KeyPolicy(limits=Limits(**limits), quota=quota or Quota()))


async def begun(house: SmallHouse, principal, request=None, keeper=None):
    request = request or a_request()
    return await house.inference.begin(
        principal, request, lambda opening: PlainEncoder(streams=request.stream), keeper
    )


def counters(house) -> Iterator[Window | Allotment | Places]:
    limiter = house.limiter
    for tallies in (
        limiter._keys,
        limiter._accounts,
        limiter._groups,
        limiter._end_users,
        limiter._models,
    ):
        for tally in tallies.by_key.values():
            yield from tally.counters.values()


def used(house, name: str) -> int:
    return next(each for each in counters(house) if each.name == name).used


def assert_nothing_reserved(house) -> None:
    for counter in counters(house):
        reserved = counter.taken if isinstance(counter, Places) else counter.outstanding
        assert reserved == 0, counter.name
    assert not house.limiter._posting


ALL = {
    "quota": Quota(lifetime=10**6, per_day=10**6, per_month=10**6),
    "tokens_per_minute": 10**6,
    "tokens_per_day": 10**6,
    "concurrent_requests": 3,
    "spend_per_day": {"TOKEN": 10**6},
}
