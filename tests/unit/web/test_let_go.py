"""That an answer that is over goes at once, and does not wait for the collector of cycles, which is
called seldom (``bootstrap.serving``).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tests.support.scripted_upstream import Script, ScriptedUpstream, finish, text, usage
from tests.support.small_house import SmallHouse

from bandari.service.recording import Recording


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def recordings() -> int:
    return sum(isinstance(each, Recording) for each in gc.get_objects())


@pytest.mark.usefixtures("_no_collector")
async def test_no_cycle_keeps_one_that_was_read_from_the_database(front) -> None:
    script = Script(text("Habari"), finish(), usage(12, 4))
    here = front(SmallHouse(ScriptedUpstream(script), balance=1_000_000))
    keyed = (("idempotency-key", "k"), ("x-resume-window", "0"))
    first = await here.chat(stream=True, headers=keyed)
    before = recordings()
    again = await here.chat(stream=True, headers=keyed)
    assert again.body == first.body
    assert ("x-bandari-replayed", "true") in again.headers.items()
    del again
    assert recordings() == before


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("cache", ["off", "use"])
async def test_no_cycle_keeps_an_answer_that_is_over(front, stream, cache) -> None:
    script = Script(text("Habari"), finish(), usage(12, 4))
    here = front(SmallHouse(ScriptedUpstream(script), balance=1_000_000))
    before = recordings()
    client = await here.chat(stream=stream, headers=(("x-bandari-cache", cache),))
    assert client.ended
    del client
    assert recordings() == before
