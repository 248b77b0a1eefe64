from __future__ import annotations

import numpy as np
import pytest
import torch

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import (
    _initial_images_at_once,
    initial_images,
    input_of,
    join,
    prepare,
)
from tests.conftest import signed_measurement, smooth_image

FEW = PatternSet.from_fraction(32, 0.2)


def picture_of(given, initial):
    return (initial * given.deviation + given.mean)[0, 0].numpy()


def test_is_nearly_the_picture_of_tv():
    m = signed_measurement(smooth_image(32), FEW, sigma=2.0)
    given = input_of(m)
    expected = reconstruct(m, method="tv").image
    np.testing.assert_allclose(picture_of(given, initial_images(given)), expected, atol=0.03 * np.ptp(expected))


def test_a_start_near_it_changes_nothing_that_counts():
    ready = prepare(signed_measurement(smooth_image(32), FEW, sigma=2.0))
    anew = initial_images(ready.given)
    torch.testing.assert_close(ready.initial, anew, atol=0.1, rtol=0)  # in standard deviations of the image


def test_is_nowhere_below_zero_intensity():
    given = input_of(signed_measurement(smooth_image(32) - smooth_image(32).min(), FEW, sigma=5.0))
    assert picture_of(given, initial_images(given)).min() > -1e-3


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_flat_object_is_flat(value):
    given = input_of(signed_measurement(np.full((32, 32), value), FEW, sigma=0.1))
    assert torch.isfinite(initial_images(given)).all()
    flat = input_of(signed_measurement(np.full((32, 32), value), FEW))
    assert torch.isfinite(initial_images(flat)).all()


def test_each_of_a_batch_is_as_alone():
    one, two = (input_of(signed_measurement(smooth_image(32), FEW, sigma=s)) for s in (0.5, 8.0))
    both = initial_images(join([one, two]))
    torch.testing.assert_close(both, torch.cat([initial_images(one), initial_images(two)]))


@pytest.mark.parametrize("size", [16, 32])
def test_those_made_at_once_on_a_device_are_those_of_the_loops(size):
    few = PatternSet.from_fraction(size, 0.2)
    images = [smooth_image(size), smooth_image(size) > 0.5, np.full((size, size), 0.7)]
    sigmas = (0.05, 0.5, 8.0)
    given = join([input_of(signed_measurement(1.0 * image, few, sigma=s)) for image in images for s in sigmas])
    loops = initial_images(given)
    torch.testing.assert_close(_initial_images_at_once(given, None), loops, atol=2e-3, rtol=0)
    starts = (loops * given.deviation + given.mean).clamp(min=0)
    torch.testing.assert_close(_initial_images_at_once(given, starts), initial_images(given, starts), atol=2e-3, rtol=0)
