"""How far the PSNR that is claimed without a truth lies from the true one, and how often its interval holds that.

Random objects, 64 x 64, perfect masks, 18.75 % in a fixed order, 64 validation draws, images of the network. Baseline
in the same run: the PSNR that the network's own sigma gives, with no interval.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks._timing import report
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.validation import ValidationDraws, draw_validation
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.ch_mwcnn.predict import ch_mwcnn_sigma
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.reconstruction.planning.quality import PsnrEstimate, estimate_psnr
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

SIZE, DRAWS = 64, 64
SETS = (PatternSet(SIZE, 768, "zig-zag"), PatternSet(SIZE, 768, "learned-density", seed=0))


def measure(
    truth: np.ndarray, patterns: PatternSet, snr_db: float, seed: int
) -> tuple[PreparedMeasurement, ValidationDraws]:
    """A measurement with validation patterns; noise as a share of the measured coefficients' rms (k > 0)."""
    outside = np.setdiff1d(np.arange(SIZE**2), patterns.pattern_index)
    draws = draw_validation(SIZE, outside, DRAWS, seed, start_count=patterns.count)
    index = np.concatenate([patterns.pattern_index, draws.patterns])
    exact = coefficients(truth, index)
    sigma = float(np.std(exact[1 : patterns.count])) * 10 ** (-snr_db / 20)
    noisy = exact + np.random.default_rng([seed, 5]).normal(0, sigma, len(exact))
    given = np.full(len(index), sigma)
    m = Measurement.from_buckets(SIZE, index, noisy, coding="signed", sigma=given, validation=draws.patterns)
    return PreparedMeasurement.from_measurement(replace(m, scale="transmission")), draws


def summarise(claims: list[PsnrEstimate], truths: list[float], networks: list[float]) -> dict[str, Any]:
    """Errors of the claims (dB), and how often their intervals hold the true PSNR."""
    true, network = np.array(truths), np.array(networks)
    error = np.array([claim.psnr_db for claim in claims]) - true
    low, high = (np.array([getattr(claim, name) for claim in claims]) - true for name in ("low_db", "high_db"))
    return {
        "objects": len(claims),
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
    parser.add_argument("--objects", type=int, default=96, help="random objects for each order and noise")
    parser.add_argument("--snr-db", type=float, nargs="+", default=[15.0, 22.0, 30.0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds, rng = list(FAMILIES), np.random.default_rng([79, SIZE])
    objects = [random_object(rng, SIZE, {kinds[i % len(kinds)]: 1.0}).astype(float) for i in range(options.objects)]
    results: dict[str, Any] = {}
    for patterns in SETS:
        for snr_db in options.snr_db:
            claims, truths, networks = [], [], []
            for seed, truth in enumerate(objects):
                m, draws = measure(truth, patterns, snr_db, seed)
                image = reconstruct(m, method="ch-mwcnn").image
                claim = estimate_psnr(m, image, draws=draws)
                assert claim is not None
                claims.append(claim)
                truths.append(psnr(image, truth, data_range=1.0))
                networks.append(-10 * float(np.log10(np.mean(ch_mwcnn_sigma(m) ** 2))))
            results[f"{patterns.order}, {snr_db:g} dB"] = summarise(claims, truths, networks)
    report("psnr_estimate", results)


if __name__ == "__main__":
    main()
