"""``/v1/streams/{id}``: what cannot be asked for, and what nobody is told of others."""

from __future__ import annotations

import pytest
from tests.support.gates import Gate
from tests.support.key_ring import PREFIX, a_key
from tests.support.surface_callers import ALL, WINDOW, WORDS, Caller, house_with, id_of, told
from tests.support.virtual_time import VirtualLoop

from bandari.domain import keys
from bandari.domain.keys import KeyPolicy, Scope

LOOPS = {"virtual": VirtualLoop}


WRONG_INDICES = (
    *("", "-1", "1.5", "x", "1e3", "+1", " 1", "0x1", "1_000", "NaN", "null", "²"),
    *("9007199254740992", "99999999999999999", "9" * 5_000),
)
MANGLED = ("str_", "str_%20", "rcpt_a", "str_" + "a" * 65, "..", "str_a/b", "%00")


def another_key(front, number: int, **changes) -> str:
    """One more key, of the account that ``changes`` say."""
    spelled = keys.spell(PREFIX, bytes([number]) * keys.SECRET_BYTES)
    policy = changes.pop("policy", None)
    front.ring.add(spelled, a_key(id=number, **changes), policy=policy)
    return spelled


# -- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", WRONG_INDICES)
async def test_an_index_that_cannot_be_is_named(front, text):
    house = house_with(*WORDS)
    caller = Caller(front(house).app)
    whole = await caller.ask(WINDOW)
    ways = [((), f"after={text.replace('+', '%2B').replace(' ', '%20')}", "after")]
    ways += [(((name, text),), "", name) for name in ("x-last-chunk-index", "Last-Event-ID")]
    for headers, query, name in ways:
        for stream_id in (id_of(whole), "str_unknown"):
            refused = await caller.follow(stream_id, *headers, query=query)
            assert (refused.status, told(refused)["param"]) == (400, name)
            assert told(refused)["code"] == "invalid_value"


@pytest.mark.parametrize("index", [6, 10**6, 2**53 - 1])
async def test_a_chunk_that_is_not_there_by_now_is_named_and_how_many_there_are(front, index):
    house = house_with(*WORDS)
    caller = Caller(front(house).app)
    whole = await caller.ask(WINDOW)
    assert len(caller.events(whole.body)) == 6
    ways = [((), f"after={index}", "after")]
    ways += [(((name, str(index)),), "", name) for name in ("x-last-chunk-index", "Last-Event-ID")]
    for headers, query, name in ways:
        refused = await caller.follow(id_of(whole), *headers, query=query)
        assert (refused.status, told(refused)["param"]) == (400, name)
        assert "below 6" in told(refused)["message"]
    assert house.space.used == len(whole.body)


async def test_an_unstreamed_answer_has_no_chunks(front):
    made = front(house_with(*WORDS))
    keyed = ("Idempotency-Key", "k")
    whole = await Caller(made.app).ask(keyed, stream=False)
    for caller in (Caller(made.app), Caller(made.another_server())):
        refused = await caller.follow(id_of(whole), query="after=0")
        assert (refused.status, told(refused)["param"]) == (400, "after")
        assert "there is none" in told(refused)["message"]
        refused = await caller.ask(keyed, ("Last-Event-ID", "0"), stream=False)
        assert (refused.status, told(refused)["param"]) == (400, "Last-Event-ID")


async def test_where_there_is_no_chunk_yet_that_is_said(front):
    gate = Gate()
    house = house_with(gate, *WORDS)
    caller = Caller(front(house).app)
    _, task = caller.start(WINDOW)
    await gate.reached.wait()
    (entry,) = house.recordings._entries.values()
    refused = await caller.follow(entry.recording.id, query="after=0")
    assert (refused.status, told(refused)["param"]) == (400, "after")
    assert "there is none" in told(refused)["message"]
    gate.open()
    await task


async def test_what_is_not_there_is_the_same_whoever_asks(front):
    house = house_with(*WORDS)
    made = front(house)
    house.books.credit(2, "TOKEN", 1_000)
    caller = Caller(made.app)
    own = id_of(await caller.ask(WINDOW))
    of_amina = id_of(await caller.ask(WINDOW, ("x-on-behalf-of", "amina")))
    gone = id_of(await caller.ask(WINDOW))
    await caller.delete(gone)
    over = id_of(await caller.ask())
    stranger = Caller(made.app, key=another_key(made, 9, account_id=2, account="baraka"))
    baraka = ("x-on-behalf-of", "baraka")
    answers = []
    for ask in (Caller.follow, Caller.delete):
        answers += [await ask(stranger, each) for each in (own, of_amina, gone, over)]
        answers += [await ask(caller, each, baraka) for each in (own, of_amina)]
        answers += [await ask(caller, each) for each in (gone, over, "str_unknown", *MANGLED)]
    for query in ("after=0", f"after={2**53 - 1}"):
        answers += [await stranger.follow(each, query=query) for each in (own, "str_unknown")]
    assert {(each.status, each.body) for each in answers} == {(404, answers[0].body)}
    assert told(answers[0])["code"] == "stream_not_found"
    assert len({tuple(sorted(each.headers.items())) for each in answers}) == 1
    assert (await caller.follow(own)).status == 200


async def test_nobody_without_a_key_is_told_anything(front):
    made = front(house_with(*WORDS))
    whole = await Caller(made.app).ask(WINDOW)
    unknown = Caller(made.app, key=keys.spell(PREFIX, b"u" * keys.SECRET_BYTES))
    for ask in (unknown.follow, unknown.delete):
        known, none = await ask(id_of(whole)), await ask("str_unknown")
        assert (known.status, known.body) == (none.status, none.body)
        assert known.status == 401
    assert (await Caller(made.app).follow(id_of(whole))).status == 200


@pytest.mark.parametrize("surface", ALL)
async def test_a_key_needs_the_scope_of_the_surface(front, surface):
    made = front(house_with(*WORDS))
    whole = await Caller(made.app, surface).ask(WINDOW)
    scope = {
        "chat_completions": Scope.CHAT_COMPLETIONS,
        "completions": Scope.COMPLETIONS,
        "messages": Scope.MESSAGES,
        "messages_hybrid": Scope.MESSAGES,
        "responses": Scope.RESPONSES,
        "typed_stream": Scope.TYPED_STREAM,
    }[surface]
    others = tuple(each for each in Scope if each is not scope)
    other = Caller(made.app, key=another_key(made, 8, policy=KeyPolicy(scopes=others)))
    refused = await other.follow(id_of(whole))
    assert (refused.status, told(refused)["code"]) == (403, "scope_not_allowed")
    assert (await other.follow("str_unknown")).status == 404
    own = Caller(made.app, key=another_key(made, 7, policy=KeyPolicy(scopes=(scope,))))
    assert (await own.follow(id_of(whole))).body == whole.body


async def test_deleting_needs_that_scope_too(front):
    house = house_with(*WORDS)
    made = front(house)
    whole = await Caller(made.app, "messages").ask(WINDOW)
    other = Caller(made.app, key=another_key(made, 8, policy=KeyPolicy(scopes=(Scope.EMBEDDINGS,))))
    refused = await other.delete(id_of(whole))
    assert (refused.status, told(refused)["code"]) == (403, "scope_not_allowed")
    assert (await other.delete("str_unknown")).status == 404
    own = Caller(made.app, key=another_key(made, 7, policy=KeyPolicy(scopes=(Scope.MESSAGES,))))
    assert (await own.delete(id_of(whole))).status == 200


async def test_another_key_of_the_account_reads_it_too(front):
    made = front(house_with(*WORDS))
    whole = await Caller(made.app).ask(WINDOW)
    other = Caller(made.app, key=another_key(made, 8))
    assert (await other.follow(id_of(whole))).body == whole.body


async def test_what_is_asked_for_an_end_user_is_found_for_him(front):
    made = front(house_with(*WORDS))
    caller = Caller(made.app)
    amina = ("x-on-behalf-of", "amina")
    whole = await caller.ask(WINDOW, amina)
    assert (await caller.follow(id_of(whole), amina)).body == whole.body
    assert (await caller.follow(id_of(whole))).body == whole.body
