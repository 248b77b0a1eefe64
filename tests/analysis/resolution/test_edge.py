from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from cxgi_bluesky.analysis.resolution.edge import measure_edge, pixel_edge, upright, width_of
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.objects.paper import gold_semi_cylinder
from cxgi_bluesky.simulation.objects.rendering import block_mean
from tests.analysis.resolution.synthetic import edge_image, noise
from tests.cases import long_case

BOX = (0, 16, 0, 16)


def gaussian_width(sigma: float) -> float:
    """10-90 % width of a Gaussian edge with the pixel's 1/12 px^2."""
    return 2.5631 * np.sqrt(sigma**2 + 1 / 12)


@pytest.mark.parametrize("angle", [0.0, 3.0, 12.0, 45.0, 80.0, 90.0, -30.0])
@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.5])
def test_an_edge_of_known_blur(angle, sigma):
    edge = measure_edge(edge_image(angle_deg=angle, sigma=sigma), BOX)
    assert edge.width_px == pytest.approx(gaussian_width(sigma), rel=0.004)
    assert edge.blur_px == pytest.approx(sigma, rel=0.002)
    assert (edge.angle_deg - angle + 90) % 180 == pytest.approx(90, abs=0.01)
    assert (edge.low, edge.high) == pytest.approx((0, 1), abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(-89, 90), offset=st.floats(-2, 2), sigma=st.floats(0.3, 1.2))
def test_position_and_width_at_any_angle_and_place(angle, offset, sigma):
    edge = measure_edge(edge_image(angle_deg=angle, offset=offset, sigma=sigma), BOX)
    normal = np.deg2rad(angle)
    found = (edge.col - 7.5) * np.cos(normal) + (edge.row - 7.5) * np.sin(normal)
    assert found == pytest.approx(offset, abs=0.005)
    assert edge.width_px == pytest.approx(width_of(sigma**2, normal), rel=0.005)


def test_the_dark_side_may_be_either_and_scale_does_not_matter():
    image = edge_image(angle_deg=12, offset=0)
    one, other = measure_edge(image, BOX), measure_edge(5 - 3 * image, BOX)
    assert other.width_px == pytest.approx(one.width_px, rel=1e-4)
    assert other.contrast == pytest.approx(3 * one.contrast, rel=1e-4)
    assert other.angle_deg == pytest.approx(one.angle_deg, abs=1e-3)
    assert np.cos(other.normal - one.normal) == pytest.approx(-1)


def test_a_perfectly_sharp_edge_is_as_wide_as_its_pixel():
    edge = measure_edge(edge_image(angle_deg=7, sigma=1e-3, subpixels=32), BOX)
    assert edge.width_px == pytest.approx(width_of(1e-8, np.deg2rad(7)), abs=0.02)
    assert width_of(1e-8, 0.0) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("normal", [0.0, 0.2, np.pi / 4])
def test_the_pixel_adds_a_twelfth_of_variance_at_every_angle(normal):
    grid = np.linspace(-8, 8, 4001)
    spread = np.gradient(pixel_edge(grid, normal, 0.6), grid)
    total = np.trapezoid(spread, grid)
    assert total == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(grid**2 * spread, grid) == pytest.approx(0.6 + 1 / 12, rel=1e-3)


@pytest.mark.parametrize(("angle", "sigma"), [long_case(0.0, 0.7), (8.0, 1.2)])
def test_the_uncertainty_is_calibrated(angle, sigma):
    """The truth lies within one sigma in about 68 % of the noise seeds: here 80 of them, 12 x 12 pixels."""
    image = edge_image(12, angle, 0.37, sigma)
    truth = width_of(sigma**2, np.deg2rad(angle))
    edges = [measure_edge(image + noise(image, 0.1, seed), (0, 12, 0, 12)) for seed in range(80)]
    errors = np.array([(e.width_px - truth) / e.width_sigma_px for e in edges])
    places = np.array([(e.offset - 0.37) / e.position_sigma_px for e in edges])
    for z in (errors, places):
        assert 0.55 <= np.mean(np.abs(z) < 1) <= 0.81
        assert abs(z.mean()) < 0.45


def test_correlated_noise_enlarges_the_uncertainty():
    image = edge_image(16, 8, 0.37, 0.7)
    smooth = gaussian_filter(noise(np.zeros((48, 48)), 1.0, 3), 1.2)[16:32, 16:32]
    white = noise(image, 0.1, 3)
    smooth *= white.std() / smooth.std()
    assert measure_edge(image + smooth, BOX).position_sigma_px > 1.3 * (
        measure_edge(image + white, BOX).position_sigma_px
    )


def test_an_unresolved_blur_is_not_called_certain():
    """The edge runs through the middle of a pixel column: nothing is known of the blur below the pixel."""
    edge = measure_edge(edge_image(angle_deg=0, offset=0.5, sigma=0.05) + noise(np.zeros((16, 16)), 0.05, 0), BOX)
    assert edge.width_sigma_px > 0.02
    assert edge.blur_sigma_px > 0.05


def test_a_line_across_the_edge_will_do():
    image = edge_image(32, 12, 0, 0.8)
    box = measure_edge(image, (9, 23, 9, 23))
    line = measure_edge(image, line=(15.5, 8, 15.5, 23), width=12)
    assert line.width_px == pytest.approx(box.width_px, rel=1e-3)
    with pytest.raises(CxgiError, match="one of them"):
        measure_edge(image, BOX, line=(15, 8, 15, 23))


@pytest.mark.parametrize("level", [0.0, 0.1, 0.3])
def test_the_strongest_straight_edge_of_the_gold_object_is_found(level):
    truth = block_mean(gold_semi_cylinder(64, 8), 8).astype(float)
    edge = measure_edge(truth + noise(truth, level, 1))
    assert edge.angle_deg == pytest.approx(12, abs=max(3 * edge.angle_sigma_deg, 0.05))
    assert edge.width_px == pytest.approx(0.79, abs=max(2.5 * edge.width_sigma_px, 0.02))


def test_larger_pictures_are_searched_too():
    image = np.kron(edge_image(32, 20, 0, 0.5), np.ones((8, 8)))
    assert measure_edge(gaussian_filter(image, 3)).angle_deg == pytest.approx(20, abs=2)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_has_no_edge(seed):
    image = noise(np.zeros((64, 64)), 1.0, seed)
    with pytest.raises(CxgiError, match="no straight edge"):
        measure_edge(image)
    with pytest.raises(CxgiError, match=r"no edge in rows 20\.\.34, columns 20\.\.34"):
        measure_edge(image, (20, 34, 20, 34))


def test_what_is_no_edge_is_refused():
    ramp = np.tile(np.arange(16.0), (16, 1))
    with pytest.raises(CxgiError, match="both of its levels must be in the box"):
        measure_edge(ramp, BOX)
    with pytest.raises(CxgiError, match="alike"):
        measure_edge(np.ones((16, 16)), BOX)
    with pytest.raises(CxgiError, match="flat"):
        measure_edge(np.ones((16, 16)))
    with pytest.raises(CxgiError, match="both of its levels"):
        measure_edge(edge_image(sigma=6), BOX)
    with pytest.raises(CxgiError, match="both of its levels"):
        measure_edge(edge_image(angle_deg=45, offset=8.8, sigma=0.2), BOX)  # no more than a corner


def test_tilt_is_told_between_minus_90_and_90():
    assert [upright(np.deg2rad(a)) for a in (0, 90, 180, 192, -90, 100)] == pytest.approx([0, 90, 0, 12, 90, -80])


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_the_image_does_not_matter(unit):
    image = edge_image() + noise(np.zeros((16, 16)), 0.05, 0)
    edge, other = measure_edge(image, BOX), measure_edge(unit * (image + 3), BOX)
    assert (other.width_px, other.width_sigma_px) == pytest.approx((edge.width_px, edge.width_sigma_px), rel=1e-3)
    assert (other.low, other.noise) == pytest.approx((unit * (edge.low + 3), unit * edge.noise), rel=1e-3)
