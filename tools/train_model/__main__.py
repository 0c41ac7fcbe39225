"""Trains, exports and scores the model in one go.

    python -m tools.train_model build/tiny

The first argument is a folder for the checkpoint and the tokenizer; the model is written to its
place in the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.train_model.evaluate import evaluate
from tools.train_model.export import export
from tools.train_model.train import STEPS, train

MODEL = Path(__file__).parents[2] / "src/bandari/adapters/engine/models/bandari-tiny.gguf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path)
parser.add_argument("--steps", type=int, default=STEPS)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
train(arguments.folder, arguments.steps, arguments.threads)
export(arguments.folder, MODEL)
evaluate(MODEL, arguments.folder / "tokenizer.json")
