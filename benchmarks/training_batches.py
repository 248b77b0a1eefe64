"""Time to simulate one batch of training, for each kind of masks, beside a step of the network on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._timing import milliseconds, report
from cxgi_bluesky.masks.transform import hadamard_matrix
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import initial_images
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
    return DrawnBoard(torch.from_numpy(index), torch.from_numpy(masks.astype(np.float16)), 0.8)


def measure(device: torch.device) -> dict[str, Any]:
    """Milliseconds of a batch by kind of masks, of its initial images and of a step, on a device."""
    pool = torch.randint(0, 256, (200, SIZE, SIZE), dtype=torch.uint8).to(device)
    board, rows = some_board().to(device), {}
    for name, share in SHARES.items():
        shares = {"none": 0.0, "reference": 0.0, **share}
        config = TrainingConfig(sizes={SIZE: 1.0}, boards=BoardConfig({SIZE: 1}, {SIZE: TILES}, **shares))
        data, steps = TrainingData(config, {SIZE: pool}, {SIZE: [board]}, device), iter(range(10**6))
        rows[name] = milliseconds(lambda data=data, steps=steps: float(data.batch(next(steps)).truth[0, 0, 0, 0]))
    config = replace(config, boards=BoardConfig(count={}))
    batch = TrainingData(config, {SIZE: pool}, {}, device).batch(0)
    state = begin(config, Path("no folder"), device=device)
    initial = milliseconds(lambda: float(initial_images(batch.given)[0, 0, 0, 0]))
    step = milliseconds(lambda: one_step(state, batch, config, Processes()))
    return {"batch": config.batch, "size": SIZE, "simulate_ms": rows, "initial_images_ms": initial, "step_ms": step}


def main() -> None:
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    report("training_batches", {device: measure(torch.device(device)) for device in devices})


if __name__ == "__main__":
    main()
