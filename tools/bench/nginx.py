"""nginx from the machine's package, in a directory of its own: the instant upstream, and the limit.

The instant upstream answers every question with the same bytes, over plain HTTP and over TLS, and
below ``/streamed`` with the same in events. The
limit is a bare reverse proxy with one worker: what relaying costs where nothing else is done.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench.processes import Process, free_port, running
from tools.bench.question import ANSWER, STREAMED

_MAIN = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16000;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    proxy_read_timeout 600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""

_INSTANT = """\
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        ssl_protocols TLSv1.3;
        default_type application/json;
        location / {{ return 200 {answer}; }}
        location /streamed/ {{
            default_type text/event-stream;
            return 200 {streamed};
        }}
    }}"""

_PROXY = """\
    upstream {name} {{
        server 127.0.0.1:{target};
        keepalive 8192;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {scheme}://{name};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_verify on;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_name localhost;
        }}
    }}"""


@dataclass(frozen=True)
class Upstreams:
    """Where the upstreams listen on the loopback, and who vouches for the one with TLS."""

    instant: int
    tls: int
    streaming: int
    authority: Path

    def base_url(self, name: str) -> str:
        """The base URL of ``instant``, ``streamed`` (which is ``instant``'s too), ``tls`` or
        ``streaming``, as configurations want it.
        """
        if name == "streamed":
            return f"http://127.0.0.1:{self.instant}/streamed/v1"
        port = {"instant": self.instant, "tls": self.tls, "streaming": self.streaming}[name]
        return f"https://localhost:{port}/v1" if name == "tls" else f"http://127.0.0.1:{port}/v1"


def version() -> str:
    """nginx's own, like ``nginx/1.22.1``."""
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/\S+", said)
    return found[0] if found else "nginx"


@contextmanager
def instant_upstream(folder: Path, core: int) -> Iterator[tuple[int, int, Path]]:
    """Its port, its port with TLS, and the certificate of the authority that signed for it."""
    _make_certificates(folder)
    plain, tls = free_port(), free_port()
    server = _INSTANT.format(
        plain=plain, tls=tls, folder=folder, answer=_quoted(ANSWER), streamed=_quoted(STREAMED)
    )
    with _nginx(folder, server, core) as process:
        process.wait_for_port(plain)
        process.wait_for_port(tls)
        yield plain, tls, folder / "authority.pem"


@contextmanager
def proxy(
    folder: Path, core: int, upstreams: Upstreams
) -> Iterator[tuple[Process, dict[str, int]]]:
    """The limit: a port for each upstream."""
    ports = {name: free_port() for name in ("instant", "tls", "streaming")}
    servers = [
        _PROXY.format(
            name=name,
            port=port,
            target=getattr(upstreams, name),
            scheme="https" if name == "tls" else "http",
            authority=upstreams.authority,
        )
        for name, port in ports.items()
    ]
    with _nginx(folder, "\n".join(servers), core) as process:
        for port in ports.values():
            process.wait_for_port(port)
        yield process, ports


@contextmanager
def _nginx(folder: Path, servers: str, core: int) -> Iterator[Process]:
    # Its workers would become "nobody", who may not enter our directory.
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_MAIN.format(user=user, folder=folder, servers=servers))
    log = folder / "error.log"
    log.touch()
    command = ["nginx", "-e", str(log), "-p", str(folder), "-c", str(config)]
    with running(command, core, folder / "nginx.log") as process:
        yield process


def _quoted(text: str) -> str:
    """For nginx's configuration: there a backslash stays where it does not escape the quote."""
    return "'" + text.replace("'", "\\'") + "'"


def _make_certificates(folder: Path) -> None:
    """An authority, and a certificate for localhost that it signed."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    _openssl(
        *("req", "-x509", *curve, "-subj", "/CN=Bandari benchmark"),
        *("-keyout", f"{folder}/authority.key", "-out", f"{folder}/authority.pem"),
    )
    _openssl(
        *("req", "-x509", *curve, "-subj", "/CN=localhost"),
        *("-CA", f"{folder}/authority.pem", "-CAkey", f"{folder}/authority.key"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", f"{folder}/server.key", "-out", f"{folder}/server.pem"),
    )


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl: {json.dumps(done.stderr)}")
