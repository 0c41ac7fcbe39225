"""The long form: a million requests, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest
from tests.simulation import forms

FIRST_SEED = 1_000_000
PROGRESS_EVERY = 40


@pytest.mark.soak
def test_the_books_hold_in_a_million_requests(capsys):
    seeds = forms.seeds(1_000_000, FIRST_SEED)
    happened: Counter[str] = Counter()
    began, virtual_s = time.monotonic(), 0.0
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawning) as workers:
        worlds = [workers.submit(forms.world, seed) for seed in seeds]
        try:
            for done, world in enumerate(as_completed(worlds), start=1):
                report = world.result()
                happened += report.happened
                virtual_s += report.virtual_s
                if done % PROGRESS_EVERY == 0 or done == len(worlds):
                    requests, seconds = done * forms.WORLD_REQUESTS, time.monotonic() - began
                    with capsys.disabled():
                        print(
                            f"\n{requests:,} requests, {requests / seconds:,.0f} a second, "
                            f"{virtual_s / seconds:,.0f} times faster than time",
                            end="",
                        )
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    with capsys.disabled():
        print()
        for what, times in sorted(happened.items()):
            print(f"{times:10,}  {what}")
