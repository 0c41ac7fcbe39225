"""The subjects: how each gateway is started beside the others, and how it is asked.

A row of ``GATEWAYS`` is all that the workloads know of one. Every gateway reaches the same three
upstreams, runs on the gateway's core alone, and writes its log into a file, as for a user who
redirects it.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.bench import nginx, own_house
from tools.bench.nginx import Upstreams
from tools.bench.processes import Process, free_port, running
from tools.bench.question import PATH, Question

ROOT: Final = Path(__file__).parent.parent.parent
PEERS: Final = ROOT / ".bench"
LITELLM: Final = PEERS / "litellm"
PORTKEY: Final = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway"

UPSTREAM_OF: Final = {
    "instant": "instant",
    "tls": "tls",
    "paced": "streaming",
    "idle": "streaming",
}
"""The models that every gateway offers, under the same names, and the upstream of each."""


@dataclass(frozen=True)
class Setting:
    """What a gateway is given: a directory of its own, a core, the upstreams."""

    folder: Path
    core: int
    upstreams: Upstreams


@dataclass(frozen=True)
class Running:
    """A gateway that listens. ``base_urls`` by upstream; ``metrics`` is a port, where it has any.

    ``headers`` go with every question, ``headers_for`` with those to one upstream.
    """

    process: Process
    base_urls: Mapping[str, str]
    keys: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    headers_for: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metrics: int | None = None

    def question(self, model: str, body: bytes) -> Question:
        """That body, as this gateway wants to be asked for that model."""
        upstream = UPSTREAM_OF[model]
        headers = {**self.headers, **self.headers_for.get(upstream, {})}
        return Question(self.base_urls[upstream] + PATH, headers, body, self.keys)


@dataclass(frozen=True)
class Gateway:
    """A row: its name, how it is started, and why it cannot be, if so."""

    name: str
    start: Callable[[Setting], AbstractContextManager[Running]]
    missing: Callable[[], str | None] = lambda: None
    version: Callable[[], str] = lambda: ""
    is_peer: bool = False


def _everywhere(base_url: str) -> dict[str, str]:
    return dict.fromkeys(UPSTREAM_OF.values(), base_url)


@contextmanager
def _nginx_proxy(setting: Setting) -> Iterator[Running]:
    with nginx.proxy(setting.folder, setting.core, setting.upstreams) as (process, ports):
        base_urls = {name: f"http://127.0.0.1:{port}/v1" for name, port in ports.items()}
        yield Running(process, base_urls)


def bandari(
    launcher: str = "bandari", fill: own_house.Fill = own_house.one_customer, more: str = ""
) -> Callable[[Setting], AbstractContextManager[Running]]:
    """Bandari, started by that module, with what ``fill`` puts into its store.

    ``more`` is the end of its configuration file.
    """

    @contextmanager
    def start(setting: Setting) -> Iterator[Running]:
        data, config = setting.folder / "data", setting.folder / "bench.toml"
        config.write_text(own_house.configuration(setting.upstreams, more))
        keys = fill(config, data)
        port = free_port()
        command = [
            *(sys.executable, "-m", launcher, "serve", "--json", "--port", str(port)),
            *("--config", str(config), "--data", str(data)),
        ]
        variables = {"SSL_CERT_FILE": str(setting.upstreams.authority)}
        log = setting.folder / "server.log"
        with running(command, setting.core, log, variables, ROOT) as process:
            process.wait_for_port(port)
            url = f"http://127.0.0.1:{port}/v1"
            yield Running(process, _everywhere(url), keys, metrics=port)

    return start


@contextmanager
def _litellm(setting: Setting) -> Iterator[Running]:
    rows = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": setting.upstreams.base_url(upstream),
                "api_key": "none",
            },
        }
        for model, upstream in UPSTREAM_OF.items()
    ]
    config = setting.folder / "litellm.yaml"  # which JSON is
    config.write_text(json.dumps({"model_list": rows}))
    port, key = free_port(), f"sk-{secrets.token_hex(32)}"
    command = [
        *(str(LITELLM / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"),
        *("--port", str(port), "--num_workers", "1"),
    ]
    variables = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": key,
        "SSL_CERT_FILE": str(setting.upstreams.authority),
        # As wide as Bandari's max_connections; its own limit is 500 streams.
        "AIOHTTP_CONNECTOR_LIMIT": "4096",
        "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "4096",
    }
    log = setting.folder / "litellm.log"
    with running(command, setting.core, log, variables, setting.folder) as process:
        process.wait_for_port(port)
        yield Running(process, _everywhere(f"http://127.0.0.1:{port}/v1"), (key,))


@contextmanager
def _portkey(setting: Setting) -> Iterator[Running]:
    port = free_port()
    command = ["node", str(PORTKEY / "build/start-server.js"), "--headless", f"--port={port}"]
    variables = {
        "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost",
        "NODE_EXTRA_CA_CERTS": str(setting.upstreams.authority),
    }
    log = setting.folder / "portkey.log"
    with running(command, setting.core, log, variables, setting.folder) as process:
        process.wait_for_port(port)
        yield Running(
            process,
            _everywhere(f"http://127.0.0.1:{port}/v1"),
            headers={"x-portkey-provider": "openai", "authorization": "Bearer none"},
            headers_for={
                upstream: {"x-portkey-custom-host": setting.upstreams.base_url(upstream)}
                for upstream in UPSTREAM_OF.values()
            },
        )


def _litellm_version() -> str:
    found = sorted(LITELLM.glob("lib/python3*/site-packages/litellm-*.dist-info"))
    return found[0].name.removeprefix("litellm-").removesuffix(".dist-info") if found else ""


def _portkey_version() -> str:
    package = PORTKEY / "package.json"
    return str(json.loads(package.read_text())["version"]) if package.exists() else ""


def _without(path: Path) -> Callable[[], str | None]:
    return lambda: None if path.exists() else "not installed: make bench-peers"


GATEWAYS: Final = {
    row.name: row
    for row in (
        Gateway("nginx", _nginx_proxy, version=nginx.version),
        Gateway("bandari", bandari()),
        Gateway("unbilled", bandari("tools.bench.unbilled")),
        Gateway("litellm", _litellm, _without(LITELLM / "bin" / "litellm"), _litellm_version, True),
        Gateway("portkey", _portkey, _without(PORTKEY), _portkey_version, True),
    )
}
"""``nginx`` is the limit; ``unbilled`` is Bandari with the ledger off."""
