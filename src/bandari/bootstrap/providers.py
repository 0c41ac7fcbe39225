"""The providers that a configuration names, as upstreams: transports, addresses, keys.

Only this room knows the concrete classes; what is opened here is closed by who opened it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from bandari.adapters.engine.supervisor import EngineSupervisor
from bandari.adapters.providers.embeddings import ProviderEmbeddings
from bandari.adapters.providers.local import LLAMA_CPP, MAX_CHOICES, TOKENIZER
from bandari.adapters.providers.protocols import PROTOCOLS, UpstreamProtocol
from bandari.adapters.providers.tokenizers import TOKENIZERS
from bandari.adapters.providers.transport import HttpTransport, Timeouts
from bandari.adapters.providers.upstream import Address, ProviderUpstream
from bandari.config import Provider, Settings
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


def transports(settings: Settings, stack: AsyncExitStack) -> Mapping[str, HttpTransport]:
    """One for each provider, whatever it is asked for, and one for both engines."""
    opened = {
        name: HttpTransport(_timeouts(provider), provider.max_connections)
        for name, provider in settings.providers.items()
    }
    opened[LOCAL] = HttpTransport(ENGINE_TIMEOUTS, ENGINE_CONNECTIONS, keep_alive=False)
    for transport in opened.values():
        stack.push_async_callback(transport.close)
    return opened


def upstreams(
    settings: Settings,
    engine: EngineSupervisor | None,
    opened: Mapping[str, HttpTransport],
) -> dict[str, Upstream]:
    made: dict[str, Upstream] = {}
    for name, provider in settings.providers.items():
        protocol = PROTOCOLS[provider.protocol]
        made[name] = ProviderUpstream(
            name,
            opened[name],
            _always(_address(provider, protocol)),
            protocol,
            Dialect(
                extra_fields=frozenset(provider.extra_fields),
                max_tokens_field=provider.max_tokens_field,
                streams=provider.streams,
            ),
            max_choices=provider.max_choices,
            tokenizer=TOKENIZERS.get(provider.tokenizer),
        )
    if engine is not None:
        protocol = PROTOCOLS["chat_completions"]
        made[LOCAL] = ProviderUpstream(
            LOCAL,
            opened[LOCAL],
            lambda: Address(engine.base_url, _headers({}, engine.api_key, protocol)),
            protocol,
            LLAMA_CPP,
            max_choices=MAX_CHOICES,
            tokenizer=TOKENIZER,
        )
    return made


def embedding_upstreams(
    settings: Settings,
    engine: EngineSupervisor | None,
    opened: Mapping[str, HttpTransport],
) -> dict[str, EmbeddingUpstream]:
    """Those that speak OpenAI's protocols; the others have no embeddings to ask for."""
    protocol = PROTOCOLS["chat_completions"]
    made: dict[str, EmbeddingUpstream] = {
        name: ProviderEmbeddings(
            name,
            opened[name],
            _always(_address(provider, protocol)),
            Dialect(extra_fields=frozenset(provider.extra_fields)),
            tokenizer=TOKENIZERS.get(provider.tokenizer),
        )
        for name, provider in settings.providers.items()
        if provider.protocol == "chat_completions"
    }
    if engine is not None:
        made[LOCAL] = ProviderEmbeddings(
            LOCAL,
            opened[LOCAL],
            lambda: Address(engine.base_url, _headers({}, engine.api_key, protocol)),
            Dialect(),
            tokenizer=TOKENIZER,
        )
    return made


def _always(address: Address) -> Callable[[], Address]:
    return lambda: address


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
