"""Judges what is sent and answered by the OpenAPI document: nothing in it, and nothing beside it.

The document lets an object have more fields, because clients must bear them; here it does not, so
that a field that nobody described is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from bandari.wire.sse import SseDecoder, SseEvent

JsonObject = dict[str, Any]


class Described:
    """What a document says, as questions that tests ask."""

    def __init__(self, document: JsonObject) -> None:
        self.document = document
        closed = deepcopy(document["components"])
        for schema in closed["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False
        self._components = closed

    def operation(self, method: str, path: str) -> JsonObject:
        found: JsonObject = self.document["paths"][path][method.lower()]
        return found

    def operations(self) -> Iterable[tuple[str, str, JsonObject]]:
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def schema(self, name: str) -> JsonObject:
        found: JsonObject = self.document["components"]["schemas"][name]
        return found

    def resolved(self, value: JsonObject) -> JsonObject:
        """What a reference refers to; else the value itself."""
        found: Any = value
        if "$ref" in value:
            found = self.document
            for segment in value["$ref"].removeprefix("#/").split("/"):
                found = found[segment]
        return dict(found)

    def check(self, schema: JsonObject | str, value: object) -> None:
        """Fail unless the value fits the schema, which may be named, to the last field."""
        if isinstance(schema, str):
            schema = {"$ref": f"#/components/schemas/{schema}"}
        validator = Draft202012Validator({**schema, "components": self._components})
        error = best_match(validator.iter_errors(value))
        assert error is None, f"{error.message} at {error.json_path} of {value}"

    def fits(self, schema: JsonObject | str, value: object) -> bool:
        try:
            self.check(schema, value)
        except AssertionError:
            return False
        return True

    def check_answer(
        self, method: str, path: str, status: int, headers: Iterable[str], body: bytes
    ) -> None:
        """Fail unless the answer is described: its status, its headers, its JSON or its events."""
        answers = self.operation(method, path)["responses"]
        assert str(status) in answers, f"{method} {path} says nothing of {status}"
        answer = self.resolved(answers[str(status)])
        undescribed = {name.lower() for name in headers} - answer["headers"].keys() - PLAIN
        assert not undescribed, f"{method} {path} says nothing of {undescribed}"
        content = answer["content"]
        if "text/event-stream" in content and not body.lstrip().startswith(b"{"):
            self.check_stream(content["text/event-stream"], body)
        elif "application/json" in content:
            self.check(content["application/json"]["schema"], msgspec.json.decode(body))

    def check_stream(self, content: JsonObject, body: bytes) -> list[Any]:
        """Fail unless every event is described; returns what the schema is of."""
        how = content["x-event-stream"]
        schemas = [content["schema"]]
        if "error" in how:
            schemas.append(how["error"])
        values = []
        for event in events_of(body):
            if event.data == b"[DONE]":
                assert "[DONE]" in how["endsWith"]
                continue
            value = whole_event(event) if how["schemaOf"] == "event" else _data(event)
            self.check({"anyOf": schemas} if len(schemas) > 1 else schemas[0], value)
            values.append(value)
        return values


PLAIN = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "referrer-policy",
        "transfer-encoding",
        "x-accel-buffering",
        "x-content-type-options",
    }
)
"""Headers that are HTTP's own."""


def events_of(body: bytes) -> list[SseEvent]:
    """Each event by itself: an id is that of its own block."""
    return [event for block in body.split(b"\n\n") for event in SseDecoder().feed(block + b"\n\n")]


def whole_event(event: SseEvent) -> JsonObject:
    """An event with its name and its id, as those describe it who have names and ids."""
    value: JsonObject = {"event": event.name, "data": _data(event)}
    if event.id is not None:
        value["id"] = event.id
    return value


def _data(event: SseEvent) -> Any:
    return msgspec.json.decode(event.data)
