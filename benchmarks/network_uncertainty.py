"""How often the truth lies within one sigma of the network's image: per image, and per quintile of sigma.

Random objects that training never drew, the anchor images, and etched boards; conditions as in `uncertainty.py`.
Baseline in the same run: each image with one sigma for all its pixels, the rms of what the network says; it is right
per image as far as the network is, and says nothing of where.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks._timing import report
from benchmarks.suite.workload import measure, truths
from benchmarks.uncertainty import CONDITIONS, Case, summary
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.ch_mwcnn.predict import ch_mwcnn_sigma
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object


def case(family: str, condition: str, m: Measurement, truth: np.ndarray, weights: str | None) -> Case:
    m = PreparedMeasurement.from_measurement(m)  # its noise is estimated once for both
    image = reconstruct(m, method="ch-mwcnn", weights=weights).image
    return Case(family, condition, ch_mwcnn_sigma(m, weights=weights), {}, image - truth)


def cases(objects: list[tuple[str, np.ndarray]], weights: str | None) -> list[Case]:
    """Every object under every condition."""
    made = []
    for patterns, snr_db in CONDITIONS:
        for seed, (name, truth) in enumerate(objects):
            count = patterns.count * truth.size // patterns.size**2
            m = measure(truth, replace(patterns, size=len(truth), count=count), snr_db=snr_db, seed=seed)
            made.append(case(name, f"{patterns.order} {patterns.count}, {snr_db:.0f} dB", m, truth, weights))
    return made


def even(c: Case) -> np.ndarray:
    return np.full_like(c.deviation, np.sqrt(np.mean(c.deviation**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=36, help="random objects a condition")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 32], help="pixels a side of the random objects")
    parser.add_argument("--weights", help="default: the shipped ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    kinds = list(FAMILIES)
    for size in options.sizes:
        rng = np.random.default_rng([78, size])
        names = [kinds[i % len(kinds)] for i in range(options.objects)]
        drawn = [(name, random_object(rng, size, {name: 1.0}).astype(float)) for name in names]
        made = cases(drawn, options.weights)
        results[f"random objects, {size} x {size}"] = {
            "error": summary(made, lambda c: c.deviation),
            "one sigma for all pixels (baseline)": summary(made, even),
        }
    made = cases(list(truths().items()), options.weights)
    results["anchor images"] = {
        "error": summary(made, lambda c: c.deviation),
        "one sigma for all pixels (baseline)": summary(made, even),
    }
    report("network_uncertainty", results)


if __name__ == "__main__":
    main()
