"""Answers that are kept: a later request continues one, a client polls one, or stops it.

The order of an end is: first the charge is durable, then what is kept, then the last frames leave.
Where the store cannot keep it any more, the client still gets what it paid for, and it is kept as
soon as the store can be written again; only a server that dies meanwhile loses it. What is kept is
found by other servers. Streams are read again as recordings (``streams``).

Knows no protocol: what is kept was spelled by a codec, and is bytes in here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bandari.domain.faults import (
    InvalidRequest,
    InvalidValue,
    RequestTooLarge,
    ResponseNotFound,
    RunningElsewhere,
)
from bandari.domain.ledger import Ending
from bandari.domain.responses import (
    MAX_CHAIN_BYTES,
    MAX_CHAIN_LINKS,
    MAX_PART_BYTES,
    StoredResponse,
)
from bandari.service.inference import Opening
from bandari.service.keeping import Keeping, Shelf, SnapshotEncoder, ToKeep
from bandari.service.ports import Clock, Responses

FAIL_AT_ONCE: Final = 500
DELETE_AT_ONCE: Final = 50
"""Few: each may be large, and everybody else's writes wait for them."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREVIOUS: Final = "previous_response_id"

_log = logging.getLogger(__name__)


class StoredResponses:
    """The use cases. ``epoch`` is this server's; ``retention_ms`` is how long an answer is kept."""

    def __init__(
        self, responses: Responses, clock: Clock, *, epoch: int, retention_ms: int
    ) -> None:
        self._responses = responses
        self._clock = clock
        self._shelf = Shelf(responses, clock, epoch=epoch, retention_ms=retention_ms)

    async def history(self, account_id: int, previous_id: str) -> Sequence[bytes]:
        """The items that a request continues: JSON arrays, each response's input and output.

        Raises the ``CallerFault`` that says why it cannot be continued.
        """
        _check_id(previous_id, _PREVIOUS)
        chain = await self._responses.chain(account_id, previous_id, self._clock.now_ms())
        if chain.missing == previous_id:
            raise _not_found(previous_id, _PREVIOUS)
        if chain.missing is not None:
            raise ResponseNotFound(
                f"There is no response '{chain.missing}' any more, which '{previous_id}' "
                "continues.",
                param=_PREVIOUS,
            )
        if chain.is_too_long:
            raise InvalidValue(
                f"The response '{previous_id}' continues too much: a request may continue "
                f"{MAX_CHAIN_LINKS} responses, and {MAX_CHAIN_BYTES} bytes of them.",
                param=_PREVIOUS,
            )
        status = chain.links[-1].status
        if not status.is_finished:
            raise InvalidValue(
                f"The response '{previous_id}' is not finished yet ({status}).", param=_PREVIOUS
            )
        if not status.can_be_continued:
            raise InvalidValue(
                f"The response '{previous_id}' is {status} and cannot be continued.",
                param=_PREVIOUS,
            )
        return [items for link in chain.links for items in (link.input_items, link.output_items)]

    def keeping(
        self, wanted: ToKeep, make_encoder: Callable[[Opening], SnapshotEncoder]
    ) -> Keeping:
        """The keeper for one answer. Raises ``RequestTooLarge``.

        Its ``make_encoder``, and the keeper itself, are what ``Inference.begin`` is to be given.
        """
        if len(wanted.input_items) > MAX_PART_BYTES:
            raise RequestTooLarge(
                f"Input of more than {MAX_PART_BYTES} bytes cannot be stored; set 'store' to "
                "false.",
                param="input",
            )
        return Keeping(self._shelf, wanted, make_encoder)

    async def get(self, account_id: int, response_id: str) -> StoredResponse:
        """The response as it is now. Raises ``ResponseNotFound``."""
        _check_id(response_id)
        keeping = self._shelf.find(account_id, response_id)
        if keeping is not None:
            return await keeping.now()
        response = await self._responses.find(account_id, response_id, self._clock.now_ms())
        if response is None:
            raise _not_found(response_id)
        return response

    async def cancel(self, account_id: int, response_id: str) -> StoredResponse:
        """Stop a background response, and return it when it has ended, however that was.

        What was generated until then is charged. One that had ended stays as it is.
        """
        keeping = self._shelf.find(account_id, response_id)
        if keeping is not None and keeping.is_background:
            keeping.generation.stop(Ending.CANCELLED)
            await keeping.over()
        response = await self.get(account_id, response_id)
        if not response.is_background:
            raise InvalidRequest(
                "Only a response that was made with 'background' can be cancelled."
            )
        if not response.status.is_finished:
            raise RunningElsewhere
        return response

    async def delete(self, account_id: int, response_id: str) -> None:
        """Keep it no longer; one that runs in the background is stopped, as by ``cancel``.

        Raises ``ResponseNotFound``.
        """
        _check_id(response_id)
        keeping = self._shelf.find(account_id, response_id)
        if keeping is not None and not keeping.is_background:
            # It is late, and would be written after it was deleted.
            self._shelf.forget(response_id)
        was_there = await self._responses.delete(account_id, response_id, self._clock.now_ms())
        if keeping is not None:
            keeping.drop()
        elif not was_there:
            raise _not_found(response_id)

    # What is done beside the answers.

    async def write_late(self) -> None:
        """Keep what could not be kept when it should have been. Raises ``StoreUnavailable``."""
        await self._shelf.write_late()

    async def fail_dead(self) -> int:
        """Have those failed whose server died before their end; returns how many."""
        failed = await _all(lambda: self._responses.fail_dead(FAIL_AT_ONCE), FAIL_AT_ONCE)
        if failed:
            _log.warning("failed the responses of a server that died", extra={"failed": failed})
        return failed

    async def delete_expired(self) -> int:
        """Delete what is older than it may be, a little at a time; returns how many."""
        now_ms = self._clock.now_ms()
        return await _all(
            lambda: self._responses.delete_expired(now_ms, DELETE_AT_ONCE), DELETE_AT_ONCE
        )


async def _all(some: Callable[[], Awaitable[int]], at_once: int) -> int:
    """Do ``some`` until it finds less than it may do ``at_once``; returns how many in all."""
    total = 0
    while True:
        done = await some()
        total += done
        if done < at_once:
            return total


def _check_id(response_id: str, param: str | None = None) -> None:
    """Refuse what can be no id, before a database is asked for it."""
    if not _ID.fullmatch(response_id):
        raise ResponseNotFound(param=param)


def _not_found(response_id: str, param: str | None = None) -> ResponseNotFound:
    return ResponseNotFound(f"There is no response '{response_id}'.", param=param)
