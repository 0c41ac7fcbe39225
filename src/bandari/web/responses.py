"""What is Responses' alone: answers that are kept, continued, polled, read again and cancelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from bandari.domain import recordings
from bandari.domain.faults import (
    ContextLengthExceeded,
    Interrupted,
    InvalidRequest,
    InvalidValue,
    ResponseNotFound,
    StreamNotFound,
)
from bandari.domain.keys import Principal
from bandari.domain.outcome import Deny
from bandari.domain.responses import (
    MAX_CHAIN_BYTES,
    MAX_CHAIN_LINKS,
    PREFIX,
    StoredResponse,
)
from bandari.service.answer_terms import AnswerTerms
from bandari.service.generation import Generation
from bandari.service.inference import EncoderFactory, Inference, Opening
from bandari.service.keeping import Keeping, SnapshotEncoder, ToKeep
from bandari.service.recording import About
from bandari.service.repeating import Repeated
from bandari.service.responses import StoredResponses
from bandari.service.streams import NoSuchFrame, Streams
from bandari.web import problems, resuming
from bandari.web.admission import Admission
from bandari.web.chat_settings import ChatSettings
from bandari.web.delivery import Delivery, begin_stream
from bandari.web.exchange import Exchange
from bandari.web.kept_encoder import KeptEncoder
from bandari.web.surface import COMPACTION, RESPONSES, envelope_of
from bandari.wire.responses.compaction import CompactionEncoder, summary_of
from bandari.wire.responses.decode_request import ResponsesRequest, decode_request
from bandari.wire.responses.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.responses.fields import ENCRYPTED_THOUGHTS, LOGPROBS
from bandari.wire.responses.history import (
    by_id,
    encode_input_items,
    read_page,
    response_of_item,
    with_ids,
)
from bandari.wire.responses.response_object import (
    LOST,
    ResponseFrame,
    encode_deleted,
    encode_end,
    with_status,
)

MAX_FRAME: Final = 2**53 - 1
_STARTING_AFTER: Final = "starting_after"

_items = msgspec.json.Decoder(tuple[Raw, ...]).decode


class Responses:
    """The endpoints. ``now_s`` tells the time in seconds since 1970."""

    def __init__(
        self,
        admission: Admission,
        inference: Inference,
        stored: StoredResponses,
        streams: Streams,
        delivery: Delivery,
        settings: ChatSettings,
        now_s: Callable[[], int],
    ) -> None:
        self._admission = admission
        self._inference = inference
        self._stored = stored
        self._streams = streams
        self._delivery = delivery
        self._settings = settings
        self._now_s = now_s

    async def create(self, exchange: Exchange) -> None:
        taken_in = await self._admission.take_in(exchange, RESPONSES.scope)
        if taken_in is None:
            return
        principal, body = taken_in
        wanted = decode_request(body, max_messages=self._settings.max_messages)
        principal = await self._admission.on_behalf(principal, wanted.chat.user)
        stores = wanted.store and self._streams.keeps_answers
        asked = resuming.asked_of(
            exchange,
            RESPONSES,
            body,
            is_stored=stores and wanted.chat.stream,
            is_background=wanted.background,
        )

        async def begin(terms: AnswerTerms) -> Generation | Repeated | Deny:
            whole = replace(await self._resolved(principal, wanted), store=stores)
            return await self._begin(principal, whole, terms)

        answered = await resuming.answered(exchange, self._streams, principal, asked, begin)
        if isinstance(answered, Deny):
            await self._admission.tell(exchange, answered)
        elif wanted.background and not wanted.chat.stream:
            self._delivery.tell_of(exchange, answered)
            response_id = _response_id(answered.recording.id)
            response = await self._stored.get(principal.account_id, response_id)
            await exchange.respond(200, problems.JSON, _body(response))
        else:
            await self._delivery.answer(exchange, answered)

    async def one(self, exchange: Exchange) -> None:
        """``GET``: the response as it is, or its stream behind ``starting_after``."""
        principal = await self._admission.identify(exchange, RESPONSES.scope)
        if principal is None:
            return
        if exchange.flag("stream"):
            after = exchange.number(_STARTING_AFTER, 0, MAX_FRAME)
            await self._follow(exchange, principal, -1 if after is None else after)
        else:
            response = await self._stored.get(principal.account_id, exchange.path_id)
            await exchange.respond(200, problems.JSON, _body(response))

    async def delete(self, exchange: Exchange) -> None:
        principal = await self._admission.identify(exchange, RESPONSES.scope)
        if principal is not None:
            # First what can be done again: where the rest fails, the client tries once more.
            await self._stored.get(principal.account_id, exchange.path_id)
            await self._streams.drop(principal, _stream_id(exchange.path_id))
            await self._stored.delete(principal.account_id, exchange.path_id)
            await exchange.respond(200, problems.JSON, encode_deleted(exchange.path_id))

    async def cancel(self, exchange: Exchange) -> None:
        principal = await self._admission.identify(exchange, RESPONSES.scope)
        if principal is not None:
            response = await self._stored.cancel(principal.account_id, exchange.path_id)
            await exchange.respond(200, problems.JSON, _body(response))

    async def input_items(self, exchange: Exchange) -> None:
        principal = await self._admission.identify(exchange, RESPONSES.scope)
        if principal is None:
            return
        response = await self._stored.get(principal.account_id, exchange.path_id)
        page = read_page(
            {
                name: value
                for name in ("order", "limit", "after")
                if (value := exchange.parameter(name)) is not None
            }
        )
        names = _names_of_items(response.id)
        items = with_ids(_items(response.input_items), names)
        await exchange.respond(200, problems.JSON, encode_input_items(items, page))

    async def compact(self, exchange: Exchange) -> None:
        """``POST``: the conversation in short, written by the model."""
        taken_in = await self._admission.take_in(exchange, RESPONSES.scope)
        if taken_in is None:
            return
        principal, body = taken_in
        wanted = decode_request(body, max_messages=self._settings.max_messages)
        principal = await self._admission.on_behalf(principal, wanted.chat.user)
        asked = resuming.asked_of(exchange, COMPACTION, body)

        async def begin(terms: AnswerTerms) -> Generation | Repeated | Deny:
            whole = await self._resolved(principal, wanted)
            history = await self._history(principal, whole)
            return await self._inference.begin(
                principal,
                summary_of(whole.with_history(history)),
                lambda opening: CompactionEncoder(envelope_of("resp_", opening)),
                terms=terms,
            )

        answered = await resuming.answered(exchange, self._streams, principal, asked, begin)
        if isinstance(answered, Deny):
            await self._admission.tell(exchange, answered)
        else:
            await self._delivery.answer(exchange, answered)

    async def _resolved(self, principal: Principal, wanted: ResponsesRequest) -> ResponsesRequest:
        """The request, with the stored items that it refers to in their places."""
        if not wanted.references:
            return wanted
        found: dict[str, Raw] = {}
        asked = size = 0
        for name in wanted.references.values():
            if name in found:
                continue
            beside = await self._items_beside(principal, name)
            found |= beside
            asked += 1
            size += sum(map(len, beside.values()))
            if asked > MAX_CHAIN_LINKS or size > MAX_CHAIN_BYTES:
                raise InvalidValue(
                    f"'input' refers to too much: to items of at most {MAX_CHAIN_LINKS} responses, "
                    f"and {MAX_CHAIN_BYTES} bytes of them.",
                    param="input",
                )
        return wanted.resolved(found)

    async def _items_beside(self, principal: Principal, name: str) -> Mapping[str, Raw]:
        """The items of the response that the item of that id belongs to, by their ids."""
        response_id = response_of_item(name)
        if response_id is None:
            return {}
        try:
            response = await self._stored.get(principal.account_id, response_id)
        except ResponseNotFound:
            return {}
        own = with_ids(_items(response.input_items), _names_of_items(response.id))
        return by_id([*own, *_items(response.output_items)])

    async def _history(self, principal: Principal, wanted: ResponsesRequest) -> Sequence[Raw]:
        if wanted.previous_response_id is None:
            return ()
        kept = await self._stored.history(principal.account_id, wanted.previous_response_id)
        return [item for items in kept for item in _items(items)]

    async def _begin(
        self, principal: Principal, wanted: ResponsesRequest, terms: AnswerTerms
    ) -> Generation | Repeated | Deny:
        """Begin with the whole conversation, or with as much of it as the window holds."""
        history = await self._history(principal, wanted)
        keeper: Keeping | None = None
        make_encoder: EncoderFactory = partial(self._encoder, wanted)
        if wanted.store:
            keeper = self._keeping(principal, wanted, partial(self._encoder, wanted))
            make_encoder = keeper.make_encoder
        request = wanted.with_history(history)
        shorter = wanted.shortened(history)
        while True:
            try:
                return await self._inference.begin(
                    principal, request, make_encoder, keeper, terms=terms
                )
            except ContextLengthExceeded as too_long:
                fewer = next(shorter, None)
                if fewer is None:
                    raise too_long from None
                request = fewer

    def _keeping(
        self,
        principal: Principal,
        wanted: ResponsesRequest,
        make_encoder: Callable[[Opening], SnapshotEncoder],
    ) -> Keeping:
        return self._stored.keeping(
            ToKeep(
                account_id=principal.account_id,
                input_items=b"[%b]" % b",".join(wanted.items),
                previous_id=wanted.previous_response_id,
                is_background=wanted.background,
                is_streaming=wanted.chat.stream,
                end_user=principal.end_user,
            ),
            make_encoder,
        )

    def _encoder(self, wanted: ResponsesRequest, opening: Opening) -> SnapshotEncoder:
        envelope = envelope_of("resp_", opening)
        frame = ResponseFrame(
            echo=wanted.echo,
            include_encrypted=ENCRYPTED_THOUGHTS in wanted.includes,
            include_logprobs=LOGPROBS in wanted.includes or wanted.chat.sampling.logprobs,
            background=wanted.background,
            store=wanted.store,
        )
        kind = StreamEncoder if wanted.chat.stream else WholeEncoder
        return KeptEncoder(kind(envelope, frame, now_s=self._now_s))

    async def _follow(self, exchange: Exchange, principal: Principal, after: int) -> None:
        """The stream behind an event; also of a response that is not kept before its end."""
        try:
            found = await self._streams.find(principal, _stream_id(exchange.path_id), after)
        except NoSuchFrame as missing:
            raise resuming.no_such_chunk(_STARTING_AFTER, missing.count) from None
        except StreamNotFound:
            found = None
        if found is not None and _is_of_responses(found.recording.about):
            await self._delivery.answer(exchange, found)
            return
        response = await self._stored.get(principal.account_id, exchange.path_id)
        if not response.is_streaming:
            raise InvalidRequest(
                "Only a response that was made with 'stream' can be streamed again.",
                param="stream",
            )
        await self._tell_end(exchange, response, after)

    async def _tell_end(self, exchange: Exchange, response: StoredResponse, after: int) -> None:
        """The last event is all that is left of a stream whose recording is gone."""
        if not response.status.is_finished:
            raise Interrupted(LOST)
        await begin_stream(exchange)
        await exchange.write(encode_end(_body(response), response.status, after + 1))
        await exchange.end()


def _body(response: StoredResponse) -> bytes:
    return with_status(response.body, response.status)


def _is_of_responses(about: About) -> bool:
    return about.is_streaming and about.surface == RESPONSES.name


def _stream_id(response_id: str) -> str:
    """The id of a response's recording."""
    return recordings.PREFIX + response_id.removeprefix(PREFIX)


def _response_id(stream_id: str) -> str:
    return PREFIX + stream_id.removeprefix(recordings.PREFIX)


def _names_of_items(response_id: str) -> Callable[[str], str]:
    """Ids for items that came without: the same whenever the response is asked for."""
    numbers = iter(range(MAX_FRAME))
    suffix = response_id.removeprefix("resp_")
    return lambda prefix: f"{prefix}{suffix}_in{next(numbers)}"
