"""Reads the configuration: file, environment and command line into one checked ``Settings``.

Every problem is found before the first is reported: ``FILE:LINE: key: what is wrong``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Final

from msgspec import Struct, structs

from bandari.config import checks
from bandari.config.groups import Catalogue, read_groups
from bandari.config.models import check_embedders, check_engine_runs, read_models
from bandari.config.positions import line_of, lines_of
from bandari.config.recordings import read_cache, read_streams
from bandari.config.tables import Problems, TableReader, WrittenFloat, suggestion
from bandari.config.values import (
    Engine,
    Overrides,
    Provider,
    Responses,
    Server,
    Settings,
    StoreTable,
    TopTable,
)
from bandari.domain.catalogue import LOCAL

MAX_FILE_BYTES: Final = 2**20

_NOT_IN_A_URL: Final = "?#%\0\r\n"
_TABLES: Final = (
    "providers",
    "engine",
    "models",
    "groups",
    "server",
    "responses",
    "streams",
    "cache",
    "store",
)
_SYNTAX_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")
_SYNTAX_END = re.compile(r"\s*\(at end of document\)$")


class Source(Struct, frozen=True):
    """Where the settings of a process come from, for reading them again."""

    file: FilePath | None = None
    overrides: Overrides = Overrides()

    def settings(self, running: Settings | None = None) -> Settings:
        """As ``load`` has it."""
        return load(self.file, self.overrides, running=running)


class ConfigError(Exception):
    """The configuration cannot be used. One line for each problem, in the order of the file.

    ``unset`` are environment variables that the file wants and that are not set here.
    """

    def __init__(self, *problems: str, unset: Sequence[str] = ()) -> None:
        self.problems = problems
        self.unset = tuple(unset)
        super().__init__("\n".join(problems))


def load(
    file: FilePath | None = None,
    overrides: Overrides | None = None,
    environ: Mapping[str, str] | None = None,
    running: Settings | None = None,
) -> Settings:
    """The settings of this process. Raises ``ConfigError`` with every problem that there is.

    ``file`` wins over BANDARI_CONFIG; without either, everything has its default. ``running`` are
    those that a server was started with, which reads its file anew: its engine is as it is, and
    models must get along with it.
    """
    environ = os.environ if environ is None else environ
    overrides = overrides or Overrides()
    file = file_of(file, environ)
    text = "" if file is None else _text_of(file)
    document = _parse(text, file)
    problems = Problems()
    settings = _read(document, problems, file, overrides, environ, running)
    if settings is None:
        lines = lines_of(text)
        placed = sorted(
            ((line_of(lines, path), message) for path, message in problems.found),
            key=lambda problem: problem[0],
        )
        raise ConfigError(
            *(f"{file}:{line}: {message}" for line, message in placed),
            *problems.elsewhere,
            unset=problems.unset,
        )
    return settings


def file_of(file: FilePath | None, environ: Mapping[str, str]) -> FilePath | None:
    """The configuration file: the one that is given, else the environment's."""
    return file or (FilePath(environ["BANDARI_CONFIG"]) if environ.get("BANDARI_CONFIG") else None)


def data_dir_of(given: FilePath | None, environ: Mapping[str, str]) -> FilePath:
    """The data directory: the one that is given, else the environment's, else the default."""
    chosen = given or _absolute(environ.get("BANDARI_DATA"), FilePath.cwd())
    return (chosen or default_data_dir(environ)).expanduser().absolute()


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
        return tomllib.loads(text, parse_float=WrittenFloat)
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
    running: Settings | None,
) -> Settings | None:
    reader = TableReader(problems, environ)
    top = reader.struct(
        {key: value for key, value in document.items() if key not in _TABLES}, TopTable, (), _TABLES
    )
    engine = reader.struct(document.get("engine", {}), Engine, ("engine",))
    server = reader.struct(document.get("server", {}), Server, ("server",))
    responses = reader.struct(document.get("responses", {}), Responses, ("responses",))
    streams = read_streams(document.get("streams", {}), reader, problems)
    cache = read_cache(document.get("cache", {}), reader, problems)
    store = reader.struct(document.get("store", {}), StoreTable, ("store",))
    names, providers = _read_providers(document.get("providers", {}), reader, problems)
    models = read_models(
        document.get("models", {}),
        reader,
        problems,
        (LOCAL, *names),
        _engine_of_models(engine or Engine(), running),
    )
    check_embedders(models, providers, problems)
    if running is not None:
        check_engine_runs(models, running, problems)
    default_provider = LOCAL if top is None else top.default_provider
    about = Catalogue(models, providers, default_provider)
    groups = read_groups(document.get("groups", {}), reader, problems, about)
    if server is not None:
        checks.check_networks(server.trusted_proxies, ("server", "trusted_proxies"), problems)
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
    if streams is None or cache is None:
        return None
    data_dir = data_dir_of(overrides.data_dir, environ)
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
        streams=streams,
        cache=cache,
    )


def _engine_of_models(engine: Engine, running: Settings | None) -> Engine:
    """The engine that models are checked against: the one that runs, with its context window."""
    if running is None:
        return engine
    return structs.replace(engine, context_window=running.engine.context_window)


def _check_elsewhere(problems: Problems, overrides: Overrides, environ: Mapping[str, str]) -> None:
    url = environ.get("BANDARI_DATABASE_URL")
    url_problem = checks.problem_of_database_url(url) if url else None
    if url_problem:
        problems.elsewhere.append(f"BANDARI_DATABASE_URL: {url_problem}")
    admin_key = environ.get("BANDARI_ADMIN_KEY")
    key_problem = checks.problem_of_admin_key(admin_key) if admin_key else None
    if key_problem:
        problems.elsewhere.append(f"BANDARI_ADMIN_KEY: {key_problem}")
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


def _absolute(path: str | FilePath | None, base: FilePath) -> FilePath | None:
    return (base / FilePath(path).expanduser()).absolute() if path else None
