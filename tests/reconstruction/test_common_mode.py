from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.orders import sequency_grid
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.error_model.common_mode import CommonError, estimate_common_error, without_common_error
from cxgi_bluesky.simulation.random_objects import random_object
from tests.conftest import signed_measurement, smooth_image

D_R = 0.8
FEW = PatternSet.from_fraction(32, 0.1875)


def with_offset(m, offset, sigma_common):
    shifted = m.coefficient + offset * (m.pattern_index != 0)
    return replace(m, coefficient=shifted, sigma_common=sigma_common)


@pytest.mark.parametrize("method", ["tv", "ch-mwcnn"])
def test_an_error_of_b_0_hardly_shows(method):
    image = smooth_image(32)
    clean = signed_measurement(image, FEW, sigma=0.5)
    spoiled = with_offset(clean, 4.0, 4.0)
    told = reconstruct(spoiled, method=method)
    untold = reconstruct(replace(spoiled, sigma_common=0.0), method=method)
    assert told.parameters["common_offset"] == pytest.approx(4.0, abs=1.0)
    assert psnr(told.image, image) > psnr(untold.image, image) + 1
    assert psnr(told.image, image) > psnr(reconstruct(clean, method=method).image, image) - 0.7


def test_nothing_is_taken_off_where_b_0_is_not_involved():
    m = signed_measurement(smooth_image(32), FEW, sigma=0.5)
    assert without_common_error(m) == (m, CommonError())


def test_the_estimate_is_better_than_none_on_random_objects():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        offset = 3.0 * rng.normal()
        m = with_offset(signed_measurement(random_object(rng, 32), FEW, sigma=1.0), offset, 3.0)
        errors.append((estimate_common_error(m).constant - offset, offset))
    left, before = np.sqrt(np.mean(np.square(errors), axis=0))
    assert left < 0.6 * before


def test_a_certain_b_0_is_left_alone():
    m = with_offset(signed_measurement(smooth_image(32), FEW), 4.0, 1e-6)
    assert estimate_common_error(m).constant == pytest.approx(0, abs=1e-6)


def test_the_misfit_does_not_count_the_error_of_b_0():
    m = with_offset(signed_measurement(smooth_image(32), FEW, sigma=0.5), 5.0, 5.0)
    assert reconstruct(m, method="tv").quality["data_misfit"] < 1.2


def etched(image, per_edge, *, fraction=0.1875, reference=False, seed=0):
    """A binary measurement whose masks pass `per_edge` more light for u + v = n, and the error of its coefficients."""
    size = len(image)
    patterns = PatternSet.from_fraction(size, fraction)
    exact = signed_measurement(image, patterns).coefficient
    u, v = (np.ravel(a)[patterns.pattern_index] for a in sequency_grid(size))
    t0 = 1 - D_R
    bucket = ((1 + t0) * exact[0] + (1 - t0) * exact) / 2
    bucket[patterns.pattern_index == 0] = exact[0]
    excess = (1 + t0) / 2 * exact[0] * (per_edge if reference else per_edge * (u + v) / size)
    others = patterns.pattern_index != 0
    noise = 0.5 * np.random.default_rng(seed).normal(size=len(bucket))
    m = Measurement.from_buckets(
        size,
        patterns.pattern_index,
        bucket + others * excess + noise,
        coding="binary",
        sigma=np.full(len(bucket), 0.5),
        d_r=D_R,
        open_bucket=(exact[0], 0.1),
    )
    return replace(m, pattern_error=0.05 if reference else None), 2 / (1 - t0) * others * excess


@pytest.mark.parametrize("per_edge", [-0.03, 0.0, 0.03])
@pytest.mark.parametrize("reference", [False, True])
def test_what_edges_or_all_masks_add_is_told_from_the_data(per_edge, reference):
    m, error = etched(smooth_image(32), per_edge, reference=reference)
    found = estimate_common_error(m).at_patterns(m.pattern_index, 32)
    largest = 2 / D_R * (2 - D_R) / 2 * 0.03 * m.coefficient[0]
    assert np.sqrt(np.mean((found - error) ** 2)) < 0.1 * largest


def test_tv_gains_where_edges_are_over_etched():
    image = smooth_image(32)
    m, _ = etched(image, 0.03)
    told, plain = (reconstruct(m, method="tv", mask_level=level) for level in (0.02, 0.0))
    assert psnr(told.image, image) > psnr(plain.image, image) + 2
    assert told.parameters["edge_error"] != 0
    assert plain.parameters["edge_error"] == 0


def test_perfect_masks_lose_next_to_nothing():
    rng = np.random.default_rng(4)
    losses = []
    for seed in range(12):
        image = random_object(rng, 32).astype(float)
        m, _ = etched(image, 0.0, seed=seed)
        told, plain = (psnr(reconstruct(m, method="tv", mask_level=level).image, image) for level in (0.02, 0.0))
        losses.append(plain - told)
    assert np.mean(losses) < 0.1


def test_it_is_taken_off_once():
    m, _ = etched(smooth_image(32), 0.03)
    clean, error = without_common_error(m)
    assert error.edges != 0
    assert without_common_error(clean) == (clean, CommonError())


def test_measured_masks_have_no_error_of_edges():
    m, _ = etched(smooth_image(32), 0.03)
    known = replace(m, source={**m.source, "tile_maps_sha256": "0" * 64})
    assert estimate_common_error(known).edges == 0
    assert abs(estimate_common_error(known).constant) < 0.2 * abs(estimate_common_error(m).edges)


def test_the_misfit_does_not_count_it():
    m, _ = etched(smooth_image(32), 0.03)
    assert reconstruct(m, method="tv").quality["data_misfit"] < 1.5
