from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct, reconstruct_many
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.reconstruction.scaling import unit_of
from tests.conftest import signed_measurement, smooth_image

SCAN = signed_measurement(smooth_image(32), PatternSet.from_fraction(32, 0.3), sigma=0.5)
UNITS = (1e18, 1e-20, 1e40, 1e-40)


def times(measurement: Measurement, factor: float) -> Measurement:
    return replace(measurement, coefficient=measurement.coefficient * factor, sigma=measurement.sigma * factor)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("method", ["inverse", "correlation", "tval3", "tv", "ch-mwcnn"])
def test_buckets_of_any_unit_give_the_same_picture(method, unit):
    one = reconstruct_and_check(SCAN, method=method, details=method != "tval3")
    other = reconstruct_and_check(times(SCAN, unit), method=method, details=method != "tval3")
    np.testing.assert_allclose(other.image / unit, one.image, atol=0.01 * np.ptp(one.image))
    if one.uncertainty is not None:
        np.testing.assert_allclose(other.uncertainty / unit, one.uncertainty, atol=0.1 * one.uncertainty.max())
    scores = one.quality["held_out"], other.quality["held_out"]
    assert scores[1]["explained"] == pytest.approx(scores[0]["explained"], abs=0.01)
    assert scores[1]["model_sigma"] / unit == pytest.approx(scores[0]["model_sigma"], abs=1e-3)
    for name in ("weight", "sigma"):
        if name in one.parameters:
            assert other.parameters[name] / unit == pytest.approx(one.parameters[name], rel=0.01)


@pytest.mark.parametrize("unit", UNITS)
def test_a_given_weight_is_in_the_unit_of_the_image(unit):
    one, other = (reconstruct(times(SCAN, u), method="tv", weight=0.05 * u) for u in (1.0, unit))
    np.testing.assert_allclose(other.image / unit, one.image, atol=1e-3 * np.ptp(one.image))
    assert other.parameters["weight"] == pytest.approx(0.05 * unit)


def test_many_of_several_units():
    one, other = reconstruct_many([SCAN, times(SCAN, 1e-20)])
    np.testing.assert_allclose(other.image / 1e-20, one.image, atol=0.01 * np.ptp(one.image))


@pytest.mark.parametrize("unit", [1e-9, 1e-6, 1.0, 1e6, 1e12])
def test_ordinary_units_are_left_alone(unit):
    assert unit_of(times(SCAN, unit)) == 1


def test_no_light_is_no_unit():
    assert unit_of(times(SCAN, 0.0)) == 1
