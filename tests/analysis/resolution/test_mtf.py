from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.analysis.resolution.edge import measure_edge
from cxgi_bluesky.analysis.resolution.mtf import edge_mtf, edge_spread
from cxgi_bluesky.analysis.resolution.report import edge_numbers, mtf_numbers
from tests.analysis.resolution.synthetic import edge_image, noise

BOX = (0, 32, 0, 32)


def true_mtf(frequency, sigma, angle_deg):
    angle = np.deg2rad(angle_deg)
    pixel = np.sinc(frequency * np.cos(angle)) * np.sinc(frequency * np.sin(angle))
    return np.exp(-2 * np.pi**2 * sigma**2 * frequency**2) * np.abs(pixel)


@pytest.mark.parametrize("angle", [8.0, 20.0, 75.0])
@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.2])
def test_a_gaussian_edge_has_the_mtf_of_gaussian_and_pixel(angle, sigma):
    mtf = edge_mtf(measure_edge(edge_image(32, angle, 0.2, sigma), BOX))
    expected = true_mtf(mtf.frequency, sigma, angle)
    np.testing.assert_allclose(mtf.fitted, expected, atol=0.003)
    np.testing.assert_allclose(mtf.empirical, expected, atol=0.005)
    for level, fitted, empirical in ((0.5, mtf.mtf50, mtf.mtf50_empirical), (0.1, mtf.mtf10, mtf.mtf10_empirical)):
        place = np.interp(-level, -expected, mtf.frequency)
        assert fitted == pytest.approx(place, abs=0.003)
        assert empirical == pytest.approx(place, abs=0.005)
    assert mtf.at_nyquist == pytest.approx(true_mtf(0.5, sigma, angle), abs=0.003)


def test_the_empirical_curve_sees_what_the_model_does_not():
    """An edge of two blurs: the fit can only be a compromise, the pixels are not."""
    image = 0.5 * (edge_image(32, 8, 0, 0.3) + edge_image(32, 8, 0, 2.0))
    mtf = edge_mtf(measure_edge(image, BOX))
    expected = 0.5 * (true_mtf(mtf.frequency, 0.3, 8) + true_mtf(mtf.frequency, 2.0, 8))
    low = mtf.frequency <= 0.5
    assert np.abs(mtf.empirical - expected)[low].max() < 0.4 * np.abs(mtf.fitted - expected)[low].max()


def test_an_edge_along_the_axes_is_not_oversampled():
    edge = measure_edge(edge_image(32, 0, 0.2, 0.7), BOX)
    spread = edge_spread(edge)
    assert spread.oversampling == 1
    mtf = edge_mtf(edge, spread)
    assert np.isnan(mtf.empirical[mtf.frequency > 0.26]).all()
    assert np.isnan(mtf.at_nyquist_empirical)
    assert mtf.mtf50_empirical == pytest.approx(mtf.mtf50, abs=0.01)
    assert edge_spread(measure_edge(edge_image(32, 8, 0.2, 0.7), BOX)).oversampling == 4


def test_the_profile_from_the_pixels():
    edge = measure_edge(edge_image(32, 8, 0.2, 1.2), BOX)
    spread = edge_spread(edge)
    assert spread.width_px == pytest.approx(edge.width_px, rel=0.01)
    noisy = measure_edge(edge_image(32, 8, 0.2, 1.2) + noise(np.zeros((32, 32)), 0.1, 1), BOX)
    spread = edge_spread(noisy)
    assert (np.diff(spread.monotone) >= -1e-12).all()
    assert (np.diff(spread.value) < 0).any()
    assert spread.width_px == pytest.approx(noisy.width_px, rel=0.25)


def test_the_uncertainty_of_mtf50_is_calibrated():
    image = edge_image(16, 8, 0.37, 0.7)
    truth = edge_mtf(measure_edge(image, (0, 16, 0, 16))).mtf50
    errors = []
    for seed in range(60):
        mtf = edge_mtf(measure_edge(image + noise(image, 0.1, seed), (0, 16, 0, 16)))
        errors.append((mtf.mtf50 - truth) / mtf.mtf50_sigma)
    assert 0.53 <= np.mean(np.abs(errors) < 1) <= 0.83


def test_units():
    edge = measure_edge(edge_image(32, 8), BOX)
    spread, mtf = edge_spread(edge), edge_mtf(edge)
    numbers = edge_numbers(edge, spread, 10.0) | mtf_numbers(mtf, 10.0)
    assert numbers["width_um"] == pytest.approx(10 * edge.width_px)
    assert numbers["width_sigma_um"] == pytest.approx(10 * edge.width_sigma_px)
    assert numbers["mtf50_per_mm"] == pytest.approx(100 * mtf.mtf50)
    assert not [key for key in edge_numbers(edge, spread, None) | mtf_numbers(mtf, None) if key.endswith(("um", "mm"))]
