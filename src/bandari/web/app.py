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
from bandari.web.wrong_urls import Answered, WrongUrls, wrong_method
from bandari.wire.chat_completions.errors import encode_problem

Endpoint = Callable[[Exchange], Awaitable[None]]
LogRequest = Callable[[str, str, int, float], None]
"""Writes a request that has ended to the access log: method, path, status, seconds."""

_log = logging.getLogger(__name__)
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CLIENT_CLOSED = 499


_PLACE = re.compile(r"\\\{(?P<name>\w+)\\\}")
_OPEN_PLACES = ("id", "end_user")


class Route:
    """One path and its endpoints by method. Where it says ``{id}`` or ``{end_user}``, anything may
    stand; where it says another name in braces, one segment.

    ``spell`` is the envelope of its errors, until an endpoint sets another.
    """

    def __init__(self, path: str, *, spell: Spell = encode_problem, **endpoints: Endpoint) -> None:
        self.path = path
        self.spell = spell
        self.has_id = "{" in path
        self.suffix = path.rpartition("}")[2]
        self.pattern = re.compile(_PLACE.sub(_what_may_stand, re.escape(path)), re.DOTALL)
        self.endpoints: Mapping[str, Endpoint] = endpoints
        self.allow = ", ".join(endpoints)

    def ids_in(self, path: str) -> tuple[str, ...]:
        """What stands in ``path`` where this route has names in braces; none if it is another's."""
        found = self.pattern.fullmatch(path) if self.has_id else None
        return found.groups() if found else ()


def _specificity(route: Route) -> tuple[int, int]:
    """Of routes that a path fits, the one with the longest end, and then the most places, is it."""
    return len(route.suffix), route.path.count("{")


def _what_may_stand(place: re.Match[str]) -> str:
    if place["name"] not in _OPEN_PLACES:
        return "([^/]+)"
    # An id that ends in a slash is a URL with a slash too many.
    return "(.*[^/])" if place["name"] == "id" else "(.+)"


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
        self._with_id = sorted(with_id, key=_specificity, reverse=True)
        self._wrong_urls = WrongUrls(
            [Answered(route.path, route.pattern, route.allow) for route in routes]
        )
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
            exchange.path_ids = route.ids_in(exchange.path)
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
        return next((route for route in self._with_id if route.ids_in(path)), None)

    def _nothing_here(self, exchange: Exchange) -> Problem:
        return of_fault(NotFound(self._wrong_urls.nothing_at(exchange.path, exchange.method)))


def _wrong_method(exchange: Exchange, route: Route) -> Problem:
    fault = MethodNotAllowed(wrong_method(exchange.path, exchange.method, route.path, route.allow))
    problem = of_fault(fault)
    return Problem(
        status=problem.status,
        code=problem.code,
        message=problem.message,
        blame=problem.blame,
        allow=route.allow,
    )
