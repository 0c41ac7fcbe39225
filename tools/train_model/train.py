"""Trains the tokenizer and the network, and saves a checkpoint at intervals.

python -m tools.train_model.train build/tiny
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import random
import time
from pathlib import Path

import torch
from tools.train_model.dataset import batches, render
from tools.train_model.network import Network, Shape
from tools.train_model.samples import make_sample
from tools.train_model.source import Source
from tools.train_model.tokenizer import load_tokenizer, train_tokenizer

SEED = 20_250
STEPS = 3700
TOKENIZER_SAMPLES = 20_000
TOKENS_PER_BATCH = 4096
PEAK_RATE = 2e-3
WARM_UP = 100
DECAY_SHARE = 0.35
SAVE_EVERY = 50
REPORT_EVERY = 25
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def rate_at(step: int, steps: int) -> float:
    """The learning rate: a short rise, a long level, and a straight fall to nearly nothing."""
    rise = (step + 1) / WARM_UP
    fall = (steps - step) / (DECAY_SHARE * steps)
    return PEAK_RATE * min(1.0, rise, fall)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step; handing it back costs a lot of time."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 2**28)


def train(folder: Path, steps: int, threads: int, resume: bool = False) -> None:
    """Train up to a number of steps, from the start or from the folder's checkpoint."""
    keep_freed_memory()
    torch.manual_seed(SEED)
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_path = folder / "tokenizer.json"
    if not tokenizer_path.exists():
        source = Source(random.Random(SEED))
        train_tokenizer(render(make_sample(source)) for _ in range(TOKENIZER_SAMPLES)).save(
            str(tokenizer_path)
        )
    tokenizer = load_tokenizer(tokenizer_path)
    network = Network(Shape(vocabulary=tokenizer.get_vocab_size()))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters", flush=True)
    inner = [p for p in network.layers.parameters() if p.dim() == 2]
    outer = [p for p in network.parameters() if all(p is not q for q in inner)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(inner, lr=PEAK_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    first = 0
    if resume:
        checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
        network.load_state_dict(checkpoint["weights"])
        for optimizer, state in zip(optimizers, checkpoint["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        first = checkpoint["step"]
    stream = batches(tokenizer, SEED + 1 + first, TOKENS_PER_BATCH)
    started, total = time.monotonic(), 0.0
    for step in range(first, steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step, steps)
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.loss(*batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % REPORT_EVERY == 0:
            seconds = time.monotonic() - started
            print(f"step {step + 1} loss {total / REPORT_EVERY:.4f} {seconds:.0f} s", flush=True)
            total = 0.0
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            torch.save(
                {
                    "shape": network.shape.as_dict(),
                    "step": step + 1,
                    "weights": network.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                },
                folder / "checkpoint.pt",
            )
    print(f"trained {steps - first} steps in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the saved checkpoint")
    arguments = parser.parse_args()
    train(arguments.folder, arguments.steps, arguments.threads, arguments.resume)
