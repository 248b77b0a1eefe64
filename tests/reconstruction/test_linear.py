from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.linear import fill_corner
from tests.conftest import signed_measurement, smooth_image


def test_inverse_of_full_sampling_is_the_image():
    image = smooth_image(16)
    np.testing.assert_allclose(reconstruct(signed_measurement(image), method="inverse").image, image, atol=1e-12)


def test_inverse_is_the_projection_on_the_measured_patterns():
    image = smooth_image(8)
    chosen = PatternSet(8, 20)
    expected = sum((pattern(8, k) * image).sum() * pattern(8, k) for k in chosen.pattern_index) / 64
    result = reconstruct(signed_measurement(image, chosen), method="inverse")
    np.testing.assert_allclose(result.image, expected, atol=1e-12)


@pytest.mark.parametrize("count", [20, 64])
def test_correlation_is_the_covariance_of_bucket_and_pattern(count):
    image = smooth_image(8)
    chosen = PatternSet(8, count)
    indices = [k for k in chosen.pattern_index if k != 0]
    light = np.array([(1 + pattern(8, k)) / 2 for k in indices])
    bucket = np.array([(pattern(8, k) * image).sum() for k in indices])
    expected = (bucket[:, None, None] * light).mean(axis=0) - bucket.mean() * light.mean(axis=0)
    result = reconstruct(signed_measurement(image, chosen), method="correlation").image
    np.testing.assert_allclose(result, fill_corner(expected), atol=1e-12)
    assert result[0, 0] == pytest.approx((result[0, 1] + result[1, 0] + result[1, 1]) / 3)


def test_scale_and_source_are_carried_over():
    result = reconstruct(signed_measurement(smooth_image(8)), method="inverse")
    assert result.scale == "relative"
    assert result.exposures == 64
    assert result.source["coding"] == "signed"
    assert result.seconds > 0
