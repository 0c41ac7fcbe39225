"""Errors at the edge: a problem, in the client's protocol, with the headers that its SDK reads."""

from __future__ import annotations

from bandari.domain import problem
from bandari.domain.faults import Fault
from bandari.domain.outcome import Deny
from bandari.domain.problem import Problem
from bandari.service.ports import Metrics
from bandari.web.exchange import Exchange

JSON = b"application/json"


async def tell(exchange: Exchange, what: Problem | Deny | Fault, metrics: Metrics) -> None:
    """Answer with the problem as a whole body. The exchange must not have begun."""
    if isinstance(what, Deny):
        what = problem.of_refusal(what)
    elif isinstance(what, Fault):
        what = problem.of_fault(what)
    metrics.problem_told(what.code, what.blame.value)
    headers = exchange.headers
    if what.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if what.allow is not None:
        headers.append((b"allow", what.allow.encode()))
    if what.retry_after_ms is not None:
        headers.append((b"retry-after-ms", b"%d" % what.retry_after_ms))
        headers.append((b"retry-after", b"%d" % -(-what.retry_after_ms // 1000)))
    if what.status in (401, 402, 408, 409, 429) or what.status >= 500:
        headers.append((b"x-should-retry", b"true" if what.retry else b"false"))
    await exchange.respond(what.status, JSON, exchange.spell(what))
