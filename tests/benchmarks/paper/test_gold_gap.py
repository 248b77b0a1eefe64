"""How much of the gold object's gap an image shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks.paper.gold_gap import FALSE_SEGMENTS, SEGMENTS, TRUE_WIDTH_PX, score_gap
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean


def gold(words=""):
    return block_mean(render_object(f"gold{words}", 64, 4), 4)


TRUTH, WITHOUT = gold(), gold(":gap_um=0")


@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (7, 3)])
def test_the_true_image_has_an_amplitude_of_1_and_the_true_width_in_any_unit(factor, offset):
    found = score_gap(factor * TRUTH + offset, TRUTH)
    assert found.amplitude == pytest.approx(1, abs=0.001)
    assert found.width_px == pytest.approx(TRUE_WIDTH_PX, abs=0.01)
    assert found.segments == SEGMENTS
    assert found.shows
    assert found.width_is_right


def test_half_a_gap_has_half_the_amplitude():
    assert score_gap((TRUTH + WITHOUT) / 2, TRUTH).amplitude == pytest.approx(0.5, abs=0.001)


def test_a_gap_along_half_of_its_length_shows_in_half_of_the_segments():
    image = TRUTH.copy()
    image[32:] = WITHOUT[32:]
    found = score_gap(image, TRUTH)
    assert found.segments == SEGMENTS / 2
    assert not found.shows
    assert math.isnan(found.width_px)


def test_a_blurred_gap_is_wide():
    found = score_gap(gaussian_filter(TRUTH, 1.0), TRUTH)
    assert found.width_px == pytest.approx(math.hypot(TRUE_WIDTH_PX, 2.355), abs=0.1)
    assert found.shows
    assert not found.width_is_right


def test_noise_is_no_gap_and_hides_none():
    noise = 0.1 * np.random.default_rng(3).normal(size=(20, 64, 64))
    assert max(score_gap(WITHOUT + one, TRUTH).segments for one in noise) < FALSE_SEGMENTS
    assert np.mean([score_gap(TRUTH + one, TRUTH).amplitude for one in noise]) == pytest.approx(1, abs=0.02)


def test_a_broad_brightening_is_no_gap():
    across = gaussian_filter(TRUTH - WITHOUT, 6.0)
    assert score_gap(WITHOUT + across, TRUTH).segments == 0


@pytest.mark.parametrize("image", [np.zeros_like(TRUTH), -TRUTH])
def test_an_image_without_contrast_shows_no_gap(image):
    found = score_gap(image, TRUTH)
    assert (found.amplitude, found.segments) == (0, 0)
