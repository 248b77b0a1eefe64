"""The weight that the data choose against the best one, which only the truth knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.suite.workload import measure, pattern_set, truths
from cxgi_bluesky.analysis.metrics import cnr, psnr
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.error_model.common_mode import without_common_error
from cxgi_bluesky.reconstruction.error_model.noise import estimate_noise, with_model_error
from cxgi_bluesky.reconstruction.solvers.primal_dual import choose_weight
from tests.conftest import signed_measurement, smooth_image
from tests.reconstruction.etched_scan import BOARDS, READINGS, scanned, stored_scan

FACTORS = 2.0 ** np.arange(-3, 4)


def scores(m, score):
    """What `score` gives for the image with the chosen weight, and of the best of a wide range of weights."""
    chosen = reconstruct(m, method="tv")
    weight = chosen.parameters["weight"]
    others = [score(reconstruct(m, method="tv", weight=weight * f).image) for f in FACTORS]
    return score(chosen.image), max(others)


@pytest.mark.parametrize("snr_db", [30.0, 20.0])
@pytest.mark.parametrize("order", ["cake-cutting", "zig-zag", "learned-density"])
def test_within_half_a_decibel_of_the_best_on_the_anchor_workload(order, snr_db):
    lost = []
    for truth in truths().values():
        m = measure(truth, pattern_set(order, 1), snr_db=snr_db, seed=0)
        chosen, best = scores(m, lambda image, t=truth: psnr(np.clip(image, 0, 1).astype(float), t))
        lost.append(best - chosen)
    assert np.mean(lost) < 0.3
    assert np.max(lost) < (0.5 if order != "learned-density" else 1.0)


@pytest.fixture(scope="module", params=BOARDS)
def etched(request):
    """All 1024 patterns of the Cu board as etching left it, one exposure each."""
    return stored_scan(request.param)


@pytest.mark.parametrize("seed", BOARDS)
def test_the_scans_that_are_kept_are_those_that_would_be_made(seed):
    made = scanned(seed, PatternSet(32, 12))
    np.testing.assert_allclose(made, np.load(READINGS)[seed, : len(made)], rtol=1e-6)


def test_within_a_fifth_of_the_best_contrast_on_an_imperfect_board(etched):
    m, truth = etched
    chosen, best = scores(m, lambda image: cnr(image, truth))
    assert chosen > 0.8 * best


def test_mask_error_is_seen_and_its_size_is_right(etched):
    m, truth = etched
    m, _ = without_common_error(m)
    size = estimate_noise(m)
    predicted = reconstruct(signed_measurement(truth.astype(float)), method="inverse").image
    scale = m.coefficient[0] / signed_measurement(truth.astype(float)).coefficient[0]
    exact = signed_measurement(scale * predicted, PatternSet(32, 1024)).coefficient
    error = np.sqrt(np.mean((m.coefficient - exact)[m.pattern_index != 0] ** 2))
    assert size.model_sigma > 2 * np.sqrt(np.mean(m.sigma**2))
    assert size.sigma == pytest.approx(error, rel=0.25)
    assert size.origin == "given, and model error"
    wider = with_model_error(m, size)
    assert np.sqrt(np.mean(wider.sigma**2)) == pytest.approx(size.sigma, rel=0.01)


def test_a_sigma_that_is_right_is_believed():
    believed = []
    for seed, truth in enumerate(truths().values()):
        m = measure(truth, pattern_set("zig-zag", 0), snr_db=25.0, seed=seed)
        believed.append(estimate_noise(m).model_sigma == 0)
    assert np.mean(believed) >= 0.8


def test_a_sigma_that_nobody_told_is_found_to_a_factor_of_three():
    ratios = []
    for seed, truth in enumerate(truths().values()):
        for snr_db in (30.0, 20.0):
            m = measure(truth, pattern_set("zig-zag", 0), snr_db=snr_db, seed=seed)
            untold = Measurement.from_buckets(64, m.pattern_index, m.coefficient, coding="signed")
            size = estimate_noise(untold)
            assert size.origin == "estimated: held-back patterns"
            ratios.append(np.log(size.sigma / m.sigma[0]))
    assert np.exp(np.median(np.abs(ratios))) < 3


def test_a_short_scan_keeps_its_sigma_and_the_trial_weight():
    m = signed_measurement(smooth_image(16), PatternSet(16, 40), sigma=0.2)
    size = estimate_noise(m)
    assert (size.sigma, size.model_sigma, size.initial_image) == (pytest.approx(0.2), 0.0, None)
    assert choose_weight(m, None) == pytest.approx(0.5 * 0.2 / 16)


def test_a_rough_picture_is_smoothed_less_than_a_smooth_one():
    m = signed_measurement(smooth_image(32), sigma=1.0)
    rough = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    smooth = (0.01 * np.cumsum(rough, axis=0)).astype(np.float32)
    assert choose_weight(m, rough) < choose_weight(m, smooth)


def test_a_sigma_of_0_beside_a_reference_does_not_hide_errors():
    m = signed_measurement(smooth_image(32), PatternSet(32, 512), sigma=20.0)
    told = replace(m, sigma=np.zeros(len(m)), pattern_error=10.0)
    assert estimate_noise(told).sigma > 2
