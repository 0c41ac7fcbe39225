"""Embeddings answers, from bytes to ``Embeddings``.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: vectors may come as numbers or as base64, whatever was asked for.
Rule 4: an answer may have millions of numbers, so it is read in steps.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Generator
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from bandari.domain.embeddings import Embeddings
from bandari.domain.faults import UpstreamMalformed
from bandari.domain.usage import Usage
from bandari.wire.chat_completions.errors import read_stream_error
from bandari.wire.embeddings import STEP_BYTES

_Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class _Entry(Struct):
    embedding: Raw
    index: int | None = None


class _WireUsage(Struct):
    prompt_tokens: _Tokens | None = None
    total_tokens: _Tokens | None = None


class _Body(Struct):
    data: list[_Entry] = []
    usage: _WireUsage | None = None
    error: Raw | UnsetType = UNSET


_read_body = msgspec.json.Decoder(_Body).decode
_read_embedding = msgspec.json.Decoder(str | list[float]).decode


def decode_answer(
    body: bytes, *, inputs: int, dimensions: int | None = None
) -> Generator[None, None, Embeddings]:
    """Read the answer to that many inputs, for which vectors of that length were asked.

    Yields between its steps. Raises ``UpstreamMalformed`` for anything else: fewer vectors or more,
    vectors of different lengths, numbers that are none.
    """
    try:
        parsed = _read_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamMalformed from None
    if parsed.error is not UNSET and bytes(parsed.error) != b"null":
        raise read_stream_error(bytes(parsed.error))
    entries = parsed.data
    places = [at if entry.index is None else entry.index for at, entry in enumerate(entries)]
    if sorted(places) != list(range(inputs)):
        raise UpstreamMalformed(
            f"The model's provider sent {len(entries)} vectors that do not belong to the {inputs} "
            "inputs one by one."
        )
    vectors: dict[int, bytes] = {}
    step = 0
    for place, entry in zip(places, entries, strict=True):
        vectors[place] = _read_vector(entry.embedding)
        step += len(entry.embedding)
        if step > STEP_BYTES:
            step = 0
            yield
    lengths = {len(vector) // 4 for vector in vectors.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise UpstreamMalformed("The model's provider sent vectors of different lengths, or empty.")
    if dimensions is not None and lengths != {dimensions}:
        raise UpstreamMalformed(
            f"The model's provider sent vectors of {lengths.pop()} numbers; {dimensions} were "
            "asked for."
        )
    return Embeddings(tuple(vectors[place] for place in range(inputs)), _read_usage(parsed.usage))


def _read_vector(raw: Raw) -> bytes:
    numbers = array("f")
    try:
        wire = _read_embedding(raw)
        if isinstance(wire, str):
            numbers.frombytes(base64.b64decode(wire, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
        else:
            numbers.extend(wire)
    except ValueError:  # no JSON, no base64, or half a number at its end
        raise UpstreamMalformed("The model's provider sent a vector that cannot be read.") from None
    # Float32 numbers cannot add up to infinity in the double precision of a sum.
    if not math.isfinite(sum(numbers)):
        raise UpstreamMalformed(
            "The model's provider sent a vector with a number that is not finite."
        )
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _read_usage(wire: _WireUsage | None) -> Usage | None:
    """What was reported: some report only the total, which is the prompt. Nothing is no report:
    no input has no tokens.
    """
    if wire is None:
        return None
    tokens = wire.total_tokens if wire.prompt_tokens is None else wire.prompt_tokens
    return Usage(input_tokens=tokens) if tokens else None
