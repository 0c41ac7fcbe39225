"""Reads the configuration: file, environment and command line into one checked ``Settings``.

Every problem is found before the first is reported: ``FILE:LINE: key: what is wrong``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Final

from msgspec import structs

from bandari.config import checks
from bandari.config.models import check_embedders, read_models
from bandari.config.positions import line_of, lines_of
from bandari.config.tables import Problems, TableReader, suggestion
from bandari.config.values import (
    DEFAULT_GROUP,
    Engine,
    GroupTable,
    Overrides,
    Provider,
    Responses,
    Server,
    Settings,
    StoreTable,
    TopTable,
)
from bandari.domain.catalogue import LOCAL, Group

MAX_FILE_BYTES: Final = 2**20

_NOT_IN_A_URL: Final = "?#%\0\r\n"
_TABLES: Final = ("providers", "engine", "models", "groups", "server", "responses", "store")
_SYNTAX_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")
_SYNTAX_END = re.compile(r"\s*\(at end of document\)$")


class ConfigError(Exception):
    """The configuration cannot be used. One line for each problem, in the order of the file."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def load(
    file: FilePath | None = None,
    overrides: Overrides | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this process. Raises ``ConfigError`` with every problem that there is.

    ``file`` wins over BANDARI_CONFIG; without either, everything has its default.
    """
    environ = os.environ if environ is None else environ
    overrides = overrides or Overrides()
    if file is None and environ.get("BANDARI_CONFIG"):
        file = FilePath(environ["BANDARI_CONFIG"])
    text = "" if file is None else _text_of(file)
    document = _parse(text, file)
    problems = Problems()
    settings = _read(document, problems, file, overrides, environ)
    if settings is None:
        lines = lines_of(text)
        placed = sorted(
            ((line_of(lines, path), message) for path, message in problems.found),
            key=lambda problem: problem[0],
        )
        raise ConfigError(
            *(f"{file}:{line}: {message}" for line, message in placed), *problems.elsewhere
        )
    return settings


def default_data_dir(environ: Mapping[str, str]) -> FilePath:
    """Where the books are if nobody says so.

    ``.bandari`` where the command runs, if there is one (``make serve`` makes it in the checkout);
    else ``bandari`` under the user's data directory.
    """
    beside = FilePath.cwd() / ".bandari"
    if beside.is_dir():
        return beside
    base = environ.get("XDG_DATA_HOME")
    if base and FilePath(base).is_absolute():
        return FilePath(base) / "bandari"
    return FilePath(environ.get("HOME") or FilePath.home()) / ".local" / "share" / "bandari"


def _text_of(file: FilePath) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL byte in the path
        raise ConfigError(f"{str(file)!r}: is not the path of a file") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: is larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8 text") from error


def _parse(text: str, file: FilePath | None) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{file}:1: is nested too deeply") from error
    except ValueError as error:
        message, line = str(error), 1
        found = _SYNTAX_LINE.search(message)
        if found is not None:
            line = int(found[1])
        elif _SYNTAX_END.search(message):
            line = len(text.splitlines()) or 1
        message = _SYNTAX_END.sub("", _SYNTAX_LINE.sub("", message))
        raise ConfigError(f"{file}:{line}: is not TOML: {message}") from error


def _read(
    document: dict[str, object],
    problems: Problems,
    file: FilePath | None,
    overrides: Overrides,
    environ: Mapping[str, str],
) -> Settings | None:
    reader = TableReader(problems, environ)
    top = reader.struct(
        {key: value for key, value in document.items() if key not in _TABLES}, TopTable, (), _TABLES
    )
    engine = reader.struct(document.get("engine", {}), Engine, ("engine",))
    server = reader.struct(document.get("server", {}), Server, ("server",))
    responses = reader.struct(document.get("responses", {}), Responses, ("responses",))
    store = reader.struct(document.get("store", {}), StoreTable, ("store",))
    names, providers = _read_providers(document.get("providers", {}), reader, problems)
    groups = _read_groups(document.get("groups", {}), reader, problems)
    models = read_models(
        document.get("models", {}), reader, problems, (LOCAL, *names), engine or Engine()
    )
    check_embedders(models, providers, problems)
    if top is not None and top.default_provider not in (LOCAL, *names):
        problems.add(
            ("default_provider",),
            f"there is no provider '{top.default_provider}'; "
            + suggestion(top.default_provider, (LOCAL, *names)),
        )
    if store is not None and store.url is not None:
        url_problem = checks.problem_of_database_url(store.url)
        if url_problem:
            problems.add(("store", "url"), url_problem)
    _check_elsewhere(problems, overrides, environ)
    if problems or top is None or engine is None:
        return None
    if server is None or responses is None or store is None:
        return None
    data_dir = overrides.data_dir or _absolute(environ.get("BANDARI_DATA"), FilePath.cwd())
    data_dir = (data_dir or default_data_dir(environ)).expanduser().absolute()
    url = environ.get("BANDARI_DATABASE_URL") or store.url
    if url is None and not set(_NOT_IN_A_URL).isdisjoint(str(data_dir)):
        problems.elsewhere.append(f"{str(data_dir)!r}: a data directory has none of ? # %")
        return None
    here = FilePath.cwd() if file is None else file.absolute().parent
    return Settings(
        data_dir=data_dir,
        database_url=url or f"sqlite:///{data_dir / 'bandari.db'}",
        admin_key=environ.get("BANDARI_ADMIN_KEY") or None,
        key_prefix=top.key_prefix,
        default_provider=top.default_provider,
        providers=providers,
        engine=structs.replace(
            engine,
            model=(
                overrides.model.expanduser().absolute()
                if overrides.model is not None
                else _absolute(engine.model, here)
            ),
            embedding_model=_absolute(engine.embedding_model, here),
        ),
        models=models,
        groups=groups,
        server=structs.replace(
            server,
            host=server.host if overrides.host is None else overrides.host,
            port=server.port if overrides.port is None else overrides.port,
        ),
        responses=responses,
    )


def _check_elsewhere(problems: Problems, overrides: Overrides, environ: Mapping[str, str]) -> None:
    url = environ.get("BANDARI_DATABASE_URL")
    url_problem = checks.problem_of_database_url(url) if url else None
    if url_problem:
        problems.elsewhere.append(f"BANDARI_DATABASE_URL: {url_problem}")
    if overrides.port is not None and not 0 <= overrides.port <= 65_535:
        problems.elsewhere.append(f"--port: expected 0 to 65535, got {overrides.port}")


def _read_providers(
    value: object, reader: TableReader, problems: Problems
) -> tuple[tuple[str, ...], dict[str, Provider]]:
    """All names that the file has, and the providers that are good."""
    table = reader.table(value, ("providers",)) or {}
    providers: dict[str, Provider] = {}
    for name, content in table.items():
        path = ("providers", name)
        if name == LOCAL:
            problems.add(
                path, "'local' is the engine in the box and needs no provider; see [engine]"
            )
            continue
        checks.check_name(name, path, problems)
        provider = reader.struct(content, Provider, path, name=name)
        if provider is not None:
            checks.check_provider(provider, path, problems)
            providers[name] = structs.replace(provider, base_url=provider.base_url.rstrip("/"))
    return tuple(table), providers


def _read_groups(value: object, reader: TableReader, problems: Problems) -> dict[str, Group]:
    groups = {DEFAULT_GROUP: Group(DEFAULT_GROUP)}
    for name, content in (reader.table(value, ("groups",)) or {}).items():
        path = ("groups", name)
        checks.check_name(name, path, problems)
        group = reader.struct(content, GroupTable, path)
        if group is not None:
            groups[name] = Group(name, group.limits.requests_per_minute)
    return groups


def _absolute(path: str | FilePath | None, base: FilePath) -> FilePath | None:
    return (base / FilePath(path).expanduser()).absolute() if path else None
