from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from cxgi_bluesky.analysis.resolution.gap import line_width, measure_gap
from cxgi_bluesky.analysis.resolution.report import gap_numbers
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.objects.paper import gold_semi_cylinder
from cxgi_bluesky.simulation.objects.rendering import block_mean
from tests.analysis.resolution.synthetic import across, gap_image, noise, pixels
from tests.cases import long_case

LINE = (11.5, 2, 11.5, 21)
GOLD = block_mean(gold_semi_cylinder(64, 8), 8).astype(float)


def width_at_half(width: float, sigma: float, angle_deg: float) -> tuple[float, float]:
    """Full width at half maximum and height of the blurred, pixel-averaged stripe, by brute force."""
    step = 1 / 512
    grid = np.arange(-12, 12, step)
    profile = (np.abs(grid) < width / 2).astype(float)
    angle = np.deg2rad(angle_deg)
    kernels = [np.exp(-(grid**2) / (2 * sigma**2))]
    kernels += [(np.abs(grid) <= max(side, step) / 2).astype(float) for side in (np.cos(angle), np.sin(angle))]
    for kernel in kernels:
        profile = fftconvolve(profile, kernel / kernel.sum(), mode="same")
    return float((profile > profile.max() / 2).sum() * step), float(profile.max())


@pytest.mark.parametrize(("width", "sigma"), [(1.0, 0.3), (1.0, 1.0), (2.0, 0.7), (4.0, 0.7), (6.0, 1.5)])
@pytest.mark.parametrize("angle", [0.0, 12.0])
def test_a_gap_of_known_width_and_blur(width, sigma, angle):
    gap = measure_gap(gap_image(angle_deg=angle, width=width, sigma=sigma), LINE)
    expected, height = width_at_half(width, sigma, angle)
    assert gap.width_px == pytest.approx(expected, abs=0.04)
    assert gap.depth == pytest.approx(height, abs=0.01)
    assert gap.area == pytest.approx(width, rel=0.01)
    assert gap.angle_deg == pytest.approx(angle, abs=0.2)
    assert gap.bright


def test_a_dark_gap_is_a_bright_one_upside_down():
    image = gap_image()
    bright, dark = measure_gap(image, LINE), measure_gap(2 - image, LINE)
    assert not dark.bright
    assert dark.width_px == pytest.approx(bright.width_px, rel=1e-3)
    assert dark.area == pytest.approx(-bright.area, rel=1e-3)
    assert dark.visibility == pytest.approx(dark.depth / (4 - dark.depth), rel=1e-2)


def test_shoulders_may_differ():
    distance = across(24, 12, 0.3, 8)
    image = pixels(np.select([distance < -2, distance < 2], [0.0, 1.0], 0.3), 8)
    gap = measure_gap(image, LINE)
    assert sorted(gap.shoulders) == pytest.approx([0, 0.3], abs=0.01)
    assert gap.width_px == pytest.approx(4.0, abs=0.1)
    assert gap.depth == pytest.approx(0.7, abs=0.02)


def test_the_line_need_not_be_perpendicular():
    image = gap_image(angle_deg=12, width=3)
    crossing = measure_gap(image, (11.5, 2, 11.5, 21), width=9)
    proper = measure_gap(image, (9.5, 2.4, 13.5, 20.6), width=9)
    assert crossing.width_px == pytest.approx(proper.width_px, abs=0.03)


@pytest.mark.parametrize(
    ("width", "sigma", "level"),
    [
        (2.0, 0.7, 0.1),
        long_case(6.0, 1.5, 0.25),
        long_case(1.0, 0.3, 0.1),
    ],
)
def test_the_uncertainty_is_calibrated(width, sigma, level):
    """The truth lies within one sigma in about 68 % of 40 noise seeds, in width, depth and area."""
    image = gap_image(angle_deg=12, width=width, sigma=sigma)
    truth = np.array([*width_at_half(width, sigma, 12), width])
    errors = []
    for seed in range(40):
        gap = measure_gap(image + noise(image, level, seed), LINE)
        sigmas = np.array([gap.width_sigma_px, gap.depth_sigma, gap.area_sigma])
        errors.append((np.array([gap.width_px, gap.depth, gap.area]) - truth) / sigmas)
    covered = (np.abs(errors) < 1).mean(axis=0)
    assert (covered > 0.5).all()
    assert (covered < 0.9).all()
    assert 0.56 < covered.mean() < 0.82


@pytest.mark.parametrize("level", [0.0, 0.1, 0.25])
def test_the_gap_of_the_gold_object(level):
    """10 um of gap at 10 um a pixel, tilted by 12 degrees: found, and called what it is."""
    image = GOLD + noise(GOLD, level, 2)
    for gap in (measure_gap(image), measure_gap(image, (31, 22, 31, 36))):
        assert gap.bright
        assert gap.angle_deg == pytest.approx(12, abs=3)
        assert gap.width_px == pytest.approx(1.04, abs=max(3 * gap.width_sigma_px, 0.01))
        assert gap.verdict == "resolution limit"
        across_px = (gap.col - 31.5) * np.cos(np.deg2rad(12)) + (gap.row - 31.5) * np.sin(np.deg2rad(12))
        assert across_px == pytest.approx((160 + 5 - 195) / 10, abs=0.4)
        numbers = gap_numbers(gap, 1.0, 10.0)
        assert numbers["equivalent_width_um"] == pytest.approx(10, abs=max(3 * numbers["equivalent_width_sigma_um"], 1))


def test_blur_spares_the_area_and_shows_in_the_verdict():
    sharp, blurred = (measure_gap(gap_image(width=1.0, sigma=s), LINE, blur_px=s) for s in (0.2, 1.2))
    assert blurred.area == pytest.approx(sharp.area, rel=0.01)
    assert blurred.width_px > 2 * sharp.width_px
    assert (sharp.verdict, blurred.verdict) == ("resolution limit", "resolution limit")
    assert measure_gap(gap_image(width=4.0), LINE, blur_px=0.7).verdict == "resolved"


def test_the_width_of_a_thin_line():
    assert line_width(4.0, 0.3) == pytest.approx(2.3548 * np.sqrt(4 + 1 / 12), rel=0.01)
    assert line_width(0.0, 0.0) == pytest.approx(1.0, abs=0.03)


def test_a_gap_below_the_noise_is_unresolved():
    image = 0.1 * gap_image(width=1.0, sigma=1.0) + noise(np.zeros((24, 24)), 0.2, 4)
    gap = measure_gap(image, LINE)
    assert gap.verdict == "unresolved"
    assert np.isnan(gap.width_px)


@pytest.mark.parametrize("angle", [0, 5, 30])
@pytest.mark.parametrize("level", [0.0, 0.02, 0.2])
def test_an_edge_is_no_gap(angle, level):
    image = pixels((across(24, angle, 0.2, 8) > 0).astype(float), 8)
    assert measure_gap(image + noise(image, level, 0), LINE).verdict == "unresolved"


def test_what_has_no_gap_is_refused():
    with pytest.raises(CxgiError, match="alike"):
        measure_gap(np.ones((24, 24)), LINE)
    with pytest.raises(CxgiError, match="flat"):
        measure_gap(np.ones((24, 24)))
    with pytest.raises(CxgiError, match="no gap"):
        measure_gap(np.tile(np.arange(24.0), (24, 1)), LINE)
    with pytest.raises(CxgiError, match="not inside"):
        measure_gap(GOLD, (0, 0, 0, 64))
    with pytest.raises(CxgiError, match="both shoulders"):
        measure_gap(gap_image(width=7.0, offset=0.0), (11.5, 7.5, 11.5, 15.5))


@pytest.mark.parametrize("seed", [0, long_case(1), long_case(2)])
def test_noise_alone_has_no_gap(seed):
    with pytest.raises(CxgiError, match="no gap found"):
        measure_gap(noise(np.zeros((64, 64)), 1.0, seed))


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_the_image_does_not_matter(unit):
    image = gap_image() + noise(np.zeros((24, 24)), 0.05, 0)
    gap, other = measure_gap(image, LINE), measure_gap(unit * (image + 3), LINE)
    assert (other.width_px, other.width_sigma_px) == pytest.approx((gap.width_px, gap.width_sigma_px), rel=1e-3)
    assert (other.depth, other.area_sigma) == pytest.approx((unit * gap.depth, unit * gap.area_sigma), rel=1e-3)
    assert other.shoulders == pytest.approx([unit * (level + 3) for level in gap.shoulders], rel=1e-3)
