"""What limits the network behind etched masks: the masks, the noise, or the method.

CNR and PSNR (after an affine fit) of CAS on the Cu board and gold on the Au board, without a reference, with a
reference scan and with measured masks, means over boards:

- `tv` and the network as they are (baseline);
- "tv, best weight": the weight of the total variation chosen with the truth, for CNR and for PSNR each;
- "perfect masks": the same noise and patterns, coefficients of the truth itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.paper.rows import Scanned, scan_objects
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.analysis.metrics import affine_fit, compare
from cxgi_bluesky.masks.pattern_set import coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.measured_masks import without_mask_error

BOARDS = (("cu32", "CAS"), ("au64", "gold"))
NAMES = {False: "none", True: "reference scan", "maps": "measured masks"}
FACTORS = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)  # of the weight that tv chooses itself
Pair = tuple[float, float]


def numbers(image: np.ndarray, truth: np.ndarray) -> Pair:
    found = compare(image, truth)
    return found["cnr"], found["psnr_db"]


def best_weight(measurement: Measurement, truth: np.ndarray) -> Pair:
    own = reconstruct(measurement, method="tv").parameters["weight"]
    tried = [numbers(reconstruct(measurement, method="tv", weight=own * f).image, truth) for f in FACTORS]
    return max(cnr for cnr, _ in tried), max(psnr for _, psnr in tried)


def perfect_masks(scanned: Scanned, seed: int) -> Measurement:
    """As measured with its maps, but of the truth behind masks as designed."""
    measured = without_mask_error(scanned.measurements["maps"])
    picture = reconstruct(scanned.measurements["maps"], method="tv").image
    truth = affine_fit(scanned.truth, picture).astype(np.float32)  # in the unit of the measurement
    exact = coefficients(truth, measured.pattern_index).astype(np.float64)
    noise = measured.sigma * np.random.default_rng(seed).normal(size=len(measured))
    return replace(measured, coefficient=exact + noise)


def rows_of(scanned: Scanned, seed: int) -> dict[str, dict[str, Pair]]:
    rows: dict[str, dict[str, Pair]] = {}
    ways: dict[str, Callable[[Measurement], Pair]] = {
        "tv": lambda m: numbers(reconstruct(m, method="tv").image, scanned.truth),
        "tv, best weight": lambda m: best_weight(m, scanned.truth),
        "ch-mwcnn": lambda m: numbers(reconstruct(m, method="ch-mwcnn").image, scanned.truth),
    }
    scans = {NAMES[key]: m for key, m in scanned.measurements.items()}
    for name, measurement in {**scans, "perfect masks": perfect_masks(scanned, seed)}.items():
        rows[name] = {way: score(measurement) for way, score in ways.items()}
    return rows


def mean(each: list[dict[str, dict[str, Pair]]]) -> dict[str, Any]:
    return {
        name: {
            way: dict(zip(("cnr", "psnr_db"), np.mean([one[name][way] for one in each], axis=0).round(2), strict=True))
            for way in each[0][name]
        }
        for name in each[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--boards", type=int, default=3)
    options = parser.parse_args()
    results = {}
    with one_thread():
        for board, name in BOARDS:
            each = [
                rows_of(scanned, seed)
                for seed in range(options.boards)
                for _, scanned in scan_objects(board, (name,), seed)
            ]
            results[f"{name}, {board}"] = mean(each)
    report("network_ceiling_boards", results)


if __name__ == "__main__":
    main()
