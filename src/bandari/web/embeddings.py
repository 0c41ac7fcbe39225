"""``POST /v1/embeddings``: from bytes to vectors, and back."""

from __future__ import annotations

from bandari.domain.keys import Scope
from bandari.domain.outcome import Deny
from bandari.service.embedding import Embedding
from bandari.service.turns import in_turns
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.answer_headers import tell_ignored
from bandari.web.exchange import Exchange
from bandari.web.limit_headers import tell_limits
from bandari.web.requests import refuse_idempotency
from bandari.wire.embeddings.decode_request import decode_request
from bandari.wire.embeddings.encode_answer import encode_answer


class Embeddings:
    """The endpoint. One instance serves all its requests."""

    def __init__(self, admission: Admission, embedding: Embedding) -> None:
        self._admission = admission
        self._embedding = embedding

    async def __call__(self, exchange: Exchange) -> None:
        asked = await self._admission.take_in(exchange, Scope.EMBEDDINGS)
        if asked is None:
            return
        principal, body = asked
        refuse_idempotency(exchange, "vectors are not kept, and are charged each time.")
        request = decode_request(body)
        principal = await self._admission.on_behalf(principal, request.user)
        run = await self._embedding.begin(principal, request)
        if isinstance(run, Deny):
            await self._admission.tell(exchange, run)
            return
        unwatch = exchange.watch_client(run.client_left)
        try:
            embedded = await run.result()
        finally:
            unwatch()
        exchange.headers.append((b"x-bandari-receipt", run.receipt_id.encode()))
        if (standing := run.standing) is not None:
            tell_limits(exchange, standing)
        tell_ignored(exchange, run.ignored)
        answer = encode_answer(
            embedded.answer, embedded.usage, run.model.id, request.encoding_format
        )
        await exchange.respond(200, problems.JSON, await in_turns(answer))
