"""What operators and their tools ask, and the description itself."""

from __future__ import annotations

from typing import Any, Final

from bandari.web.openapi.headers import IDENTITY
from bandari.web.openapi.operation import Answer, Operation, Section
from bandari.web.openapi.shapes.operations import Alive, NotReady, Ready

OPERATIONS: Final = Section(
    "Operations",
    "For operators and their tools. No key is needed.",
    (
        Operation(
            id="getHealth",
            method="get",
            path="/healthz",
            summary="Ask whether the process is alive",
            description="It answers as long as it runs.",
            answer=Answer("It is.", shape=Alive, headers=IDENTITY),
            needs_key=False,
        ),
        Operation(
            id="getReadiness",
            method="get",
            path="/readyz",
            summary="Ask whether it can serve",
            description="Not while the engine starts, and not once the server is about to stop.",
            answer=Answer("It can.", shape=Ready, headers=IDENTITY),
            others={503: Answer("It cannot.", shape=NotReady, headers=IDENTITY)},
            needs_key=False,
        ),
        Operation(
            id="getMetrics",
            method="get",
            path="/metrics",
            summary="Read the counters",
            description="In the text format of Prometheus.",
            answer=Answer("The counters.", texts=("text/plain",), headers=IDENTITY),
            needs_key=False,
        ),
        Operation(
            id="getOpenApi",
            method="get",
            path="/openapi.json",
            summary="Read this description",
            description="OpenAPI 3.1, for programs.",
            answer=Answer("The description.", shape=dict[str, Any], headers=IDENTITY),
            needs_key=False,
        ),
        Operation(
            id="getDocs",
            method="get",
            path="/docs",
            summary="Read this page",
            description="The same, for people. It loads nothing else.",
            answer=Answer("The page.", texts=("text/html",), headers=IDENTITY),
            needs_key=False,
        ),
    ),
    bases=("",),
)
