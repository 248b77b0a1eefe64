from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.masks.tile_maps import TileMaps
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.reconstruction.methods.measured_masks import MaskSystem, _adjoint, _gradients, without_mask_error
from cxgi_bluesky.reconstruction.methods.tv import tv
from tests.conftest import signed_measurement, smooth_image

SET = PatternSet(16, 128)


def masks_of(index, error: float, seed: int = 1) -> np.ndarray:
    """Signed masks with smooth random errors; k = 0 is the open field."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    designs = np.array([pattern(16, k) for k in index], dtype=np.float32)
    fields = np.array([gaussian_filter(rng.normal(size=(16, 16)), 1.0) for _ in index]) + 0.3 * rng.normal(
        size=(len(index), 1, 1)
    )
    designs[np.asarray(index) != 0] += error * fields[np.asarray(index) != 0].astype(np.float32)
    return designs


def measured(image, masks, sigma=0.5, seed=0, **changes) -> Measurement:
    index = SET.pattern_index
    exact = masks.reshape(len(index), -1) @ image.ravel()
    noise = sigma * np.random.default_rng(seed).normal(size=len(index))
    m = Measurement.from_buckets(16, index, exact + noise, coding="signed", sigma=np.full(len(index), sigma))
    return replace(m, masks=masks.astype(np.float32), **changes)


def rms(image, truth) -> float:
    return float(np.sqrt(np.mean((image - truth) ** 2)))


@pytest.fixture
def imperfect():
    image = smooth_image()
    return measured(image, masks_of(SET.pattern_index, 0.4)), image


def test_the_turned_system_is_the_weighted_least_squares_of_the_masks(imperfect):
    m, _ = imperfect
    sigma = np.linspace(0.3, 0.9, len(m))
    m = replace(m, sigma=sigma)
    system = MaskSystem.from_measurement(m)
    np.testing.assert_allclose(system.rows @ system.rows.T, np.eye(len(system.rows)), atol=2e-3)
    x = np.random.default_rng(2).random(256)
    weight = np.mean(sigma**2) / sigma**2
    direct = np.sum(weight * ((m.masks.reshape(len(m), -1) @ x - m.coefficient) / 16) ** 2)
    turned = np.sum(system.importance * (system.rows @ x - system.coefficient) ** 2)
    assert turned == pytest.approx(direct, rel=1e-3)


def test_gradient_and_its_adjoint():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 9)).astype(np.float32), rng.normal(size=(4, 2, 9, 9)).astype(np.float32)
    assert np.sum(_gradients(x) * y) == pytest.approx(np.sum(x * _adjoint(y)), rel=1e-4)


def test_with_perfect_masks_tv_is_tv():
    m = signed_measurement(smooth_image(), SET, sigma=0.5)
    designs = masks_of(SET.pattern_index, 0.0)
    plain, told = tv(m, tolerance=1e-6, iterations=3000)
    result = reconstruct(replace(m, masks=designs), method="tv", weight=told["weight"], tolerance=1e-6, iterations=3000)
    np.testing.assert_allclose(result.image, plain, atol=2e-3)
    assert result.parameters["masks"] == "measured"


@pytest.mark.parametrize("method", ["inverse", "correlation", "tval3", "tv"])
def test_known_masks_make_every_picture_better(imperfect, method):
    m, truth = imperfect

    def error(measurement):
        image = reconstruct(measurement, method=method).image
        gain, offset = np.polyfit(image.ravel(), truth.ravel(), 1)
        return rms(gain * image + offset, truth)

    assert error(m) < 0.9 * error(replace(m, masks=None))


def test_the_mask_error_is_taken_off_the_coefficients(imperfect):
    m, truth = imperfect
    exact = signed_measurement(truth, SET).coefficient
    before, after = (np.std(x.coefficient - exact) for x in (m, without_mask_error(m)))
    assert after < 0.5 * before


def test_an_error_of_b_0_does_no_harm(imperfect):
    m, truth = imperfect
    shifted = replace(m, coefficient=m.coefficient + 8.0 * (m.pattern_index != 0), sigma_common=4.0)
    for method in ("inverse", "tv"):
        clean, spoilt = (rms(reconstruct(x, method=method).image, truth) for x in (m, shifted))
        assert spoilt < 1.25 * clean


def test_the_network_takes_coefficients_without_the_masks_error():
    index = PatternSet(32, 256).pattern_index
    designs = np.array([pattern(32, k) for k in index], dtype=np.float32)
    designs[1:] *= 1 + 0.2 * np.random.default_rng(0).normal(size=(len(index) - 1, 1, 1)).astype(np.float32)
    truth = smooth_image(32)
    exact = designs.reshape(len(index), -1) @ truth.ravel().astype(np.float32)
    m = Measurement.from_buckets(32, index, exact, coding="signed", sigma=np.full(len(index), 0.5))
    plain, known = (reconstruct(x, method="ch-mwcnn").image for x in (m, replace(m, masks=designs)))
    assert rms(known, truth) < 0.8 * rms(plain, truth)


@pytest.mark.parametrize("excess", [0.0, 0.03, 0.06])
def test_a_picture_with_maps_is_supported_whatever_the_masks_pass(excess):
    """Binary buckets of masks that all pass more than designed, and their maps."""
    image, t0 = smooth_image(32), 0.2
    index = PatternSet(32, 512).pattern_index
    maps = np.array([t0 + (1 - t0) * (pattern(32, k) > 0) for k in index], dtype=np.float32)
    maps[1:] *= 1 + excess
    bucket = maps.reshape(len(index), -1) @ image.ravel().astype(np.float32)
    noise = np.random.default_rng(0).normal(size=len(index))
    sigma = 2e-4 * bucket[0]
    m = Measurement.from_buckets(
        32,
        index,
        bucket + sigma * noise,
        coding="binary",
        sigma=np.full(len(index), sigma),
        d_r=1 - t0,
        open_bucket=(bucket[0], sigma),
    )
    m = m.with_tile_maps(TileMaps(32, index, maps, np.ones((32, 32), np.float32), None, "test"))
    score = reconstruct_and_check(m, method="tv").quality["held_out"]
    assert score["supported"]
    assert score["explained"] > 0.9


def test_pixel_0_0_of_the_correlation_is_filled(imperfect):
    m, _ = imperfect
    image = reconstruct(m, method="correlation").image
    assert image[0, 0] == pytest.approx((image[0, 1] + image[1, 0] + image[1, 1]) / 3)
    only_open = reconstruct(m.rows(np.flatnonzero(m.pattern_index == 0)), method="correlation")
    np.testing.assert_array_equal(only_open.image, 0)


def test_held_out_patterns_are_predicted_with_the_masks(imperfect):
    m, _ = imperfect
    known, plain = (reconstruct_and_check(x, method="tv", details=True) for x in (m, replace(m, masks=None)))
    assert known.quality["held_out"]["explained"] > plain.quality["held_out"]["explained"]
    assert known.uncertainty.shape == (16, 16)


def test_a_subset_takes_its_masks_along(imperfect):
    m, _ = imperfect
    part = m.subset(PatternSet(16, 40))
    assert part.masks.shape == (40, 16, 16)
    np.testing.assert_array_equal(part.masks[7], m.masks[np.flatnonzero(m.pattern_index == part.pattern_index[7])[0]])


def test_predictions_use_the_masks(imperfect):
    m, truth = imperfect
    np.testing.assert_allclose(m.predict(truth), m.coefficient, atol=3.0)
    assert np.std(replace(m, masks=None).predict(truth) - m.coefficient) > 2 * np.std(m.predict(truth) - m.coefficient)


def test_masks_of_another_shape_are_refused(imperfect):
    m, _ = imperfect
    with pytest.raises(CxgiError, match="masks have shape"):
        replace(m, masks=m.masks[1:])


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("correlation", {"form": "NGI"}, "NGI"),
        ("tv", {"norm": "anisotropic"}, "anisotropic"),
        ("tv", {"weight": -1.0}, "weight -1.0"),
    ],
)
def test_what_is_not_there_for_measured_masks_is_said(imperfect, method, options, message):
    with pytest.raises(CxgiError, match=message):
        reconstruct(imperfect[0], method=method, **options)
