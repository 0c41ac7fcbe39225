"""One answer that is kept: from the moment its hold stands until its end is written.

A background response is written when it is opened, because its client comes back for it with
nothing but its id, and once more when it ends. Any other is written once, at its end, unless its
client left or it failed and costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct, structs

from bandari.domain.faults import Cancelled, RequestTooLarge, StoreUnavailable
from bandari.domain.ledger import Ending
from bandari.domain.responses import (
    MAX_PART_BYTES,
    PREFIX,
    ResponseEnd,
    ResponseStatus,
    StoredResponse,
)
from bandari.service.inference import Opening
from bandari.service.ports import Clock, FrameEncoder, Responses
from bandari.service.settlement import AnswerEnd, Kept

MAX_LATE: Final = 1_000
"""How many answers wait for a store that cannot be written, at most."""

_log = logging.getLogger(__name__)


class ToKeep(Struct, frozen=True, kw_only=True):
    """What is kept of a request. ``input_items`` is a JSON array of this request's own items."""

    account_id: int
    input_items: bytes
    previous_id: str | None = None
    is_background: bool = False
    is_streaming: bool = False
    end_user: str | None = None


class Snapshot(Struct, frozen=True):
    """An answer as its codec tells it at one moment: the whole object, and the array of its output
    items.
    """

    status: ResponseStatus
    body: bytes
    output_items: bytes


class SnapshotEncoder(FrameEncoder, Protocol):
    """An encoder that can also tell the whole of what it has told in parts."""

    def opening(self) -> Sequence[bytes]:
        """The frames that say that there is an answer, before anything of it is known."""
        ...

    def snapshot(self) -> Snapshot:
        """The answer as it is now.

        Finished after ``close`` and after ``problem``, also where both were called: then it has
        failed, or was cancelled if that is the problem's code.
        """
        ...


class Shelf:
    """What this server has still to write: the responses that are being generated, and the late
    ones.
    """

    def __init__(
        self, responses: Responses, clock: Clock, *, epoch: int, retention_ms: int
    ) -> None:
        self.responses = responses
        self.clock = clock
        self.epoch = epoch
        self.retention_ms = retention_ms
        self._here: dict[str, Keeping] = {}
        self._late: dict[str, Keeping] = {}

    def find(self, account_id: int, response_id: str) -> Keeping | None:
        keeping = self._here.get(response_id)
        return keeping if keeping is not None and keeping.account_id == account_id else None

    def take_in(self, keeping: Keeping) -> None:
        self._here[keeping.id] = keeping

    def put_off(self, keeping: Keeping) -> None:
        """Its end could not be written: ``write_late`` will try again."""
        if keeping.is_dropped:
            return
        if len(self._late) >= MAX_LATE:
            _log.error("too many responses are late; one is lost", extra={"response": keeping.id})
            self.forget(keeping.id)
            return
        self._here[keeping.id] = self._late[keeping.id] = keeping

    def forget(self, response_id: str) -> None:
        self._here.pop(response_id, None)
        self._late.pop(response_id, None)

    async def write_late(self) -> None:
        """Write the ends that could not be written. Raises ``StoreUnavailable``."""
        while self._late:
            response_id, keeping = next(iter(self._late.items()))
            try:
                await keeping.write()
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - a defect of ours; the next one may fare better
                _log.exception("a response is lost", extra={"response": response_id})
            self.forget(response_id)


class Keeping:
    """The ``Keeper`` of one answer, and what is known of it until its end is written.

    ``make_encoder`` and the keeper itself are what ``Inference.begin`` is to be given.
    """

    __slots__ = (
        "_encoder",
        "_end",
        "_make_encoder",
        "_model",
        "_over",
        "_response",
        "_shelf",
        "_wanted",
        "generation",
        "id",
        "is_dropped",
    )

    id: str
    generation: Kept
    _encoder: SnapshotEncoder
    _model: str
    _response: StoredResponse

    def __init__(
        self, shelf: Shelf, wanted: ToKeep, make_encoder: Callable[[Opening], SnapshotEncoder]
    ) -> None:
        self._shelf = shelf
        self._wanted = wanted
        self._make_encoder = make_encoder
        self._end: ResponseEnd | None = None
        self.is_dropped = False
        self._over = asyncio.Event()

    @property
    def account_id(self) -> int:
        return self._wanted.account_id

    @property
    def is_background(self) -> bool:
        return self._wanted.is_background

    def make_encoder(self, opening: Opening) -> FrameEncoder:
        """The encoder of this answer, whose id is now known."""
        self.id = PREFIX + opening.id
        self._model = opening.model
        self._encoder = self._make_encoder(opening)
        return self._encoder

    async def open(self, generation: Kept) -> None:
        """Raises ``RequestTooLarge`` and, for a background response, ``StoreUnavailable``."""
        self.generation = generation
        self._response = self._opened()
        if not self.is_background:
            return
        try:
            await self._shelf.responses.save(self._response)
        except BaseException:
            # It may have been written all the same, and nobody will generate it.
            self._end = ResponseEnd(status=ResponseStatus.FAILED)
            self._over.set()
            self._shelf.put_off(self)
            raise
        self._shelf.take_in(self)
        # Whoever reads the stream has to know its id, so as to come back for it.
        generation.recording.append(self._encoder.opening())

    async def keep(self, end: AnswerEnd) -> None:
        """Write the end. Where the store cannot be written, it is written late."""
        if not self._is_worth_keeping(end):
            return
        try:
            self._end = self._ended(end)
            await self.write()
            self._shelf.forget(self.id)
        except StoreUnavailable:
            _log.warning("a response could not be written yet", extra={"response": self.id})
            self._shelf.put_off(self)
        except Exception:
            if self.is_background:
                # Those who ask for it must not wait for ever.
                self._end = ResponseEnd(status=ResponseStatus.FAILED, receipt_id=self._receipt_id)
                self._shelf.put_off(self)
            raise
        finally:
            self._over.set()

    async def write(self) -> None:
        """Have its end written. Harmless when it was written before."""
        assert self._end is not None, "only an end is written"
        if self.is_background:
            await self._shelf.responses.finish(self.id, self._end)
        else:
            await self._shelf.responses.save(self._now(self._end))

    async def now(self) -> StoredResponse:
        """The response as it is. Nothing is told of an end before it is paid."""
        if self._end is None:
            snapshot = self._encoder.snapshot()
            if not snapshot.status.is_finished:
                return structs.replace(
                    self._response,
                    status=snapshot.status,
                    output_items=snapshot.output_items,
                    body=snapshot.body,
                )
            await self.over()
        assert self._end is not None, "who is asked for is in the background, or late"
        return self._now(self._end)

    async def over(self) -> None:
        """Wait until a background response has ended, and its end is written or late."""
        await self._over.wait()

    def drop(self) -> None:
        """Its client does not want it any more: stop it, and write nothing."""
        self.is_dropped = True
        self._shelf.forget(self.id)
        self.generation.stop(Ending.CANCELLED)

    @property
    def _receipt_id(self) -> str | None:
        return None if self.generation.is_free else self.generation.receipt_id

    def _opened(self) -> StoredResponse:
        wanted, shelf = self._wanted, self._shelf
        snapshot = self._encoder.snapshot()
        if len(snapshot.body) > MAX_PART_BYTES:
            raise RequestTooLarge(
                f"A response of more than {MAX_PART_BYTES} bytes cannot be stored; set 'store' to "
                "false."
            )
        created_ms = shelf.clock.now_ms()
        return StoredResponse(
            id=self.id,
            account_id=wanted.account_id,
            status=snapshot.status,
            created_ms=created_ms,
            expires_ms=created_ms + shelf.retention_ms,
            previous_id=wanted.previous_id,
            model=self._model,
            is_background=wanted.is_background,
            is_streaming=wanted.is_streaming,
            end_user=wanted.end_user,
            receipt_id=self.generation.receipt_id,
            epoch=shelf.epoch,
            input_items=wanted.input_items,
            output_items=snapshot.output_items,
            body=snapshot.body,
        )

    def _is_worth_keeping(self, end: AnswerEnd) -> bool:
        """Whether somebody may come back for it. What failed and is free, nobody saw a word of."""
        if self.is_background or end.problem is None:
            return True
        generation = self.generation
        was_charged = generation.is_settled and not generation.is_free
        return was_charged and end.ending is not Ending.CLIENT_LEFT

    def _ended(self, end: AnswerEnd) -> ResponseEnd:
        snapshot = self._encoder.snapshot()
        status = snapshot.status
        if end.problem is not None:
            was_cancelled = end.problem.code == Cancelled.code
            status = ResponseStatus.CANCELLED if was_cancelled else ResponseStatus.FAILED
        return ResponseEnd(
            status=status,
            receipt_id=self._receipt_id,
            output_items=snapshot.output_items,
            body=snapshot.body,
        )

    def _now(self, end: ResponseEnd) -> StoredResponse:
        response = self._response
        return structs.replace(
            response,
            status=end.status,
            receipt_id=end.receipt_id,
            output_items=response.output_items if end.output_items is None else end.output_items,
            body=response.body if end.body is None else end.body,
        )
