"""One connection, fed with bytes: what is a request, what is none, and what is answered in turn."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.gates import Gate
from tests.support.virtual_time import VirtualLoop
from tests.support.visitor import Visitor

from bandari.domain.faults import Fault
from bandari.web.exchange import UNWANTED_BYTES, ClientLeft, Exchange
from bandari.web.http1 import MAX_HEAD_BYTES, MAX_UNREAD_BYTES, MAX_WAITING
from bandari.web.sources import TrustedProxies

LOOPS = {"virtual": VirtualLoop}

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
CHUNKED = b"POST /p HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class Seen:
    """An application that remembers the requests that came whole, and answers with them."""

    def __init__(self, *, streams: bool = False) -> None:
        self.begun: list[Exchange] = []
        self.whole: list[tuple[str, str, str | None, bytes]] = []
        self.faults: list[type[Exception]] = []
        self._streams = streams

    async def __call__(self, exchange: Exchange) -> None:
        self.begun.append(exchange)
        try:
            body = await exchange.body(10_000_000, 30_000)
        except (Fault, ClientLeft) as fault:
            self.faults.append(type(fault))
            return
        seen = (exchange.method, exchange.path, exchange.header(b"x-a"), body)
        self.whole.append(seen)
        answer = repr(seen).encode()
        if self._streams:
            await exchange.begin(200, b"text/plain")
            await exchange.write(answer[:3])
            await asyncio.sleep(0)
            await exchange.write(answer[3:])
            await exchange.end()
        else:
            await exchange.respond(200, b"text/plain", answer)


async def refuse_early(exchange: Exchange) -> None:
    """Answers without asking for the body."""
    await exchange.respond(401, b"text/plain", b"No")


def chunked(body: bytes, size: int, *, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    spelled = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces]
    return b"".join(spelled) + b"0\r\n" + trailer + b"\r\n"


# -- framing ---------------------------------------------------------------------------------------


@st.composite
def requests(draw) -> tuple[bytes, tuple[str, str, str | None, bytes]]:
    """A request's bytes, and what an endpoint must see of it."""
    path = draw(st.sampled_from(["/", "/v1/chat", "/a b", "/é", "//x"]))
    target = {"/a b": "/a%20b", "/é": "/%C3%A9"}.get(path, path)
    target += draw(st.sampled_from(["", "?q=1", "?", "#f"]))
    header = draw(st.sampled_from([None, "", "v", "v" * 200]))
    head = "" if header is None else f"{draw(st.sampled_from(['X-A', 'x-a']))}: {header}\r\n"
    form = draw(st.sampled_from(["none", "length", "chunked"]))
    if form == "none":
        return f"GET {target} HTTP/1.1\r\n{head}\r\n".encode(), ("GET", path, header, b"")
    body = draw(st.binary(max_size=300))
    if form == "length":
        head += f"Content-Length: {len(body)}\r\n"
        framed = body
    else:
        head += "Transfer-Encoding: chunked\r\n"
        framed = chunked(
            body,
            draw(st.integers(1, 100)),
            extension=draw(st.sampled_from([b"", b";a=b"])),
            trailer=draw(st.sampled_from([b"", b"x-a: trailing\r\n"])),
        )
    spelled = f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + framed
    return spelled, ("POST", path, header, body)


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_however_requests_are_cut_they_and_their_answers_are_the_same(data):
    asked = data.draw(st.lists(requests(), min_size=1, max_size=6))
    text = b"".join(spelled for spelled, _ in asked)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    pauses = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    app = Seen(streams=data.draw(st.booleans()))

    async def run() -> None:
        visitor = Visitor(app)
        for piece, pause in zip(pieces, pauses, strict=True):
            visitor.sends(piece)
            if pause:
                await visitor.settles()
        await visitor.settles()
        assert app.whole == [seen for _, seen in asked]
        answers = visitor.answers()
        assert [answer.body for answer in answers] == [repr(seen).encode() for _, seen in asked]
        assert all(answer.ended and answer.status == 200 for answer in answers)
        assert visitor.is_open
        assert visitor.line.is_reading()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


async def test_one_byte_at_a_time():
    app = Seen()
    text = POST + b"hello" + CHUNKED + chunked(b"Habari", 4, trailer=b"x-a: t\r\n") + GET
    visitor = Visitor(app)
    await visitor.asks(*(text[i : i + 1] for i in range(len(text))))
    assert [body for _, _, _, body in app.whole] == [b"hello", b"Habari", b""]
    assert len(visitor.answers()) == 3


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a%20b?c=d%20e", "/a b"),
        (b"/v1/models/a%2541", "/v1/models/a%41"),
        (b"/%ff", "/\ufffd"),
        (b"http://h:80/p?q", "/p"),
        (b"http://h", "/"),
        (b"//h/p", "//h/p"),
        (b"/p#f?q", "/p"),
        (b"*", "*"),
    ],
)
async def test_the_path_of_a_target(target, path):
    app = Seen()
    (answer,) = await Visitor(app).asks(b"OPTIONS " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.status == 200
    assert app.whole[0][:2] == ("OPTIONS", path)


async def test_a_name_may_be_spelled_in_several_ways_and_the_first_counts():
    app = Seen()
    await Visitor(app).asks(b"GET / HTTP/1.1\r\nX-a: 1\r\nx-A: 2\r\nX-a: 3\r\n\r\n")
    assert app.whole[0][2] == "1"


async def test_a_trailer_is_no_header_not_even_of_the_next_request():
    app = Seen()
    await Visitor(app).asks(CHUNKED + chunked(b"a", 1, trailer=b"x-a: forged\r\n") + GET + GET)
    assert [seen[2] for seen in app.whole] == [None, None, None]


async def test_a_request_behind_the_last_one_is_not_answered():
    for last in (
        b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ):
        app = Seen()
        visitor = Visitor(app)
        (answer,) = await visitor.asks(last + GET, GET)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert len(app.begun) == 1
        assert not visitor.is_open


async def test_behind_the_last_request_a_client_is_still_noticed():
    gate = Gate()

    async def later(exchange: Exchange) -> None:
        await gate.passing()
        await exchange.respond(200, b"text/plain", b"")

    last = b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
    for pieces in ([last + GET, GET], [last, GET, GET], [GET + last, GET]):
        visitor = Visitor(later)
        await visitor.asks(*pieces)
        assert visitor.line.is_reading()
        visitor.leaves()
    gate.open()


# -- what is no request ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00",  # TLS
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nspace : before\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",  # a folded line
        b"GET / HTTP/1.1\r\na: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\rc: d\r\n\r\n",
        b"GET / HTTP/1.1\na: b\n\n",
        b"GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        *(
            b"POST / HTTP/1.1\r\ncontent-length: %b\r\n\r\n0123456789" % length
            for length in (b"", b"-5", b"+5", b"x", b"1_0", b"0x5", b"5, 5", b"9" * 30, b"\xb2")
        ),
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"x\r\n",
        CHUNKED + b"fffffffffffffffff\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"5\r\nhello0\r\n\r\n",  # no end of the piece
        CHUNKED + b"5\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("by_bytes", [True, False])
async def test_what_can_be_read_in_two_ways_is_refused(text, by_bytes):
    app = Seen()
    visitor = Visitor(app)
    pieces = [text[i : i + 1] for i in range(len(text))] if by_bytes else [text]
    (answer,) = await visitor.asks(*pieces, GET)
    assert (answer.status, answer.headers["connection"], answer.ended) == (400, "close", True)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body
    assert not app.whole
    assert app.faults in ([], [ClientLeft])
    assert visitor.line.has_written_eof
    await visitor.asks(GET)
    assert not app.whole  # nothing that comes then is heard


async def test_a_refusal_waits_for_the_answers_to_what_came_before():
    gate = Gate()

    async def slow(exchange: Exchange) -> None:
        await gate.passing()
        await exchange.respond(200, b"text/plain", exchange.path.encode())

    visitor = Visitor(slow)
    assert await visitor.asks(GET + GET.replace(b"/ ", b"/2 ") + CHUNKED + b"x\r\n") == []
    gate.open()
    await visitor.settles()
    assert [(a.status, a.body[:2]) for a in visitor.answers()] == [
        (200, b"/"),
        (200, b"/2"),
        (400, b"In"),
    ]


async def test_an_answer_that_has_begun_is_not_interrupted_by_a_refusal():
    done = Gate()

    async def early(exchange: Exchange) -> None:
        await exchange.begin(200, b"text/plain")
        await exchange.write(b"half of")
        await done.passing()
        await exchange.end()

    visitor = Visitor(early)
    await visitor.asks(CHUNKED)
    await visitor.asks(b"x\r\n")
    (answer,) = visitor.answers()
    assert (answer.body, answer.ended) == (b"half of", False)
    assert not visitor.is_open
    done.open()
    await visitor.settles()
    assert visitor.gone == 1


async def test_a_body_that_is_broken_after_its_answer_has_no_second_answer():
    visitor = Visitor(refuse_early)
    (answer,) = await visitor.asks(CHUNKED.replace(b"host: x", b"a: " + b"b" * 10))
    assert answer.status == 401
    assert len(await visitor.asks(b"x\r\n")) == 1
    visitor = Visitor(refuse_early)
    assert len(await visitor.asks(b"POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\n")) == 1
    assert [a.status for a in await visitor.asks(b"hello!" + b"nonsense\r\n\r\n")] == [401, 400]


# -- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\na: ", b"GET / HTTP/1.1\r\n"])
async def test_a_head_that_does_not_end(start):
    visitor = Visitor(Seen())
    filling = b"a: b\r\n" * 1000 if start.endswith(b"\r\n") else b"a" * 6000
    visitor.sends(GET + start)
    sent = 0
    while visitor.is_open and not visitor.line.has_written_eof:
        sent += len(filling)
        assert sent <= MAX_HEAD_BYTES + len(filling)
        await visitor.asks(filling)
    assert [answer.status for answer in visitor.answers()] == [200, 400]
    assert visitor.answers()[1].body == b"The request's head is too large."


async def test_a_head_may_be_large_and_its_size_is_not_added_to_the_next_ones():
    app = Seen()
    visitor = Visitor(app)
    large = b"GET / HTTP/1.1\r\nx-a: " + b"a" * (MAX_HEAD_BYTES - 2000) + b"\r\n\r\n"
    for _ in range(3):
        await visitor.asks(*(large[i : i + 1000] for i in range(0, len(large), 1000)))
    assert len(app.whole) == 3


@pytest.mark.parametrize(
    ("start", "filling"), [(b"5", b";" + b"a" * 6000), (b"0\r\n", b"a: b\r\n" * 1000)]
)
async def test_a_body_beside_which_too_much_is_sent(start, filling):
    app = Seen()
    visitor = Visitor(app)
    visitor.sends(CHUNKED + start)
    sent = 0
    while not visitor.line.has_written_eof:
        sent += len(filling)
        assert sent <= MAX_HEAD_BYTES + len(filling)
        await visitor.asks(filling)
    (answer,) = visitor.answers()
    assert (answer.status, app.faults) == (400, [ClientLeft])


async def test_a_body_in_which_that_adds_up_is_read():
    app = Seen()
    visitor = Visitor(app)
    pieces = [b"1;" + b"a" * 1000 + b"\r\nx\r\n"] * (MAX_HEAD_BYTES // 1000 * 2)
    await visitor.asks(CHUNKED, *pieces, b"0\r\n\r\n")
    assert app.whole[0][3] == b"x" * len(pieces)
    halves = [b"1;" + b"a" * 1000, b"\r\nx\r\n"] * (MAX_HEAD_BYTES // 1000 * 2)
    await visitor.asks(CHUNKED, *halves, b"0\r\n\r\n")
    assert app.whole[1][3] == b"x" * len(pieces)
    head = POST[:-2] + b"x-a: " + b"a" * 20_000 + b"\r\n\r\n"
    assert len(await visitor.asks(*[head, b"hello"] * (MAX_HEAD_BYTES // 10_000))) == 28


async def test_a_body_that_nobody_asks_for_is_not_read_on():
    gate = Gate()
    app = Seen()

    async def later(exchange: Exchange) -> None:
        await gate.passing()
        await app(exchange)

    visitor = Visitor(later)
    size = 10 * MAX_UNREAD_BYTES
    head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size
    await visitor.asks(head, *([b"x" * 1024] * (size // 1024)))
    assert not visitor.line.is_reading()
    assert size - visitor.unheard <= MAX_UNREAD_BYTES + 1024
    gate.open()
    await visitor.settles()
    assert app.whole == [("POST", "/", None, b"x" * size)]
    assert visitor.line.is_reading()


async def test_requests_that_do_not_wait_for_answers_are_made_to_wait():
    gate = Gate()
    app = Seen()

    async def later(exchange: Exchange) -> None:
        await gate.passing()
        await app(exchange)

    visitor = Visitor(later)
    await visitor.asks(*[GET] * 50)
    assert visitor.unheard == 48 * len(GET)
    gate.open()
    await visitor.settles()
    assert (len(app.whole), visitor.unheard) == (50, 0)


async def test_a_client_is_noticed_again_when_its_last_request_is_being_answered():
    gates = [Gate(), Gate()]

    async def app(exchange: Exchange) -> None:
        await gates[int(exchange.path[1:])].passing()
        await exchange.respond(200, b"text/plain", b"")

    visitor = Visitor(app)
    await visitor.asks(GET.replace(b"/ ", b"/0 ") + GET.replace(b"/ ", b"/1 "))
    assert not visitor.line.is_reading()
    gates[0].open()
    await gates[1].reached.wait()
    assert visitor.line.is_reading()
    gates[1].open()
    assert len(await visitor.asks()) == 2


async def test_too_many_requests_in_one_piece_are_refused_from_there_on():
    app = Seen()
    visitor = Visitor(app)
    answers = await visitor.asks(GET * (MAX_WAITING + 5))
    assert [answer.status for answer in answers] == [200] * (MAX_WAITING + 1) + [400]
    visitor = Visitor(app)
    answers = await visitor.asks(GET * (MAX_WAITING + 1), GET)
    assert [answer.status for answer in answers] == [200] * (MAX_WAITING + 2)


async def test_one_request_is_answered_at_a_time():
    running = most = 0

    async def app(exchange: Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await exchange.respond(200, b"text/plain", b"")
        await asyncio.sleep(0)
        running -= 1

    visitor = Visitor(app)
    assert len(await visitor.asks(GET * 3, GET)) == 4
    assert most == 1


# -- where a request comes from --------------------------------------------------------------------

PROXIES = TrustedProxies(("10.0.0.0/8",))
PROXY, STRANGER = ("10.0.0.1", 4000), ("198.51.100.7", 4000)


def from_(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", b"host: x", *lines, b"", b""))


@pytest.mark.parametrize(
    ("peer", "proxies", "lines", "source"),
    [
        (STRANGER, None, (), "198.51.100.7"),
        (None, None, (), ""),
        (STRANGER, None, (b"x-forwarded-for: 203.0.113.9",), "198.51.100.7"),
        (PROXY, None, (b"x-forwarded-for: 203.0.113.9",), "10.0.0.1"),
        (STRANGER, PROXIES, (b"x-forwarded-for: 203.0.113.9",), "198.51.100.7"),
        (None, PROXIES, (b"x-forwarded-for: 203.0.113.9",), ""),
        (PROXY, PROXIES, (), "10.0.0.1"),
        (PROXY, PROXIES, (b"X-Forwarded-For: 203.0.113.9",), "203.0.113.9"),
        (PROXY, PROXIES, (b"x-forwarded-for: 1.1.1.1, 203.0.113.9, 10.9.9.9",), "203.0.113.9"),
        (
            PROXY,
            PROXIES,
            (b"x-forwarded-for: 1.1.1.1", b"accept: */*", b"X-Forwarded-For: 203.0.113.9"),
            "203.0.113.9",
        ),
        (
            PROXY,
            PROXIES,
            (b"x-forwarded-for: 203.0.113.9", b"x-forwarded-for: 10.2.2.2"),
            "203.0.113.9",
        ),
        (
            PROXY,
            PROXIES,
            (b"connection: upgrade", b"upgrade: h2c", b"x-forwarded-for: 203.0.113.9"),
            "203.0.113.9",
        ),
    ],
)
async def test_the_source_is_the_peer_or_whom_a_trusted_proxy_asks_for(
    peer, proxies, lines, source
):
    seen = Seen()
    visitor = Visitor(seen, peer=peer, proxies=proxies)
    (answered,) = await visitor.asks(from_(*lines))
    assert answered.status == 200
    assert [exchange.source for exchange in seen.begun] == [source]
    assert seen.begun[0].header(b"host") == "x"


async def test_what_a_proxy_said_of_one_request_is_not_said_of_the_next():
    seen = Seen()
    visitor = Visitor(seen, peer=PROXY, proxies=PROXIES)
    trailed = b"0\r\nx-forwarded-for: 1.1.1.1\r\n\r\n"
    await visitor.asks(from_(b"x-forwarded-for: 203.0.113.9"), CHUNKED, trailed, from_())
    sources = [exchange.source for exchange in seen.begun]
    assert sources == ["203.0.113.9", "10.0.0.1", "10.0.0.1"]


async def test_behind_a_proxy_headers_are_kept_as_ever():
    seen = Seen()
    visitor = Visitor(seen, peer=PROXY, proxies=PROXIES)
    await visitor.asks(from_(b"X-A: first", b"x-a: second", b"accept: a", b"accept: b"))
    assert seen.begun[0].header(b"x-a") == "first"
    assert seen.begun[0].header(b"accept") == "a"


# -- expectations, upgrades, versions --------------------------------------------------------------


async def test_a_client_that_waits_to_be_asked_for_its_body():
    app = Seen()
    visitor = Visitor(app)
    await visitor.asks(POST[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert visitor.line.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    await visitor.asks(b"hello")
    assert visitor.line.written.count(b"HTTP/1.1 ") == 2
    assert app.whole[0][3] == b"hello"


@pytest.mark.parametrize(
    "asked",
    [
        b"connection: upgrade\r\nupgrade: websocket\r\n",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    ],
)
@pytest.mark.parametrize("by_bytes", [True, False])
async def test_a_request_for_another_protocol_is_answered_in_this_one(asked, by_bytes):
    app = Seen()
    text = GET[:-2] + asked + b"\r\n"
    text += POST[:-2] + b"X-A: b\r\n" + asked + b"\r\nhello"
    text += CHUNKED[:-2] + asked + b"\r\n" + chunked(b"Habari", 4) + GET
    pieces = [text[i : i + 1] for i in range(len(text))] if by_bytes else [text]
    answers = await Visitor(app).asks(*pieces)
    assert [answer.status for answer in answers] == [200] * 4
    assert app.whole == [
        ("GET", "/", None, b""),
        ("POST", "/p", "b", b"hello"),
        ("POST", "/p", None, b"Habari"),
        ("GET", "/", None, b""),
    ]


async def test_a_client_of_http_1_0():
    visitor = Visitor(Seen(streams=True))
    await visitor.asks(GET.replace(b"1.1", b"1.0"))
    head, _, body = visitor.line.written.partition(b"\r\n\r\n")
    assert body == repr(("GET", "/", None, b"")).encode()
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert not visitor.is_open


async def test_an_answer_to_head_has_no_body():
    visitor = Visitor(Seen())
    await visitor.asks(GET.replace(b"GET", b"HEAD"))
    assert visitor.line.written.endswith(b"content-length: 24\r\n\r\n")
    assert visitor.is_open


# -- what becomes of an answer ---------------------------------------------------------------------


async def test_an_answer_that_the_application_does_not_give_is_a_500(caplog):
    async def crash(exchange: Exchange) -> None:
        raise ZeroDivisionError("a secret")

    async def forget(exchange: Exchange) -> None:
        return

    for app in (crash, forget):
        visitor = Visitor(app)
        (answer,) = await visitor.asks(GET)
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert answer.headers["connection"] == "close"
        assert not visitor.is_open
        assert visitor.gone == 1
    assert "a secret" in caplog.text


@pytest.mark.parametrize("crashes", [True, False])
async def test_an_answer_that_is_broken_off_has_no_end(crashes):
    async def break_off(exchange: Exchange) -> None:
        await exchange.begin(200, b"text/plain")
        await exchange.write(b"half of")
        if crashes:
            raise ZeroDivisionError

    visitor = Visitor(break_off)
    (answer,) = await visitor.asks(GET + GET)
    assert (answer.status, answer.body, answer.ended) == (200, b"half of", False)
    assert not visitor.is_open


async def test_what_is_written_too_late_goes_nowhere():
    kept: list[Exchange] = []

    async def keep(exchange: Exchange) -> None:
        kept.append(exchange)
        await exchange.begin(200, b"text/plain")

    for text in (GET, CHUNKED):
        visitor = Visitor(keep)
        await visitor.asks(text)
        before = visitor.line.written
        await kept[-1].write(b"late")
        await kept[-1].end()
        assert visitor.line.written == before
        assert not visitor.line.misused


async def test_a_short_body_that_nobody_wanted_is_dropped_and_the_next_request_is_heard():
    visitor = Visitor(refuse_early)
    size = UNWANTED_BYTES
    head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size
    (answer,) = await visitor.asks(head)
    assert "connection" not in answer.headers
    hidden = GET * (size // len(GET))  # none of these is a request
    answers = await visitor.asks(*[hidden[i : i + 999] for i in range(0, len(hidden), 999)])
    assert len(answers) == 1
    answers = await visitor.asks(b"x" * (size - len(hidden)) + GET)
    assert [answer.status for answer in answers] == [401, 401]
    assert visitor.is_open


async def test_a_body_that_had_filled_up_before_it_was_not_wanted_is_dropped_too():
    gate = Gate()

    async def later(exchange: Exchange) -> None:
        await gate.passing()
        await refuse_early(exchange)

    visitor = Visitor(later)
    size = 2 * MAX_UNREAD_BYTES
    head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size
    await visitor.asks(head, *[b"x" * 1024] * (size // 1024), GET)
    assert not visitor.line.is_reading()
    gate.open()
    await visitor.settles()
    assert [answer.status for answer in visitor.answers()] == [401, 401]
    assert visitor.line.is_reading()


async def test_a_long_body_that_nobody_wanted_ends_the_connection():
    visitor = Visitor(refuse_early)
    (answer,) = await visitor.asks(
        b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (UNWANTED_BYTES + 1)
    )
    assert (answer.headers["connection"], answer.body) == ("close", b"No")
    assert visitor.line.has_written_eof
    assert visitor.is_open  # a client that still writes would lose the answer
    assert len(await visitor.asks(b"x" * (UNWANTED_BYTES + 1) + GET)) == 1
    visitor.ends()
    assert not visitor.is_open


async def test_a_request_leaves_nothing_behind():
    exchanges: list[weakref.ref[Seen]] = []

    class Weighed:
        """What an endpoint holds for as long as it answers."""

    async def app(exchange: Exchange) -> None:
        weighed = Weighed()
        exchanges.append(weakref.ref(weighed))
        exchange.watch_client(lambda: json.dumps(weighed))
        await exchange.respond(200, b"text/plain", b"")

    gc.disable()
    try:
        visitor = Visitor(app)
        await visitor.asks(GET)
        assert [made() for made in exchanges] == [None]
    finally:
        gc.enable()
