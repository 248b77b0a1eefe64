"""How often the truth lies within one sigma of the image: per image, and per quintile of sigma.

For `tv` and its uncertainty of kind "error", on random objects of the training families and on the five anchor
images, over fractions, orders and noise levels. Beside it stand the plain scatter of the redrawn images, not
brought to the scale of true errors (the baseline), and the ceiling: the same shape, each image scaled by its own
true errors. With --fit N, the law of `reconstruction.error_law` is fitted anew to N other random objects, each under
a condition of its own, and printed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.suite.workload import measure, truths
from cxgi_bluesky.masks.orders import SEEDED
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.error_model.calibration import (
    COVERED,
    LAW,
    calibrate,
    rms,
    scales,
    scatter,
    shape,
)
from cxgi_bluesky.reconstruction.error_model.resampling import resample
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

MIN_COVERAGE, MAX_COVERAGE = 0.60, 0.75  # coverage that may be called one sigma
CONDITIONS = [
    (PatternSet(64, 768, "zig-zag"), 30.0),
    (PatternSet(64, 768, "cake-cutting"), 30.0),
    (PatternSet(64, 768, "learned-density", 1), 30.0),
    (PatternSet(64, 768, "cake-cutting"), 20.0),
    (PatternSet(64, 768, "zig-zag"), 10.0),
    (PatternSet(64, 256, "zig-zag"), 30.0),
    (PatternSet(64, 2048, "cake-cutting"), 30.0),
    (PatternSet(64, 4096, "zig-zag"), 20.0),
]


@dataclass(frozen=True, eq=False)
class Case:
    """What the data tell of an image's error, and the true error."""

    family: str
    condition: str
    deviation: np.ndarray
    scales: dict[str, float]
    error: np.ndarray

    @classmethod
    def of(cls, family: str, truth: np.ndarray, patterns: PatternSet, snr_db: float, seed: int) -> Case:
        m = measure(truth, patterns, snr_db=snr_db, seed=seed)
        drawn = resample(m, leave_out=True, seed=seed)
        deviation = scatter(drawn)
        error = reconstruct(m, method="tv").image - truth
        condition = f"{patterns.order} {patterns.count}, {snr_db:.0f} dB"
        return cls(family, condition, deviation, scales(drawn, deviation), error)


Sigma = Callable[[Case], np.ndarray]


def own_scale(case: Case, g: float) -> float:
    """ln of what the shape must be multiplied with to cover 68.3 % of this image (of its true errors)."""
    return math.log(
        max(float(np.quantile(np.abs(case.error) / (rms(case.deviation) * shape(case.deviation) ** g), COVERED)), 1e-4)
    )


def ceiling(case: Case) -> np.ndarray:
    return rms(case.deviation) * math.exp(own_scale(case, LAW["g"])) * shape(case.deviation) ** LAW["g"]


def judged_cases(objects: list[tuple[str, np.ndarray]]) -> list[Case]:
    """Every object under every condition."""
    cases = []
    for patterns, snr_db in CONDITIONS:
        for seed, (name, truth) in enumerate(objects):
            count = patterns.count * truth.size // patterns.size**2
            cases.append(Case.of(name, truth, replace(patterns, size=len(truth), count=count), snr_db, seed))
    return cases


def fitting_cases(count: int, seed: int = 1) -> list[Case]:
    """Other random objects, each with an order, a fraction and a noise level of its own."""
    rng, families, out = np.random.default_rng(seed), list(FAMILIES), []
    for i in range(count):
        family, size = families[i % len(families)], int(rng.choice([32, 64, 64, 64]))
        fraction = 1.0 if rng.random() < 0.15 else math.exp(rng.uniform(math.log(0.06), 0))
        order = str(rng.choice(["zig-zag", "cake-cutting", "learned-density", "random"], p=[0.35, 0.35, 0.2, 0.1]))
        patterns = PatternSet(size, max(64, int(fraction * size * size)), order, i if order in SEEDED else None)
        truth = random_object(rng, size, {family: 1.0}).astype(float)
        out.append(Case.of(family, truth, patterns, rng.uniform(8, 35), i))
    return out


def coverage(sigma: np.ndarray, error: np.ndarray) -> tuple[float, list[float]]:
    """Share of pixels within one sigma: of the image, and of each quintile of sigma."""
    within = np.abs(error) <= sigma
    place = np.digitize(sigma, np.quantile(sigma, [0.2, 0.4, 0.6, 0.8]))
    parts = [float(within[place == i].mean()) if (place == i).any() else np.nan for i in range(5)]
    return float(within.mean()), parts


def summary(cases: list[Case], sigma_of: Sigma) -> dict[str, Any]:
    scores = [coverage(sigma_of(case), case.error) for case in cases]
    image, parts = np.array([i for i, _ in scores]), np.array([p for _, p in scores])
    good = (image >= MIN_COVERAGE) & (image <= MAX_COVERAGE)

    def grouped(names: list[str]) -> dict[str, Any]:
        rows = {name: np.array([n == name for n in names]) for name in dict.fromkeys(names)}
        return {
            n: {"mean": round(float(image[r].mean()), 3), "good": round(float(good[r].mean()), 2)}
            for n, r in rows.items()
        }

    return {
        "mean": round(float(image.mean()), 3),
        "spread_over_images": round(float(image.std()), 3),
        "images_between_60_and_75_percent": round(float(good.mean()), 3),
        "by_quintile_of_sigma": np.nanmean(parts, axis=0).round(3).tolist(),
        "spread_of_quintiles_over_images": np.nanstd(parts, axis=0).round(3).tolist(),
        "by_condition": grouped([case.condition for case in cases]),
        "by_kind_of_object": grouped([case.family for case in cases]),
    }


def fitted(cases: list[Case]) -> dict[str, float]:
    """The law: g makes the quintiles even, each image scaled by its own errors; the rest predicts that scale."""
    from scipy.optimize import minimize_scalar

    def unevenness(g: float) -> float:
        sigmas = (rms(c.deviation) * math.exp(own_scale(c, g)) * shape(c.deviation) ** g for c in cases[::4])
        parts = [coverage(sigma, c.error)[1] for sigma, c in zip(sigmas, cases[::4], strict=True)]
        return float(np.sum((np.nanmean(np.array(parts), axis=0) - COVERED) ** 2))

    g = float(minimize_scalar(unevenness, bounds=(1.0, 3.0), method="bounded", options={"xatol": 0.01}).x)
    names = list(cases[0].scales)
    known = np.array([[1.0, *(case.scales[name] for name in names)] for case in cases])
    wanted = np.array([own_scale(case, g) for case in cases])
    weight = np.ones(len(cases))
    for _ in range(50):  # least absolute deviations: a few odd images must not rule
        b = np.linalg.solve((known * weight[:, None]).T @ known, (known * weight[:, None]).T @ wanted)
        weight = 1 / np.maximum(np.abs(wanted - known @ b), 0.05)
    least, most = np.quantile(known @ b, [0.01, 0.99])
    law = {"g": g, "least": least, "most": most, **dict(zip(["constant", *names], b, strict=True))}
    return {name: round(float(value), 3) for name, value in law.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=36, help="random objects a condition")
    parser.add_argument("--size", type=int, default=64, help="pixels a side of the random objects")
    parser.add_argument("--fit", type=int, metavar="N", help="fit the law to N other random objects (1600: 7 minutes)")
    options = parser.parse_args()
    rng = np.random.default_rng(77)  # objects that had no part in the choice of the scales either
    families = [list(FAMILIES)[i % len(FAMILIES)] for i in range(options.objects)]
    drawn = [(family, random_object(rng, options.size, {family: 1.0}).astype(float)) for family in families]
    law = fitted(fitting_cases(options.fit)) if options.fit else dict(LAW)
    results: dict[str, Any] = {"law": law}
    for name, objects in (("random objects", drawn), ("anchor images", list(truths().items()))):
        cases = judged_cases(objects)
        results[name] = {
            "error": summary(cases, lambda c: calibrate(c.deviation, c.scales, law)),
            "plain scatter (baseline)": summary(cases, lambda c: c.deviation),
            "own scale (ceiling)": summary(cases, ceiling),
        }
    report("uncertainty", results)


if __name__ == "__main__":
    main()
