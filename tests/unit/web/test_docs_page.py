"""The page that people read: complete, safe, and by itself."""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from tests.support.client import request
from tests.support.small_house import SmallHouse

from bandari.web.docs_page.markup import Html, phrase, prose, tag
from bandari.web.docs_page.page import content_security_policy, page
from bandari.web.docs_page.schemas import definition, type_name
from bandari.web.openapi.document import document

VOID = {"meta"}


class Reader(HTMLParser):
    """What is on a page; every element must be closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.styles: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, name, attributes):
        if name not in VOID:
            self._open.append(name)
        self.names.add(name)
        for key, value in attributes:
            self.attributes.add(key)
            if key == "id":
                self.ids.append(value)
            if key == "href":
                self.links.append(value)

    def handle_endtag(self, name):
        assert self._open.pop() == name

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            self.styles.append(data)
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def reader():
    return Reader(page(document()).decode())


def test_everything_that_is_described_is_on_it(reader):
    described = document()
    operations = {
        operation["operationId"]
        for item in described["paths"].values()
        for operation in item.values()
        if not operation["operationId"].startswith("llm")
    }
    assert len(operations) > 10
    assert operations <= set(reader.ids)
    assert {f"type-{name}" for name in described["components"]["schemas"]} <= set(reader.ids)
    words = "".join(reader.text)
    for path in described["paths"]:
        assert path in words
    for tag_ in described["tags"]:
        assert tag_["description"].replace("`", "") in words


def test_every_link_leads_somewhere_on_it(reader):
    assert len(reader.ids) == len(set(reader.ids))
    elsewhere = {link for link in reader.links if not link.startswith("#")}
    assert elsewhere == {"/openapi.json"}
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


def test_it_loads_nothing_and_runs_nothing(reader):
    assert reader.names.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    assert reader.attributes <= {
        "charset",
        "class",
        "content",
        "href",
        "id",
        "lang",
        "name",
        "open",
    }
    assert all("url(" not in style and "@import" not in style for style in reader.styles)


def test_the_policy_allows_its_style_and_nothing_else(reader):
    (style,) = reader.styles
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in content_security_policy().split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert policy["frame-ancestors"] == "'none'"


async def test_it_is_served_with_its_policy(front):
    client = await request(front(SmallHouse()).app, "GET", "/docs")
    assert (client.status, client.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert client.headers["content-security-policy"] == content_security_policy()
    assert client.headers["x-content-type-options"] == "nosniff"
    assert client.body == page(document())


def test_an_example_can_be_pasted_into_a_shell(reader):
    lines = [text for text in reader.text if text.startswith("curl")]
    assert len(lines) > 20
    anthropic = [line for line in lines if "anthropic-version: 2023-06-01" in line]
    assert all("/v1/messages" in line for line in anthropic)
    assert len(anthropic) > 3
    assert not [line for line in lines if "/healthz" in line and "Authorization" in line]


def test_an_operators_example_has_an_admin_key(reader):
    lines = [text for text in reader.text if text.startswith("curl")]
    for line in lines:
        assert ("$BANDARI_ADMIN_KEY" in line) is ("/admin/v1/" in line)
    assert len([line for line in lines if "-X PATCH" in line]) == 3


def test_a_quotation_mark_does_not_end_an_example():
    described = document()
    body = described["paths"]["/v1/completions"]["post"]["requestBody"]["content"]
    body["application/json"]["examples"] = {"x": {"summary": "x", "value": {"prompt": "It's on."}}}
    (line,) = [text for text in Reader(page(described).decode()).text if "'s on." in text]
    *_, flag, data = shlex.split(line)
    assert (flag, json.loads(data)) == ("-d", {"prompt": "It's on."})


def test_a_description_cannot_become_markup():
    described = document()
    evil = "<script>alert(1)</script> `<b>` & \"'"
    described["info"]["description"] = evil
    for operation in described["paths"]["/v1/models"].values():
        operation |= {"summary": evil, "description": evil}
    for schema in described["components"]["schemas"].values():
        schema["description"] = evil
    reader = Reader(page(described).decode())
    assert "script" not in reader.names
    assert "b" not in reader.names


# -- the pieces ------------------------------------------------------------------------------------


def test_text_is_escaped_and_markup_is_not():
    assert tag("p", "a < b", Html("<i></i>"), None, class_='"x"', title=None) == (
        '<p class="&quot;x&quot;">a &lt; b<i></i></p>'
    )
    assert phrase("a `b < c` d") == "a <code>b &lt; c</code> d"
    assert prose("one\n\ntwo `x`") == "<p>one</p><p>two <code>x</code></p>"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"const": "a", "type": "string"}, '"a"'),
        ({"enum": ["a", "b", None], "type": ["string", "null"]}, '"a" or "b" or null'),
        ({"type": "string", "enum": list("abcdefghijklmnop")}, "…"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        (
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "list of (string or null)",
        ),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"$ref": "#/components/schemas/Tool"}, "Tool"),
        ({"anyOf": [{"$ref": "#/components/schemas/Tool"}, {"type": "null"}]}, "Tool or null"),
        ({}, "anything"),
    ],
)
def test_a_type_in_a_few_words(schema, words):
    assert re.sub("<[^>]*>", "", type_name(schema)).replace("&quot;", '"').endswith(words)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"minimum": 0, "maximum": 2}, "0 to 2"),
        ({"minimum": -2, "maximum": 2}, "−2 to 2"),
        ({"minimum": 1, "maximum": 2**53 - 1}, "1 or more"),
        ({"minimum": -(2**53 - 1), "maximum": 2**53 - 1}, None),
        ({"minLength": 1, "maxLength": 512}, "1 to 512 characters"),
        ({"maxItems": 4}, "at most 4 of them"),
        ({"pattern": "^[0-9]+$"}, "matches ^[0-9]+$"),
    ],
)
def test_bounds_in_a_few_words(bounds, words):
    shown = definition({"properties": {"x": bounds}}, {})
    assert ("bounds" in shown) is (words is not None)
    assert words is None or words in shown
