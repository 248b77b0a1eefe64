from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.linear import EventByEventCorrelation, fill_corner
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


@given(st.lists(st.tuples(st.integers(0, 63), st.floats(-1e3, 1e3)), min_size=1, max_size=120))
@example([(1, 0.0), (2, 0.0), (3, 0.0), (4, 1.0), (5, 0.0), (6, 2.5e-116), (7, 0.0), (8, 0.0)])
@example([(1, 0.0), (2, 0.0), (3, 0.0), (4, 1.0), (5, 0.0), (6, 0.0), (7, 5.5e-155), (8, 0.0)])
@settings(max_examples=60, deadline=None)
def test_event_by_event_equals_the_fast_transform_and_the_last_exposure_wins(exposures):
    live = EventByEventCorrelation(8)
    for k, bucket in exposures:
        live.update(k, bucket)
    last = {0: 1.0, **dict(exposures)}
    index = np.array(list(last))
    m = Measurement.from_buckets(8, index, np.array(list(last.values())), coding="signed")
    expected = reconstruct(m, method="correlation").image
    np.testing.assert_allclose(live.image(), expected, atol=1e-10 * 1e3)
    assert len(live) == len(set(last) - {0})


def test_scale_and_source_are_carried_over():
    result = reconstruct(signed_measurement(smooth_image(8)), method="inverse")
    assert result.scale == "relative"
    assert result.exposures == 64
    assert result.source["coding"] == "signed"
    assert result.seconds > 0


def test_a_bucket_that_is_no_number_never_enters_the_sums():
    live = EventByEventCorrelation(8)
    with pytest.raises(CxgiError, match="pattern_index 3 is nan"):
        live.update(3, float("nan"))
    assert len(live) == 0
