"""The ports: all that the use cases need of the outside world. Adapters implement them.

Every implementation of a port must pass the same contract tests. Failures cross a port only as the
faults of ``domain.faults`` (a store that cannot be reached or written is ``StoreUnavailable``), and
refusals only as values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from bandari.domain.chat import ChatRequest
from bandari.domain.embeddings import Embeddings, EmbeddingsRequest
from bandari.domain.estimate import Experience
from bandari.domain.events import Event, FinishReason
from bandari.domain.keys import ApiKey
from bandari.domain.ledger import (
    Account,
    Charge,
    Hold,
    Line,
    Receipt,
    RunningCount,
    TransactionKind,
    Verification,
    Wallet,
)
from bandari.domain.pricing import RateCard
from bandari.domain.problem import Problem
from bandari.domain.responses import Chain, ResponseEnd, StoredResponse
from bandari.domain.usage import Usage


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go backwards, from an arbitrary start."""
        ...


class Placement(Struct, frozen=True):
    """The answer to a hold: whether it stands, and the wallet right after (or as it refused).

    ``wallet`` is None when the account has no wallet in that asset.
    """

    placed: bool
    wallet: Wallet | None


class Ledger(Protocol):
    """The books. A method that writes returns only once its effect is durable."""

    async def open_epoch(self, now_ms: int) -> int:
        """Register this server as alive and return its epoch."""
        ...

    async def close_epoch(self, epoch: int, now_ms: int) -> None:
        """Say that this server has ended in order. Its holds are all ended by then."""
        ...

    async def dead_holds(self, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        """Open holds of epochs whose server is no longer alive, with their pinned cards."""
        ...

    async def place(self, hold: Hold) -> Placement:
        """Set the hold's amount aside if the wallet has as much free; never below zero."""
        ...

    async def extend(self, hold_id: str, amount: int, least: int) -> int:
        """Add up to ``amount`` to an open hold, as much as is free but not less than ``least``.

        Returns what was added, 0 when less than ``least`` is free.
        """
        ...

    async def count(self, counts: Sequence[RunningCount]) -> None:
        """Remember how far running answers have come. Counts of holds already ended are ignored."""
        ...

    async def post(self, charge: Charge) -> Receipt:
        """End a hold with its exact charge, and return the receipt.

        What the charge exceeds the hold by is taken from what is free; the rest is booked to
        overruns. Raises ``HoldAlreadyEnded`` when the hold was posted or voided before.
        """
        ...

    async def void(self, hold_id: str) -> None:
        """End a hold without a charge. Raises ``HoldAlreadyEnded`` when it had ended before."""
        ...

    async def experience(self) -> Mapping[str, Experience]:
        """What the latest receipts show of the targets' tokenizers, by target."""
        ...

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        """The receipt of that id; with ``account_id``, only if it is that account's."""
        ...

    async def open_holds(self) -> int:
        """How many holds are open, in all epochs."""
        ...

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        """Re-derive every balance, hold and receipt from the postings, as they are at one moment.

        ``on_progress`` is called with (transactions done, transactions in all).
        """
        ...


class HoldAlreadyEnded(Exception):
    """The hold was posted, voided or expired before."""


class NameTaken(Exception):
    """There is already one of that name."""


class Accounts(Protocol):
    async def create_account(self, name: str, now_ms: int) -> Account:
        """Raises ``NameTaken``."""
        ...

    async def find_account(self, name: str) -> Account | None: ...

    async def wallets(self, account_id: int) -> Sequence[Wallet]:
        """The account's wallets, oldest first."""
        ...

    async def transfer(
        self,
        account_id: int,
        asset: str,
        amount: int,
        line: Line,
        kind: TransactionKind,
        who: str,
        why: str,
        now_ms: int,
    ) -> Wallet | None:
        """Move ``amount`` (negative: out) between a line of the chart and a wallet.

        Creates the wallet if it is new. Returns None, and does nothing, if what is free is too
        little for what goes out.
        """
        ...


class Keys(Protocol):
    async def create_key(
        self, account_id: int, name: str, group: str, digest: bytes, hint: str, now_ms: int
    ) -> ApiKey: ...

    async def find_key(self, digest: bytes) -> tuple[ApiKey, tuple[str, ...]] | None:
        """The key of that digest, revoked or not, and the assets its account has wallets in."""
        ...

    async def list_keys(self, account_id: int | None = None) -> Sequence[ApiKey]: ...

    async def revoke_key(self, key_id: int, now_ms: int) -> ApiKey | None:
        """Revoke for good; the first revocation's time stays. None if there is no such key."""
        ...


class RateCards(Protocol):
    async def pin(self, cards: Sequence[RateCard]) -> Sequence[RateCard]:
        """The same cards with their ids and versions; changed prices make a new version."""
        ...


class Responses(Protocol):
    """Answers that are kept. A method that writes returns only once its effect is durable.

    One that has expired, or is another account's, is not there.
    """

    async def save(self, response: StoredResponse) -> None:
        """Keep it. One that is kept already stays as it is, so that it can be saved again."""
        ...

    async def finish(self, response_id: str, end: ResponseEnd) -> bool:
        """End one that is queued or in progress. False, and nothing done, if there is none."""
        ...

    async def find(
        self, account_id: int, response_id: str, now_ms: int
    ) -> StoredResponse | None: ...

    async def delete(self, account_id: int, response_id: str, now_ms: int) -> bool:
        """Whether it was there."""
        ...

    async def chain(self, account_id: int, response_id: str, now_ms: int) -> Chain:
        """The response and all that it continues."""
        ...

    async def fail_dead(self, limit: int) -> int:
        """Have those failed whose server died before their end; at most ``limit``. How many."""
        ...

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        """Delete at most ``limit`` that have expired, the oldest first; returns how many."""
        ...


Take = Callable[[Sequence[Event]], bool]
"""Takes what an upstream has said, at once. False: it wants to have its next turn."""


class Upstream(Protocol):
    """A provider, ready to be asked. Holds its connections; speaks whatever protocol it speaks."""

    name: str
    max_choices: int
    """How many choices (``n``) one call may ask for; more are fanned out."""

    counts_text: bool
    """Whether ``count_text`` may be worth asking, and an answer's text worth keeping for it."""

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        """Names of the client's fields that this provider is not given, sorted."""
        ...

    def generate(
        self, request: ChatRequest, model: str, take: Take | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        """Ask for an answer. Entering sends the request and raises a fault if it is refused.

        Each item is what one chunk of the upstream's answer said. An iteration that ends normally
        has seen the upstream's own end; anything else raises an ``UpstreamFault``. Leaving the
        context closes the upstream's connection, and with it the generation.

        What is said while the iteration waits may be given to ``take`` instead, so that an event
        costs its task no turn. When that returns false, the iteration gives the next item at once,
        an empty one if nothing more was said.
        """
        ...

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        """The exact number of the prompt's tokens, or None where this provider cannot tell.

        Never raises for the provider's faults, and has a timeout of its own.
        """
        ...

    async def count_text(self, text: str, model: str) -> int | None:
        """The exact number of a text's tokens, under the same terms."""
        ...


class FrameEncoder(Protocol):
    """Spells an answer for one client as frames: one SSE event each, or the one JSON body.

    Made by a codec for one request. What ``close`` returns may leave only once the charge is
    durable.
    """

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """Frames that may leave at once."""
        ...

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The frames that end a good answer. ``finish`` is given where we ended it (``length``)."""
        ...

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """The frames that end a bad answer; none where only a status can say it."""
        ...


class Metrics(Protocol):
    """What the operator's dashboards are told. Never raises, never waits."""

    def request_ended(self, route: str, status: int, seconds: float) -> None: ...

    def problem_told(self, code: str, blame: str) -> None:
        """An error was sent to a client."""
        ...

    def generation_started(self, model: str) -> None: ...

    def first_token(self, model: str, seconds: float) -> None: ...

    def generation_ended(self, model: str, ending: str, usage: Usage) -> None: ...

    def overrun(self, asset: str, amount: int) -> None:
        """An answer cost this much more than its wallet had; the operator bears it."""
        ...

    def upstream_failed(self, provider: str, code: str) -> None: ...

    def holds_open(self, count: int) -> None: ...

    def committed(self, seconds: float, operations: int) -> None:
        """One durable commit of the store, and how many operations it carried."""
        ...

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        ...


class EmbeddingUpstream(Protocol):
    """A provider that makes embeddings, ready to be asked."""

    name: str

    def ignored(self, request: EmbeddingsRequest) -> tuple[str, ...]:
        """Names of the client's fields that this provider is not given, sorted."""
        ...

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embeddings:
        """One vector for each input. Raises a fault if it is refused, or is anything else."""
        ...

    async def count_input(self, request: EmbeddingsRequest, model: str) -> int | None:
        """The exact number of the inputs' tokens, or None where this provider cannot tell.

        Never raises for the provider's faults, and has a timeout of its own.
        """
        ...
