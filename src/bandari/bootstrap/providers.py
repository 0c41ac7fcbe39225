"""The providers that a configuration names, as upstreams: transports, addresses, keys.

Only this room knows the concrete classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakSet

from msgspec import Struct

from bandari.adapters.engine.supervisor import EngineSupervisor
from bandari.adapters.providers.embeddings import ProviderEmbeddings
from bandari.adapters.providers.local import LLAMA_CPP, MAX_CHOICES, TOKENIZER
from bandari.adapters.providers.protocols import PROTOCOLS, UpstreamProtocol
from bandari.adapters.providers.tokenizers import TOKENIZERS
from bandari.adapters.providers.transport import HttpTransport, Timeouts
from bandari.adapters.providers.upstream import Address, ProviderUpstream
from bandari.config import Provider
from bandari.domain.catalogue import LOCAL
from bandari.service.ports import EmbeddingUpstream, Upstream
from bandari.wire.dialect import Dialect

ENGINE_TIMEOUTS = Timeouts(first_event_ms=600_000, answer_ms=3_600_000)
"""Patient: requests queue for a slot inside the engine, and a big model on a small machine
is slow.
"""
ENGINE_CONNECTIONS = 1000
"""Below the engine's number of HTTP threads: an open request holds one, and so does ``/health``.

None is used twice: llama.cpp says keep-alive, and closes the connection after every stream.
"""


class Connected(Struct, frozen=True):
    """One provider, ready to be asked. Without ``settings`` it is the engine in the box.

    ``embeddings`` are there if it speaks OpenAI's protocols; the others have none to ask for.
    """

    settings: Provider | None
    transport: HttpTransport
    upstream: Upstream | None
    embeddings: EmbeddingUpstream | None


class Providers:
    """Those in use, by name. One stays as it is for as long as its settings do.

    One that is replaced or gone is retired: who has it still asks it, its connections are closed
    when they have served, and it is forgotten with the last who has it.
    """

    def __init__(self, engines: Connected) -> None:
        self._connected: Mapping[str, Connected] = {LOCAL: engines}
        self._retired: WeakSet[HttpTransport] = WeakSet()

    @property
    def connected(self) -> Mapping[str, Connected]:
        """A mapping that does not change; ``replace`` gives another."""
        return self._connected

    def prepare(self, wanted: Mapping[str, Provider]) -> Mapping[str, Connected]:
        """What ``replace`` takes: those that stay, and the others made anew. Nothing is sent."""
        prepared = {LOCAL: self._connected[LOCAL]}
        for name, settings in wanted.items():
            present = self._connected.get(name)
            stays = present is not None and present.settings == settings
            prepared[name] = present if present is not None and stays else connect(settings)
        return prepared

    def replace(self, prepared: Mapping[str, Connected]) -> None:
        """From here on it is these."""
        stay = {id(each) for each in prepared.values()}
        former, self._connected = self._connected, prepared
        for each in former.values():
            if id(each) not in stay:
                each.transport.retire()
                self._retired.add(each.transport)

    async def close(self) -> None:
        """For good; what runs is interrupted."""
        for each in self._connected.values():
            await each.transport.close()
        for transport in tuple(self._retired):
            await transport.close()


def upstreams_of(connected: Mapping[str, Connected]) -> Mapping[str, Upstream]:
    """Those that write."""
    return {name: each.upstream for name, each in connected.items() if each.upstream is not None}


def embeddings_of(connected: Mapping[str, Connected]) -> Mapping[str, EmbeddingUpstream]:
    """Those that make vectors."""
    return {
        name: each.embeddings for name, each in connected.items() if each.embeddings is not None
    }


def connect(provider: Provider) -> Connected:
    """A provider of the configuration. No connection is made before it is asked."""
    transport = HttpTransport(_timeouts(provider), provider.max_connections)
    protocol = PROTOCOLS[provider.protocol]
    address = _always(_address(provider, protocol))
    tokenizer = TOKENIZERS.get(provider.tokenizer)
    extra_fields = frozenset(provider.extra_fields)
    upstream = ProviderUpstream(
        provider.name,
        transport,
        address,
        protocol,
        Dialect(
            extra_fields=extra_fields,
            max_tokens_field=provider.max_tokens_field,
            streams=provider.streams,
        ),
        max_choices=provider.max_choices,
        tokenizer=tokenizer,
    )
    embeddings = None
    if provider.protocol == "chat_completions":
        embeddings = ProviderEmbeddings(
            provider.name,
            transport,
            address,
            Dialect(extra_fields=extra_fields),
            tokenizer=tokenizer,
        )
    return Connected(provider, transport, upstream, embeddings)


def connect_engines(
    engine: EngineSupervisor | None, embedding_engine: EngineSupervisor | None
) -> Connected:
    """The engine in the box, for writing and for vectors, as far as either is there."""
    transport = HttpTransport(ENGINE_TIMEOUTS, ENGINE_CONNECTIONS, keep_alive=False)
    upstream = embeddings = None
    if engine is not None:
        upstream = ProviderUpstream(
            LOCAL,
            transport,
            _address_of(engine),
            PROTOCOLS["chat_completions"],
            LLAMA_CPP,
            max_choices=MAX_CHOICES,
            tokenizer=TOKENIZER,
        )
    if embedding_engine is not None:
        embeddings = ProviderEmbeddings(
            LOCAL, transport, _address_of(embedding_engine), Dialect(), tokenizer=TOKENIZER
        )
    return Connected(None, transport, upstream, embeddings)


def _always(address: Address) -> Callable[[], Address]:
    return lambda: address


def _address_of(engine: EngineSupervisor) -> Callable[[], Address]:
    """An engine moves when it restarts."""
    protocol = PROTOCOLS["chat_completions"]
    return lambda: Address(engine.base_url, _headers({}, engine.api_key, protocol))


def _address(provider: Provider, protocol: UpstreamProtocol) -> Address:
    headers = _headers(provider.headers, provider.api_key, protocol)
    return Address(provider.base_url.rstrip("/"), headers)


def _headers(
    extra: Mapping[str, str], api_key: str | None, protocol: UpstreamProtocol
) -> Mapping[str, str]:
    headers = {"content-type": "application/json", **protocol.headers, **extra}
    if api_key is not None:
        headers.update(protocol.credentials(api_key))
    return headers


def _timeouts(provider: Provider) -> Timeouts:
    return Timeouts(
        connect_ms=provider.connect_timeout_ms,
        first_event_ms=provider.first_event_timeout_ms,
        idle_ms=provider.idle_timeout_ms,
        answer_ms=provider.answer_timeout_ms,
    )
