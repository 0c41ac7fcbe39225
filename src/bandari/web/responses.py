"""What is Responses' alone: answers that are kept, continued, polled, read again and cancelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import Raw

from bandari.domain.faults import (
    ContextLengthExceeded,
    Interrupted,
    InvalidRequest,
    InvalidValue,
    ResponseNotFound,
)
from bandari.domain.keys import Principal
from bandari.domain.outcome import Deny
from bandari.domain.responses import MAX_CHAIN_BYTES, MAX_CHAIN_LINKS, StoredResponse
from bandari.service.generation import Generation, Keeper
from bandari.service.inference import EncoderFactory, Inference, Opening
from bandari.service.keeping import Keeping, SnapshotEncoder, ToKeep
from bandari.service.ports import Metrics
from bandari.service.responses import StoredResponses
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.chat_settings import ChatSettings
from bandari.web.delivery import Delivery, begin_stream
from bandari.web.exchange import Exchange
from bandari.web.kept_encoder import KeptEncoder
from bandari.web.surface import RESPONSES, envelope_of
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
    with_status,
)

MAX_FRAME: Final = 2**53 - 1
_END_OF_FRAME: Final = b"\n\n"

_items = msgspec.json.Decoder(tuple[Raw, ...]).decode


class Responses:
    """The endpoints. ``now_s`` tells the time in seconds since 1970."""

    def __init__(
        self,
        admission: Admission,
        inference: Inference,
        stored: StoredResponses,
        metrics: Metrics,
        settings: ChatSettings,
        now_s: Callable[[], int],
    ) -> None:
        self._admission = admission
        self._inference = inference
        self._stored = stored
        self._delivery = Delivery(RESPONSES, metrics, settings)
        self._settings = settings
        self._now_s = now_s

    async def create(self, exchange: Exchange) -> None:
        asked = await self._admission.take_in(exchange, RESPONSES.scope)
        if asked is None:
            return
        principal, body = asked
        wanted = await self._decoded(principal, body)
        principal = await self._admission.on_behalf(principal, wanted.chat.user)
        history = await self._history(principal, wanted)
        make_encoder = partial(self._encoder, wanted)
        keeping = self._keeping(principal, wanted, make_encoder) if wanted.store else None
        generation = await self._begin(
            principal, wanted, history, keeping.make_encoder if keeping else make_encoder, keeping
        )
        if isinstance(generation, Deny):
            await self._admission.tell(exchange, generation)
        elif wanted.background and wanted.chat.stream:
            # It goes on whether its client stays or leaves.
            await self._delivery.stream(exchange, generation)
        elif wanted.background:
            assert keeping is not None, "what runs in the background is stored"
            self._delivery.tell_of(exchange, generation)
            response = await self._stored.get(principal.account_id, keeping.id)
            await exchange.respond(200, problems.JSON, _body(response))
        else:
            await self._delivery.answer(exchange, generation)

    async def one(self, exchange: Exchange) -> None:
        """``GET``: the response as it is, or its stream behind ``starting_after``."""
        principal = await self._admission.identify(exchange, RESPONSES.scope)
        if principal is None:
            return
        response = await self._stored.get(principal.account_id, exchange.path_id)
        if not exchange.flag("stream"):
            await exchange.respond(200, problems.JSON, _body(response))
            return
        after = exchange.number("starting_after", 0, MAX_FRAME)
        await self._follow(exchange, principal, response, -1 if after is None else after)

    async def delete(self, exchange: Exchange) -> None:
        principal = await self._admission.identify(exchange, RESPONSES.scope)
        if principal is not None:
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
        asked = await self._admission.take_in(exchange, RESPONSES.scope)
        if asked is None:
            return
        principal, body = asked
        wanted = await self._decoded(principal, body)
        principal = await self._admission.on_behalf(principal, wanted.chat.user)
        history = await self._history(principal, wanted)
        generation = await self._inference.begin(
            principal,
            summary_of(wanted.with_history(history)),
            lambda opening: CompactionEncoder(envelope_of("resp_", opening)),
        )
        if isinstance(generation, Deny):
            await self._admission.tell(exchange, generation)
            return
        await self._delivery.answer(exchange, generation)

    async def _decoded(self, principal: Principal, body: bytes) -> ResponsesRequest:
        """The request, with the stored items that it refers to in their places."""
        wanted = decode_request(body, max_messages=self._settings.max_messages)
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
        self,
        principal: Principal,
        wanted: ResponsesRequest,
        history: Sequence[Raw],
        make_encoder: EncoderFactory,
        keeper: Keeper | None,
    ) -> Generation | Deny:
        """Begin with the whole conversation, or with as much of it as the window holds."""
        request = wanted.with_history(history)
        shorter = wanted.shortened(history)
        while True:
            try:
                return await self._inference.begin(principal, request, make_encoder, keeper)
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

    async def _follow(
        self, exchange: Exchange, principal: Principal, response: StoredResponse, after: int
    ) -> None:
        if not (response.is_background and response.is_streaming):
            raise InvalidRequest(
                "Only a response that was made with 'background' and 'stream' can be streamed "
                "again.",
                param="stream",
            )
        generation = self._stored.running(principal.account_id, response.id)
        if generation is not None:
            _check_place(after, generation.recording.frame_count)
            await self._delivery.stream(exchange, generation, after)
            return
        if response.frames is None:
            raise Interrupted(LOST)
        frames = _frames(response.frames)
        _check_place(after, len(frames))
        await begin_stream(exchange)
        await exchange.write(b"".join(frames[after + 1 :]))
        await exchange.end()


def _body(response: StoredResponse) -> bytes:
    return with_status(response.body, response.status)


def _check_place(after: int, count: int) -> None:
    if after >= count:
        raise InvalidValue(
            f"'starting_after' must be the number of an event that there is by now: below {count}.",
            param="starting_after",
        )


def _frames(stream: bytes) -> Sequence[bytes]:
    return [frame + _END_OF_FRAME for frame in stream.split(_END_OF_FRAME) if frame]


def _names_of_items(response_id: str) -> Callable[[str], str]:
    """Ids for items that came without: the same whenever the response is asked for."""
    numbers = iter(range(MAX_FRAME))
    suffix = response_id.removeprefix("resp_")
    return lambda prefix: f"{prefix}{suffix}_in{next(numbers)}"
