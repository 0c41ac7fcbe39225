"""The configuration read anew: all of it is taken over, or nothing, whatever fails on the way."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.support.gates import until

from bandari.adapters.clock import SystemClock
from bandari.adapters.entropy import Entropy
from bandari.adapters.metrics import PrometheusMetrics
from bandari.adapters.storage import open_store
from bandari.bootstrap import providers
from bandari.bootstrap.directory import last_told
from bandari.bootstrap.engines import Engines
from bandari.bootstrap.house import Around, Built, build, stored_responses
from bandari.bootstrap.reloading import InUse, Reloading, Signalled
from bandari.config import Overrides, Settings, load
from bandari.domain.audit_log import Actor, AuditEntry
from bandari.domain.faults import ModelNotFound, StoreUnavailable
from bandari.domain.pricing import PriceRatio, RateCard
from bandari.domain.recordings import CacheUse
from bandari.service.reloading import Changes, ReloadOutcome

AMINA = Actor("amina", "req_1")

BEFORE = """
[providers.acme]
base_url = "https://acme.example/v1"
api_key = "hush-1"
[providers.other]
base_url = "https://other.example/v1"
any_model = true
[models.m]
targets = ["acme:m"]
prices.TOKEN = { input_per_million = 1, output_per_million = 2 }
[models.n]
targets = ["other:n"]
[groups.trial]
limits = { requests_per_minute = 5 }
[groups.partner]
price_ratio = "4/5"
"""

AFTER = """
default_provider = "third"
[providers.acme]
base_url = "https://acme.example/v2"
api_key = "hush-2"
[providers.third]
base_url = "https://third.example/v1"
any_model = true
[models.m]
targets = ["acme:m2"]
prices.TOKEN = { input_per_million = 1, output_per_million = 3 }
[models.o]
targets = ["third:o"]
[groups.trial]
limits = { requests_per_minute = 6 }
priority = 3
[groups.staff]
price_ratio = 0
"""


class Server:
    """One that runs, without a socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "bandari.toml"
        self.variables = {"HOME": str(folder)}
        self.before_reading: Callable[[], object] = lambda: None
        self.started_with: Settings
        self.built: Built
        self.around: Around

    async def start(self, text: str) -> None:
        self.file.write_text(text)
        self.started_with = self.read(None)
        responses = stored_responses(self.started_with, self.around, 1)
        self.built = await build(self.started_with, self.read, self.around, Engines(), responses, 1)

    def read(self, running: Settings | None) -> Settings:
        self.before_reading()
        overrides = Overrides(data_dir=self.folder)
        return load(self.file, overrides, self.variables, running)

    async def reload(self, text: str, by: Actor = AMINA) -> ReloadOutcome:
        self.file.write_text(text)
        return await self.built.reloading.reload(by)

    async def entries(self) -> list[AuditEntry]:
        log = self.around.store.audit_log
        return list(await log.entries(subject=None, who=None, before=None, limit=10))

    def in_use(self) -> tuple[object, ...]:
        """All that a reload may change."""
        house, connected = self.built.house, self.built.providers.connected
        groups = house.administration.groups()
        return groups, house.models.all(), dict(connected), self._resolved("bare")

    def _resolved(self, model_id: str) -> object:
        try:
            return self.built.house.models.find(model_id).targets
        except ModelNotFound as fault:
            return fault.message


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with open_store(f"sqlite:///{tmp_path}/bandari.db") as store:
        server = Server(tmp_path)
        server.around = Around(
            store=store, clock=SystemClock(), entropy=Entropy(), metrics=PrometheusMetrics()
        )
        await server.start(BEFORE)
        yield server
        await server.built.providers.close()


# What is taken over


async def test_what_changes_is_told(server):
    assert await server.reload(AFTER) == ReloadOutcome(
        groups=Changes(added=("staff",), removed=("partner",), changed=("trial",)),
        models=Changes(added=("o",), removed=("n",), changed=("m",)),
        providers=Changes(added=("third",), removed=("other",), changed=("acme",)),
        default_provider="third",
    )


async def test_where_nothing_changes_nothing_is_told_or_logged(server):
    before = server.in_use()
    outcome = await server.reload(BEFORE + "# a remark\n")
    assert outcome == ReloadOutcome()
    assert not outcome.has_changed
    assert not outcome.is_refused
    assert server.in_use() == before
    assert await server.entries() == []


async def test_groups_are_those_of_the_file(server):
    await server.reload(AFTER)
    groups = {group.name: group for group in server.built.house.administration.groups()}
    assert set(groups) == {"default", "trial", "staff"}
    assert groups["trial"].limits.requests_per_minute == 6
    assert groups["staff"].price_ratio == PriceRatio(0, 1)


async def test_models_are_those_of_the_file_and_a_new_price_is_a_new_version(server):
    models = server.built.house.models
    (old,) = models.find("m").rate_cards
    (kept,) = models.find("n").rate_cards
    await server.reload(AFTER)
    (new,) = models.find("m").rate_cards
    assert (old.version, new.version, new.output_per_million) == (1, 2, 3)
    assert new.id != old.id
    assert models.find("bare").targets[0].provider == "third"
    assert [str(target) for target in models.find("n").targets] == ["third:n"]
    assert [model.id for model in models.all()] == ["m", "o"]
    await server.reload(BEFORE)
    assert models.find("n").rate_cards == (kept,)
    assert models.find("m").rate_cards[0].version == 3


async def test_what_models_say_of_the_cache_is_taken_over(server):
    """[streams] and [cache] are the server's own; what a model says is not."""
    cached = BEFORE.replace(
        "output_per_million = 2 }",
        'output_per_million = 2, cache_hit_per_million = 7 }\ncache = "use"\ncache_ttl_s = 60',
    )
    outcome = await server.reload(cached)
    assert (outcome.models.changed, outcome.needs_restart) == (("m",), ())
    model = server.built.house.models.find("m")
    assert (model.cache, model.cache_ttl_s) == (CacheUse.USE, 60)
    assert [(card.version, card.cache_hit_per_million) for card in model.rate_cards] == [(2, 7)]
    (entry,) = await server.entries()
    told = [msgspec.json.decode(each)["models"]["m"] for each in (entry.before, entry.after)]
    assert [each["cache"] for each in told] == ["off", "use"]
    assert [each["cache_ttl_s"] for each in told] == [None, 60]
    prices = [each["prices"]["TOKEN"]["cache_hit_per_million"] for each in told]
    assert prices == [0, 7]


async def test_providers_stay_where_their_settings_do(server):
    before = server.built.providers.connected
    await server.reload(BEFORE.replace("acme.example/v1", "acme.example/v2"))
    after = server.built.providers.connected
    assert after["other"] is before["other"]
    assert after["local"] is before["local"]
    assert after["acme"].transport is not before["acme"].transport
    assert after["acme"].settings.base_url == "https://acme.example/v2"


async def test_a_key_that_changed_in_the_environment_is_a_changed_provider(server):
    text = BEFORE.replace("hush-1", "${ACME_KEY}")
    server.variables["ACME_KEY"] = "hush-1"
    assert not (await server.reload(text)).has_changed
    server.variables["ACME_KEY"] = "hush-3"
    assert (await server.reload(text)).providers == Changes(changed=("acme",))


async def test_nothing_of_what_was_replaced_is_left(server):
    def transports() -> list[weakref.ref[Any]]:
        connected = server.built.providers.connected
        return [weakref.ref(connected[name].transport) for name in ("acme", "other")]

    left = transports()
    for turn in range(20):
        await server.reload(BEFORE.replace("example/v1", f"example/{turn}"))
        left += transports()
    gc.collect()  # of the tasks that were awaited, not of the transports
    assert sum(each() is not None for each in left) == 2


class Heard:
    """Stands for anything that a reload tells something: all of it, in its order."""

    def __init__(self, name: str, told: list[str], **real: Any) -> None:
        self._name = name
        self._told = told
        self._real = real

    def __getattr__(self, method: str) -> Any:
        def heard(*arguments: Any) -> Any:
            self._told.append(f"{self._name}.{method}")
            real = self._real.get(method)
            return None if real is None else real(*arguments)

        return heard


async def test_all_that_is_in_use_is_told_in_one_go(server):
    told: list[str] = []
    before_swap: list[int] = []

    async def pin(cards: list[RateCard]) -> list[RateCard]:
        before_swap.append(len(told))
        return cards

    async def write(*_: object) -> None:
        before_swap.append(len(told))

    ranks: list[list[int]] = []
    in_use = InUse(
        groups=Heard("groups", told, all=lambda: list(server.read(None).groups.values())),
        models=Heard("models", told),
        providers=Heard("providers", told, prepare=lambda _: {}),
        inference=Heard("inference", told),
        embedding=Heard("embedding", told),
        counting=Heard("counting", told),
        open_requests=Heard(
            "open_requests", told, rank=lambda levels: ranks.append(sorted(levels))
        ),
        access=Heard("access", told),
    )
    reloading = Reloading(
        settings=server.started_with,
        read=server.read,
        in_use=in_use,
        rate_cards=Heard("rate_cards", [], pin=pin),
        audit_log=Heard("audit_log", [], write=write),
        clock=SystemClock(),
    )
    server.file.write_text(AFTER)
    assert (await reloading.reload(AMINA)).has_changed
    assert before_swap == [1, 1]  # nothing but what prepares the providers
    assert told[0] == "providers.prepare"
    assert set(told[1:]) == {
        "models.replace",
        "groups.replace",
        "groups.all",
        "open_requests.rank",
        "inference.use",
        "counting.use",
        "embedding.use",
        "access.forget",
        "providers.replace",
    }
    assert ranks == [[0, 0, 3]]


# What is refused leaves everything as it was


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("key_prefix = ", "bandari.toml:1: is not TOML: Invalid value"),
        (BEFORE + "colour = 1", "bandari.toml:17: groups.partner.colour: unknown key"),
        (AFTER + 'limits = { requests_per_minute = "x" }', "expected an integer from 1 to"),
        (
            AFTER.replace("third:o", "local:o"),
            "bandari.toml:13: models.o.targets: has the target local, and the server runs without",
        ),
        ("", "bandari.toml:1: models.bandari-tiny.targets: has the target local, and the server"),
        (
            AFTER.replace("third:o", "local:o").replace(
                "[models.o]", '[models.o]\nkind="embedding"'
            )
            + '[engine]\nembedding_model = "e.gguf"\n',
            "bandari.toml:14: models.o.targets: has the target local, and the server runs without",
        ),
        (AFTER.replace("hush-2", "${NOPE}"), "the environment variable NOPE is not set"),
    ],
)
async def test_a_bad_file_is_refused_whole_with_line_and_reason(server, caplog, text, problem):
    before = server.in_use()
    outcome = await server.reload(text)
    assert any(problem in line for line in outcome.problems), outcome.problems
    assert not outcome.has_changed
    assert server.in_use() == before
    assert await server.entries() == []
    told = [record.detail for record in caplog.records if "refused" in record.message]
    assert told == list(outcome.problems)


async def test_a_file_that_is_gone_is_refused(server):
    before = server.in_use()
    server.file.unlink()
    outcome = await server.built.reloading.reload(AMINA)
    assert outcome.problems == (f"{server.file}: cannot be read: No such file or directory",)
    assert server.in_use() == before


async def _unavailable(*_: object) -> None:
    raise StoreUnavailable


@pytest.mark.parametrize("half", ["rate_cards.pin", "audit_log.write"])
async def test_a_ledger_that_cannot_be_written_refuses_all(server, monkeypatch, half):
    part, _, method = half.partition(".")
    before = server.in_use()
    monkeypatch.setattr(getattr(server.around.store, part), method, _unavailable)
    outcome = await server.reload(AFTER)
    assert outcome.problems == ("The ledger cannot be written at the moment.",)
    assert server.in_use() == before
    monkeypatch.undo()
    assert (await server.reload(AFTER)).default_provider == "third"


async def test_a_defect_half_way_refuses_all(server, monkeypatch, caplog):
    def break_down(_: object) -> None:
        raise RuntimeError("boom")

    before = server.in_use()
    monkeypatch.setattr(providers, "connect", break_down)
    outcome = await server.reload(AFTER)
    assert outcome.problems == ("The server failed at it; its log says why.",)
    assert server.in_use() == before
    assert "boom" in caplog.text


# What only a restart can change


async def test_what_needs_a_restart_is_told_and_stays(server, caplog):
    text = """
    key_prefix = "new_"
    [server]
    port = 1
    trusted_proxies = ["10.0.0.0/8"]
    [engine]
    slots = 9
    [responses]
    retention_days = 7
    [streams]
    keep = "database"
    resume_window_s = { messages = 5 }
    [cache]
    ttl_s = 9
    [store]
    url = "sqlite:////tmp/elsewhere.db"
    """
    needed = (
        "server.port",
        "server.trusted_proxies",
        "engine.slots",
        "responses.retention_days",
        "streams.keep",
        "streams.resume_window_s",
        "cache.ttl_s",
        "store.url",
        "key_prefix",
    )
    before = server.in_use()
    outcome = await server.reload(text + BEFORE)
    assert outcome == ReloadOutcome(needs_restart=needed)
    assert server.in_use() == before
    assert ", ".join(needed) in [getattr(record, "detail", "") for record in caplog.records]
    # It is told each time, for as long as it is so, and of what the server was started with.
    outcome = await server.reload(text + AFTER.replace("default_provider", "#"))
    assert outcome.needs_restart == needed
    assert outcome.groups.added == ("staff",)
    assert (await server.reload(BEFORE)).needs_restart == ()


async def test_models_are_checked_against_the_engine_that_runs(server):
    """The server was started with a window of 8192; that the file has another changes nothing."""
    local = '[models.l]\ntargets = ["local:l"]\n'
    outcome = await server.reload(f"{local}context_window = 9000\n[engine]\ncontext_window = 9000")
    assert any("9000 is more than the 8192" in line for line in outcome.problems)


# One after the other, and for everybody


async def test_two_at_once_run_one_after_the_other(server):
    at_once, most = 0, 0
    lock, go_on = threading.Lock(), threading.Event()

    def enter() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        go_on.wait(5)
        with lock:
            at_once -= 1

    server.before_reading = enter
    server.file.write_text(AFTER)
    asked = [asyncio.create_task(server.built.reloading.reload(AMINA)) for _ in range(3)]
    await until(lambda: at_once == 1)
    go_on.set()
    first, *others = await asyncio.gather(*asked)
    assert most == 1
    assert first.has_changed
    assert others == [ReloadOutcome(), ReloadOutcome()]


async def test_who_leaves_does_not_stop_it(server):
    reading, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reading.set()
        go_on.wait(5)

    server.before_reading = wait
    asked = asyncio.create_task(server.reload(AFTER))
    await until(reading.is_set)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    go_on.set()
    await server.built.reloading.end()
    assert [entry.action for entry in await server.entries()] == ["config.reload"]
    assert server.built.house.models.find("o").id == "o"


async def test_the_outcome_is_there_for_others_to_read(server):
    outcome = await server.reload(AFTER)
    first = last_told(server.folder)
    assert first is not None
    assert first.outcome == outcome
    refused = await server.reload("x = ")
    second = last_told(server.folder)
    assert second is not None
    assert second.outcome == refused
    assert second.began_ns > first.began_ns


async def test_an_outcome_that_cannot_be_written_is_an_outcome(server, caplog):
    (server.folder / "reload.json.new").mkdir()
    assert (await server.reload(AFTER)).has_changed
    assert "a reload cannot be told" in caplog.text


async def test_the_log_of_changes_has_before_and_after_and_no_secret(server):
    await server.reload(AFTER)
    (entry,) = await server.entries()
    assert (entry.who, entry.action, entry.subject) == ("amina", "config.reload", "config")
    assert entry.request_id == "req_1"
    before, after = msgspec.json.decode(entry.before), msgspec.json.decode(entry.after)
    assert before["groups"]["trial"]["limits"] == {"requests_per_minute": 5}
    assert after["groups"]["trial"]["limits"] == {"requests_per_minute": 6}
    assert (set(before["groups"]), set(after["groups"])) == (
        {"trial", "partner"},
        {"trial", "staff"},
    )
    assert before["models"]["m"]["prices"]["TOKEN"]["output_per_million"] == 2
    assert after["models"]["m"]["prices"]["TOKEN"]["output_per_million"] == 3
    assert (before["providers"], after["providers"]) == (["other", "acme"], ["third", "acme"])
    assert (before["default_provider"], after["default_provider"]) == ("local", "third")
    assert b"hush" not in bytes(entry.before) + bytes(entry.after)


async def test_a_change_too_large_for_the_log_of_changes_is_told_in_numbers(server):
    many = "\n".join(f"[groups.g{at}]" for at in range(1000))
    assert len((await server.reload(BEFORE + many)).groups.added) == 1000
    (entry,) = await server.entries()
    assert msgspec.json.decode(entry.after)["groups"] == 1000


# Signals


async def test_a_signal_before_the_server_is_ready_is_kept_for_it(server):
    signalled = Signalled()
    signalled.ask()
    server.file.write_text(AFTER)
    async with _serving(signalled, server):
        await until(lambda: last_told(server.folder) is not None)
    (entry,) = await server.entries()
    assert entry.who == "signal"


async def test_signals_during_a_reload_mean_one_more(server):
    reads = 0
    go_on = threading.Event()

    def count() -> None:
        nonlocal reads
        reads += 1
        go_on.wait(5)

    server.before_reading = count
    signalled = Signalled()
    async with _serving(signalled, server):
        signalled.ask()
        await until(lambda: reads == 1)
        for _ in range(5):
            signalled.ask()
        go_on.set()
        await until(lambda: reads == 2)
        await server.built.reloading.reload(AMINA)
    assert reads == 3


class _serving:  # noqa: N801 - reads as a verb where it is used
    def __init__(self, signalled: Signalled, server: Server) -> None:
        self._awaited: Awaitable[None] = signalled.serve(server.built.reloading)

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._awaited)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
