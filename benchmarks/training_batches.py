"""Time to simulate one batch of training, for each kind of masks, beside a step of the network on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks._timing import milliseconds, report
from cxgi_bluesky.masks.transform import hadamard_matrix
from cxgi_bluesky.training.boards import DrawnBoard, _early_patterns
from cxgi_bluesky.training.config import BoardConfig, TrainingConfig
from cxgi_bluesky.training.data import TrainingData
from cxgi_bluesky.training.distributed import Processes
from cxgi_bluesky.training.loop import begin, one_step

SIZE, TILES = 64, 1536
SHARES = {"perfect": {}, "none": {"none": 1.0}, "reference": {"reference": 1.0}}


def some_board() -> DrawnBoard:
    """Not etched, only disturbed: how long it takes is the same."""
    index = _early_patterns(SIZE, TILES, seed=1)
    masks = hadamard_matrix(SIZE**2)[index] * 0.9 + 0.05 * np.random.default_rng(1).normal(size=(TILES, SIZE**2))
    return DrawnBoard(index, masks.astype(np.float16), 0.8)


def main() -> None:
    torch.set_num_threads(1)
    pool = np.random.default_rng(0).integers(0, 256, (200, SIZE, SIZE), dtype=np.uint8)
    board, rows = some_board(), {}
    for name, share in SHARES.items():
        shares = {"none": 0.0, "reference": 0.0, **share}
        config = TrainingConfig(sizes={SIZE: 1.0}, boards=BoardConfig({SIZE: 1}, {SIZE: TILES}, **shares))
        data, steps = TrainingData(config, {SIZE: pool}, {SIZE: [board]}, []), iter(range(10**6))
        rows[name] = milliseconds(lambda data=data, steps=steps: data.batch(next(steps)))
    config = replace(config, boards=BoardConfig(count={}))
    batch = TrainingData(config, {SIZE: pool}, {}, []).batch(0)
    state = begin(config, Path("no folder"))
    step = milliseconds(lambda: one_step(state, batch, config, Processes()))
    report("training_batches", {"batch": config.batch, "size": SIZE, "simulate_ms": rows, "step_ms": step})


if __name__ == "__main__":
    main()
