"""Why the engine cannot run: one line each, that says what to do.

These are for the person who starts the server. What a request sees instead is a fault of
``domain.faults``.
"""

from __future__ import annotations


class EngineError(Exception):
    """The engine cannot run."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class EngineNotInstalled(EngineError):
    """The engine cannot be loaded: install 'bandari[engine]' (a bare Debian also needs its package
    libgomp1), or use a provider instead.
    """


class ModelFileMissing(EngineError):
    """The model file does not exist."""


class NotAModelFile(EngineError):
    """The file is not a GGUF model."""


class ModelTooBig(EngineError):
    """The model needs more memory than there is."""


class ModelNotLoaded(EngineError):
    """The engine could not load the model."""


class EngineCrashed(EngineError):
    """The engine's process ended by itself."""


class EngineStartTimeout(EngineError):
    """The engine was not ready in time."""


class EngineStopped(EngineError):
    """The engine was stopped while it started."""
