"""What limits a reconstruction of the anchor workload: the patterns that are missing, the noise, or the method.

PSNR (dB, cut to [0, 1]) of the five images, 64 x 64, at the workload's fraction and noise:

- "measured part, exact": the truth's own coefficients where they were measured, 0 elsewhere (noise-free inverse);
- "all patterns, same sigma": inverse of all 4096 patterns, each with the sigma of the short scan;
- tv and the network on noise-free data, sigma 0 as given: what the missing patterns alone cost them; "tv, told exact"
  has weight 0, so that nothing is taken for noise;
- tv and the network on the workload as it is (baseline).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.suite import workload
from benchmarks.suite.scores import score
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct

ORDERS = ("zig-zag", "cake-cutting", "learned-density", "variable-density")
Image = np.ndarray
Row = dict[str, Any]


def exact(truth: Image, noisy: Measurement) -> Measurement:
    """The measurement without its noise, and knowing it."""
    values = walsh_hadamard_2d(truth).ravel()[noisy.pattern_index]
    return replace(noisy, coefficient=values, sigma=np.zeros(len(noisy)))


def all_patterns(truth: Image, noisy: Measurement, seed: int) -> Measurement:
    """Every pattern measured with the sigma of the short scan."""
    values = walsh_hadamard_2d(truth).ravel()
    sigma = float(noisy.sigma[0])
    values = values + sigma * np.random.default_rng(seed).normal(size=len(values))
    made = Measurement.from_buckets(
        noisy.size, np.arange(len(values)), values, coding="signed", sigma=np.full(len(values), sigma)
    )
    return replace(made, scale="transmission")


def pictures(weights: str | None) -> dict[str, Callable[[Image, Measurement, int], Image]]:
    """Each image by its name, of the truth, its noisy measurement and a seed."""
    words = {} if weights is None else {"weights": weights}

    def made(measurement: Measurement, method: str, **options: Any) -> Image:
        return reconstruct(measurement, method=method, **options).image

    return {
        "measured part, exact": lambda truth, m, seed: made(exact(truth, m), "inverse"),
        "all patterns, same sigma": lambda truth, m, seed: made(all_patterns(truth, m, seed), "inverse"),
        "tv, noise-free": lambda truth, m, seed: made(exact(truth, m), "tv"),
        "tv, told exact": lambda truth, m, seed: made(exact(truth, m), "tv", weight=0.0),
        "ch-mwcnn, noise-free": lambda truth, m, seed: made(exact(truth, m), "ch-mwcnn", **words),
        "tv (baseline)": lambda truth, m, seed: made(m, "tv"),
        "ch-mwcnn": lambda truth, m, seed: made(m, "ch-mwcnn", **words),
    }


def ceiling(order: str, snr_db: float, fraction: float, seeds: int, weights: str | None) -> Row:
    """PSNR of every image: mean over images and seeds, and each image."""
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        patterns = workload.pattern_set(order, seed, fraction=fraction)
        for image, truth in workload.truths().items():
            m = workload.measure(truth, patterns, snr_db=snr_db, seed=seed)
            for name, picture in pictures(weights).items():
                found.setdefault(name, {}).setdefault(image, []).append(score(picture(truth, m, seed), truth).psnr_db)
    return {name: _row(by_image) for name, by_image in found.items()}


def _row(by_image: dict[str, list[float]]) -> Row:
    means = {image: float(np.mean(values)) for image, values in by_image.items()}
    return {"mean": round(float(np.mean(list(means.values()))), 2), **{k: round(v, 2) for k, v in means.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--orders", nargs="+", default=ORDERS)
    parser.add_argument("--snr", type=float, default=30.0)
    parser.add_argument("--fraction", type=float, default=workload.FRACTION)
    parser.add_argument("--weights", help="of the network (default: those of the package)")
    options = parser.parse_args()
    words = {"fraction": options.fraction, "snr_db": options.snr, "seeds": options.seeds}
    with one_thread():
        found = {o: ceiling(o, options.snr, options.fraction, options.seeds, options.weights) for o in options.orders}
    report("network_ceiling", {**words, "psnr_db": found})


if __name__ == "__main__":
    main()
