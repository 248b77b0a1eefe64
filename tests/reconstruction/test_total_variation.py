from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.tval3 import MultiplierStart
from cxgi_bluesky.reconstruction.solvers import kernels
from cxgi_bluesky.reconstruction.solvers import kernels as kernel_transform
from cxgi_bluesky.reconstruction.solvers.primal_dual import Problem, WarmStart
from tests.conftest import signed_measurement

GREYS = np.array([[0.0, 1.0, 0.2, 0.2], [0.5, 0.5, 0.2, 1.0], [0, 0, 0.7, 0.7], [0, 0.3, 0.7, 0.7]])
BLOCKS = np.roll(np.kron(GREYS, np.ones((8, 8))), (3, 5), axis=(0, 1))  # off the dyadic grid: many coefficients


def objective(image, coefficient, measured, weight):
    residual = (walsh_hadamard_2d(image) / len(image) - coefficient)[measured]
    down, right = np.zeros_like(image), np.zeros_like(image)
    down[:-1], right[:, :-1] = np.diff(image, axis=0), np.diff(image, axis=1)
    return 0.5 * np.sum(residual**2) + weight * np.sum(np.hypot(down, right))


def test_recovers_blocks_from_few_clean_coefficients():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3))
    tv, zero_filled = (reconstruct(m, method=name).image for name in ("tv", "inverse"))
    assert psnr(tv, BLOCKS) > psnr(zero_filled, BLOCKS) + 6


def test_is_a_minimum_of_its_objective():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3), sigma=1.0)
    result = reconstruct(m, method="tv", iterations=3000, tolerance=0)
    weight, image = result.parameters["weight"], result.image.astype(float)
    grid, measured = m.coefficient_grid() / 32, m.sampling_grid()
    best = objective(image, grid, measured, weight)
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2):
        for _ in range(20):
            other = image + size * rng.normal(size=image.shape)
            assert objective(other, grid, measured, weight) > best
        for kick in (BLOCKS - image, np.ones_like(image), reconstruct(m, method="inverse").image - image):
            assert objective(image + size * kick, grid, measured, weight) > best - 1e-4 * abs(best)


def test_compiled_transform_and_adjoint_gradient():
    rng = np.random.default_rng(1)
    for size in (2, 4, 8, 32):
        image, dual = rng.normal(size=(size, size)), rng.normal(size=(2, size, size))
        dual[0, -1] = dual[1, :, -1] = 0  # no difference leaves the image
        down, right = np.diff(image, axis=0), np.diff(image, axis=1)
        forward = np.sum(down * dual[0, :-1]) + np.sum(right * dual[1, :, :-1])
        adjoint = np.zeros((size, size), np.float32)
        kernels.subtract_adjoint_gradient(adjoint, dual.astype(np.float32), np.float32(-1))
        assert forward == pytest.approx(np.sum(image * adjoint), rel=1e-4, abs=1e-4)
        values = image.astype(np.float32)
        kernel_transform.walsh_hadamard(values)
        np.testing.assert_allclose(values, walsh_hadamard_2d(image), atol=1e-4 * size)


def test_weight_grows_with_the_noise_and_scale_does_not_matter():
    few = PatternSet.from_fraction(32, 0.3)
    weights = [
        reconstruct(signed_measurement(BLOCKS, few, sigma=s), method="tv").parameters["weight"] for s in (0.5, 1, 2)
    ]
    assert weights == sorted(weights)
    one = reconstruct(signed_measurement(BLOCKS, few, sigma=1.0), method="tv").image
    many = reconstruct(signed_measurement(1000 * BLOCKS, few, sigma=1000.0), method="tv").image
    np.testing.assert_allclose(many / 1000, one, atol=1e-3)


def test_noisy_coefficients_count_less():
    m = signed_measurement(BLOCKS, sigma=0.1)
    bad = m.coefficient.copy()
    bad[5:40] += 50 * np.random.default_rng(0).normal(size=35)
    sigma = m.sigma.copy()
    sigma[5:40] = 50
    told = reconstruct(replace(m, coefficient=bad, sigma=sigma), method="tv").image
    untold = reconstruct(replace(m, coefficient=bad), method="tv").image
    assert psnr(told, BLOCKS) > psnr(untold, BLOCKS) + 6


def test_reports_why_it_stopped():
    m = signed_measurement(BLOCKS, sigma=1.0)
    assert reconstruct(m, method="tv", iterations=3).parameters["stopped_by"] == "iterations"
    assert reconstruct(m, method="tv", tolerance=0.1).parameters["stopped_by"] == "tolerance"


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_impossible_weight(weight):
    with pytest.raises(CxgiError, match="weight"):
        reconstruct(signed_measurement(BLOCKS), method="tv", weight=weight)


def test_a_picture_that_fits_its_data_has_a_misfit_near_one():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3), sigma=3.0)
    assert 0.5 < reconstruct(m, method="tv").quality["data_misfit"] < 1.2


def test_unknown_method_and_option():
    m = signed_measurement(BLOCKS)
    with pytest.raises(CxgiError, match=r"'magic' is unknown: choose one of inverse"):
        reconstruct(m, method="magic")
    with pytest.raises(CxgiError, match="lambda"):
        reconstruct(m, method="tv", **{"lambda": 3})


@pytest.mark.parametrize("method", ["tv", "tval3", "ch-mwcnn", "inverse", "correlation"])
@pytest.mark.parametrize("case", ["all zero", "open pattern only", "flat object", "two patterns"])
def test_degenerate_measurements_give_finite_pictures(method, case):
    flat = np.full((32, 32), 0.0 if case == "all zero" else 0.7)
    count = {"open pattern only": 1, "two patterns": 2}.get(case, 1024)
    image = reconstruct(signed_measurement(flat, PatternSet(32, count)), method=method).image
    assert np.isfinite(image).all()
    if method != "correlation":
        np.testing.assert_allclose(image, flat, atol=1e-4)


def test_is_converged_at_high_noise_too():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3), sigma=12.0)
    usual, long = (reconstruct(m, method="tv", iterations=n, tolerance=t).image for n, t in ((300, 1e-4), (6000, 0)))
    assert np.sqrt(np.mean((usual - long) ** 2)) < 0.02 * BLOCKS.std()


def test_a_warm_start_ends_at_the_same_picture_sooner():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3), sigma=1.0)
    warm = WarmStart()
    reconstruct(m.first(len(m) - 16), method="tv", warm=warm, weight=0.05)
    continued, cold = (reconstruct(m, method="tv", warm=w, weight=0.05) for w in (warm, None))
    assert continued.parameters["iterations"] < 0.7 * cold.parameters["iterations"]
    assert np.sqrt(np.mean((continued.image - cold.image) ** 2)) < 0.01 * BLOCKS.std()


def test_tval3_of_a_growing_measurement_ends_at_the_same_picture_sooner():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3), sigma=0.5)
    limits, warm = {"iterations": 5000, "tolerance": 1e-5}, MultiplierStart()
    earlier = reconstruct(m.first(len(m) - 16), method="tval3", warm=warm, **limits).image
    kept = earlier.copy()
    continued, cold = (reconstruct(m, method="tval3", **limits, **w) for w in ({"warm": warm}, {}))
    assert continued.parameters["iterations"] < 0.8 * cold.parameters["iterations"]
    assert np.sqrt(np.mean((continued.image - cold.image) ** 2)) < 0.005 * BLOCKS.std()
    np.testing.assert_array_equal(earlier, kept)  # an image that was shown does not change
    again = reconstruct(m, method="tval3", warm=warm, **limits)
    assert again.parameters["iterations"] < 0.5 * continued.parameters["iterations"]


def test_tval3_goes_on_when_patterns_are_taken_away_or_the_size_changes():
    m = signed_measurement(BLOCKS, PatternSet.from_fraction(32, 0.3), sigma=0.5)
    limits, warm = {"iterations": 5000, "tolerance": 1e-5}, MultiplierStart()
    reconstruct(m, method="tval3", warm=warm, **limits)
    fewer = m.first(200)
    continued, cold = (reconstruct(fewer, method="tval3", **limits, **w).image for w in ({"warm": warm}, {}))
    assert np.sqrt(np.mean((continued - cold) ** 2)) < 0.01 * BLOCKS.std()
    small = signed_measurement(np.eye(8))
    np.testing.assert_array_equal(
        reconstruct(small, method="tval3", warm=warm).image, reconstruct(small, method="tval3").image
    )


def test_a_warm_start_of_another_size_is_a_cold_one():
    warm = WarmStart()
    reconstruct(signed_measurement(np.eye(16)), method="tv", warm=warm)
    Problem.from_measurement(signed_measurement(np.eye(8))).solve(0.1, warm, iterations=5, tolerance=0)
    assert warm.image.shape == (8, 8)


def test_the_picture_is_not_negative_unless_that_is_allowed():
    dark = np.where(BLOCKS > 0.6, 1.0, 0.0)
    m = signed_measurement(dark, PatternSet.from_fraction(32, 0.3), sigma=2.0)
    assert reconstruct(m, method="tv").image.min() >= 0
    assert reconstruct(m, method="tv", nonnegative=False).image.min() < -0.01


def test_unknown_norm():
    for method in ("tv", "tval3"):
        with pytest.raises(CxgiError, match=r"norm 'max' is unknown: choose one of .*isotropic"):
            reconstruct(signed_measurement(BLOCKS), method=method, norm="max")


def test_tval3_fits_even_noisy_data_and_says_why_it_stopped():
    m = signed_measurement(BLOCKS + 1, PatternSet.from_fraction(32, 0.3), sigma=0.5)
    full, short = reconstruct(m, method="tval3", iterations=3000), reconstruct(m, method="tval3", iterations=5)
    assert full.quality["data_misfit"] < 0.05
    assert full.parameters["stopped_by"] == "tolerance"
    assert short.parameters["stopped_by"] == "iterations"
    with pytest.raises(CxgiError, match="beta -1"):
        reconstruct(m, method="tval3", beta=-1)


def test_a_faint_object_on_a_bright_ground_is_no_flat_one():
    faint = 1 + 1e-4 * BLOCKS
    result = reconstruct(signed_measurement(faint, PatternSet.from_fraction(32, 0.3), sigma=1e-4), method="tv")
    assert result.parameters["stopped_by"] != "flat"
    assert np.corrcoef(result.image.ravel(), faint.ravel())[0, 1] > 0.95


def test_an_installation_that_can_write_no_cache_still_compiles(monkeypatch):
    whole = kernel_transform.nb.njit

    def unwritable(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return whole(**options)

    monkeypatch.setattr(kernel_transform.nb, "njit", unwritable)
    assert kernel_transform.compile_loop(lambda x: x + 1)(2) == 3
