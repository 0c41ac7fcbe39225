from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bandari.adapters.engine.settings import (
    MAX_DEFAULT_THREADS,
    EngineSettings,
    default_threads,
)


def test_defaults_are_bounded() -> None:
    settings = EngineSettings(model_path=Path("m.gguf"))
    assert (settings.slots, settings.context_window) == (4, 8192)
    assert settings.start_timeout_s == 120
    assert settings.threads_used == default_threads()
    assert 1 <= default_threads() <= MAX_DEFAULT_THREADS


def test_threads_that_were_chosen_are_used() -> None:
    assert EngineSettings(model_path=Path("m.gguf"), threads=3).threads_used == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slots", 0),
        ("slots", 257),
        ("context_window", 63),
        ("threads", -1),
        ("prompt_cache_mib", -1),
        ("http_threads", 11),  # 4 slots and 8 to spare
        ("health_failures", 0),
        ("restart_ceiling_s", 0.1),  # below the first delay
        ("start_timeout_s", 0),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"engine\.{field} is {value}, must be"):
        EngineSettings(model_path=Path("m.gguf"), **{field: value})  # type: ignore[arg-type]


def test_an_empty_alias_is_refused() -> None:
    with pytest.raises(ValueError, match="model_alias"):
        EngineSettings(model_path=Path("m.gguf"), model_alias="")


def test_settings_cannot_be_changed() -> None:
    settings = EngineSettings(model_path=Path("m.gguf"))
    with pytest.raises(AttributeError):
        settings.slots = 5  # type: ignore[misc]


def test_bounds_hold_when_read_from_a_configuration() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"engine\.slots"):
        msgspec.convert({"model_path": "m.gguf", "slots": 0}, EngineSettings, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    assert kind is Path
    return Path(str(value))
