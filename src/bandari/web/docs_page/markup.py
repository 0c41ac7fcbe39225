"""HTML, written so that a text cannot become markup by accident."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_CODE = re.compile(r"`([^`]+)`")


class Html(str):
    """Text that is markup already. Everything else is escaped where it is put."""

    __slots__ = ()


Child = str | None
"""``Html`` is taken as it is, other text is escaped, ``None`` is nothing."""


def tag(name: str, *children: Child, **attributes: str | None) -> Html:
    """An element. An attribute whose name Python keeps for itself has a ``_`` behind it, and one
    that is ``None`` is not there.
    """
    head = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{head}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """One after the other."""
    return Html("".join(_markup(child) for child in children if child is not None))


def prose(text: str) -> Html:
    """Paragraphs with ```code``` in them, as descriptions have them."""
    return joined(tag("p", phrase(paragraph)) for paragraph in text.strip().split("\n\n"))


def phrase(text: str) -> Html:
    """Text with ```code``` in it."""
    return Html(_CODE.sub(r"<code>\1</code>", escape(text)))


def _markup(child: str) -> str:
    return child if isinstance(child, Html) else escape(child)
