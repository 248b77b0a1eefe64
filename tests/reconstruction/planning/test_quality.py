"""A PSNR without a truth: right in the mean, silent where it knows nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.masks.orders import sequency_grid
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.coefficients import Coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.validation import draw_validation
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.reconstruction.planning import quality
from tests.conftest import smooth_image

SIZE, COUNT, SIGMA = 16, 64, 0.5
PATTERNS = PatternSet(SIZE, COUNT).pattern_index
OUTSIDE = np.setdiff1d(np.arange(SIZE**2), PATTERNS)
EXACT = coefficients(smooth_image(SIZE), np.arange(SIZE**2))


def scan(seed=0, sigma=SIGMA, **changes):
    """A measurement with every other pattern as validation, and its image."""
    value = EXACT + sigma * np.random.default_rng(seed).normal(size=SIZE**2)
    apart = Coefficients(OUTSIDE, value[OUTSIDE], np.full(len(OUTSIDE), sigma))
    m = Measurement(SIZE, PATTERNS, value[PATTERNS], np.full(COUNT, sigma), scale="transmission", validation=apart)
    m = PreparedMeasurement.from_measurement(replace(m, **changes))
    return m, reconstruct(m, method="tv").image


def estimate_psnr(m, image, *, draws):
    return quality.estimate_psnr(m, image, draws=draws, method="tv")


def mse(estimate):
    return 10 ** (-estimate.psnr_db / 10)


def draw(count=64, seed=0):
    return draw_validation(SIZE, OUTSIDE, count, seed)


def true_psnr(image):
    return -10 * math.log10(np.mean((image - smooth_image(SIZE)) ** 2))


def test_it_comes_to_the_truth_with_many_draws():
    m, image = scan(sigma=0.05)
    assert estimate_psnr(m, image, draws=draw(4000)).psnr_db == pytest.approx(true_psnr(image), abs=0.5)


def test_noise_of_the_draws_is_not_taken_for_errors_of_the_image():
    """Each draw stands for three patterns, and its noise is several times what the image lacks."""
    m, image = scan(sigma=0.5)
    found = [estimate_psnr(replace(m, validation=noisy(seed)), image, draws=draw(seed=seed)) for seed in range(20)]
    assert np.median([one.psnr_db for one in found]) == pytest.approx(true_psnr(image), abs=3)


def noisy(seed, sigma=3.0):
    value = EXACT[OUTSIDE] + sigma * np.random.default_rng(seed).normal(size=len(OUTSIDE))
    return Coefficients(OUTSIDE, value, np.full(len(OUTSIDE), sigma))


def test_a_pattern_that_was_drawn_twice_counts_twice():
    m, image = scan(sigma=1e-6)
    draws = draw(200)
    error = np.abs(EXACT[draws.pattern_index]) / draws.probability
    more = [draws.where(np.append(np.arange(len(draws)), row)) for row in (error.argmax(), error.argmin())]
    large, small = (mse(estimate_psnr(m, image, draws=one)) for one in more)
    assert large > mse(estimate_psnr(m, image, draws=draws)) > small


def test_draws_that_the_scan_has_measured_count_as_nothing():
    m, image = scan(sigma=1e-6)
    everywhere = draw_validation(SIZE, np.arange(1, SIZE**2), 400, seed=1)
    outside = everywhere.where(np.isin(everywhere.pattern_index, OUTSIDE))
    all_draws, some = (estimate_psnr(m, image, draws=draws) for draws in (everywhere, outside))
    assert replace(all_draws, draws=0) == replace(some, draws=0)


def test_an_error_that_all_validation_patterns_share_is_not_taken_for_one_of_the_image():
    """The source drifts between two exposures of the open tile."""
    m, image = scan(sigma=0.1, source={"coding": "binary", "d_r": 1.0, "common_error": (0.0, 0.0)})
    drifted = replace(m, validation=replace(m.validation, value=m.validation.value + 5))
    before, after = (estimate_psnr(one, image, draws=draw()).psnr_db for one in (m, drifted))
    assert after == pytest.approx(before, abs=0.5)
    signed = estimate_psnr(replace(drifted, source={}), image, draws=draw())
    assert signed is None or signed.psnr_db < before - 3


def test_the_interval_shrinks_with_the_draws():
    m, image = scan()
    few, many = (estimate_psnr(m, image, draws=draw(count)) for count in (32, 2000))
    assert many.high_db - many.low_db < 0.3 * (few.high_db - few.low_db)
    assert many.low_db < many.psnr_db < many.high_db


@pytest.mark.parametrize("count", [0, 15])
def test_nothing_is_claimed_with_few_draws(count):
    m, image = scan()
    assert estimate_psnr(m, image, draws=draw(count)) is None


def test_draws_that_were_not_measured_do_not_count():
    m, image = scan()
    assert estimate_psnr(replace(m, validation=None), image, draws=draw()) is None


def test_nothing_is_claimed_where_the_image_lacks_none_of_the_drawn_patterns():
    m, image = scan()
    among_its_own = draw_validation(SIZE, PATTERNS[1:], 64, 0)
    assert estimate_psnr(m, image, draws=among_its_own) is None


def test_nothing_is_claimed_of_an_image_that_holds_nothing_beyond_its_patterns():
    m, _ = scan()
    assert estimate_psnr(m, reconstruct(m, method="inverse").image, draws=draw()) is None


def test_an_image_that_predicts_every_value_is_limited_by_the_noise_it_keeps():
    m, _ = scan()
    exact = replace(m, coefficient=EXACT[PATTERNS], validation=replace(m.validation, value=EXACT[OUTSIDE]))
    found = estimate_psnr(exact, smooth_image(SIZE), draws=draw())
    assert mse(found) <= COUNT * SIGMA**2 / SIZE**4


def test_a_relative_image_has_its_own_range_as_peak():
    m, image = scan()
    absolute, relative = (estimate_psnr(replace(m, scale=s), image, draws=draw()) for s in ("transmission", "relative"))
    assert relative.psnr_db - absolute.psnr_db == pytest.approx(20 * math.log10(np.ptp(image)))


def test_a_mirrored_image_is_read_as_the_board_sees_it():
    m, image = scan()
    turned = estimate_psnr(replace(m, mirrored=True), image[:, ::-1], draws=draw())
    assert turned == estimate_psnr(m, image, draws=draw())


# ---------------------------------------------------------------- behind corrected etched masks


def etched(mask_error, seed=0):
    """A scan whose coefficients are wrong in proportion to the edges of their patterns, and its image."""
    u, v = sequency_grid(SIZE)
    m, _ = scan(seed, sigma=0.05)
    wrong = mask_error * (u + v) / SIZE * np.random.default_rng([seed, 1]).normal(size=SIZE**2)
    apart = replace(m.validation, value=m.validation.value + wrong[OUTSIDE])
    source = {"coding": "binary", "d_r": 1.0, "common_error": (0.0, 0.0)}
    changed = replace(m, coefficient=m.coefficient + wrong[PATTERNS], validation=apart, source=source)
    etched = replace(changed, pattern_error=5 * mask_error / EXACT[0])
    return etched, reconstruct(etched, method="tv").image


def test_errors_of_the_masks_are_not_taken_for_errors_of_the_image():
    for seed in range(8):
        m, image = etched(3.0, seed)
        found = estimate_psnr(m, image, draws=draw(200, seed))
        taken = estimate_psnr(replace(m, source={}, pattern_error=None), image, draws=draw(200, seed))
        assert found.low_db < true_psnr(image) < found.high_db
        assert taken.high_db < true_psnr(image)


def test_nothing_is_claimed_behind_etched_masks_of_which_nothing_is_known():
    m, image = etched(60.0)
    unknown = replace(m, pattern_error=None)
    assert estimate_psnr(unknown, image, draws=draw(200)) is None


@pytest.mark.parametrize(
    ("start_count", "candidates", "during", "said"),
    [
        (768, 3328, False, "PSNR: at the end, when all 768 patterns are measured"),
        (256, 3840, True, "PSNR: after the first 256 patterns and 16 validation patterns"),
        (256, 2000, False, "No PSNR in this scan: the board lacks patterns, and what they hold cannot be known"),
    ],
)
def test_it_is_said_from_when_on_a_psnr_is_claimed(start_count, candidates, during, said):
    block = {"pattern_set": {"size": 64, "count": 768}}
    assert (quality.is_claimed_during(block), quality.announce_psnr(block)) == (False, "")
    block["validation"] = {"start_count": start_count, "candidates": candidates}
    assert (quality.is_claimed_during(block), quality.announce_psnr(block)) == (during, said)
