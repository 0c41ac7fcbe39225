"""What all workloads stand on: cores, upstreams, and the subjects started side by side."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench import cores, prometheus
from tools.bench.cores import Cores
from tools.bench.figures import Cell, Results, Sample
from tools.bench.gateways import Gateway, Running, Setting
from tools.bench.nginx import Upstreams
from tools.bench.processes import NotRunning, Process
from tools.bench.question import WrongAnswer
from tools.bench.wrk import LoadFailed

FAILURES = (NotRunning, WrongAnswer, LoadFailed, OSError)
"""What a subject may do instead of being measured. Anything else is the benchmark's own defect."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pace:
    """How long and how often. Seconds of load for one sample, and before the first one."""

    repeats: int
    seconds: float
    warm_s: float
    quick: bool


class Stage:
    """One run: its directory, cores, upstreams, pace and results."""

    def __init__(
        self, folder: Path, chosen: Cores, upstreams: Upstreams, pace: Pace, say: Say
    ) -> None:
        self.folder = folder
        self.cores = chosen
        self.upstreams = upstreams
        self.pace = pace
        self.say = say
        self.results = Results()
        self._numbers = itertools.count()

    def new_folder(self, name: str) -> Path:
        """An empty directory on the disk that is measured."""
        path = self.folder / f"{next(self._numbers):02}-{name.replace(' ', '-')}"
        path.mkdir()
        return path

    @contextmanager
    def started(
        self,
        workload: str,
        variants: Sequence[str],
        gateways: Sequence[Gateway],
        check: Callable[[Running], None],
    ) -> Iterator[dict[str, Running]]:
        """The gateways that run and pass ``check``, by name; the others are marked as failed."""
        with ExitStack() as stack:
            found = {}
            for variant, gateway in itertools.product(variants, gateways):
                self.results.cell(workload, variant, gateway.name)
            for gateway in gateways:
                if self._has_failed(workload, variants, gateway.name):
                    continue
                running = self._start(stack, workload, variants, gateway, [gateway.name], check)
                if running is not None:
                    found[gateway.name] = running
            yield found

    @contextmanager
    def started_once(
        self, workload: str, variant: str, gateway: Gateway, subjects: Sequence[str]
    ) -> Iterator[Running | None]:
        """A gateway that is measured under several names; None, and all marked, if it fails."""
        for subject in subjects:
            self.results.cell(workload, variant, subject)
        with ExitStack() as stack:
            yield self._start(stack, workload, [variant], gateway, subjects, lambda _: None)

    def take_turns(
        self,
        workload: str,
        variant: str,
        measures: Mapping[str, Callable[[], Sample]],
        repeats: int | None = None,
    ) -> None:
        """Measure each subject once, then each again: A B C, B C A, … What fails is left out."""
        names = list(measures)
        for number in range(self.pace.repeats if repeats is None else repeats):
            turn = number % max(len(names), 1)
            for name in names[turn:] + names[:turn]:
                cell = self.results.cell(workload, variant, name)
                if cell.failed is not None:
                    continue
                try:
                    cell.samples.append(measures[name]())
                except FAILURES as failure:
                    cell.failed = _said(failure)
                self.say(_progress(cell))

    def watched(
        self,
        process: Process | None,
        metrics: int | None,
        load: Callable[[], Sample],
        per: str | None = None,
    ) -> Sample:
        """What ``load`` returns, and beside it what CPU, memory, cores and commits did meanwhile.

        ``per`` names the figure whose number the CPU time is divided by.
        """
        if process is not None:
            process.check()
            process.forget_peak()
        commits = prometheus.commits(metrics) if metrics is not None else None
        used = process.cpu_s() if process is not None else 0.0
        began, cores_before = time.perf_counter(), cores.times()
        sample = load()
        cores_after, took = cores.times(), time.perf_counter() - began
        chosen = self.cores
        busy = {
            core: cores.busy_share(cores_before[core], cores_after[core])
            for core in {chosen.gateway, chosen.load}
        }
        sample["load_core_busy"] = busy[chosen.load]
        sample["gateway_core_busy"] = busy[chosen.gateway]
        if process is not None:
            process.check()
            used = process.cpu_s() - used
            sample["gateway_cpu_s"] = used
            sample["gateway_core_others"] = max(busy[chosen.gateway] - used / took, 0.0)
            sample["peak_mb"] = process.peak_bytes() / 1e6
            if per is not None:
                sample[f"cpu_us_per_{per.removesuffix('s')}"] = used / sample[per] * 1e6
        if metrics is not None and commits is not None:
            since = prometheus.commits(metrics).since(commits)
            if since.count:
                sample["median_commit_ms"] = since.median_ms()
                sample["mean_commit_ms"] = since.mean_ms()
                sample["operations_per_commit"] = since.operations_per_commit()
        return sample

    def _start(
        self,
        stack: ExitStack,
        workload: str,
        variants: Sequence[str],
        gateway: Gateway,
        subjects: Sequence[str],
        check: Callable[[Running], None],
    ) -> Running | None:
        missing = gateway.missing()
        if missing is not None:
            self._mark(workload, variants, subjects, missing, was_skipped=True)
            return None
        try:
            setting = Setting(self.new_folder(gateway.name), self.cores.gateway, self.upstreams)
            running = stack.enter_context(gateway.start(setting))
            check(running)
        except FAILURES as failure:
            self._mark(workload, variants, subjects, _said(failure))
            return None
        return running

    def _has_failed(self, workload: str, variants: Sequence[str], subject: str) -> bool:
        found = (self.results.find(workload, variant, subject) for variant in variants)
        return all(cell is not None and cell.failed is not None for cell in found)

    def _mark(
        self,
        workload: str,
        variants: Sequence[str],
        subjects: Sequence[str],
        why: str,
        was_skipped: bool = False,
    ) -> None:
        for variant, subject in itertools.product(variants, subjects):
            cell = self.results.cell(workload, variant, subject)
            cell.failed, cell.was_skipped = why, was_skipped
        self.say(f"  {', '.join(subjects)}: {why}")


def _said(failure: BaseException) -> str:
    return " ".join(str(failure).split()) or type(failure).__name__


def _progress(cell: Cell) -> str:
    if cell.failed is not None:
        return f"  {cell.variant:18} {cell.subject:12} failed: {cell.failed}"
    shown = (
        "requests_per_s",
        "p50_ms",
        "p99_ms",
        "cpu_us_per_request",
        "cpu_us_per_event",
        "delay_p50_ms",
        "delay_p99_ms",
        "events_per_read",
        "kb_per_stream",
        "bytes_per_byte",
        "idle_mb",
        "load_core_busy",
        "gateway_core_others",
    )
    last = cell.samples[-1]
    figures = "  ".join(f"{name} {last[name]:.4g}" for name in shown if name in last)
    return f"  {cell.variant:18} {cell.subject:12} {figures}"
