from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.patterns import PatternSet
from cxgi_bluesky.quality import psnr
from cxgi_bluesky.reconstruction import reconstruct
from cxgi_bluesky.reconstruction.common_error import CommonError, common_error, without_common_error
from cxgi_bluesky.simulation.random_objects import random_object
from tests.conftest import signed_measurement, smooth_image

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
        errors.append((common_error(m).constant - offset, offset))
    left, before = np.sqrt(np.mean(np.square(errors), axis=0))
    assert left < 0.6 * before


def test_a_certain_b_0_is_left_alone():
    m = with_offset(signed_measurement(smooth_image(32), FEW), 4.0, 1e-6)
    assert common_error(m).constant == pytest.approx(0, abs=1e-6)


def test_the_misfit_does_not_count_the_error_of_b_0():
    m = with_offset(signed_measurement(smooth_image(32), FEW, sigma=0.5), 5.0, 5.0)
    assert reconstruct(m, method="tv").quality["data_misfit"] < 1.2
