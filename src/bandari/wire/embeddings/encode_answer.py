"""Embeddings answers, from ``Embeddings`` to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: an answer may have millions of numbers, so it is spelled in steps.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Generator

import msgspec

from bandari.domain.embeddings import Embeddings, EncodingFormat
from bandari.domain.usage import Usage
from bandari.wire.embeddings import STEP_BYTES

_encode = msgspec.json.Encoder().encode


def encode_answer(
    answer: Embeddings, usage: Usage, model: str, encoding_format: EncodingFormat
) -> Generator[None, None, bytes]:
    """The ``list`` object. ``model`` is the public id, ``usage`` what is charged.

    Yields between its steps.
    """
    spell = _as_base64 if encoding_format is EncodingFormat.BASE64 else _as_numbers
    pieces: list[bytes] = []
    step = 0
    for index, vector in enumerate(answer.vectors):
        piece = b'{"object":"embedding","index":%d,"embedding":%b}' % (index, spell(vector))
        pieces.append(piece)
        step += len(piece)
        if step > STEP_BYTES:
            step = 0
            yield
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (
        b",".join(pieces),
        _encode(model),
        _encode({"prompt_tokens": usage.input_tokens, "total_tokens": usage.total_tokens}),
    )


def _as_base64(vector: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(vector)


def _as_numbers(vector: bytes) -> bytes:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return _encode(numbers.tolist())
