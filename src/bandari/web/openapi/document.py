"""The document: all surfaces together."""

from __future__ import annotations

from typing import Final

import bandari
from bandari.web.openapi.account import OWN_ACCOUNT, OWN_END_USERS
from bandari.web.openapi.admin import ACCOUNTS
from bandari.web.openapi.admin_keys import KEYS, USERS
from bandari.web.openapi.admin_reports import CATALOGUE, REPORTS
from bandari.web.openapi.chat import CHAT
from bandari.web.openapi.completions import COMPLETIONS
from bandari.web.openapi.embeddings import EMBEDDINGS
from bandari.web.openapi.errors import answer_name, error_answers
from bandari.web.openapi.headers import PARAMETERS, RESPONSE_HEADERS
from bandari.web.openapi.json_values import JsonObject
from bandari.web.openapi.messages import MESSAGES_SECTION
from bandari.web.openapi.models import MODELS
from bandari.web.openapi.operation import Section, spelled
from bandari.web.openapi.operations import OPERATIONS
from bandari.web.openapi.responses import RESPONSES_SECTION
from bandari.web.openapi.schema import Schemas
from bandari.web.openapi.streams import STREAMS
from bandari.web.openapi.typed_stream import TYPED_STREAM

SECTIONS: Final[tuple[Section, ...]] = (
    CHAT,
    TYPED_STREAM,
    MESSAGES_SECTION,
    RESPONSES_SECTION,
    EMBEDDINGS,
    COMPLETIONS,
    STREAMS,
    MODELS,
    OWN_ACCOUNT,
    OWN_END_USERS,
    ACCOUNTS,
    KEYS,
    USERS,
    CATALOGUE,
    REPORTS,
    OPERATIONS,
)

DESCRIPTION: Final = """\
One API in front of many models, in the protocols that clients already speak.

A client of OpenAI's takes `/v1` of this server as its base URL. What is there is also under \
`/api/v1/llm`.

A key is said as `Authorization: Bearer KEY`, or as `x-api-key: KEY`. Answers are paid from the \
wallet of the key's account, and each has a receipt.

What operators do is under `/admin/v1`, with an admin key: `Authorization: Bearer ADMIN_KEY`, or \
`x-admin-key: ADMIN_KEY`.
"""


def document() -> JsonObject:
    """The description of everything that is served, as JSON has it."""
    schemas = Schemas()
    paths: dict[str, JsonObject] = {}
    for section in SECTIONS:
        for base in section.bases:
            for operation in section.operations:
                item = paths.setdefault(base + operation.path, {})
                item[operation.method] = spelled(operation, section, base, schemas)
    failures = {
        answer_name(operation.protocol, status): (operation.protocol, status)
        for section in SECTIONS
        for operation in section.operations
        if operation.protocol is not None
        for status in operation.failures
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bandari",
            "version": bandari.__version__,
            "summary": bandari.__doc__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [{"name": section.tag, "description": section.description} for section in SECTIONS],
        "paths": paths,
        "components": {
            "responses": error_answers(failures.values(), schemas),
            "schemas": dict(sorted(schemas.components.items())),
            "parameters": dict(PARAMETERS),
            "headers": dict(RESPONSE_HEADERS),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`Authorization: Bearer KEY`",
                },
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "`x-api-key: KEY`, where there is no `Authorization`",
                },
                "adminBearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`Authorization: Bearer ADMIN_KEY`",
                },
                "adminKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-admin-key",
                    "description": "`x-admin-key: ADMIN_KEY`; comes before `Authorization`",
                },
            },
        },
    }
