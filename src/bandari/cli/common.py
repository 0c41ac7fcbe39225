"""What every command takes: where the books are, which configuration holds, how to answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, Token

from bandari.config import Overrides, Settings, load

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Reads an integer as it is; the parser's own reading takes 1.5 for 1."""
    text = tokens[0].value
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"{text[:100]!a} is not a whole number")
    return int(text)


Whole = Annotated[int, Parameter(converter=whole_number, allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """The options of every command."""

    data: Path | None = None
    """Data directory. Default: BANDARI_DATA, ./.bandari or ~/.local/share/bandari."""

    config: Path | None = None
    """Configuration file. Default: BANDARI_CONFIG, else everything has its default."""

    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
    """Answer with one JSON value."""

    def settings(
        self,
        *,
        host: str | None = None,
        port: int | None = None,
        model: Path | None = None,
    ) -> Settings:
        """The settings of this command. Raises ``ConfigError``."""
        return load(self.config, Overrides(data_dir=self.data, host=host, port=port, model=model))


DEFAULTS = Common()


@Parameter(name="*")
@dataclass(frozen=True)
class Page:
    """Which part of a list."""

    after: Whole = 0
    """Begin behind this one; where there are more, the list ends with what to say here."""

    limit: Whole = 1_000
    """How many are listed at most, up to 1000."""


FIRST_PAGE = Page()


def command_group(name: str, text: str) -> App:
    """The parser of one command."""
    return App(name=name, help=text, help_format="plaintext")
