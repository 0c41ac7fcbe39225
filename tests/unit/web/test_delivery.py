"""What bringing an answer takes in memory: nothing that the recording has already."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest
from tests.support.client import Client
from tests.support.gates import Gate, until_idle
from tests.support.recorded_metrics import RecordedMetrics

from bandari.service.recording import About, Recording
from bandari.service.streams import Answered
from bandari.web.chat_settings import ChatSettings
from bandari.web.delivery import Delivery
from bandari.web.surface import CHAT_COMPLETIONS

MEGABYTE = 2**20


class Forgetful(Client):
    """A client of whose answer nothing is kept."""

    def send(self, data: bytes) -> None:
        self.written.append(b"")


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def allocated() -> int:
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.usefixtures("traced")
async def test_a_reader_that_waits_for_more_holds_nothing_of_what_it_has_had() -> None:
    recording = Recording("str_1", about=About(surface="chat_completions"))
    recording.append([b"x" * MEGABYTE])
    client = Forgetful()
    exchange = client.exchange("POST")
    delivery = Delivery(CHAT_COMPLETIONS, RecordedMetrics(), ChatSettings())
    before = allocated()
    reading = asyncio.create_task(delivery.answer(exchange, Answered(recording)))
    await until_idle()
    assert client.began
    assert allocated() - before < MEGABYTE // 8

    # It has to be woken for what comes while its client does not read.
    client.not_reading = Gate()
    recording.append([b"y" * MEGABYTE])
    await client.not_reading.reached.wait()
    client.not_reading.open()
    before, sent = allocated(), len(client.written)
    await until_idle()
    assert len(client.written) > sent
    assert before - allocated() > MEGABYTE * 7 // 8

    recording.finish()
    await reading
    assert exchange.is_over
