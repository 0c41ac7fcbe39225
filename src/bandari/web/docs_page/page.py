"""The page as a whole: its head, its contents, its sections."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from bandari.web.docs_page.markup import Html, joined, prose, tag
from bandari.web.docs_page.operations import Described, described, operation_section
from bandari.web.docs_page.schemas import type_anchor, type_section
from bandari.web.openapi.json_values import JsonObject

_STYLE: Final = Path(__file__).with_name("page.css")

_FIRST_LINES: Final = """\
export BANDARI_URL=http://127.0.0.1:8080
export BANDARI_API_KEY=bd_live_…
export BANDARI_ADMIN_KEY=bandari_admin_…
"""


@cache
def style() -> Html:
    """The page's style sheet."""
    return Html(_STYLE.read_text("utf-8"))


def content_security_policy() -> str:
    """Allows the page its own style, and nothing else."""
    digest = b64encode(sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def page(document: JsonObject) -> bytes:
    """The document as a page in HTML."""
    operations = described(document)
    info = document["info"]
    types = document["components"]["schemas"]
    head = (
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        tag("title", f"{info['title']} API"),
        tag("style", style()),
    )
    body = (
        tag("nav", _contents(document, operations)),
        tag(
            "main",
            tag("h1", f"{info['title']} API ", tag("small", info["version"])),
            tag("p", info["summary"], class_="lead"),
            prose(info["description"]),
            tag("pre", tag("code", _FIRST_LINES)),
            tag("p", "For programs: ", tag("a", "/openapi.json", href="/openapi.json"), "."),
            *(_surface(each, document, operations) for each in document["tags"]),
            tag(
                "section",
                tag("h2", "Types"),
                *(type_section(name, types) for name in types),
                id="types",
            ),
        ),
    )
    html = tag("html", tag("head", *head), tag("body", *body), lang="en")
    return f"<!doctype html>{html}".encode()


def _surface(surface: JsonObject, document: JsonObject, operations: Sequence[Described]) -> Html:
    name = surface["name"]
    return tag(
        "section",
        tag("h2", name),
        prose(surface["description"]),
        *(
            operation_section(operation, document)
            for operation in operations
            if name in operation.fields["tags"]
        ),
        id=_anchor(name),
    )


def _contents(document: JsonObject, operations: Sequence[Described]) -> Html:
    surfaces = [
        tag(
            "li",
            tag("a", surface["name"], href=f"#{_anchor(surface['name'])}"),
            tag(
                "ul",
                *(
                    tag("li", tag("a", operation.fields["summary"], href=f"#{operation.anchor}"))
                    for operation in operations
                    if surface["name"] in operation.fields["tags"]
                ),
            ),
        )
        for surface in document["tags"]
    ]
    names = (
        tag("li", tag("a", name, href=f"#{type_anchor(name)}"))
        for name in document["components"]["schemas"]
    )
    types = tag("li", tag("a", "Types", href="#types"), tag("ul", *names))
    return tag("ul", joined(surfaces), types)


def _anchor(surface: str) -> str:
    return surface.lower().replace(" ", "-")
