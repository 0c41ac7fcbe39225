"""A request's body as its fields, each kept as the client wrote it, and the reading of one field.

Every protocol whose requests are JSON objects reads them here; what the fields mean is its own
business.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from bandari.domain.faults import InvalidJson, InvalidRequest
from bandari.wire.field_errors import FieldErrors, not_json

MAX_FIELDS: Final = 200

_fields_of = msgspec.json.Decoder(dict[str, Raw])


def read_object(body: bytes) -> dict[str, Raw]:
    """The fields of a JSON object; of two with the same name the last counts.

    Raises the ``CallerFault`` that says what is wrong with ``body``. The values are not looked
    into, and may be no JSON where only a decoder that builds them would see it.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise InvalidJson("The request body is empty; it must be a JSON object.")
    try:
        body.decode()  # also where the decoders do not look: it may be passed on as it is
        fields = _fields_of.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None
    if len(fields) > MAX_FIELDS:
        raise InvalidRequest(f"The request has {len(fields)} fields; {MAX_FIELDS} are allowed.")
    return fields


def read_value(name: str, raw: Raw, decoder: msgspec.json.Decoder[Any], errors: FieldErrors) -> Any:
    """The value of the field at ``name`` (a path). Raises the ``CallerFault`` that names it."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise errors.wrong_value(name, error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json(error, name) from None


def is_null(raw: Raw) -> bool:
    """Whether a field is there and says nothing: ``null`` is the same as absent."""
    return len(raw) == 4 and bytes(raw) == b"null"
