from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.analysis.resolution.roi import box_region, check_image, line_region
from cxgi_bluesky.errors import CxgiError

IMAGE = np.arange(20.0 * 30).reshape(20, 30)


def test_a_box_counts_as_a_slice():
    region = box_region(IMAGE, (2, 9, 5, 11))
    np.testing.assert_array_equal(region.values, IMAGE[2:9, 5:11].ravel())
    np.testing.assert_array_equal(region.to_map(region.values), IMAGE[2:9, 5:11])
    assert region.outline() == (2, 9, 5, 11)
    assert region.centre == (5.0, 7.5)


def test_a_strip_holds_the_pixels_beside_the_line():
    region = line_region(IMAGE, (10, 4, 10, 20), 3)
    np.testing.assert_array_equal(region.to_map(region.values), IMAGE[9:12, 4:21])
    region = line_region(IMAGE, (4, 4, 14, 14), 4)
    assert np.all(np.abs(region.rows - region.cols) / np.sqrt(2) <= 2)
    assert np.all(np.abs(region.distance(np.pi / 4)) <= np.hypot(5, 5) + 1e-9)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 21, 0, 10), "not inside the image of 20 x 30 pixels"),
        ((-1, 10, 0, 10), "not inside"),
        ((10, 4, 0, 10), "not inside"),
        ((0, 4, 0, 10), "too small"),
        ((0, 10.5, 0, 10), "whole pixels"),
    ],
)
def test_bad_boxes(box, message):
    with pytest.raises(CxgiError, match=message):
        box_region(IMAGE, box)


@pytest.mark.parametrize(
    ("line", "width", "message"),
    [
        ((0, 0, 0, 30), 5, "end 0,30 of the line is not inside"),
        ((-1, 0, 5, 5), 5, "end -1,0"),
        ((5, 5, 5, 8), 5, "3.0 pixels long"),
        ((5, 5, 5, 15), 0, "width 0"),
        ((5, 5, 5, 15), 1, "11 pixels: 25 are needed"),
    ],
)
def test_bad_lines(line, width, message):
    with pytest.raises(CxgiError, match=message):
        line_region(IMAGE, line, width)


def test_what_is_no_image():
    with pytest.raises(CxgiError, match=r"\(16,\)"):
        check_image(np.zeros(16))
    with pytest.raises(CxgiError, match=r"\(4, 16\)"):
        check_image(np.zeros((4, 16)))
    with pytest.raises(CxgiError, match="complex"):
        check_image(np.zeros((16, 16), dtype=complex))
    image = np.zeros((16, 16))
    image[3, 4:6] = np.nan, np.inf
    with pytest.raises(CxgiError, match="2 values that are NaN or infinite"):
        check_image(image)
