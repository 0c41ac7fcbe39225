"""``[streams]``, ``[cache]``, and what models say of the cache: what they mean, and may not."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from bandari.config import Cache, ConfigError, Settings, Streams, load
from bandari.config.values import RESUME_WINDOWS_S
from bandari.domain.keys import Scope
from bandari.domain.recordings import CacheUse


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Settings:
        file = tmp_path / "bandari.toml"
        file.write_text(text)
        return load(file, environ={"HOME": str(tmp_path), "KEEP": "database"})

    return read


@pytest.fixture
def problems(read):
    def problems(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text)
        return [re.sub(r"^.*bandari\.toml:", "", line) for line in caught.value.problems]

    return problems


def model(more: str) -> str:
    return f'[models.m]\ntargets = ["local:bandari-tiny"]\n{more}\n'


def test_nothing_said(read):
    settings = read("")
    assert settings.streams == Streams(
        keep="memory",
        max_bytes=256 * 2**20,
        max_resume_window_s=300,
        keyed_resume_window_s=60,
        idempotency_hours=24,
        resume_window_s={
            Scope.CHAT_COMPLETIONS: 0,
            Scope.COMPLETIONS: 0,
            Scope.MESSAGES: 0,
            Scope.RESPONSES: 0,
            Scope.TYPED_STREAM: 60,
        },
    )
    assert settings.cache == Cache(max_bytes=64 * 2**20, max_answer_bytes=2**20, ttl_s=3600)
    (served,) = settings.models
    assert (served.cache, served.cache_ttl_s) == (CacheUse.OFF, None)
    assert served.rate_cards[0].cache_hit_per_million == 0


def test_everything_said(read):
    settings = read(
        """
        [streams]
        keep = "${KEEP}"
        max_bytes = 65536
        max_resume_window_s = 86400
        keyed_resume_window_s = 0
        idempotency_hours = 720
        resume_window_s = { messages = 86400, typed_stream = 0 }
        [cache]
        max_bytes = 1099511627776
        max_answer_bytes = 1
        ttl_s = 31536000
        [models.m]
        targets = ["local:bandari-tiny"]
        cache = "use"
        cache_ttl_s = 1
        [models.m.prices.KES]
        input_per_million = 9
        output_per_million = 9
        cache_hit_per_million = 7
        """
    )
    assert settings.streams == Streams(
        keep="database",
        max_bytes=65536,
        max_resume_window_s=86400,
        keyed_resume_window_s=0,
        idempotency_hours=720,
        resume_window_s={**RESUME_WINDOWS_S, Scope.MESSAGES: 86400, Scope.TYPED_STREAM: 0},
    )
    assert settings.cache == Cache(max_bytes=2**40, max_answer_bytes=1, ttl_s=31536000)
    (served,) = settings.models
    assert (served.cache, served.cache_ttl_s) == (CacheUse.USE, 1)
    assert served.rate_cards[0].cache_hit_per_million == 7


def test_what_is_not_said_gives_way_to_what_is(read):
    streams = read("[streams]\nmax_resume_window_s = 20").streams
    assert streams.resume_window_s == {**RESUME_WINDOWS_S, Scope.TYPED_STREAM: 20}
    assert streams.keyed_resume_window_s == 20
    assert read("[cache]\nmax_bytes = 100").cache.max_answer_bytes == 100


def test_without_a_cache_the_size_of_an_answer_means_nothing(read):
    cache = read("[cache]\nmax_bytes = 0\nmax_answer_bytes = 5").cache
    assert (cache.max_bytes, cache.max_answer_bytes) == (0, 5)


@pytest.mark.parametrize("use", CacheUse)
def test_a_model_may_say_any_use(read, use):
    assert read(model(f'cache = "{use}"')).models[0].cache is use


WINDOW = "an integer from 0 to 86400"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'keep = "disk"',
            "2: streams.keep: expected one of 'database', 'memory', 'off', got 'disk'",
        ),
        ("keep = true", "2: streams.keep: expected one of"),
        ("max_bytes = 65535", "2: streams.max_bytes: expected an integer from 65536 to 1099511627"),
        ("max_bytes = 1099511627777", "2: streams.max_bytes: expected an integer from 65536"),
        ("max_resume_window_s = -1", f"2: streams.max_resume_window_s: expected {WINDOW}, got -1"),
        ("max_resume_window_s = 86401", f"2: streams.max_resume_window_s: expected {WINDOW}"),
        ("\nkeyed_resume_window_s = 86401", f"3: streams.keyed_resume_window_s: expected {WINDOW}"),
        (
            "\nkeyed_resume_window_s = 301",
            "3: streams.keyed_resume_window_s: 301 is more than the 300 of [streams] max",
        ),
        (
            "idempotency_hours = 0",
            "2: streams.idempotency_hours: expected an integer from 1 to 720",
        ),
        ("idempotency_hours = 721", "2: streams.idempotency_hours: expected an integer from 1 to"),
        ("resume_window_s = 60", "2: streams.resume_window_s: expected a table, got 60"),
        (
            "[streams.resume_window_s]\ntyped_steam = 5",
            "3: streams.resume_window_s.typed_steam: unknown key; did you mean 'typed_stream'?",
        ),
        (
            "resume_window_s = { embeddings = 5 }",
            "2: streams.resume_window_s.embeddings: unknown key; ",
        ),
        (
            "\n[streams.resume_window_s]\nmessages = -1",
            f"4: streams.resume_window_s.messages: expected {WINDOW}, got -1",
        ),
        ("resume_window_s.messages = true", "2: streams.resume_window_s.messages: expected"),
        ("resume_window_s = { messages = 1.5 }", "2: streams.resume_window_s.messages: expected"),
        (
            "resume_window_s.responses = 86401",
            f"2: streams.resume_window_s.responses: expected {WINDOW}, got 86401",
        ),
        (
            "max_resume_window_s = 20\nresume_window_s.responses = 21",
            "3: streams.resume_window_s.responses: 21 is more than the 20 of [streams] max",
        ),
        ("keeps = 5", "2: streams.keeps: unknown key; did you mean 'keep'?"),
    ],
)
def test_streams_that_cannot_be(problems, text, problem):
    (line,) = problems(f"[streams]\n{text}\n")
    assert line.startswith(problem)


def test_a_wrong_longest_window_makes_no_others_wrong(problems):
    (line,) = problems("[streams]\nmax_resume_window_s = 99999\nresume_window_s.messages = 400")
    assert line.startswith("2: streams.max_resume_window_s: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[cache]\nmax_bytes = -1",
            "2: cache.max_bytes: expected an integer from 0 to 109951162777",
        ),
        (
            "[cache]\nmax_answer_bytes = 0",
            "2: cache.max_answer_bytes: expected an integer from 1 to",
        ),
        (
            "[cache]\nmax_bytes = 100\nmax_answer_bytes = 101",
            "3: cache.max_answer_bytes: 101 is more than the 100 of [cache] max_bytes",
        ),
        ("[cache]\nttl_s = 0", "2: cache.ttl_s: expected an integer from 1 to 31536000, got 0"),
        ("[cache]\nttl_s = 31536001", "2: cache.ttl_s: expected an integer from 1 to 31536000"),
        ("[cache]\nttl = 5", "2: cache.ttl: unknown key; did you mean 'ttl_s'?"),
        ("cache = 5", "1: cache: expected a table, got 5"),
        ("streams = 5", "1: streams: expected a table, got 5"),
        (
            model('cache = "yes"'),
            "3: models.m.cache: expected one of 'use', 'only', 'refresh', 'off', got 'yes'",
        ),
        (model("cache = true"), "3: models.m.cache: expected one of 'use'"),
        (
            model("cache_ttl_s = 0"),
            "3: models.m.cache_ttl_s: expected an integer from 1 to 31536000",
        ),
        (
            model(
                "prices.KES = { input_per_million = 1, output_per_million = 1, "
                "cache_hit_per_million = -1 }"
            ),
            "3: models.m.prices.KES.cache_hit_per_million: expected an integer from 0 to 100",
        ),
    ],
)
def test_caches_that_cannot_be(problems, text, problem):
    (line,) = problems(text)
    assert line.startswith(problem)


@pytest.mark.parametrize("said", ['cache = "off"', "cache_ttl_s = 60"])
def test_a_model_that_embeds_has_no_cache(problems, said):
    text = model(f'kind = "embedding"\n{said}') + '[engine]\nembedding_model = "e.gguf"\n'
    (line,) = problems(text)
    name = said.split(" ")[0]
    assert line == f"4: models.m.{name}: has no meaning for a model of kind 'embedding'"


def test_what_a_model_says_of_the_cache_makes_it_another(read):
    """So a reload takes it over."""
    plain, cached = (read(model(text)).models[0] for text in ("", 'cache = "use"'))
    assert plain != cached
    assert structs.replace(cached, cache=CacheUse.OFF) == plain
