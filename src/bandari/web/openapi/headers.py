"""The headers and parameters of the HTTP API: each is described once, and referred to by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.recordings import MAX_IDEMPOTENCY_KEY_CHARACTERS, CacheUse
from bandari.web.openapi.json_values import JsonObject


def _text(description: str, **more: object) -> JsonObject:
    return {"description": description, "schema": {"type": "string", **more}}


def _count(description: str) -> JsonObject:
    return {"description": description, "schema": {"type": "integer", "minimum": 0}}


RESPONSE_HEADERS: Final[Mapping[str, JsonObject]] = {
    "x-request-id": _text(
        "The request's id, also in the server's log: the client's own, if it is 1 to 128 letters, "
        "digits and `._-`; else a new one."
    ),
    "request-id": _text("The same as `x-request-id`, where clients of this protocol look for it."),
    "x-bandari-receipt": _text(
        "The id of the receipt: what the answer cost, and why. Absent where it is free; final once "
        "the answer has ended."
    ),
    "x-bandari-stream": _text("The id of the answer's recording, of which all its readers read."),
    "x-resume-window": _count(
        "How many seconds the answer goes on, and can be read again, while nobody reads it; 0: it "
        "stops at once. Absent where it goes on to its end."
    ),
    "x-bandari-replayed": _text(
        "The answer was there, whole or in the making, before it was asked for now, and is charged "
        "once. Absent on a new one.",
        const="true",
    ),
    "x-bandari-cache": _text(
        "Whether the answer was one that was kept for an equal request. Absent where the cache was "
        "not asked.",
        enum=["hit", "miss"],
    ),
    "age": _count("How many seconds ago an answer out of the cache was generated."),
    "x-bandari-max-tokens": _count(
        "The limit to which the answer was shortened: by the balance, or by what the context "
        "window leaves. Absent where it was not."
    ),
    "x-bandari-ignored": _text(
        "The fields of the request that had no effect, with commas between them. Absent where all "
        "had."
    ),
    "x-ratelimit-limit-requests": _count(
        "Of the limits of requests that hold for this one, the one that has the least left: how "
        "many it allows. Absent where there is no limit."
    ),
    "x-ratelimit-remaining-requests": _count("How many of them are left now."),
    "x-ratelimit-reset-requests": _text(
        "The time until all of them are there again: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."
    ),
    "x-ratelimit-limit-tokens": _count(
        "The same of the limits of tokens. Absent where there is no limit."
    ),
    "x-ratelimit-remaining-tokens": _count("How many tokens are left now."),
    "x-ratelimit-reset-tokens": _text(
        "The time until all of them are there again: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."
    ),
    "anthropic-ratelimit-requests-limit": _count(
        "Of the limits of requests that hold for this one, the one that has the least left: how "
        "many it allows. Absent where there is no limit."
    ),
    "anthropic-ratelimit-requests-remaining": _count("How many of them are left now."),
    "anthropic-ratelimit-requests-reset": _text(
        "When all of them are there again, a time of RFC 3339."
    ),
    "anthropic-ratelimit-tokens-limit": _count(
        "The same of the limits of tokens. Absent where there is no limit."
    ),
    "anthropic-ratelimit-tokens-remaining": _count("How many tokens are left now."),
    "anthropic-ratelimit-tokens-reset": _text(
        "When all of them are there again, a time of RFC 3339."
    ),
    "x-bandari-limit": _text(
        "Which limit refuses, like `key.tokens_per_minute` or `end_user.requests_per_day`."
    ),
    "content-disposition": _text("The name of the file, where it is one."),
    "retry-after": _count("The seconds to wait before the next try, where that is known."),
    "retry-after-ms": _count("The same in milliseconds."),
    "x-should-retry": _text("Whether the same request may succeed later.", enum=["true", "false"]),
    "www-authenticate": _text("How to say who is asking.", const="Bearer"),
    "link": _text(
        "Where to go instead of a deprecated operation: its `successor-version` (RFC 8288)."
    ),
    "deprecation": _text(
        "Since when the operation is deprecated: `@` and seconds since 1970 (RFC 9745)."
    ),
}

IDENTITY: Final = ("x-request-id",)
LIMITS: Final = (
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)
MESSAGES_LIMITS: Final = (
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
)
RECORDED: Final = (
    *IDENTITY,
    "x-bandari-receipt",
    "x-bandari-stream",
    "x-bandari-max-tokens",
    "x-bandari-ignored",
    "x-resume-window",
    "x-bandari-replayed",
    "x-bandari-cache",
    "age",
)
"""What comes with an answer that a model writes."""
BILLED: Final = (*RECORDED, *LIMITS)
"""What comes with one that was asked for now."""


def _header(name: str, description: str, **schema: object) -> JsonObject:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _query(name: str, description: str, **schema: object) -> JsonObject:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _id(description: str, name: str = "id", **schema: object) -> JsonObject:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema or {"type": "string", "minLength": 1},
    }


_TIME: Final = {
    "type": "string",
    "examples": ["2026-12-01", "2026-12-01T08:00:00Z", "1796112000000"],
}

PARAMETERS: Final[Mapping[str, JsonObject]] = {
    "ModelId": _id("The model's public id, an alias of it, or `provider:model`."),
    "ResponseId": _id("The response's id."),
    "Stream": _query("stream", "Whether to answer with the response's events.", type="boolean"),
    "StartingAfter": _query(
        "starting_after",
        "With `stream`: the `sequence_number` of the last event that was received. What came after "
        "it is sent.",
        type="integer",
        minimum=0,
    ),
    "Limit": _query("limit", "How many to list at most.", type="integer", minimum=1, maximum=1000),
    "After": _query("after_id", "List what comes after this id.", type="string"),
    "Before": _query("before_id", "List what comes before this id.", type="string"),
    "ItemOrder": _query(
        "order", "Newest first, unless it is `asc`.", type="string", enum=["asc", "desc"]
    ),
    "ItemLimit": _query(
        "limit", "How many to list at most. Default 20.", type="integer", minimum=1, maximum=100
    ),
    "ItemAfter": _query("after", "List what comes after the item of this id.", type="string"),
    "Sort": _query(
        "sort",
        "In which order: the largest context window first, or the fastest to its first token. "
        "Without `anthropic-version` only.",
        type="string",
        enum=["context_window", "latency"],
    ),
    "AccountName": _id("The account's name.", "account"),
    "EndUserName": _id("The end user's name; what is special in a URL is escaped.", "end_user"),
    "KeyId": _id("The key's id.", "key_id", type="integer", minimum=1),
    "UserId": _id("The user's id.", "user_id", type="integer", minimum=1),
    "ReceiptId": _id("The receipt's id: an answer's `x-bandari-receipt`.", "receipt"),
    "PageLimit": _query(
        "limit", "How many to list at most. Default 100.", type="integer", minimum=1, maximum=1000
    ),
    "AfterId": _query(
        "after", "List what comes after: the `next` of a page.", type="integer", minimum=0
    ),
    "AfterName": _query("after", "List what comes after: the `next` of a page.", type="string"),
    "OfAccount": _query("account", "Only this account's.", type="string"),
    "OfKey": _query("key", "Only the key's of this id.", type="integer", minimum=1),
    "OfOwnKey": _query(
        "key",
        "Only the key's of this id; `this` is the one that asks.",
        type="string",
        pattern="^(this|[0-9]+)$",
    ),
    "OfEndUser": _query("end_user", "Only what was asked on his behalf.", type="string"),
    "OfModel": _query("model", "Only the model's of this public id.", type="string"),
    "Start": _query(
        "start",
        "From then on: a time of ISO 8601 (in UTC, unless it says otherwise), or milliseconds "
        "since 1970. What counts is when an answer was charged. For usage, a whole hour.",
        **_TIME,
    ),
    "End": _query("end", "Before then; spelled in the same ways.", **_TIME),
    "By": _query(
        "by",
        "By what it is told apart, with commas between: `hour`, `day` or `month` (one of them), "
        "`account`, `key`, `end_user`, `model`.",
        type="string",
        examples=["day,model"],
    ),
    "Format": _query(
        "format",
        "A page as JSON, or everything that is selected as CSV or JSON Lines. Default `json`.",
        type="string",
        enum=["json", "csv", "jsonl"],
    ),
    "Subject": _query("subject", "Only changes of this, like `key 12`.", type="string"),
    "Who": _query("who", "Only what this one has changed.", type="string"),
    "OnBehalfOf": _header(
        "X-On-Behalf-Of",
        "The end user for whom the request is made, printable. Kept in the receipt; comes before a "
        "user named in the body.",
        maxLength=512,
    ),
    "RequestId": _header(
        "X-Request-Id",
        "An id of your own for the request.",
        pattern="^[A-Za-z0-9._-]{1,128}$",
    ),
    "AnthropicVersion": _header(
        "anthropic-version",
        "Every client of Anthropic's sends it. With it, whatever its value, the answer has "
        "Anthropic's form; without it, OpenAI's.",
        examples=["2023-06-01"],
    ),
    "StreamId": _id("The stream's id: an answer's `x-bandari-stream`."),
    "AfterChunk": _query(
        "after",
        "The index of the last event that was received. What came after it is sent.",
        type="integer",
        minimum=0,
        maximum=MAX_INTEGER,
    ),
    "IdempotencyKey": _header(
        "Idempotency-Key",
        "1 to 255 visible characters of ASCII that name this request among the account's. The same "
        "request with the same key has the same answer, and is charged once.",
        pattern=f"^[!-~]{{1,{MAX_IDEMPOTENCY_KEY_CHARACTERS}}}$",
    ),
    "ResumeWindow": _header(
        "x-resume-window",
        "How many seconds the answer is to go on, and to be kept, while nobody reads it; `cancel` "
        "or 0 stops it at once. At most 86400, and cut to what the server allows.",
        pattern="^(cancel|[0-9]+)$",
        examples=["30", "cancel"],
    ),
    "LastChunkIndex": _header(
        "x-last-chunk-index",
        "The index, from 0, of the last event that was received of an earlier answer to this "
        "request. What came after it is sent, and nothing is generated.",
        pattern="^[0-9]+$",
    ),
    "LastEventId": _header(
        "Last-Event-ID",
        "The same, under the name that clients of server-sent events use.",
        pattern="^[0-9]+$",
    ),
    "StreamOf": _header(
        "x-bandari-stream",
        "The id of the stream to go on with: from its start, or from where the client was. Nothing "
        "is generated.",
    ),
    "CacheUse": _header(
        "x-bandari-cache",
        "What the request may have of the answers kept for equal ones: one of them, else a new one "
        "(`use`); one of them, else a 404 (`only`); a new one in their place (`refresh`); nothing "
        "(`off`). Default: what key or model say.",
        enum=list(CacheUse),
    ),
}

RESUMING: Final = ("LastChunkIndex", "LastEventId")
"""Where a reader was."""
STREAM_PARAMETERS: Final = ("IdempotencyKey", "ResumeWindow", *RESUMING, "StreamOf", "CacheUse")
"""What a client may say beside a request for an answer."""


def response_headers(names: Iterable[str]) -> JsonObject:
    """The headers of an answer, as references to their descriptions."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
