"""What can be configured: each table of the file as a struct, with its ranges and defaults.

A field's name is its key in the file. The structs that end in ``Table`` are the file's spelling of
values that live in ``domain``; ``reading`` turns one into the other. Units come last in names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from bandari.domain.allowance import UNLIMITED, Limits
from bandari.domain.bounds import MAX_CHOICES, MAX_INTEGER, Bounds
from bandari.domain.catalogue import LOCAL, Defaults, Endpoint, Group, Model
from bandari.domain.keys import Scope
from bandari.domain.pricing import FULL_PRICE, PriceRatio
from bandari.domain.recordings import CacheTtl, CacheUse, ResumeWindow

DEFAULT_MODEL: Final = "bandari-tiny"
"""The public id, and the engine's name, of the model in the box."""

DEFAULT_CONTEXT_WINDOW: Final = 128_000
"""Tokens, for a model that no target of is ``local`` and whose window the file does not say."""

MAX_PRICE: Final = 10**12
MAX_PRIORITY: Final = 9

Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Tokens = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
Window = Annotated[int, Meta(ge=256, le=100_000_000)]
Price = Annotated[int, Meta(ge=0, le=MAX_PRICE)]
Text = Annotated[str, Meta(min_length=1)]


class Provider(Struct, frozen=True, kw_only=True):
    """An upstream by base URL and key. Its name is the first half of ``name:model`` ids."""

    name: str
    base_url: Text
    protocol: Text = "chat_completions"
    api_key: Text | None = None
    headers: dict[str, str] = field(default_factory=dict)
    connect_timeout_ms: Milliseconds = 5_000
    first_event_timeout_ms: Milliseconds = 120_000
    idle_timeout_ms: Milliseconds = 60_000
    answer_timeout_ms: Milliseconds = 600_000
    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = 256
    max_choices: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] = MAX_CHOICES
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    streams: bool = True
    tokenizer: Literal["none", "anthropic", "llama_cpp", "vllm"] = "none"
    any_model: bool = False
    extra_fields: tuple[Text, ...] = ()

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.base_url!r})"


class Engine(Struct, frozen=True, kw_only=True):
    """The engine in the box. ``context_window`` is in tokens per slot.

    ``model`` is a GGUF file; None is the one that comes with the package. ``embedding_model`` is
    another, which makes vectors in a process of its own with the same slots, window and threads.
    ``threads`` 0 leaves the number to the engine.
    """

    model: Path | None = None
    embedding_model: Path | None = None
    slots: Annotated[int, Meta(ge=1, le=256)] = 4
    context_window: Window = 8_192
    threads: Annotated[int, Meta(ge=0, le=1_024)] = 0
    start_timeout_ms: Milliseconds = 120_000


class Server(Struct, frozen=True, kw_only=True):
    """HTTP in. Port 0 takes any free port.

    ``trusted_proxies`` are networks (``10.0.0.0/8``) whose word on who a client is, is taken.
    """

    host: Text = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8_080
    max_body_bytes: Annotated[int, Meta(ge=1_024, le=2**30)] = 32 * 2**20
    max_messages: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    max_open_requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 2_000
    body_timeout_ms: Milliseconds = 30_000
    drain_timeout_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 30_000
    first_status_timeout_ms: Milliseconds = 10_000
    keepalive_ms: Annotated[int, Meta(ge=5, le=86_400_000)] = 15_000
    recording_max_bytes: Annotated[int, Meta(ge=65_536, le=2**30)] = 16 * 2**20
    trusted_proxies: tuple[Text, ...] = ()


class Responses(Struct, frozen=True, kw_only=True):
    """Answers that clients have kept (``store``): how long they are."""

    retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 30


RESUME_WINDOWS_S: Final[Mapping[Scope, int]] = {
    Scope.CHAT_COMPLETIONS: 0,
    Scope.COMPLETIONS: 0,
    Scope.MESSAGES: 0,
    Scope.RESPONSES: 0,
    Scope.TYPED_STREAM: 60,
}
"""Of every surface whose answers are recorded, where the file says no other."""


class Streams(Struct, frozen=True, kw_only=True):
    """Recordings of answers: where they are kept, and for how long after their last reader left.

    ``max_bytes`` is over all that are in memory. ``resume_window_s`` is by surface, and has every
    surface of ``RESUME_WINDOWS_S``; ``keyed_resume_window_s`` is the least of a request with an
    Idempotency-Key, and ``max_resume_window_s`` the most of any. An Idempotency-Key is known for
    ``idempotency_hours``.
    """

    keep: Literal["memory", "database", "off"] = "memory"
    max_bytes: Annotated[int, Meta(ge=65_536, le=2**40)] = 256 * 2**20
    max_resume_window_s: ResumeWindow = 300
    keyed_resume_window_s: ResumeWindow = 60
    idempotency_hours: Annotated[int, Meta(ge=1, le=720)] = 24
    resume_window_s: Mapping[Scope, int] = field(default_factory=lambda: dict(RESUME_WINDOWS_S))


class Cache(Struct, frozen=True, kw_only=True):
    """Answers that are kept for equal requests, in memory; ``max_bytes`` 0 keeps none.

    ``max_answer_bytes`` is of one answer. ``ttl_s`` holds where key and model say no other.
    """

    max_bytes: Annotated[int, Meta(ge=0, le=2**40)] = 64 * 2**20
    max_answer_bytes: Annotated[int, Meta(ge=1, le=2**30)] = 2**20
    ttl_s: CacheTtl = 3_600


class StoreTable(Struct, frozen=True, kw_only=True):
    """``[store]``. Without a URL the books are ``bandari.db`` in the data directory."""

    url: Text | None = None


class TargetTable(Struct, frozen=True, kw_only=True):
    """One of a model's ``targets``, where it needs a weight or a priority."""

    target: Text
    priority: Annotated[int, Meta(ge=0, le=1_000)] = 0
    weight: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class PriceTable(Struct, frozen=True, kw_only=True):
    """``prices.ASSET`` of a model: integers in the asset's smallest unit.

    Cached input and cache writes cost what input costs, where nothing else is said.
    """

    input_per_million: Price
    output_per_million: Price
    cached_input_per_million: Price | None = None
    cache_write_per_million: Price | None = None
    per_request: Price = 0
    cache_hit_per_million: Price = 0


class ModelTable(Struct, frozen=True, kw_only=True):
    """``[models."ID"]``. ``targets`` and ``prices`` are read on their own.

    A model of kind ``embedding`` makes vectors and does not write.
    """

    kind: Literal["chat", "embedding"] = "chat"
    takes_dimensions: bool = False
    aliases: tuple[Text, ...] = ()
    context_window: Window | None = None
    max_output_tokens: Tokens | None = None
    owned_by: Text = "bandari"
    defaults: Defaults = Defaults()
    bounds: Bounds = Bounds()
    limits: Limits = UNLIMITED
    cache: CacheUse = CacheUse.OFF
    cache_ttl_s: CacheTtl | None = None


class GroupTable(Struct, frozen=True, kw_only=True):
    """``[groups.NAME]``. ``price_ratio`` is read on its own; without ``models`` it is all."""

    models: tuple[Text, ...] | None = None
    price_ratio: PriceRatio = FULL_PRICE
    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)] = 0
    limits: Limits = UNLIMITED
    limits_per_account: Limits = UNLIMITED
    limits_per_end_user: Limits = UNLIMITED
    limits_together: Limits = UNLIMITED


class TopTable(Struct, frozen=True, kw_only=True):
    """The keys above the first table header."""

    key_prefix: Annotated[str, Meta(pattern="^[a-z0-9_]{1,32}$")] = "bd_live_"
    default_provider: Text = LOCAL


class Overrides(Struct, frozen=True, kw_only=True):
    """What the command line says; it wins over environment and file."""

    data_dir: Path | None = None
    host: str | None = None
    port: int | None = None
    model: Path | None = None


class Settings(Struct, frozen=True, kw_only=True):
    """All that one process was told: command line, environment and file, checked and merged.

    ``providers`` does not hold ``local``. ``groups`` always holds ``default``.
    """

    data_dir: Path
    database_url: str
    admin_key: str | None
    key_prefix: str
    default_provider: str
    providers: Mapping[str, Provider]
    engine: Engine
    models: tuple[Model, ...]
    groups: Mapping[str, Group]
    server: Server
    responses: Responses
    streams: Streams
    cache: Cache

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r})"

    @property
    def uses_engine(self) -> bool:
        """Whether any model needs the engine in the box to write."""
        return self._has_local(Endpoint.CHAT_COMPLETIONS)

    @property
    def uses_embedding_engine(self) -> bool:
        """Whether any model needs the engine in the box to make vectors."""
        return self._has_local(Endpoint.EMBEDDINGS)

    def _has_local(self, endpoint: Endpoint) -> bool:
        return any(
            target.provider == LOCAL
            for model in self.models
            if endpoint in model.endpoints
            for target in model.targets
        )
