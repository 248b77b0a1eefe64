"""How often the truth lies within one sigma of the picture: per image, and per quintile of sigma.

For `tv` and its uncertainty of kind "error", on random objects of the training families and on the five anchor
images, over fractions, orders and noise levels. The baseline is the plain scatter of the draws, not brought
to the scale of true errors. With --fit, the law of `reconstruction.uncertainty` is fitted anew to the random
objects and printed.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from _timing import report

from cxgi_bluesky.bench.workload import measure, truths
from cxgi_bluesky.patterns import PatternSet
from cxgi_bluesky.reconstruction import reconstruct
from cxgi_bluesky.reconstruction.uncertainty import LAW, Scatter, calibrated, scatter
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

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
Case = tuple[Scatter, np.ndarray]


def cases(objects: list[np.ndarray]) -> dict[str, list[Case]]:
    """Scatter and true error of each object, by condition."""
    out: dict[str, list[Case]] = {}
    for patterns, snr_db in CONDITIONS:
        name = f"{patterns.order} {patterns.count}, {snr_db:.0f} dB"
        for seed, truth in enumerate(objects):
            m = measure(truth, patterns, snr_db=snr_db, seed=seed)
            error = reconstruct(m, method="tv").image - truth
            out.setdefault(name, []).append((scatter(m, leave_out=True, seed=seed), error))
    return out


def coverage(sigma: np.ndarray, error: np.ndarray) -> tuple[float, list[float]]:
    """Share of pixels within one sigma: of the image, and of each quintile of sigma."""
    within = np.abs(error) <= sigma
    place = np.digitize(sigma, np.quantile(sigma, [0.2, 0.4, 0.6, 0.8]))
    parts = [float(within[place == i].mean()) if (place == i).any() else np.nan for i in range(5)]
    return float(within.mean()), parts


def summary(found: dict[str, list[Case]], sigma_of: Any) -> dict[str, Any]:
    images, parts, each = [], [], {}
    for name, rows in found.items():
        scores = [coverage(sigma_of(drawn), error) for drawn, error in rows]
        each[name] = round(float(np.mean([image for image, _ in scores])), 3)
        images += [image for image, _ in scores]
        parts += [quintiles for _, quintiles in scores]
    values = np.array(images)
    return {
        "mean": round(float(values.mean()), 3),
        "spread_over_images": round(float(values.std()), 3),
        "images_between_60_and_75_percent": round(float(np.mean((values > 0.6) & (values < 0.75))), 3),
        "by_quintile_of_sigma": np.nanmean(np.array(parts), axis=0).round(3).tolist(),
        "by_condition": each,
    }


def fitted(found: dict[str, list[Case]]) -> dict[str, float]:
    """The law that brings every quintile of every image nearest to 68.3 %."""
    from scipy.optimize import minimize

    rows = [row for part in found.values() for row in part]

    def cost(values: np.ndarray) -> float:
        law = dict(zip(LAW, values.tolist(), strict=True))
        return float(np.nanmean([(np.array(coverage(calibrated(d, law), e)[1]) - 0.683) ** 2 for d, e in rows]))

    best = minimize(cost, list(LAW.values()), method="Nelder-Mead", options={"maxiter": 200})
    return dict(zip(LAW, best.x.round(3).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=18, help="random objects a condition")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    rng, families = np.random.default_rng(5), list(FAMILIES)
    drawn = [random_object(rng, 64, [families[i % len(families)]]).astype(float) for i in range(options.objects)]
    random = cases([image for image in drawn if image.std() > 0.01])
    law = fitted(random) if options.fit else dict(LAW)
    results: dict[str, Any] = {"law": law}
    for name, found in (("random objects", random), ("anchor images", cases(list(truths().values())))):
        results[name] = {
            "error": summary(found, lambda d: calibrated(d, law)),
            "plain scatter (baseline)": summary(found, lambda d: d.pixel),
        }
    report("uncertainty", results)


if __name__ == "__main__":
    main()
