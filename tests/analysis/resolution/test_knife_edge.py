from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxgi_bluesky.analysis.knife_edge import KnifeGeometry, fit_knife_edge, fit_knife_scan, shadow_share
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, SimulationParameters
from cxgi_bluesky.simulation.optics import Blade
from cxgi_bluesky.simulation.source import Source
from tests.conftest import small_board

GEOMETRY = KnifeGeometry(source_knife_mm=50, knife_slit_mm=400, slit_um=20)
POSITIONS = np.linspace(-70, 70, 41)


def scanned(axis: str, seed: int, *, source: Source | None = None, geometry: KnifeGeometry = GEOMETRY):
    """Blade positions, signals and sigmas of the noisy, drifting simulation on its open tile, without an object."""
    board = small_board()
    parameters = replace(SimulationParameters(), source=source or Source())
    simulation = BeamlineSimulation(board, np.ones((32, 32), dtype=np.float32), parameters, seed=seed)
    simulation.move_to(*board.position_mm(board.open_tile_number))
    simulation.open_shutter()
    readings = []
    for position in POSITIONS:
        simulation.blades[axis] = Blade(position, geometry)
        readings.append(simulation.expose(1.0))
    signal, sigma = np.array(readings).T
    return POSITIONS, signal, sigma


@pytest.mark.parametrize(("axis", "truth"), [("x", 30.0), ("y", 37.0)])
def test_the_spot_comes_back_within_its_uncertainty(axis, truth):
    fits = []
    for seed in range(16):
        position, signal, sigma = scanned(axis, seed)
        fits.append(fit_knife_scan(position, signal, GEOMETRY, sigma=sigma, axis=axis))
    pulls = np.array([(f.fwhm_um - truth) / f.fwhm_sigma_um for f in fits])
    assert np.abs(pulls).max() < 3
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.5
    assert abs(pulls.mean()) < 0.75
    assert all(f.fwhm_sigma_um < 0.02 * truth for f in fits)
    assert 0.6 < np.mean([f.chi_square / f.degrees_of_freedom for f in fits]) < 1.5
    assert np.mean([f.centre_um for f in fits]) == pytest.approx(0, abs=0.2)


def test_rays_drawn_at_random_agree_with_model_and_twin():
    rng = np.random.default_rng(0)
    geometry = KnifeGeometry(100, 200, 90)
    spot = 30 / 2.3548 * rng.normal(size=400_000)
    slit = 90 * (rng.random(400_000) - 0.5)
    crossing = spot + (slit - spot) * 100 / 300  # a straight line from the spot to the slit, at the blade
    for edge in (-30.0, -5.0, 12.0):
        passed = np.mean(crossing > edge)
        assert 1 - shadow_share(np.array([edge]), 30.0, geometry)[0] == pytest.approx(passed, abs=0.003)
        assert Blade(edge, geometry).transmission(Source(30, 37), "x") == pytest.approx(passed, abs=0.003)


@settings(max_examples=40, deadline=None)
@example(fwhm=5.0, slit=1.0, centre=1e-15, height=1.0, enters=False)
@given(
    fwhm=st.floats(5, 100),
    slit=st.floats(1, 100),
    centre=st.floats(-20, 20),
    height=st.floats(0.1, 1e6),
    enters=st.booleans(),
)
def test_without_noise_the_fit_is_exact(fwhm, slit, centre, height, enters):
    geometry = KnifeGeometry(50, 400, slit)
    position = np.linspace(-4, 4, 61) * fwhm + centre
    share = shadow_share((position - centre) * (-1 if enters else 1), fwhm, geometry)
    noise = 1e-3 * height * np.random.default_rng(0).normal(size=61)
    fit = fit_knife_scan(position, 0.1 * height + height * share + noise, geometry)
    assert fit.fwhm_um == pytest.approx(fwhm, abs=4 * fit.fwhm_sigma_um)
    assert fit.fwhm_um == pytest.approx(fwhm, rel=0.02)
    assert fit.centre_um == pytest.approx(centre, abs=4 * fit.centre_sigma_um)
    assert (fit.height, fit.background) == pytest.approx((height, 0.1 * height), rel=0.02)
    assert np.isnan(fit.chi_square)


def test_a_wide_slit_is_in_the_model():
    """With the knife in the middle and a slit of 60 um its shadow is as wide as the spot's."""
    geometry = KnifeGeometry(200, 200, 60)
    position, signal, sigma = scanned("x", 3, geometry=geometry)
    right = fit_knife_scan(position, signal, geometry, sigma=sigma)
    assert right.fwhm_um == pytest.approx(30, abs=3 * right.fwhm_sigma_um)
    narrow = fit_knife_scan(position, signal, replace(geometry, slit_um=1.0), sigma=sigma)
    assert narrow.fwhm_um > 40


def test_drift_and_background_do_not_look_like_a_larger_spot():
    share = shadow_share(-POSITIONS, 30.0, GEOMETRY)
    noise = 0.01 * np.random.default_rng(1).normal(size=41)
    signal = 3 + share * (1 + 0.001 * POSITIONS) * 5 + noise
    fit = fit_knife_scan(POSITIONS, signal, GEOMETRY, sigma=np.full(41, 0.01))
    assert fit.fwhm_um == pytest.approx(30, abs=3 * fit.fwhm_sigma_um)
    assert fit.slope_per_um == pytest.approx(0.001, rel=0.2)
    assert fit.background == pytest.approx(3, abs=0.02)


def test_sigmas_that_are_too_small_do_not_make_it_certain():
    position, signal, sigma = scanned("x", 1)
    honest, bold = (fit_knife_scan(position, signal, GEOMETRY, sigma=s) for s in (sigma, sigma / 10))
    assert bold.chi_square / bold.degrees_of_freedom > 30
    assert bold.fwhm_sigma_um == pytest.approx(honest.fwhm_sigma_um, rel=0.5)
    assert "chi-square" in str(bold)


def test_a_scan_that_shows_no_edge():
    position, signal, _ = scanned("x", 1)
    with pytest.raises(CxgiError, match=r"7 points.*8 or more"):
        fit_knife_scan(position[:7], signal[:7], GEOMETRY)
    with pytest.raises(CxgiError, match=r"further to both sides|no step"):
        fit_knife_scan(position[:12], signal[:12], GEOMETRY)
    with pytest.raises(CxgiError, match="never changed"):
        fit_knife_scan(position, np.ones(41), GEOMETRY)
    with pytest.raises(CxgiError, match="not finite"):
        fit_knife_scan(position, np.where(position > 0, np.nan, signal), GEOMETRY)
    with pytest.raises(CxgiError, match="40 positions for 41"):
        fit_knife_scan(position[1:], signal, GEOMETRY)
    with pytest.raises(CxgiError, match="1 sigmas"):
        fit_knife_scan(position, signal, GEOMETRY, sigma=[1.0])
    with pytest.raises(CxgiError, match="slit_um 0"):
        KnifeGeometry(50, 400, 0)


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_no_edge(seed):
    noise = np.random.default_rng(seed).normal(size=41)
    with pytest.raises(CxgiError, match="both sides of the edge"):
        fit_knife_scan(POSITIONS, 5 + noise, GEOMETRY, sigma=np.ones(41))


def test_another_run_is_refused():
    with pytest.raises(CxgiError, match="purpose is 'image'"):
        fit_knife_edge([("start", {"cxgi": {"purpose": "image"}})])
