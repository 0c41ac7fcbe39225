"""Runs the workloads, and says what they showed."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tools.bench import (
    cached,
    cores,
    full_store,
    keeping,
    machine,
    nginx,
    parts,
    question,
    streams,
    table,
    translated,
    whole_answers,
)
from tools.bench.bars import BARS
from tools.bench.figures import Results
from tools.bench.gateways import GATEWAYS, PEERS, Gateway
from tools.bench.nginx import Upstreams
from tools.bench.processes import free_port
from tools.bench.stage import Pace, Stage

WHOLE: Final = Pace(repeats=5, seconds=3.0, warm_s=2.0, quick=False)
QUICK: Final = Pace(repeats=1, seconds=1.0, warm_s=1.0, quick=True)
OPEN_FILES: Final = 16_000
NEEDED: Final = ("wrk", "nginx", "openssl", "taskset")

_LOAD = (
    "wrk asks again at once, so that the latency is that of a saturated gateway; the last columns "
    "say whether the load's core was full, and how much of the gateway's others had"
)


@dataclass(frozen=True)
class Plan:
    """What this run does, by the command line."""

    pace: Pace
    only: Sequence[str]
    subjects: Sequence[Gateway]

    @property
    def own(self) -> list[Gateway]:
        """The subjects without the peers."""
        return [row for row in self.subjects if not row.is_peer]

    @property
    def size(self) -> full_store.Size:
        return full_store.SMALL if self.pace.quick else full_store.WHOLE

    @property
    def idle_streams(self) -> int:
        return 500 if self.pace.quick else 2_000


def workloads(plan: Plan, stage: Stage) -> dict[str, Callable[[], None]]:
    """What is run, in this order."""
    rows = plan.subjects
    bandari = [row for row in rows if row.name == "bandari"]
    billed = [row for row in rows if row.name != "unbilled"]
    small, large = question.small, question.large
    measure = whole_answers.measure
    return {
        "a": lambda: measure(stage, "a", rows, "instant", small, (1, 16, 128)),
        "b": lambda: streams.paced(stage, rows),
        "c": lambda: measure(stage, "c", rows, "tls", small, (128,)),
        "d": lambda: measure(stage, "d", rows, "instant", large, (16,)),
        "e": lambda: translated.measure(stage, bandari),
        "f": lambda: streams.idle(stage, billed, plan.idle_streams),
        "g": lambda: measure(
            stage,
            "g",
            full_store.gateways(plan.size) if bandari else [],
            "instant",
            small,
            (128,),
            rounds=2,
        ),
        "i": lambda: keeping.cpu(stage, keeping.ways() if bandari else []),
        "j": lambda: keeping.memory(stage) if bandari else None,
        "k": lambda: cached.measure(stage) if bandari else None,
        "idle": lambda: streams.unused(stage, billed),
        "h": lambda: parts.engine(stage),
        "books": lambda: parts.books(stage),
    }


def main() -> int:
    began = time.monotonic()
    arguments = _parser().parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print(
            f"missing: {', '.join(missing)} (Debian's wrk, nginx-light, openssl)", file=sys.stderr
        )
        return 2
    plan = _plan(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(OPEN_FILES, hard)), hard))
    with _stage(plan.pace, arguments.folder) as stage:
        told = machine.describe(stage.cores, stage.folder)
        for name, value in told.items():
            print(f"{name}: {value}", flush=True)
        try:
            for name, run in workloads(plan, stage).items():
                if name in plan.only:
                    print(f"\n{table.TITLES[name]}", flush=True)
                    run()
        finally:  # also what a run has measured that is interrupted
            minutes = (time.monotonic() - began) / 60
            told["took"] = f"{minutes:.0f} minutes, {_how_often(plan.pace)}"
            _write(stage.results, told, _notes(plan), arguments)
    failures = stage.results.failures()
    for cell in failures:
        why = cell.failed or "no figure"
        print(f"failed: {cell.workload}, {cell.variant}, {cell.subject}: {why}", file=sys.stderr)
    peers = {row.name for row in GATEWAYS.values() if row.is_peer}
    return 1 if any(cell.subject not in peers for cell in failures) else 0


def _notes(plan: Plan) -> dict[str, str]:
    """What must be known to read the table of a workload."""
    return {
        "a": _LOAD,
        "e": "the client's protocol over its provider's, all through one Bandari",
        "f": "proportional set size, after less before, 2 s after the last was opened",
        "g": f"{plan.size}; asked with {plan.size.asking} keys in turns",
        "i": "all Bandari, started side by side",
        "j": "proportional set size; bytes of the stream are those of its body as it was read",
    }


def _how_often(pace: Pace) -> str:
    return f"{pace.repeats} repeats of {pace.seconds:g} s of load"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything in short, without peers")
    parser.add_argument("--only", default="", help="workloads, like a,b,idle; all of them if empty")
    parser.add_argument("--subjects", default="", help=f"some of {','.join(GATEWAYS)}")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0, help="of load, for one sample")
    parser.add_argument("--folder", type=Path, default=PEERS, help="on the disk to be measured")
    parser.add_argument("--markdown", type=Path, help="write the tables into this file")
    parser.add_argument("--json", type=Path, help="write all samples into this file")
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    pace = QUICK if arguments.quick else WHOLE
    pace = Pace(
        repeats=arguments.repeats or pace.repeats,
        seconds=arguments.seconds or pace.seconds,
        warm_s=pace.warm_s,
        quick=pace.quick,
    )
    only = arguments.only.split(",") if arguments.only else list(table.TITLES)
    names = [row.name for row in GATEWAYS.values() if not (pace.quick and row.is_peer)]
    names = arguments.subjects.split(",") if arguments.subjects else names
    unknown = [name for name in names if name not in GATEWAYS]
    unknown += [name for name in only if name not in table.TITLES]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}")
    return Plan(pace, only, [GATEWAYS[name] for name in names])


@contextmanager
def _stage(pace: Pace, parent: Path) -> Iterator[Stage]:
    """Cores chosen, upstreams running, in a directory that is removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    chosen = cores.choose(cores.available())
    with tempfile.TemporaryDirectory(prefix="run-", dir=parent.resolve()) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL, which will not run as root, has its directory in here
        upstream = folder / "upstream"
        upstream.mkdir()
        port = free_port()
        with (
            nginx.instant_upstream(upstream, chosen.load) as (plain, tls, authority),
            streams.streaming_upstream(port, chosen.load, upstream),
        ):
            upstreams = Upstreams(plain, tls, port, authority)
            yield Stage(folder, chosen, upstreams, pace, lambda text: print(text, flush=True))


def _write(
    results: Results,
    told: Mapping[str, str],
    notes: Mapping[str, str],
    arguments: argparse.Namespace,
) -> None:
    sections = list(table.sections(results, notes))
    print("\n".join(line for section in sections for line in table.plain(section)))
    if arguments.markdown is not None:
        lines = [f"- {name}: {value}" for name, value in told.items()]
        lines += [line for section in sections for line in table.markdown(section)]
        arguments.markdown.write_text("\n".join(lines) + "\n")
    if arguments.json is not None:
        cells = [asdict(cell) for cell in results.cells.values()]
        verdicts = {bar.what: bar.verdict(results) for bar in BARS}
        whole = {"machine": told, "verdicts": verdicts, "cells": cells}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
