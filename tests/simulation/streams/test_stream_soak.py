"""The long form: ten thousand streams at least, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest
from tests.simulation.streams import forms

FIRST_SEED = 1_000_000
PROGRESS_EVERY = 40


@pytest.mark.soak
def test_ten_times_ten_thousand_streams(capsys):
    seeds = forms.seeds(100_000, FIRST_SEED)
    happened: Counter[str] = Counter()
    began = time.monotonic()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawning) as workers:
        worlds = [workers.submit(forms.world, seed) for seed in seeds]
        try:
            for done, world in enumerate(as_completed(worlds), start=1):
                happened += world.result().happened
                if done % PROGRESS_EVERY == 0 or done == len(worlds):
                    streams, seconds = done * forms.WORLD_STREAMS, time.monotonic() - began
                    with capsys.disabled():
                        print(
                            f"\n{streams:,} streams, {streams / seconds:,.0f} a second",
                            end="",
                        )
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    with capsys.disabled():
        print()
        for what, times in sorted(happened.items()):
            print(f"{times:10,}  {what}")
