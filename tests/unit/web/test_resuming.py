"""What a client may say beside its request: where it was, and how long its answer goes on."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.scripted_upstream import answer, counted, text
from tests.support.surface_callers import (
    ALL,
    WINDOW,
    WORDS,
    Caller,
    SetHouse,
    house_with,
    id_of,
    told,
)
from tests.support.virtual_time import VirtualLoop

from bandari.domain.keys import Scope
from bandari.domain.ledger import Ending
from bandari.service.stream_terms import StreamSettings

LOOPS = {"virtual": VirtualLoop}

KEYED = ("Idempotency-Key", "order-7")

WRONG = [
    *[
        (name, value)
        for name in ("x-last-chunk-index", "Last-Event-ID")
        for value in ("", "-1", "1.5", "x", "9007199254740992", "9" * 5_000)
    ],
    *[("Idempotency-Key", value) for value in ("", "a b", "a\tb", "é", "a\x7f", "k" * 256)],
    *[
        ("x-resume-window", value)
        for value in ("", "-1", "1.5", "86401", "Cancel", "²", "9" * 5_000)
    ],
    *[("x-bandari-cache", value) for value in ("", "yes", "hit", "use ,only")],
]


# -- the same request again ------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ALL)
@pytest.mark.parametrize("header", ["x-last-chunk-index", "Last-Event-ID"])
async def test_the_same_request_goes_on_where_its_client_was(front, surface, header):
    house = house_with(*WORDS)
    caller = Caller(front(house).app, surface)
    whole = await caller.ask(WINDOW)
    events = caller.events(whole.body)
    for last in (0, 2, len(events) - 1):
        rest = await caller.ask(WINDOW, (header, str(last)))
        assert (rest.status, rest.ended) == (200, True)
        assert rest.body == caller.spoken.opening + b"".join(events[last + 1 :])
        assert rest.headers["x-bandari-replayed"] == "true"
        assert id_of(rest) == id_of(whole)
    assert len(house.books.receipts) == 1


@pytest.mark.parametrize("surface", ALL)
async def test_a_cut_in_the_middle_and_the_rest_are_the_whole(front, surface):
    first, second = Gate(), Gate()
    house = house_with(text("a"), counted(1), first, text("b"), second, *answer("c"))
    caller = Caller(front(house).app, surface)
    client, task = caller.start(WINDOW)
    await first.reached.wait()
    client.disconnect()
    await task
    got = caller.events(client.body)
    resumed, resuming = caller.start(("x-last-chunk-index", str(len(got) - 1)))
    first.open()
    await second.reached.wait()
    await until_idle()
    second.open()
    await resuming
    whole = await caller.follow(id_of(client))
    assert got + caller.events(resumed.body) == caller.events(whole.body)
    assert len(house.upstreams["acme"].calls) == 1


async def test_white_space_and_the_order_of_keys_do_not_matter(front):
    made = front(house_with(*WORDS))
    caller = Caller(made.app)
    await caller.ask(WINDOW, temperature=0.5, max_tokens=9)
    assert (await caller.ask(("Last-Event-ID", "0"), max_tokens=9, temperature=0.5)).status == 200
    other = await caller.ask(("Last-Event-ID", "0"), max_tokens=9, temperature=0.6)
    assert other.status == 409


@pytest.mark.parametrize("surface", ALL)
async def test_where_nothing_fits_nothing_is_generated_or_charged(front, surface):
    house = house_with(*WORDS)
    caller = Caller(front(house).app, surface)
    ways = [
        (("x-last-chunk-index", "0"),),
        (("Last-Event-ID", str(2**53 - 1)),),
        (("x-bandari-stream", "str_unknown"),),
        (("x-bandari-stream", ""),),
        (KEYED, ("Last-Event-ID", "3")),
    ]
    for headers in ways:
        refused = await caller.ask(*headers)
        assert refused.status == 409
        assert told(refused)["message"]
        assert refused.headers["x-should-retry"] == "false"
    assert (house.books.log, house.upstreams["acme"].calls) == ([], [])


async def test_several_that_fit_are_told_apart_by_their_ids(front):
    house = house_with(*WORDS)
    caller = Caller(front(house).app)
    first, second = await caller.ask(WINDOW), await caller.ask(WINDOW)
    refused = await caller.ask(("Last-Event-ID", "0"))
    assert refused.status == 409
    assert "x-bandari-stream" in told(refused)["message"]
    for each in (first, second):
        rest = await caller.ask(("Last-Event-ID", "0"), ("x-bandari-stream", id_of(each)))
        assert caller.events(rest.body) == caller.events(each.body)[1:]
        again = await caller.ask(("x-bandari-stream", id_of(each)))
        assert again.body == each.body


async def test_a_stream_of_another_surface_is_not_gone_on_with(front):
    made = front(house_with(*WORDS))
    whole = await Caller(made.app).ask(WINDOW)
    refused = await Caller(made.app, "messages").ask(("x-bandari-stream", id_of(whole)))
    assert refused.status == 409


@pytest.mark.parametrize("name", ["x-last-chunk-index", "Last-Event-ID"])
async def test_a_chunk_that_its_stream_does_not_have_by_now_is_named(front, name):
    caller = Caller(front(house_with(*WORDS)).app)
    whole = await caller.ask(WINDOW, KEYED)
    for found_by in (("x-bandari-stream", id_of(whole)), KEYED):
        refused = await caller.ask(found_by, (name, "6"))
        assert (refused.status, told(refused)["param"]) == (400, name)
        assert "below 6" in told(refused)["message"]


async def test_a_request_that_comes_back_is_counted_and_not_charged(front):
    house = house_with(*WORDS)
    caller = Caller(front(house, rate=2).app)
    await caller.ask(WINDOW)
    rest = await caller.ask(("Last-Event-ID", "0"))
    assert rest.headers["x-ratelimit-remaining-requests"] == "0"
    assert (await caller.ask(("Last-Event-ID", "0"))).status == 429
    assert len(house.books.writes("place")) == 1


# -- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize("header", WRONG)
@pytest.mark.parametrize("surface", ["chat_completions", "typed_stream", "responses"])
async def test_every_value_that_cannot_be_names_its_header(front, surface, header):
    house = house_with(*WORDS)
    caller = Caller(front(house).app, surface)
    refused = await caller.ask(header)
    assert (refused.status, told(refused)["param"]) == (400, header[0])
    assert header[0] in told(refused)["message"]
    assert (house.books.log, house.upstreams["acme"].calls) == ([], [])


@pytest.mark.parametrize(
    "header",
    [
        ("Idempotency-Key", "!~" * 127 + "k"),
        ("Idempotency-Key", "k"),
        ("x-resume-window", "0"),
        ("x-resume-window", "cancel"),
        ("x-resume-window", "86400"),
        ("x-resume-window", "0000000000000007"),
        ("x-bandari-cache", "Refresh"),
        ("x-bandari-cache", "off"),
    ],
)
async def test_every_value_that_can_be_is_taken(front, header):
    client = await Caller(front(house_with(*WORDS)).app).ask(header)
    assert (client.status, client.ended) == (200, True)


# -- the window ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surface", "headers", "told_s"),
    [
        ("chat_completions", (), "0"),
        ("typed_stream", (), "60"),
        ("chat_completions", (WINDOW,), "30"),
        ("typed_stream", (("x-resume-window", "0"),), "0"),
        ("typed_stream", (("x-resume-window", "cancel"),), "0"),
        ("messages", (("x-resume-window", "86400"),), "300"),
        ("messages", (KEYED,), "60"),
        ("messages", (KEYED, ("x-resume-window", "5")), "5"),
    ],
)
async def test_the_window_is_told(front, surface, headers, told_s):
    settings = StreamSettings(resume_window_s={Scope.TYPED_STREAM: 60})
    caller = Caller(front(SetHouse(*WORDS, stream_settings=settings)).app, surface)
    client = await caller.ask(*headers)
    assert client.headers["x-resume-window"] == told_s
    assert (await caller.follow(id_of(client))).status == (404 if told_s == "0" else 200)


async def test_in_the_background_there_is_none_to_tell(front):
    caller = Caller(front(house_with(*WORDS)).app, "responses")
    client = await caller.ask(background=True, store=True)
    assert (client.status, "x-resume-window" in client.headers) == (200, False)


async def test_a_window_counts_while_nobody_reads(front):
    gate = Gate()
    house = house_with(text("a"), counted(1, prompt=9), gate, *answer("b"))
    caller = Caller(front(house).app)
    client, task = caller.start(WINDOW)
    await gate.reached.wait()
    client.disconnect()
    await task
    await asyncio.sleep(29)
    assert house.books.receipts == {}
    await asyncio.sleep(2)
    (receipt,) = house.books.receipts.values()
    assert (receipt.ending, receipt.amount) == (Ending.CLIENT_LEFT, 10)
