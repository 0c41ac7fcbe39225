"""Where foreign failures stop: what the adapters raise becomes the one line of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bandari.adapters.engine.errors import EngineError
from bandari.adapters.hub import HubError
from bandari.adapters.storage import StorageError
from bandari.bootstrap.directory import AlreadyServing
from bandari.cli.failure import CommandFailed
from bandari.domain.faults import Fault

EXPECTED = (AlreadyServing, EngineError, HubError, StorageError)


@contextmanager
def expected_failures() -> Iterator[None]:
    """Turns what can be expected to fail into ``CommandFailed``, also out of a task group."""
    try:
        yield
    except EXPECTED as error:
        raise CommandFailed(_message(error)) from error
    except BaseExceptionGroup as group:
        expected, rest = group.split((*EXPECTED, Fault))
        if expected is None or rest is not None:
            raise
        raise CommandFailed(_message(_first(expected))) from group


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _message(error: BaseException) -> str:
    """The error's message, or its docstring, which is the message where nothing else was said."""
    return str(error) or (type(error).__doc__ or type(error).__name__).strip()
