"""How far the PSNR that is claimed without a truth lies from the true one, and how often its interval holds that.

Random objects of all families in turn, 18.75 % in a fixed order, 64 validation draws, images of the network. Perfect
masks, and simulated etched boards with a reference scan, each object on one of them; objects and boards are none of
those that the estimate was fitted to. Noise: a share of the rms of the measured coefficients. Baseline in the same run:
the PSNR that the network's own sigma gives.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.validation import draw_validation
from cxgi_bluesky.reconstruction.api import reconstruct_many
from cxgi_bluesky.reconstruction.ch_mwcnn.predict import ch_mwcnn_sigma
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.reconstruction.planning.quality import PsnrEstimate, estimate_psnr
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object
from tools.planning_scans import Tiles, etched_tiles, measure, pattern_set

DRAWS, SHARE = 64, 0.1875
ORDERS = ("zig-zag", "learned-density")
PERFECT, ETCHED = "perfect", "etched"
BOARDS = (20, 21, 22)  # seeds; 0, 1, 11 and 12 are those by which the estimate was made
_TOGETHER = 16


def claim(
    truths: Sequence[np.ndarray], patterns: PatternSet, snr_db: float, boards: Sequence[Tiles] = ()
) -> list[tuple[PsnrEstimate | None, float, float]]:
    """Of each object: the claim, the true PSNR, and the one by the network's sigma."""
    size = patterns.size
    outside = np.setdiff1d(np.arange(size**2), patterns.pattern_index)
    rows = []
    for first in range(0, len(truths), _TOGETHER):
        seeds = range(first, min(first + _TOGETHER, len(truths)))
        draws = [draw_validation(size, outside, DRAWS, seed, start_count=patterns.count) for seed in seeds]
        scans = [
            PreparedMeasurement.from_measurement(
                measure(
                    truths[seed],
                    patterns,
                    noise_db(truths[seed], patterns, snr_db),
                    "reference" if boards else "perfect",
                    np.random.default_rng([seed, 5]),
                    boards[seed % len(boards)] if boards else None,
                    validation=drawn.patterns,
                )
            )
            for seed, drawn in zip(seeds, draws, strict=True)
        ]
        for seed, drawn, m, made in zip(seeds, draws, scans, reconstruct_many(scans), strict=True):
            network = -10 * float(np.log10(np.mean(ch_mwcnn_sigma(m) ** 2)))
            true = psnr(made.image, truths[seed], data_range=1.0)
            rows.append((estimate_psnr(m, made.image, draws=drawn), true, network))
    return rows


def noise_db(truth: np.ndarray, patterns: PatternSet, snr_db: float) -> float:
    """Noise of a coefficient as a share of the open beam, for one as a share of the coefficients' rms."""
    rms = float(np.std(coefficients(truth, patterns.pattern_index[1:])))
    return snr_db - 20 * float(np.log10(rms / truth.size))


def summarise(rows: Sequence[tuple[PsnrEstimate | None, float, float]]) -> dict[str, Any]:
    """Errors of the claims (dB), and how often their intervals hold the true PSNR."""
    claims = [one for one, _, _ in rows if one is not None]
    true, network = np.array([row[1:] for row in rows if row[0] is not None]).T
    error = np.array([one.psnr_db for one in claims]) - true
    low, high = (np.array([getattr(one, name) for one in claims]) - true for name in ("low_db", "high_db"))
    return {
        "objects": len(rows),
        "claims": len(claims),
        "true_db": round(float(true.mean()), 2),
        "error_mean_db": round(float(error.mean()), 2),
        "error_median_db": round(float(np.median(error)), 2),
        "error_rms_db": round(float(np.sqrt(np.mean(error**2))), 2),
        "interval_db": round(float(np.median(high - low)), 2),
        "covered_percent": round(100 * float(np.mean((low <= 0) & (high >= 0))), 1),
        "low_end_more_than_half_a_db_too_good_percent": round(100 * float(np.mean(low > 0.5)), 1),
        "baseline_error_mean_db": round(float((network - true).mean()), 2),
        "baseline_error_rms_db": round(float(np.sqrt(np.mean((network - true) ** 2))), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=500, help="random objects for each kind of scan")
    parser.add_argument("--size", type=int, default=64, help="pixels per side")
    parser.add_argument("--masks", nargs="+", choices=(PERFECT, ETCHED), default=[PERFECT, ETCHED])
    parser.add_argument("--boards", type=int, nargs="+", default=BOARDS, help="seeds of etched boards, 1/4 min each")
    parser.add_argument("--snr-db", type=float, nargs="+", default=[15.0, 22.0, 30.0])
    options = parser.parse_args()
    size = options.size
    kinds, rng = list(FAMILIES), np.random.default_rng([79, size])
    objects = [random_object(rng, size, {kinds[i % len(kinds)]: 1.0}).astype(float) for i in range(options.objects)]
    boards: dict[str, Sequence[Tiles]] = {PERFECT: ()}
    if ETCHED in options.masks:
        boards[ETCHED] = [etched_tiles(size, ("zig-zag",), size**2, seed) for seed in options.boards]
    results: dict[str, Any] = {}
    with one_thread():
        for masks in options.masks:
            for order in ORDERS:
                patterns = pattern_set(size, round(SHARE * size**2), order)
                for snr_db in options.snr_db:
                    rows = claim(objects, patterns, snr_db, boards[masks])
                    results[f"{masks}, {order}, {snr_db:g} dB"] = summarise(rows)
    report("psnr_estimate", results)


if __name__ == "__main__":
    main()
