"""What becomes of an answer: its resume window, and whether it is durable."""

from __future__ import annotations

import pytest
from tests.support.samples import a_principal
from tests.support.streams_house import StreamsHouse
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import UnsupportedField
from bandari.domain.keys import KeyPolicy, Scope
from bandari.domain.recordings import CacheUse
from bandari.service.streams import StreamSettings

LOOPS = {"virtual": VirtualLoop}

BY_SURFACE = {Scope.TYPED_STREAM: 60, Scope.MESSAGES: 0, Scope.CHAT_COMPLETIONS: 500}
SETTINGS = StreamSettings(
    max_resume_window_s=300, keyed_resume_window_s=90, resume_window_s=BY_SURFACE
)


async def terms_of(settings: StreamSettings = SETTINGS, policy: int | None = None, **said):
    """What is begun for who asks so."""
    house = StreamsHouse(settings=settings)
    principal = a_principal(policy=KeyPolicy(resume_window_s=policy))
    await house.answered(**{"principal": principal, "scope": Scope.TYPED_STREAM} | said)
    (terms,) = house.begun
    return terms


@pytest.mark.parametrize(
    ("said", "window_s"),
    [
        ({}, 60),
        ({"scope": Scope.MESSAGES}, 0),
        ({"scope": Scope.RESPONSES}, 0),  # of which nothing is said
        ({"scope": Scope.CHAT_COMPLETIONS}, 300),  # cut to the longest
        ({"policy": 30}, 30),
        ({"policy": 0}, 0),
        ({"policy": 5_000}, 300),
        ({"policy": 30, "window_s": 10}, 10),
        ({"policy": 30, "window_s": 0}, 0),
        ({"window_s": 10}, 10),
        ({"window_s": 86_400}, 300),
        ({"idempotency_key": "k"}, 90),
        ({"idempotency_key": "k", "scope": Scope.MESSAGES}, 90),
        ({"idempotency_key": "k", "policy": 5}, 90),
        ({"idempotency_key": "k", "policy": 200}, 200),
        ({"idempotency_key": "k", "window_s": 5}, 5),
        ({"idempotency_key": "k", "window_s": 0}, 0),
        ({"is_background": True}, None),
        ({"is_background": True, "window_s": 5, "policy": 6, "idempotency_key": "k"}, None),
        ({"is_stored": True}, 60),
    ],
)
async def test_the_window_is_what_the_first_of_them_says_up_to_the_longest(said, window_s):
    terms = await terms_of(**said)
    assert terms.window_s == window_s


async def test_a_keyed_window_is_no_longer_than_the_longest():
    settings = StreamSettings(keyed_resume_window_s=90, max_resume_window_s=20)
    assert (await terms_of(settings, idempotency_key="k")).window_s == 20


def test_what_is_meant_where_the_settings_say_nothing():
    settings = StreamSettings()
    assert (settings.keep, settings.keeps_answers) == ("memory", True)
    assert (settings.max_resume_window_s, settings.keyed_resume_window_s) == (300, 60)
    assert (settings.idempotency_hours, settings.stored_hours) == (24, 720)


async def test_the_window_is_told_with_the_answer():
    house = StreamsHouse(settings=SETTINGS)
    for window_s in (0, 7):
        found = await house.whole(window_s=window_s)
        assert found.recording.about.window_s == window_s


HOUR_MS = 3_600_000
DAY_MS, MONTH_MS = 24 * HOUR_MS, 720 * HOUR_MS


@pytest.mark.parametrize(
    ("keep", "said", "kept_ms"),
    [
        ("memory", {}, None),
        ("memory", {"window_s": 20}, None),
        ("memory", {"idempotency_key": "k"}, DAY_MS),
        ("memory", {"idempotency_key": "k", "window_s": 0}, DAY_MS),
        ("memory", {"is_stored": True}, MONTH_MS),
        ("memory", {"is_background": True}, None),
        ("memory", {"is_background": True, "is_stored": True}, MONTH_MS),
        ("memory", {"is_stored": True, "idempotency_key": "k"}, MONTH_MS),
        ("database", {}, None),
        ("database", {"window_s": 20}, 20_000),
        ("database", {"idempotency_key": "k"}, DAY_MS),
        ("database", {"is_background": True}, None),
        ("database", {"is_background": True, "is_stored": True}, MONTH_MS),
        ("off", {"window_s": 20}, None),
        ("off", {"is_stored": True}, None),
        ("off", {"idempotency_key": "k"}, DAY_MS),
        ("off", {"idempotency_key": "k", "is_stored": True}, DAY_MS),
    ],
)
async def test_what_is_durable_and_for_how_long(keep, said, kept_ms):
    settings = StreamSettings(keep=keep)
    terms = await terms_of(settings, **{"scope": Scope.MESSAGES} | said)
    durable = terms.durable
    assert (None if durable is None else durable.kept_ms) == kept_ms
    if durable is not None:
        assert durable.keeps_frames is (keep != "off")
        assert (durable.surface, durable.idempotency_key) == ("plain", said.get("idempotency_key"))


async def test_the_longer_of_two_keepings_counts():
    settings = StreamSettings(idempotency_hours=100, stored_hours=10)
    terms = await terms_of(settings, idempotency_key="k", is_stored=True)
    assert terms.durable.kept_ms == 100 * HOUR_MS
    terms = await terms_of(settings, is_stored=True)
    assert terms.durable.kept_ms == 10 * HOUR_MS


async def test_what_is_durable_says_whose_it_is():
    house = StreamsHouse()
    found = await house.whole(principal=a_principal(end_user="amina"), idempotency_key="k")
    kept = house.books.recordings.kept[found.recording.id]
    assert (kept.account_id, kept.end_user, kept.surface) == (1, "amina", "plain")
    assert (kept.idempotency_key, kept.is_streaming) == ("k", True)
    assert kept.receipt_id == found.recording.about.receipt_id
    assert kept.expires_ms == house.clock.now_ms() + DAY_MS


async def test_what_the_request_says_of_the_cache_is_handed_on():
    for use in (None, CacheUse.USE, CacheUse.REFRESH, CacheUse.OFF):
        terms = await terms_of(cache=use)
        assert (terms.cache, terms.may_repeat) == (use, True)


async def test_an_answer_in_the_background_is_made_and_never_repeated():
    assert not (await terms_of(is_background=True)).may_repeat


async def test_where_nothing_is_kept_there_are_no_windows_and_no_repeating():
    off = StreamSettings(keep="off", resume_window_s=BY_SURFACE)
    for said in ({}, {"window_s": 30}, {"policy": 30}, {"idempotency_key": "k"}):
        terms = await terms_of(off, **said)
        assert (terms.window_s, terms.may_repeat) == (0, False)


async def test_where_nothing_is_kept_nothing_goes_on_in_the_background():
    house = StreamsHouse(settings=StreamSettings(keep="off"))
    for said in ({}, {"idempotency_key": "k"}):
        with pytest.raises(UnsupportedField) as caught:
            await house.ask(is_background=True, **said)
        assert (caught.value.status, caught.value.param) == (400, "background")
    assert (house.begun, house.books.log) == ([], [])
    assert not (await house.whole(idempotency_key="k")).is_replay
