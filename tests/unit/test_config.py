"""The configuration as a whole: what it makes of a file, the environment and the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from msgspec import structs

from bandari.config import (
    Cache,
    ConfigError,
    Engine,
    Overrides,
    Provider,
    Responses,
    Server,
    Settings,
    Streams,
    load,
)
from bandari.config.values import RESUME_WINDOWS_S, GroupTable, ModelTable, PriceTable, TargetTable
from bandari.domain.allowance import Limits
from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import EMBEDDING, GENERATING, Defaults, Group, Target
from bandari.domain.pricing import RateCard, token_card

EXAMPLE = Path(__file__).parents[2] / "examples" / "bandari.toml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without ``.bandari``."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def read(tmp_path):
    def read(text: str = "", **environ: str) -> Settings:
        file = tmp_path / "bandari.toml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(file, environ={"HOME": str(tmp_path), **environ})

    return read


@pytest.fixture
def problems(read):
    def problems(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **environ)
        return [re.sub(r"^.*bandari\.toml:", "", line) for line in caught.value.problems]

    return problems


def provider(more: str = "") -> str:
    return f'[providers.acme]\nbase_url = "https://llm.acme.example/v1"\n{more}\n'


def model(more: str, targets: str = '["local:bandari-tiny"]') -> str:
    return f'[models."m"]\ntargets = {targets}\n{more}\n'


# What a good configuration means


def test_no_file_serves_the_model_in_the_box(tmp_path):
    settings = load(environ={"HOME": str(tmp_path)})
    (served,) = settings.models
    assert served.id == "bandari-tiny"
    assert served.targets == (Target("local", "bandari-tiny"),)
    assert served.rate_cards == (token_card("bandari-tiny"),)
    assert (served.context_window, served.max_output_tokens) == (8192, 8192)
    assert settings.uses_engine
    assert settings.groups == {"default": Group(name="default")}
    assert settings.data_dir == tmp_path / ".local" / "share" / "bandari"
    assert settings.database_url == f"sqlite:///{settings.data_dir}/bandari.db"


def test_an_empty_file_means_no_file(read, tmp_path):
    assert read("") == load(environ={"HOME": str(tmp_path)})


def test_the_constitution_s_example(read):
    settings = read(
        """
        key_prefix = "fk_live_"
        default_provider = "local"
        [providers.acme]
        base_url = "https://llm.acme.example/v1/"
        protocol = "chat_completions"
        api_key = "${ACME_KEY}"
        [models."gpt-4o"]
        targets = ["acme:gpt-4o", "local:bandari-tiny"]
        context_window = 8000
        max_output_tokens = 4096
        defaults = { temperature = 0.7, max_tokens = 100 }
        bounds = { temperature = [0, 1] }
        [models."fikra-pro-20b"]
        targets = ["local:bandari-tiny"]
        aliases = ["fikra", "meetkai:functionary"]
        [groups.default]
        limits = { requests_per_minute = 600 }
        """,
        ACME_KEY="secret",
    )
    acme = settings.providers["acme"]
    assert (acme.name, acme.base_url, acme.api_key) == (
        "acme",
        "https://llm.acme.example/v1",
        "secret",
    )
    gpt, fikra = settings.models
    assert gpt.targets == (Target("acme", "gpt-4o", 0), Target("local", "bandari-tiny", 1))
    assert (gpt.context_window, gpt.max_output_tokens) == (8000, 4096)
    assert gpt.defaults == Defaults(temperature=0.7, max_tokens=100)
    assert gpt.bounds == Bounds(temperature=(0, 1))
    assert fikra.aliases == ("fikra", "meetkai:functionary")
    assert settings.groups["default"].limits.requests_per_minute == 600
    assert settings.key_prefix == "fk_live_"


def test_targets_as_tables_have_weight_and_priority(read):
    targets = '[{ target = "acme:a", weight = 3 }, { target = "acme:b:c", priority = 2 }]'
    (made,) = read(provider() + model("", targets)).models
    assert made.targets == (Target("acme", "a", 0, 3), Target("acme", "b:c", 2, 1))
    assert made.context_window == 128_000


def test_a_model_elsewhere_needs_no_engine(read):
    assert not read(provider() + model("", '["acme:x"]')).uses_engine


def test_prices_make_rate_cards_and_cached_input_costs_what_input_costs(read):
    (made,) = read(
        model(
            "prices.KES = { input_per_million = 150, output_per_million = 600 }\n"
            "prices.TOKEN = { input_per_million = 1, output_per_million = 2, "
            "cached_input_per_million = 0, cache_write_per_million = 3, per_request = 9 }"
        )
    ).models
    assert made.rate_cards == (
        RateCard("m", "KES", 150, 150, 150, 600),
        RateCard("m", "TOKEN", 1, 0, 3, 2, 9),
    )


def test_a_name_of_a_variable_may_be_part_of_a_string_or_escaped(read):
    settings = read(
        provider('api_key = "x-${A}-$${A}"\nheaders = { "x-team" = "${B}" }'), A="1", B="2"
    )
    assert settings.providers["acme"].api_key == "x-1-${A}"
    assert settings.providers["acme"].headers == {"x-team": "2"}


def test_environment_and_command_line_win(read, tmp_path):
    file = tmp_path / "given.toml"
    file.write_text('[server]\nport = 1\n[store]\nurl = "sqlite:///from-file.db"\n')
    environ = {
        "BANDARI_CONFIG": str(file),
        "BANDARI_DATA": str(tmp_path / "data"),
        "BANDARI_ADMIN_KEY": "sixteen-letters!",
    }
    settings = load(environ=environ)
    assert settings.server.port == 1
    assert settings.data_dir == tmp_path / "data"
    assert settings.database_url == "sqlite:///from-file.db"
    assert settings.admin_key == "sixteen-letters!"

    url = "postgresql://bandari@localhost/bandari"
    settings = load(
        overrides=Overrides(
            data_dir=tmp_path / "other", host="::1", port=0, model=tmp_path / "m.gguf"
        ),
        environ={**environ, "BANDARI_DATABASE_URL": url},
    )
    assert settings.data_dir == tmp_path / "other"
    assert (settings.server.host, settings.server.port) == ("::1", 0)
    assert settings.engine.model == tmp_path / "m.gguf"
    assert settings.database_url == url


def test_responses_are_kept_for_a_month_or_as_long_as_the_file_says(read):
    assert read("").responses.retention_days == 30
    assert read("[responses]\nretention_days = 3650").responses.retention_days == 3650


def test_the_engine_s_model_is_relative_to_the_file(read, tmp_path):
    assert read('[engine]\nmodel = "a/b.gguf"').engine.model == tmp_path / "a" / "b.gguf"


def test_the_data_directory_follows_xdg(read, tmp_path):
    assert read(XDG_DATA_HOME=str(tmp_path / "x")).data_dir == tmp_path / "x" / "bandari"
    relative = read(XDG_DATA_HOME="x")
    assert relative.data_dir == tmp_path / ".local" / "share" / "bandari"


def test_the_data_directory_of_a_checkout_is_found_from_there(read, tmp_path):
    (tmp_path / "cwd" / ".bandari").mkdir()
    assert read(XDG_DATA_HOME=str(tmp_path / "x")).data_dir == tmp_path / "cwd" / ".bandari"


def test_secrets_are_not_in_what_is_printed(read):
    settings = read(
        provider('api_key = "hush"\nheaders = { x = "hush" }'),
        BANDARI_ADMIN_KEY="hush-hush-hush-hush",
        BANDARI_DATABASE_URL="postgresql://u:hush@h/d",
    )
    assert settings.admin_key == "hush-hush-hush-hush"
    assert "hush" not in repr(settings)
    assert "hush" not in repr(settings.providers)


# What is refused


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('key_prefix = "Bd-"', "1: key_prefix: expected a string like [a-z0-9_]{1,32}, got 'Bd-'"),
        ("\ncolour = 3", "2: colour: unknown key; known here: cache, default_provider"),
        ("key_prefex = 'a'", "1: key_prefex: unknown key; did you mean 'key_prefix'?"),
        ("models = 3", "1: models: expected a table, got 3"),
        ("[server]\nport = 70000", "2: server.port: expected an integer from 0 to 65535, got 7"),
        ('[server]\nport = "80"', "2: server.port: expected an integer from 0 to 65535, got '80'"),
        ("[server]\nport = true", "2: server.port: expected an integer from 0 to 65535, got true"),
        ("server = { prt = 1 }", "1: server.prt: unknown key; did you mean 'port'?"),
        ("server.prt = 1", "1: server.prt: unknown key; did you mean 'port'?"),
        ('[server]\nhost = ""', "2: server.host: expected a string that is not empty, got ''"),
        (
            "[responses]\nretention_days = 0",
            "2: responses.retention_days: expected an integer from 1 to 3650, got 0",
        ),
        # What does nothing yet is refused, not accepted and ignored.
        ('[server]\ncors_origins = ["*"]', "2: server.cors_origins: unknown key"),
        (
            '[server]\ntrusted_proxies = ["10.0.0.1/8"]',
            "'10.0.0.1/8' has bits of a host; the network is 10.0.0.0/8",
        ),
        (
            '[server]\ntrusted_proxies = ["proxy"]',
            "2: server.trusted_proxies[0]: expected a network like 10.0.0.0/8, got 'proxy'",
        ),
        (
            '[server]\ntrusted_proxies = ["::1", "::1"]',
            "2: server.trusted_proxies[1]: '::1' is named twice",
        ),
        (
            "[server]\ntrusted_proxies = [8]",
            "2: server.trusted_proxies[0]: expected a string that is not empty, got 8",
        ),
        (
            '[store]\nurl = "mysql://x"',
            "2: store.url: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE",
        ),
        ('default_provider = "lokal"', "there is no provider 'lokal'; did you mean 'local'?"),
        ("[engine]\nslots = 0", "2: engine.slots: expected an integer from 1 to 256, got 0"),
        ('[engine]\nmodel = ""', "2: engine.model: expected the path of a file, got ''"),
        (
            "[groups.default]\nlimits = { requests_per_minute = 0 }",
            "2: groups.default.limits.requests_per_minute: expected an integer from 1 to",
        ),
        ('[groups."a b"]', '1: groups."a b": a name is 1 to 64 letters'),
        ("[providers.local]", "1: providers.local: 'local' is the engine in the box"),
        ("[providers.acme]", "1: providers.acme.base_url: is missing; expected a string"),
        (provider('api_key = "${NOPE}"'), "the environment variable NOPE is not set"),
        (provider('api_key = "${NO PE}"'), "'${NO PE}' does not name an environment variable"),
        (provider('api_key = "a\\nb"'), "3: providers.acme.api_key: has characters that cannot"),
        (provider("api_key = 123456"), "expected a string that is not empty, got an integer"),
        (provider('protocol = "gemini"'), "'gemini' is not spoken to providers yet"),
        (
            provider('protocol = "chat_completion"'),
            "there is no protocol 'chat_completion'; did you mean 'chat_completions'?",
        ),
        (
            provider('extra_fields = ["top_k", "n_predict"]'),
            "3: providers.acme.extra_fields[1]: 'n",
        ),
        (provider('extra_fields = ["temperature"]'), "'temperature' is a standard field"),
        (provider('extra_fields = ["a", "a"]'), "'a' is named twice"),
        (provider('headers = { "a b" = "x" }'), 'headers."a b": is not the name of a header'),
        (provider('headers = { Host = "x" }'), "headers.Host: is set by Bandari itself"),
        (
            provider('api_key = "k"\nheaders = { Authorization = "x" }'),
            "headers.Authorization: is set from api_key; leave one of them out",
        ),
        (provider('headers = { a = "x\\u0000" }'), "headers.a: has characters that cannot be sent"),
        (provider("headers = { a = 1 }"), "headers.a: expected a string, got an integer"),
        (provider('max_tokens_field = "n"'), "expected one of 'max_completion_tokens', 'max_tok"),
        (provider("max_choices = 129"), "expected an integer from 1 to 128, got 129"),
        (provider('streams = "yes"'), "3: providers.acme.streams: expected true or false, got 'ye"),
        (
            "[models.m]",
            '1: models.m.targets: is missing; expected a list like ["local:bandari-tiny',
        ),
        (model("", "[]"), "2: models.m.targets: expected a list like"),
        (model("", '"local:a"'), "2: models.m.targets: expected a list like"),
        (model("", '["nope:a"]'), "targets[0]: there is no provider 'nope'; known here: local"),
        (model("", '["local"]'), "targets[0]: expected 'provider:model', like"),
        (model("", '["local: "]'), "targets[0]: expected 'provider:model', like"),
        (model("", '[""]'), "targets[0]: expected 'provider:model', like"),
        (model("", '["local:a", "local:a"]'), "targets[1]: 'local:a' is named twice"),
        (model("", '["local:a", { target = "local:b" }]'), "mixes strings (tried in order) and"),
        (
            model("", '[{ target = "local:b", weight = 0 }]'),
            "targets[0].weight: expected an integer",
        ),
        (model("", "[3]"), "targets[0]: expected a string, got 3"),
        (model("context_window = 8193"), "8193 is more than the 8192 of [engine] context_window"),
        (model("max_output_tokens = 8193"), "8193 is more than the context window of 8192"),
        (model("bounds.temperature = [0, 3]"), "bounds.temperature: [0, 3] is not inside [0, 2]"),
        (model("bounds.temperature = [nan, 1]"), "the lower bound nan is above the upper 1"),
        (model("bounds.temperature = [1, 0.5]"), "the lower bound 1 is above the upper 0.5"),
        (model("bounds.temperature = [1]"), "expected a list [low, high] of numbers, got a list"),
        (model("bounds.n = [0, 1]"), "bounds.n: [0, 1] is not inside [1, 128]"),
        (model('bounds.roles = ["king"]'), "bounds.roles[0]: expected one of 'system', 'develop"),
        (model("bounds.roles = []"), "bounds.roles: must name at least one role"),
        (model("bounds.tempreature = [0, 1]"), "did you mean 'temperature'?"),
        (
            model("defaults.temperature = 1.5\nbounds.temperature = [0, 1]"),
            "3: models.m.defaults.temperature: 1.5 is not between 0.0 and 1.0",
        ),
        (model("defaults.temperature = nan"), "defaults.temperature: nan is not between 0 and 2"),
        (
            model("defaults.max_tokens = 9000"),
            "defaults.max_tokens: 9000 is not between 1 and 8192",
        ),
        (model('defaults.stop = ["a", ""]'), "defaults.stop: may hold up to 4 strings, none of"),
        (model("prices.kes = {}"), "prices.kes: an asset is 2 to 16 capital letters and digits"),
        (model("prices.KES = {}"), "prices.KES.input_per_million: is missing; expected an integer"),
        (model("prices.KES = 3"), "3: models.m.prices.KES: expected a table, got 3"),
        (model('aliases = ["m"]'), "aliases[0]: 'm' already means the model 'm'"),
        (model('aliases = ["a", "a"]'), "aliases[1]: 'a' already means the model 'm'"),
        (model('aliases = ["a b"]'), "aliases[0]: a model id has no spaces and no control char"),
        (
            model('aliases = ["n"]') + '[models.n]\ntargets = ["local:n"]',
            "3: models.m.aliases[0]: 'n' already means the model 'n'",
        ),
        ('[models.""]\ntargets = ["local:a"]', "a model id has 1 to 200 characters"),
        ("[models.m]\ntargets = 1979-05-27", "got 1979-05-27"),
    ],
)
def test_refused_with_line_and_reason(problems, text, problem):
    assert any(problem in line for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    "url",
    [
        "llm.acme.example/v1",
        "ftp://x/v1",
        "https://",
        "https://x:99999/",
        "https://[x/v1",
        "https://x/v1?key=1",
        "https://x/v1#a",
        "https://user:hush@x/v1",
        "https://x/a b",
        "https://x/v1/chat/completions/",
        "https://münchen.example/v1",
    ],
)
def test_a_base_url_is_http_with_no_trailing_junk(problems, url):
    (line,) = problems(f'[providers.a]\nbase_url = "{url}"')
    assert line.startswith("2: providers.a.base_url: ")
    assert "hush" not in line


def test_every_problem_is_reported_in_the_order_of_the_file(problems):
    lines = problems(
        "[server]\nport = 0.5\nhots = 1\n[engine]\nslots = []\n[models.m]\nx = 1\n[groups.g]\nx = 1"
    )
    assert [line.split(":")[0] for line in lines] == ["2", "3", "5", "6", "7", "9"]


def test_the_error_reads_as_one_line_for_each_problem(read, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read("a = 1\nb = 2")
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/bandari.toml:1: a: ")
    assert second.startswith(f"{tmp_path}/bandari.toml:2: b: ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[server]\nport = = 1\n", "2: is not TOML: Invalid value"),
        (b"[server]\r\nport = = 1\r\n", "2: is not TOML: Invalid value"),
        (b"a = 1\nb =", "2: is not TOML: Invalid value"),
        (b"a = 1\na = 2\n", "2: is not TOML: Cannot overwrite a value"),
        (b'a = "x\x00y"\n', "1: is not TOML: Illegal character"),
        (b"\x7fELF\x01\x02\x00\xff\xfe", "1: is not UTF-8 text"),
        (b"a = 1\n\xff = 2\n", "2: is not UTF-8 text"),
        (b"a = " + b"[" * 50_000, "1: is nested too deeply"),
        (b"a = " + b"9" * 10_000, "1: is not TOML: Exceeds the limit"),
        (b"# " + b"x" * 2**20, "is larger than 1048576 bytes"),
    ],
)
def test_what_is_not_toml_is_refused(problems, content, problem):
    (line,) = problems(content)
    assert problem in line


def test_a_byte_order_mark_and_windows_line_ends_are_fine(read, problems):
    assert read(b"\xef\xbb\xbf[server]\r\nport = 1\r\n").server.port == 1
    (line,) = problems(b"\xef\xbb\xbf[server]\r\n\r\nprt = 1\r\n")
    assert line.startswith("3: server.prt: ")


def test_a_file_that_cannot_be_read(tmp_path):
    for file in (tmp_path, tmp_path / "none.toml", tmp_path / "a\0b"):
        with pytest.raises(ConfigError, match=r"cannot be read|is not the path"):
            load(file, environ={})
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(environ={"BANDARI_CONFIG": str(tmp_path / "none.toml")})


def test_environment_and_command_line_are_checked_too():
    with pytest.raises(ConfigError) as caught:
        load(
            overrides=Overrides(port=70_000),
            environ={
                "BANDARI_DATABASE_URL": "redis://hush@x",
                "BANDARI_ADMIN_KEY": "fifteen-letters",
                "HOME": "/",
            },
        )
    assert caught.value.problems == (
        "BANDARI_DATABASE_URL: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE",
        "BANDARI_ADMIN_KEY: has 16 to 256 characters",
        "--port: expected 0 to 65535, got 70000",
    )


@pytest.mark.parametrize("key", ["x" * 15, "x" * 257, "x" * 16 + " ", "x" * 16 + "\n", "é" * 16])
def test_an_admin_key_that_could_be_guessed_or_not_be_sent(read, key):
    with pytest.raises(ConfigError, match="BANDARI_ADMIN_KEY: has ") as caught:
        read(BANDARI_ADMIN_KEY=key)
    assert key not in str(caught.value)


def test_the_error_names_the_variables_that_are_not_set(read):
    with pytest.raises(ConfigError) as caught:
        read(provider('api_key = "${NOPE}"\nheaders = { a = "${NEITHER}", b = "${HOME}" }'))
    assert caught.value.unset == ("NOPE", "NEITHER")


def test_trusted_proxies_are_networks(read):
    assert read("").server.trusted_proxies == ()
    proxies = read('[server]\ntrusted_proxies = ["10.0.0.0/8", "::1", "fd00::/8"]').server
    assert proxies.trusted_proxies == ("10.0.0.0/8", "::1", "fd00::/8")


def test_a_data_directory_whose_name_no_url_can_have(tmp_path):
    overrides = Overrides(data_dir=tmp_path / "what?")
    with pytest.raises(ConfigError, match="a data directory has none of"):
        load(overrides=overrides, environ={})
    url = "postgresql://h/d"
    assert load(overrides=overrides, environ={"BANDARI_DATABASE_URL": url}).database_url == url


def test_a_long_value_is_shortened_and_control_characters_are_spelled(problems):
    (line,) = problems('[server]\nport = "' + "x" * 10_000 + '"')
    assert len(line) < 200
    (line,) = problems('[server]\nport = "a\\u001b[31m\\nb"')
    assert "\x1b" not in line
    assert "\n" not in line


# Models that make vectors


def embedder(more: str = "", targets: str = '["acme:e"]') -> str:
    return f'[models."e"]\nkind = "embedding"\ntargets = {targets}\n{more}\n'


def test_a_model_that_embeds(read):
    settings = read(provider() + embedder("takes_dimensions = true\ncontext_window = 512"))
    (served,) = settings.models
    assert served.endpoints == EMBEDDING
    assert (served.context_window, served.takes_dimensions) == (512, True)
    assert not settings.uses_engine
    assert not settings.uses_embedding_engine


def test_a_model_writes_unless_its_kind_is_another(read):
    for more in ("", 'kind = "chat"'):
        settings = read(model(more))
        assert settings.models[0].endpoints == GENERATING
        assert settings.uses_engine
        assert not settings.uses_embedding_engine


def test_the_engine_in_the_box_embeds_with_a_file_of_its_own(read, tmp_path):
    local = embedder(targets='["local:e"]')
    settings = read('[engine]\nembedding_model = "e.gguf"\n' + local)
    assert settings.engine.embedding_model == tmp_path / "e.gguf"
    assert settings.engine.model is None
    assert settings.uses_embedding_engine
    assert not settings.uses_engine


def test_a_model_that_embeds_needs_no_price_of_an_output(read):
    (served,) = read(provider() + embedder("prices.KES.input_per_million = 7")).models
    (card,) = served.rate_cards
    assert (card.input_per_million, card.output_per_million) == (7, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            embedder(targets='["local:e"]'),
            "3: models.e.targets: has the target local, and [engine]",
        ),
        (
            '[engine]\nembedding_model = "e.gguf"\n'
            + embedder("takes_dimensions = true", '["local:e"]'),
            "6: models.e.takes_dimensions: the engine in the box gives whole vectors only",
        ),
        (
            provider() + embedder("max_output_tokens = 5"),
            "7: models.e.max_output_tokens: has no meaning for a model of kind 'embedding'",
        ),
        (
            provider() + embedder("defaults = {}"),
            "7: models.e.defaults: has no meaning for a model of kind 'embedding'",
        ),
        (
            model("takes_dimensions = true"),
            "3: models.m.takes_dimensions: is for models of kind 'embedding' only",
        ),
        (
            provider('protocol = "messages"') + embedder(),
            "6: models.e.targets: the provider 'acme' speaks 'messages', which has no embeddings",
        ),
        (
            model('kind = "vectors"'),
            "3: models.m.kind: expected one of 'chat', 'embedding', got 'vectors'",
        ),
        (
            provider() + model("prices.KES.input_per_million = 7"),
            "6: models.m.prices.KES.output_per_million: is missing",
        ),
    ],
)
def test_what_has_no_meaning_for_a_models_kind_is_refused(problems, text, line):
    (found,) = problems(text)
    assert found.startswith(line)


# The example names every key with its default


def test_the_example_means_what_an_empty_file_means(read):
    assert read(EXAMPLE.read_text()) == read("")


def test_the_example_documents_every_key_with_its_default(read):
    text = re.sub(r"^#(?=[a-z\[])", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    said = tomllib.loads(text)
    settings = read(text, ACME_KEY="k", PGPASSWORD="p")
    bare = read(
        'providers.acme.base_url = "https://llm.acme.example/v1"\nproviders.acme.api_key = "k"\n'
    )
    assert settings.providers["acme"] == bare.providers["acme"]
    assert settings.server == bare.server
    assert settings.responses == bare.responses
    assert settings.streams == bare.streams
    assert settings.cache == bare.cache
    assert settings.groups["default"].limits.requests_per_minute == 600
    assert settings.models[0].bounds == Bounds()
    assert settings.models[0].owned_by == "bandari"
    assert structs.replace(settings.engine, model=None, embedding_model=None) == bare.engine

    def keys(kind: type) -> set[str]:
        return {item.name for item in structs.fields(kind)}

    gpt = said["models"]["gpt-4o"]
    assert set(said["server"]) == keys(Server)
    assert set(said["engine"]) == keys(Engine)
    assert set(said["responses"]) == keys(Responses)
    assert set(said["streams"]) == keys(Streams)
    assert set(said["streams"]["resume_window_s"]) == set(RESUME_WINDOWS_S)
    assert set(said["cache"]) == keys(Cache)
    assert set(said["providers"]["acme"]) == keys(Provider) - {"name"}
    assert set(gpt) == keys(ModelTable) | {"targets", "prices"}
    assert set(gpt["bounds"]) == keys(Bounds)
    assert set(gpt["prices"]["KES"]) == keys(PriceTable)
    group = said["groups"]["default"]
    assert set(group) == keys(GroupTable)
    assert set(group["limits"]) == keys(Limits)
    assert set(gpt["limits"]) <= keys(Limits)
    for name in (*keys(Defaults), *keys(TargetTable)):
        assert re.search(rf"\b{name}\b", text), name
