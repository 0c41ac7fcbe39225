from __future__ import annotations

import json

import pytest
from tests.support.client import Client, request, start
from tests.support.gates import Gate
from tests.support.recorded_metrics import RecordedMetrics
from tests.support.small_house import SmallHouse

from bandari.domain.faults import StoreUnavailable
from bandari.service.tracing import request_id
from bandari.web.app import App, Endpoint, LogRequest, Route
from bandari.web.exchange import ClientLeft, Exchange


def app_of(*routes: Route) -> App:
    return logging_app(lambda *_: None, *routes)


def logging_app(log_request: LogRequest, *routes: Route) -> App:
    return App(list(routes), RecordedMetrics(), lambda: "req_made", log_request)


async def ok(exchange) -> None:
    await exchange.respond(200, b"text/plain", b"ok")


def error_of(client) -> dict:
    return json.loads(client.body)["error"]


@pytest.fixture
def app(front):
    return front(SmallHouse()).app


# -- request ids -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 128])
async def test_a_sane_request_id_is_adopted(given):
    seen = []

    async def look(exchange) -> None:
        seen.append(request_id.get())
        await ok(exchange)

    app = app_of(Route("/", GET=look))
    client = await request(app, "GET", "/", headers=[("x-request-id", given)])
    assert client.headers["x-request-id"] == given
    assert seen == [given]


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "a\nb", "é"])
async def test_otherwise_one_is_made(given):
    headers = [] if given is None else [("x-request-id", given)]
    client = await request(app_of(Route("/", GET=ok)), "GET", "/", headers=headers)
    assert client.headers["x-request-id"] == "req_made"


# -- routing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/api/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/v1/models", "/v1/models"),
        ("/models/bandari-1", "/v1/models/bandari-1"),
        ("/v1/models/", "/v1/models"),
        ("/v1/models/bandari-1/", "/v1/models/bandari-1"),
        ("/v1//models//bandari-1", "/v1/models/bandari-1"),
        ("/v1/responses/resp_1/cancel/", "/v1/responses/resp_1/cancel"),
        ("/v1/responses/compact/", "/v1/responses/compact"),
        ("/openai/v1/embeddings", "/v1/embeddings"),
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/chat/compeltions", "/v1/chat/completions"),
        ("/v1/chat", "/v1/chat/completions"),
        ("/v1/embedding", "/v1/embeddings"),
        ("/v1/message", "/v1/messages"),
        ("/V1/Chat/Completions", "/v1/chat/completions"),
        ("/v1/MODELS/Bandari-1", "/v1/models/Bandari-1"),
        ("/api/v1/llm/chat/completions/", "/api/v1/llm/chat/completions"),
        ("/api/v1/llm/v1/chat/completions", "/api/v1/llm/chat/completions"),
        ("/llm/models", "/api/v1/llm/models"),
        ("/v1/chat/completions/stream", "/api/v1/llm/chat/completions/stream"),
    ],
)
async def test_a_wrong_url_is_told_the_right_one(app, path, right):
    client = await request(app, "POST", path)
    assert client.status == 404
    assert client.headers["content-type"] == "application/json"
    error = error_of(client)
    assert (error["code"], error["type"]) == ("not_found", "invalid_request_error")
    base = "/api/v1/llm" if right.startswith("/api") else "/v1"
    assert f"There is nothing at {path}." in error["message"]
    assert f"The right URL is {right} (base URL: …{base})." in error["message"]


async def test_what_belongs_to_no_base_url_is_named_without(app):
    client = await request(app, "GET", "/v1/healthz")
    assert error_of(client)["message"].endswith("The right URL is /healthz.")


async def test_a_wrong_url_with_a_wrong_method_is_told_both(app):
    client = await request(app, "GET", "/chat/completions")
    assert client.status == 404
    assert "The right URL is /v1/chat/completions" in error_of(client)["message"]
    assert error_of(client)["message"].endswith("It answers POST only.")
    client = await request(app, "POST", "/chat/completions")
    assert "only" not in error_of(client)["message"]


@pytest.mark.parametrize(
    ("path", "base", "url"),
    [
        ("/", "/v1", "/v1/chat/completions"),
        ("/v1", "/v1", "/v1/chat/completions"),
        ("/v1/", "/v1", "/v1/chat/completions"),
        ("/api/v1", "/v1", "/v1/chat/completions"),
        ("/v1/nothing", "/v1", "/v1/chat/completions"),
        ("/v1/audio/speech", "/v1", "/v1/chat/completions"),
        ("/v1/threads/thread_1/messages", "/v1", "/v1/chat/completions"),
        ("/wp-admin", "/v1", "/v1/chat/completions"),
        ("/" + "x" * 5000, "/v1", "/v1/chat/completions"),
        ("/" + "x/" * 5000, "/v1", "/v1/chat/completions"),
        ("/api/v1/llm", "/api/v1/llm", "/api/v1/llm/chat/completions"),
        ("/admin/v1", "/admin/v1", "/admin/v1/accounts"),
    ],
)
async def test_where_nothing_was_meant_the_base_url_is_explained(app, path, base, url):
    client = await request(app, "GET", path)
    assert client.status == 404
    message = error_of(client)["message"]
    assert f"base URL ends in {base}, for example http://HOST{base};" in message
    assert f" http://HOST{url}." in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/v1/messages", "POST"),
        ("GET", "/api/v1/llm/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models", "GET"),
        ("PUT", "/v1/chat/completions", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(app, method, path, right):
    client = await request(app, method, path)
    assert (client.status, client.headers["allow"]) == (405, right)
    base = "/api/v1/llm" if path.startswith("/api") else "/v1"
    assert error_of(client)["message"] == (
        f"{path} does not answer {method}. Use {right} {path} (base URL: …{base})."
    )


async def test_of_a_long_path_a_part_is_repeated(app):
    client = await request(app, "PUT", "/v1/models/" + "x" * 5000)
    assert client.status == 405
    assert len(error_of(client)["message"]) < 500


async def test_head_is_get_without_the_body(app):
    client = await request(app, "HEAD", "/healthz")
    assert (client.status, client.body) == (200, b"")
    assert client.headers["content-length"] == str(len(b'{"status":"ok"}'))


# -- the edge --------------------------------------------------------------------------------------


async def test_an_endpoint_that_crashes_is_a_500_that_tells_nothing(caplog):
    async def crash(exchange) -> None:
        raise ZeroDivisionError("a secret")

    client = await request(app_of(Route("/", GET=crash)), "GET", "/")
    assert client.status == 500
    assert error_of(client)["code"] == "internal_error"
    assert b"secret" not in client.body
    assert "a secret" in caplog.text


async def test_a_fault_is_told_by_its_status():
    async def fail(exchange) -> None:
        raise StoreUnavailable(retry_after_ms=500)

    client = await request(app_of(Route("/", GET=fail)), "GET", "/")
    assert (client.status, client.headers["retry-after-ms"]) == (503, "500")


@pytest.mark.parametrize("error", [StoreUnavailable(), ZeroDivisionError()])
async def test_an_answer_that_has_begun_can_only_be_broken_off(error):
    async def fail_late(exchange) -> None:
        await exchange.begin(200, b"text/plain")
        await exchange.write(b"half of")
        raise error

    client = await request(app_of(Route("/", GET=fail_late)), "GET", "/")
    assert (client.status, client.body, client.ended) == (200, b"half of", False)


async def test_a_client_that_leaves_is_nobodys_error():
    async def leave(exchange) -> None:
        raise ClientLeft

    app = app_of(Route("/", GET=leave))
    client = await request(app, "GET", "/")
    assert not client.began
    assert app._metrics.of("request_ended") == [("/", 499)]


# -- what is told of it ----------------------------------------------------------------------------


async def test_metrics_count_routes_and_not_paths(app):
    await request(app, "GET", "/healthz")
    await request(app, "GET", "/v1/models/bandari-1")
    await request(app, "GET", "/wp-admin")
    assert app._metrics.of("request_ended") == [
        ("/healthz", 200),
        ("/v1/models/{id}", 401),
        ("other", 404),
    ]


async def test_the_access_log_has_no_prompt(front, caplog):
    caplog.set_level(0)
    made = front(SmallHouse())
    await request(made.app, "GET", "/healthz")
    await made.chat(messages=[{"role": "user", "content": "my secret"}])
    assert [request[:3] for request in made.logged] == [
        ("GET", "/healthz", 200),
        ("POST", "/v1/chat/completions", 200),
    ]
    assert all(0 <= seconds < 5 for _, _, _, seconds in made.logged)
    everything = repr([made.logged, *(record.__dict__ for record in caplog.records)])
    assert "my secret" not in everything


async def test_the_access_log_has_of_a_path_what_it_can_hold(front):
    made = front(SmallHouse())
    await request(made.app, "GET", "/" + "x" * 5000)
    ((_, path, status, _),) = made.logged
    assert (path, status) == ("/" + "x" * 199, 404)


async def test_requests_are_logged_when_they_end():
    gate = Gate()
    logged = []

    async def slow(exchange) -> None:
        await gate.passing()
        await ok(exchange)

    app = logging_app(lambda *request: logged.append(request), Route("/", GET=slow))
    task = start(app, Client(b""), "GET", "/")
    await gate.reached.wait()
    assert not logged
    gate.open()
    await task
    assert [request[:3] for request in logged] == [("GET", "/", 200)]


async def test_a_request_that_nobody_answered_is_logged_too():
    logged = []

    async def leave(exchange) -> None:
        raise ClientLeft

    app = logging_app(lambda *request: logged.append(request), Route("/", GET=leave))
    await request(app, "GET", "/")
    assert [request[:3] for request in logged] == [("GET", "/", 499)]


# -- ids in paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/v1/things/a", "one a"),
        ("/v1/things/a/b", "one a/b"),
        ("/v1/things/a/cancel", "cancel a"),
        ("/v1/things/a/cancel/b", "one a/cancel/b"),
        ("/v1/things/cancel", "one cancel"),
        ("/v1/things", "all "),
    ],
)
async def test_the_most_exact_route_answers_and_knows_the_id(path: str, answered: str) -> None:
    def endpoint(name: str) -> Endpoint:
        async def answer(exchange: Exchange) -> None:
            await exchange.respond(200, b"text/plain", f"{name} {exchange.path_id}".encode())

        return answer

    app = app_of(
        Route("/v1/things/{id}", GET=endpoint("one")),
        Route("/v1/things/{id}/cancel", GET=endpoint("cancel")),
        Route("/v1/things", GET=endpoint("all")),
    )
    assert (await request(app, "GET", path)).body == answered.encode()


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/a/b", "one ('b',)"),
        ("/a/b/users", "users ('b',)"),
        ("/a/b/users/c", "user ('b', 'c')"),
        ("/a/b/users/c/d", "user ('b', 'c/d')"),
        ("/a/b/users/c/moves", "moves ('b', 'c')"),
        ("/a/b/users/c/d/moves", "moves ('b', 'c/d')"),
        ("/a/b/users/moves", "user ('b', 'moves')"),
        ("/a/b/users/a\nb", "user ('b', 'a\\nb')"),
        ("/a/b.c/users/{end_user}", "user ('b.c', '{end_user}')"),
        ("/a/b/other", None),
        ("/a/b/", None),
        ("/a//users", None),
        ("/a/b/users/", None),
    ],
)
async def test_a_path_may_have_several_names(path: str, answered: str | None) -> None:
    """Those of end users are anything; others are one segment."""

    def endpoint(name: str) -> Endpoint:
        async def answer(exchange: Exchange) -> None:
            await exchange.respond(200, b"text/plain", f"{name} {exchange.path_ids}".encode())

        return answer

    app = app_of(
        Route("/a/{account}/users/{end_user}", GET=endpoint("user")),
        Route("/a/{account}", GET=endpoint("one")),
        Route("/a/{account}/users/{end_user}/moves", GET=endpoint("moves")),
        Route("/a/{account}/users", GET=endpoint("users")),
    )
    client = await request(app, "GET", path)
    assert (client.body.decode() if client.status == 200 else None) == answered
