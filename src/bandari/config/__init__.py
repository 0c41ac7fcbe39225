"""Configuration as values, and how it is read from file and environment.

Only ``bootstrap`` and ``cli`` know this package. Everybody else is handed the values they need.
"""

from bandari.config.reading import ConfigError, Source, data_dir_of, file_of, load
from bandari.config.values import (
    DEFAULT_CONTEXT_WINDOW,
    DEFAULT_MODEL,
    Cache,
    Engine,
    Overrides,
    Provider,
    Responses,
    Server,
    Settings,
    Streams,
)

__all__ = [
    "DEFAULT_CONTEXT_WINDOW",
    "DEFAULT_MODEL",
    "Cache",
    "ConfigError",
    "Engine",
    "Overrides",
    "Provider",
    "Responses",
    "Server",
    "Settings",
    "Source",
    "Streams",
    "data_dir_of",
    "file_of",
    "load",
]
