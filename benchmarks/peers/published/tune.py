"""``python -m benchmarks.peers.published.tune FOLDER``: the schedules of PnP-FFDNet, on none of the images compared.

For each level of noise, fraction and order, one setting after the other is moved to its best neighbour for as long as
the mean PSNR grows. The images are photographs that our network was trained on, and at 64 pixels random objects of its
training. Prints the table of `tuned.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.published.anchors import FRACTION, LEVELS
from benchmarks.peers.published.folder import FRACTIONS, Image, ffdnet_files
from benchmarks.peers.published.methods import ORDERS
from benchmarks.peers.published.networks import FFDNet
from benchmarks.peers.published.pnp import Schedule, pnp_ffdnet
from benchmarks.peers.published.set11 import measure
from benchmarks.suite import workload
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.simulation.random_objects import random_object

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "moon")
OBJECTS = 4
NOISE_FREE = ("chelsea", "coffee")
NOISE_FREE_SIZE = 128  # a quarter of the time that 256 takes
GRID: dict[str, tuple[Any, ...]] = {
    "first": (0.03, 0.05, 0.1, 0.2, 0.3, 0.5),
    "last": (0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.16),
    "data": (0.0, 0.1, 0.3, 1.0, 3.0, 10.0),
    "iterations": (10, 20, 40),
    "dual": (False, True),
}
START = Schedule(0.2, 0.02, 20, 1.0, True)
Pair = tuple[Image, Measurement]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    denoiser = FFDNet(ffdnet_files(parser.parse_args().folder))
    torch.set_num_threads(1)
    for key, pairs in workloads():
        schedule, mean_db = tuned(pairs, denoiser)
        print(f"    {key}: {schedule!r},  # {mean_db:.2f} dB", flush=True)


def workloads() -> Iterator[tuple[tuple[float | None, float, str], list[Pair]]]:
    """Level of noise, fraction and order, with truths and measurements."""
    rng = np.random.default_rng(1)
    small = [workload.photograph(name) for name in PHOTOGRAPHS]
    small += [random_object(rng, workload.SIZE) for _ in range(OBJECTS)]
    large = [workload.photograph(name, NOISE_FREE_SIZE) for name in NOISE_FREE]
    for order in ORDERS:
        for level in LEVELS:
            patterns = workload.pattern_set(order, 0)
            noisy = [(truth, workload.measure(truth, patterns, snr_db=level, seed=7)) for truth in small]
            yield (level, FRACTION, order), noisy
        for fraction in FRACTIONS.values():
            yield (None, fraction, order), [(truth, measure(truth, order, fraction)) for truth in large]


def tuned(pairs: Sequence[Pair], denoiser: FFDNet) -> tuple[Schedule, float]:
    """The best schedule found, and its mean PSNR in dB."""
    known: dict[Schedule, float] = {}

    def mean_db(schedule: Schedule) -> float:
        if schedule not in known:
            images = [pnp_ffdnet(measurement, denoiser, schedule) for _, measurement in pairs]
            cut = [np.clip(image, 0, 1) for image in images]
            known[schedule] = float(np.mean([psnr(i, t, data_range=1.0) for i, (t, _) in zip(cut, pairs, strict=True)]))
            print(f"{known[schedule]:.3f} dB: {schedule}", file=sys.stderr, flush=True)
        return known[schedule]

    best = START
    while True:
        before = best
        for name in GRID:
            while True:
                better = max(_neighbours(best, name), key=mean_db)
                if mean_db(better) <= mean_db(best):
                    break
                best = better
        if best == before:
            return best, mean_db(best)


def _neighbours(schedule: Schedule, name: str) -> list[Schedule]:
    values = list(GRID[name])
    at = values.index(getattr(schedule, name))
    return [replace(schedule, **{name: values[k]}) for k in (at - 1, at + 1) if 0 <= k < len(values)]


if __name__ == "__main__":
    main()
