"""The application: which endpoint answers, and the edge where whatever went wrong is told.

Owns routing, request ids, the access log, and the one place where faults become answers.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from bandari.domain.faults import Fault, MethodNotAllowed, NotFound, OwnFault
from bandari.domain.problem import Problem, of_fault
from bandari.service.ports import Metrics
from bandari.service.tracing import request_id
from bandari.web import problems
from bandari.web.exchange import ClientLeft, Exchange, Spell
from bandari.wire.chat_completions.errors import encode_problem

Endpoint = Callable[[Exchange], Awaitable[None]]
LogRequest = Callable[[str, str, int, float], None]
"""Writes a request that has ended to the access log: method, path, status, seconds."""

_log = logging.getLogger(__name__)
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CLIENT_CLOSED = 499


class Route:
    """One path and its endpoints by method. Where it says ``{id}``, anything may stand.

    ``spell`` is the envelope of its errors, until an endpoint sets another.
    """

    def __init__(self, path: str, *, spell: Spell = encode_problem, **endpoints: Endpoint) -> None:
        self.path = path
        self.spell = spell
        self.has_id = "{id}" in path
        self.prefix, _, self.suffix = path.partition("{id}")
        self.endpoints: Mapping[str, Endpoint] = endpoints
        self.allow = ", ".join(endpoints)

    def id_in(self, path: str) -> str:
        """What stands in ``path`` where this route says ``{id}``; empty if it is another's."""
        if not self.has_id or not path.startswith(self.prefix) or not path.endswith(self.suffix):
            return ""
        return path[len(self.prefix) : len(path) - len(self.suffix)]


class App:
    """``new_request_id`` makes the id of a request that brought none."""

    def __init__(
        self,
        routes: list[Route],
        metrics: Metrics,
        new_request_id: Callable[[], str],
        log_request: LogRequest,
    ) -> None:
        self._exact = {route.path: route for route in routes if not route.has_id}
        with_id = [route for route in routes if route.has_id]
        self._with_id = sorted(with_id, key=lambda route: len(route.suffix), reverse=True)
        self._metrics = metrics
        self._new_request_id = new_request_id
        self._log_request = log_request

    async def __call__(self, exchange: Exchange) -> None:
        began = time.perf_counter()
        identity = exchange.header(b"x-request-id")
        if identity is None or not _SANE_REQUEST_ID.fullmatch(identity):
            identity = self._new_request_id()
        request_id.set(identity)
        exchange.headers.append((b"x-request-id", identity.encode()))
        route = self._find(exchange.path)
        if route is not None:
            exchange.spell = route.spell
            exchange.path_id = route.id_in(exchange.path)
        try:
            await self._answer(exchange, route)
        finally:
            seconds = time.perf_counter() - began
            name = route.path if route is not None else "other"
            status = exchange.status or _CLIENT_CLOSED
            self._metrics.request_ended(name, status, seconds)
            self._log_request(exchange.method, exchange.path[:200], status, seconds)

    async def _answer(self, exchange: Exchange, route: Route | None) -> None:
        try:
            if route is None:
                await self._tell(exchange, self._nothing_here(exchange))
                return
            endpoint = route.endpoints.get(exchange.method)
            if endpoint is None and exchange.method == "HEAD":
                endpoint = route.endpoints.get("GET")
            if endpoint is None:
                await self._tell(exchange, _wrong_method(exchange, route))
                return
            await endpoint(exchange)
        except ClientLeft:
            return
        except Fault as fault:
            await self._tell(exchange, of_fault(fault))
        except Exception:  # noqa: BLE001 - the process edge: the client is told, the log has the rest
            _log.exception("request failed")
            await self._tell(exchange, of_fault(OwnFault()))

    async def _tell(self, exchange: Exchange, problem: Problem) -> None:
        """Say it if nothing was said yet; an answer that has begun can only be broken off."""
        if not exchange.began:
            await problems.tell(exchange, problem, self._metrics)

    def _find(self, path: str) -> Route | None:
        route = self._exact.get(path)
        if route is not None:
            return route
        return next((route for route in self._with_id if route.id_in(path)), None)

    def _nothing_here(self, exchange: Exchange) -> Problem:
        path = exchange.path
        shown = path if len(path) <= 200 else path[:200] + "…"
        right = self._intended(path)
        if right is not None:
            hint = f" The right URL is {right}"
            base = _base_url_of(right)
            hint += f" (base URL: …{base})." if base else "."
        else:
            hint = " The API's base URL ends in /v1, for example http://HOST/v1/chat/completions."
        return of_fault(NotFound(f"There is nothing at {shown}.{hint}"))

    def _intended(self, path: str) -> str | None:
        """The path that a wrong one most likely meant: ``/v1`` missing, doubled, or a slash too
        many.
        """
        segments = [segment for segment in path.split("/") if segment]
        while segments and segments[0] in ("v1", "api", "openai"):
            segments.pop(0)
        meant = "/v1/" + "/".join(segments)
        for candidate in (meant, "/" + "/".join(segments)):
            if candidate != path and self._find(candidate) is not None:
                return candidate
        return None


def _base_url_of(path: str) -> str | None:
    return "/v1" if path.startswith("/v1/") else None


def _wrong_method(exchange: Exchange, route: Route) -> Problem:
    fault = MethodNotAllowed(
        f"{exchange.path} does not answer {exchange.method[:20]}. Use {route.allow} {route.path}."
    )
    problem = of_fault(fault)
    return Problem(
        status=problem.status,
        code=problem.code,
        message=problem.message,
        blame=problem.blame,
        allow=route.allow,
    )
