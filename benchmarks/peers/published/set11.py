"""Set11 without noise: every method's image of the same 256 x 256 pixels, at 10 and 25 %."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.peers.published import folder
from benchmarks.peers.published.methods import BY_PATTERNS, ISTA, OPINE, ORDERS, Given, Method
from benchmarks.peers.published.networks import BLOCK, ISTANetPlus, OPINENetPlus
from benchmarks.suite import workload
from benchmarks.suite.scores import gaussian_ssim
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement

TOLD_DB = 45.0  # told to all that take coefficients: our network has not learned a smaller sigma
SEED = 0  # of the order that is drawn
_OWN_MASKS = {ISTA: f"Gaussian, {BLOCK} px blocks", OPINE: f"learned, {BLOCK} px blocks"}
Row = dict[str, Any]
Run = Callable[[folder.Image], tuple[folder.Image, float, int]]  # to the image, its seconds, its measurements


def measure(image: folder.Image, order: str, fraction: float) -> Measurement:
    """Exact coefficients of an image, shape (n, n), with the sigma that is told."""
    patterns = workload.pattern_set(order, SEED, size=len(image), fraction=fraction)
    index = patterns.pattern_index
    exact = walsh_hadamard_2d(image).ravel()[index]
    sigma = float(np.sqrt(np.mean(exact[index != 0] ** 2))) / 10 ** (TOLD_DB / 20)
    made = Measurement.from_buckets(
        patterns.size, index, exact, coding="signed", sigma=np.full(len(index), sigma), source={"snr_db": TOLD_DB}
    )
    return replace(made, scale="transmission")


def set11_rows(
    images: Mapping[str, folder.Image], methods: Sequence[str], given: Given, note: Callable[[str], None]
) -> list[Row]:
    """Scores of every method, fraction and kind of masks; a peer without its files has the reason (`why`) instead."""
    rows = []
    for ratio, fraction in folder.FRACTIONS.items():
        for method in methods:
            for masks in ORDERS if method in BY_PATTERNS else (_OWN_MASKS[method],):
                note(f"Set11, {fraction:.0%}: {method}, {masks}")
                row: Row = {"fraction": fraction, "method": method, "masks": masks}
                try:
                    row |= _scores(images, _runner(method, ratio, fraction, masks, given))
                except folder.NotGiven as error:
                    row["why"] = str(error)
                rows.append(row)
    return rows


def _runner(method: str, ratio: int, fraction: float, masks: str, given: Given) -> Run:
    if method not in BY_PATTERNS:
        network = given.by_blocks(method, ratio)
        return lambda truth: _by_blocks(network, truth)
    made = given.by_patterns(method, None, fraction, masks)
    return lambda truth: _by_patterns(made, measure(truth, masks, fraction))


def _by_blocks(network: ISTANetPlus | OPINENetPlus, truth: folder.Image) -> tuple[folder.Image, float, int]:
    with torch.inference_mode():
        measured = network.measure(torch.tensor(truth, dtype=torch.float32))
        started = time.process_time()
        image = network.reconstruct(measured, len(truth)).numpy().astype(np.float64)
    return image, time.process_time() - started, measured.numel()


def _by_patterns(method: Method, measurement: Measurement) -> tuple[folder.Image, float, int]:
    started = time.process_time()
    image = method(measurement)
    return image, time.process_time() - started, len(measurement)


def _scores(images: Mapping[str, folder.Image], run: Run) -> Row:
    """Means over the images, for a range of 0..1; the first image is run once before, to warm up."""
    run(next(iter(images.values())))
    each, ssims, seconds, measured = {}, [], [], 0
    for name, truth in images.items():
        made, took, measured = run(truth)
        image = np.clip(made, 0, 1)
        each[name] = psnr(image, truth, data_range=1.0)
        ssims.append(gaussian_ssim(image, truth))
        seconds.append(took)
    return {
        "psnr_db": float(np.mean(list(each.values()))),
        "ssim": float(np.mean(ssims)),
        "s_per_image": float(np.median(seconds)),
        "measured_share": measured / folder.SIDE**2,
        "psnr_db_each": each,
    }
