"""Fig. 2(j): CNR of the second-order correlation against the number of exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper import paper
from benchmarks.paper.scans import beamline, etched_parameters, scan_image, without_defects, without_noise
from cxgi_bluesky.analysis.metrics import cnr
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import SimulationParameters

Image = NDArray[Any]
Curve = list[float]
EXPOSURES = (16, 32, 64, 96, 128, 192, 256, 300, 384, 512, 640, 768, 896, 1024)
SANDPAPER_EXPOSURES = (16, 32, 64, 96, 128, 192, 256, 512, 768, 1024, 1536, 2048, 3000, 4000, 5000, 6000, 8000, 10000)
# Noise of a detector that is uncertain by 4.5 % of the mean bucket of this object (5.8 pA), in fA at 1 s.
INSENSITIVE_FA = 260.0


def cases(seed: int) -> dict[str, SimulationParameters]:
    """The copper board as it is, and with its errors switched off one by one."""
    both = etched_parameters(load_board("cu32"), seed)
    clean = without_defects(both)
    insensitive = replace(clean, detector=replace(clean.detector, electrometer_fa=INSENSITIVE_FA))
    return {
        "cu_board": both,
        "perfect_board": without_noise(clean),
        "defects_only": without_noise(both),
        "noise_only": clean,
        "insensitive_detector": insensitive,
    }


def hadamard_curve(case: str, seed: int) -> tuple[Curve, dict[int, Image], Image]:
    """CNR after each of `EXPOSURES`, the images that the paper shows, and the truth."""
    line = beamline("cu32", "CAS", seed, cases(seed)[case])
    measurement, truth = Measurement.from_exposures(scan_image(line, max(EXPOSURES))), line.simulation.truth
    pictures = {m: _correlation(measurement, m) for m in {*EXPOSURES, *paper.EXPOSURES_SHOWN["hadamard"]}}
    shown = {m: pictures[m] for m in paper.EXPOSURES_SHOWN["hadamard"]}
    return [cnr(pictures[m], truth) for m in EXPOSURES], shown, truth


def _correlation(measurement: Measurement, count: int) -> Image:
    return reconstruct(measurement.first(count), method="correlation").image


def summary(curves: Sequence[Curve], exposures: Sequence[int]) -> dict[str, Any]:
    """Mean and spread over the seeds."""
    values = np.array(curves)
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
    return {"exposures": list(exposures), "cnr_mean": values.mean(axis=0).tolist(), "cnr_std": spread.tolist()}


def exposures_needed(level: float, curve: dict[str, Any]) -> float:
    """Exposures after which the mean curve first reaches a CNR, NaN if it never does."""
    exposures, values = np.array(curve["exposures"], dtype=float), np.array(curve["cnr_mean"])
    reached = np.flatnonzero(values >= level)
    if not len(reached):
        return float("nan")
    i = int(reached[0])
    if i == 0:
        return float(exposures[0])
    return float(np.interp(level, values[i - 1 : i + 1], exposures[i - 1 : i + 1]))


def sandpaper_ratio(hadamard: dict[str, Any], sandpaper: dict[str, Any]) -> list[dict[str, float]]:
    """How many times the exposures sandpaper needs for the CNRs of the Hadamard curve's rising side."""
    values = hadamard["cnr_mean"]
    rising = values[: int(np.argmax(values)) + 1]
    rows = []
    for level in rising:
        ours, theirs = exposures_needed(level, hadamard), exposures_needed(level, sandpaper)
        rows.append({"cnr": level, "hadamard": ours, "sandpaper": theirs, "ratio": theirs / ours})
    return rows
