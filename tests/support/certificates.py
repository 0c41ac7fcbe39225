"""A throw-away authority and what it certifies, made by the ``openssl`` program."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")


class Authority:
    """Whoever trusts ``certificate`` trusts the servers that it certifies."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "authority.pem"
        self._key = directory / "authority.key"
        self._directory = directory
        _openssl(
            *("req", "-x509", "-days", "2", "-subj", "/CN=Throw-away authority", *_KEY),
            *("-addext", "keyUsage=critical,keyCertSign"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def server(self, *names: str) -> ssl.SSLContext:
        """What a server of these names serves with."""
        stem = self._directory / names[0]
        key, request, certificate = (stem.with_suffix(end) for end in (".key", ".csr", ".pem"))
        extensions = stem.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={','.join(f'DNS:{name}' for name in names)}\n"
            "basicConstraints=critical,CA:false\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", "-subj", f"/CN={names[0]}", *_KEY, "-keyout", key, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-sha256", "-set_serial", "7"),
            *("-CA", self.certificate, "-CAkey", self._key, "-extfile", extensions),
            *("-out", certificate),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
