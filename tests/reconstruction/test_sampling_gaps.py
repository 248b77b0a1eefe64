from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.masks.orders import ORDERS, SEEDED, ranking
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.result import find_sampling_gaps
from tests.conftest import signed_measurement, smooth_image

FRACTIONS = (0.03, 0.0625, 0.1, 0.1875, 0.25, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("order", [name for name in ORDERS if name != "natural"])
def test_no_other_order_leaves_gaps(order, size):
    for seed in range(5) if order in SEEDED else (None,):
        ranked = ranking(order, size, seed)
        begun = (2, 8, 24, 64, 100, 200)
        for count in {*begun, *(round(f * size**2) for f in FRACTIONS)}:
            assert find_sampling_gaps(ranked[:count], size) == (), (seed, count)


@pytest.mark.parametrize(("fraction", "missing"), [(0.25, 48), (0.5, 32), (0.75, 16)])
def test_natural_order_leaves_whole_sequencies_out(fraction, missing):
    index = PatternSet.from_fraction(64, fraction, "natural").pattern_index
    rows, columns = np.divmod(index, 64)
    for measured, name in ((index, "row"), (columns * 64 + rows, "column")):
        (text,) = find_sampling_gaps(measured, 64)
        assert text.startswith(f"{missing} of the 64 {name} sequencies are not measured at all")
        assert "twice" in text


def test_the_whole_set_and_one_pattern_have_no_gaps():
    assert find_sampling_gaps(np.arange(256), 16) == ()
    assert find_sampling_gaps(np.array([0]), 16) == ()


def test_a_picture_of_any_method_tells_the_gaps():
    half = PatternSet.from_fraction(16, 0.5, "natural")
    for method in ("inverse", "tv"):
        (text,) = reconstruct(signed_measurement(smooth_image(16), half), method=method).sampling_gaps
        assert "8 of the 16 row" in text
    assert reconstruct(signed_measurement(smooth_image(16)), method="tv").sampling_gaps == ()
