"""How much PSNR the chosen weight of `tv` loses against the best weight, which only the truth knows.

On random objects of the training families, 64 x 64 and 32 x 32, at 6.25 to 100 % and 2 to 40 dB. Baselines in the
same run: a weight of 0.1, 0.3 and 0.5 sigma for everything. With --fit, the law of `reconstruction.weight` is
fitted anew and printed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.suite.workload import measure
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.solvers import primal_dual as module
from cxgi_bluesky.reconstruction.solvers.primal_dual import Problem, WarmStart
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

WEIGHTS_IN_SIGMA = np.array([0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0])
LEVELS_DB = (40.0, 30.0, 25.0, 20.0, 15.0, 10.0, 5.0, 2.0)


def conditions() -> Iterator[PatternSet]:
    for size in (64, 32):
        for fraction in (0.0625, 0.1875, 0.5, 1.0):
            yield PatternSet.from_fraction(size, fraction, "cake-cutting")
    yield PatternSet.from_fraction(64, 0.1875, "learned-density", 1)


def curve(truth: np.ndarray, patterns: PatternSet, snr_db: float, seed: int) -> tuple[np.ndarray, list[float]]:
    """PSNR at each weight, and the logarithms that the law is made of."""
    m = measure(truth, patterns, snr_db=snr_db, seed=seed)
    problem, warm, sigma = Problem.from_measurement(m, norm="isotropic"), WarmStart(), float(m.sigma[0]) / m.size
    scores, gradient = [], 0.0
    for in_sigma in WEIGHTS_IN_SIGMA[::-1]:
        problem.solve(in_sigma * sigma, warm, iterations=300, tolerance=2e-4)
        scores.append(psnr(np.clip(warm.image, 0, 1).astype(float), truth))
        if in_sigma == module.INITIAL_WEIGHT_IN_SIGMA:
            gradient = module.mean_gradient(warm.image) / sigma
    return np.array(scores[::-1]), [
        1.0,
        math.log(max(gradient, 1e-6)),
        -snr_db / 20 * math.log(10),
        math.log(m.fraction),
    ]


def losses(scores: np.ndarray, in_sigma: np.ndarray) -> np.ndarray:
    """PSNR lost by these weights, between the weights that were tried by interpolation (dB, <= 0)."""
    place = np.log(np.clip(in_sigma, WEIGHTS_IN_SIGMA[0], WEIGHTS_IN_SIGMA[-1]))
    at = [np.interp(x, np.log(WEIGHTS_IN_SIGMA), row) for x, row in zip(place, scores, strict=True)]
    return np.array(at) - scores.max(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=12, help="for each pattern set and level")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    rng, families = np.random.default_rng(11), list(FAMILIES)
    scores, terms = [], []
    for patterns in conditions():
        for snr_db in LEVELS_DB:
            for i in range(options.objects):
                truth = random_object(rng, patterns.size, {families[i % len(families)]: 1.0}).astype(float)
                if truth.std() > 0.01:
                    row, logs = curve(truth, patterns, snr_db, i)
                    scores.append(row)
                    terms.append(logs)
    table, matrix = np.array(scores), np.array(terms)
    law = np.array(module.LAW)
    if options.fit:
        from scipy.optimize import minimize

        law = minimize(
            lambda x: -losses(table, np.exp(np.minimum(matrix @ x, 0))).mean(), law, method="Nelder-Mead"
        ).x.round(2)
    chosen = {"the law": np.exp(matrix @ law)}
    chosen |= {f"{share} sigma (baseline)": np.full(len(table), share) for share in (0.1, 0.3, 0.5)}
    results: dict[str, Any] = {"law": law.tolist(), "measurements": len(table)}
    for name, in_sigma in chosen.items():
        lost = losses(table, in_sigma)
        results[name] = {
            "mean_loss_db": round(-float(lost.mean()), 3),
            "95_percent_lose_less_than_db": round(-float(np.quantile(lost, 0.05)), 2),
        }
    report("weight_law", results)


if __name__ == "__main__":
    main()
