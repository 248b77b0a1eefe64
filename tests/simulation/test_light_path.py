"""Source size, uneven light and veil in the simulation, against brute force and against geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, SimulationParameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
from cxgi_bluesky.simulation.optics import FWHM_PER_SIGMA, Geometry, blur, transfer
from cxgi_bluesky.simulation.scans import scan_simulation
from cxgi_bluesky.simulation.source import POINT_SOURCE, Source, intensity_map
from tests.board_views import tile_transmission
from tests.conftest import QUIET, small_board

NEAR = Geometry(100, 100, 100)  # a penumbra as large as the spot


def current(simulation, tile, *, object_in=True):
    simulation.object_in = object_in
    simulation.open_shutter()
    simulation.move_to(*simulation.board.position_mm(tile))
    return simulation.current_pa()


def simulation_with(board=None, name="CAS", **changes):
    board = board or small_board()
    return BeamlineSimulation(board, render_object(name, board.size, 4), replace(QUIET, **changes), seed=0)


# ---------------------------------------------------------------- distances


def test_the_default_distances_give_the_penumbra_of_the_paper():
    geometry = Geometry()
    assert geometry.penumbra_um(37) == pytest.approx(0.8, abs=0.03)
    assert geometry.object_pixel_um(10) == pytest.approx(10 * 460 / 450)


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 2000), st.floats(0, 2000), st.floats(0, 2000), st.floats(0, 200))
def test_shadows_follow_from_straight_rays(source_mask, mask_object, object_detector, spot):
    g = Geometry(source_mask, mask_object, object_detector)
    detector = source_mask + mask_object + object_detector
    # from the rims of the spot through a point of the object on the axis to the detector
    shadow = 2 * abs(spot / 2 - spot / 2 / (source_mask + mask_object) * detector)
    m = g.detector_magnification
    assert g.direct_blur_um(spot) * m == pytest.approx(shadow, abs=1e-9, rel=1e-9)
    assert g.direct_blur_um(spot) == pytest.approx(spot * (m - 1) / m, abs=1e-9)


# ---------------------------------------------------------------- blur


@settings(max_examples=30, deadline=None)
@given(fwhm=st.floats(0, 6), shape=st.sampled_from(["gaussian", "uniform"]))
def test_blur_loses_no_light_and_moves_none(fwhm, shape):
    share = transfer(np.arange(-40.0, 61), np.arange(21.0), fwhm, shape)
    np.testing.assert_allclose(share.sum(axis=0), 1, atol=1e-12)
    assert share.min() > -1e-12
    centres = np.arange(-39.5, 60)
    np.testing.assert_allclose(centres @ share, np.arange(0.5, 20), atol=1e-9)
    # the cell's own width and the bins' add their twelfths to the spot's variance
    spot = fwhm**2 / (12 if shape == "uniform" else FWHM_PER_SIGMA**2)
    spread = (np.subtract.outer(centres, np.arange(0.5, 20)) ** 2 * share).sum(axis=0)
    assert spread == pytest.approx(spot + 1 / 6 if fwhm > 4 else spread, rel=0.02)


def test_a_point_source_blurs_nothing():
    np.testing.assert_array_equal(transfer(np.arange(9.0), np.arange(9.0), 0.0, "gaussian"), np.eye(8))


def test_the_blur_is_that_of_a_finely_sampled_gaussian():
    fwhm, fine = 1.7, 200
    cells = np.random.default_rng(0).random(12)
    smooth = gaussian_filter1d(np.pad(cells, 6).repeat(fine), fwhm / FWHM_PER_SIGMA * fine, truncate=8)
    expected = smooth.reshape(-1, fine).mean(axis=1)
    found = transfer(np.arange(-6.0, 19), np.arange(13.0), fwhm, "gaussian") @ cells
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_blurring_the_mask_or_the_object_gives_the_same_buckets():
    """A bucket is <mask * spot, object> = <mask, object * spot>: the simulation takes the second."""
    board = small_board(alignment=small_board().alignment.__class__(), tile_pitch_um=8 * 10 + 400.0)
    source = Source(20.0, 30.0)
    simulation = simulation_with(board, source=source, geometry=Geometry(400, 100, 0))
    truth = render_object("CAS", board.size, 4)
    for tile in (1, 9, 40):
        padded = np.pad(tile_transmission(board, tile, 4), 24, mode="edge")  # as the simulation counts beyond the rim
        cast = blur(padded, source, Geometry(400, 100, 0), board.pixel_um / 4)[24:-24, 24:-24]
        assert current(simulation, tile) == pytest.approx(15 * float((cast * truth).mean()), rel=1e-4)


def test_a_picture_shows_the_object_convolved_with_the_penumbra():
    board = small_board()
    source, geometry = Source(40.0, 10.0), Geometry(400, 100, 0)
    simulation = simulation_with(board, source=source, geometry=geometry)
    image = reconstruct(scan_simulation(simulation, PatternSet(8, 64)), method="inverse").image
    image = image * 64 / 15
    blurred_object = blur(render_object("CAS", 8, 4), source, geometry, 2.5)
    expected = block_mean(blurred_object, 4)
    assert np.abs(expected - simulation.truth).max() > 0.02
    np.testing.assert_allclose(image, expected, atol=2e-4)


def test_the_truth_is_not_blurred():
    np.testing.assert_array_equal(
        simulation_with(source=Source(100, 100), geometry=NEAR).truth, simulation_with().truth
    )


def test_the_default_source_hardly_changes_a_picture():
    board = load_board("au64")
    gold = render_object("gold", 64, 4)
    parameters = replace(QUIET, source=Source())
    simulations = [BeamlineSimulation(board, gold, p, seed=0) for p in (QUIET, parameters)]
    for tile in (0, 5, 300, 4095):
        sharp, real = (current(simulation, tile) for simulation in simulations)
        assert abs(real - sharp) < 0.003 * current(simulations[0], 0)
    assert SimulationParameters().source == Source()


# ---------------------------------------------------------------- light


def test_the_light_is_one_on_average_and_falls_as_it_should():
    source = Source(gradient_x=0.2, gradient_y=-0.1)
    light = intensity_map(source, 100, 640, 460e3)
    assert light.mean() == pytest.approx(1, rel=1e-5)
    assert light[:, -1].mean() / light[:, 0].mean() == pytest.approx(1.099 / 0.901, rel=1e-4)
    assert light[-1].mean() < light[0].mean()
    round_light = intensity_map(Source(cos4=True), 101, 1000.0, 1000.0)
    corner = np.arctan(np.hypot(0.5, 0.5) * 100 / 101)
    assert round_light[0, 0] / round_light[50, 50] == pytest.approx(np.cos(corner) ** 4, rel=1e-5)


def test_a_measured_illumination_is_taken_at_any_size():
    coarse = np.array([[1.0, 3.0], [1.0, 3.0]])
    light = intensity_map(Source(illumination=coarse), 64, 640, 460e3)
    assert light[0, 0] / light[0, -1] == pytest.approx(1 / 3)
    fine = np.random.default_rng(0).random((64, 64)) + 1
    np.testing.assert_allclose(intensity_map(Source(illumination=fine), 64, 640, 460e3), fine / fine.mean(), rtol=1e-5)


def test_a_picture_is_object_times_light():
    simulation = simulation_with(source=replace(POINT_SOURCE, gradient_x=1.0))
    image = reconstruct(scan_simulation(simulation, PatternSet(8, 64)), method="inverse").image * 64 / 15
    light = 1 + (np.arange(32) - 15.5) / 32
    expected = block_mean(render_object("CAS", 8, 4) * light, 4)
    np.testing.assert_allclose(image, expected, atol=2e-4)


def test_the_veil_lowers_the_modulation_depth():
    board = small_board()
    simulation = simulation_with(board, source=replace(POINT_SOURCE, veil=0.26))
    opened, metal = (current(simulation, t, object_in=False) for t in (board.open_tile_number, board.metal_tile_number))
    assert opened == pytest.approx(15)
    assert 1 - metal / opened == pytest.approx(0.74 * board.d_r, rel=1e-5)
    simulation.close_shutter()
    assert simulation.current_pa() == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Source(-1), "fwhm_x_um -1"),
        (lambda: Source(1, float("nan")), "fwhm_y_um nan"),
        (lambda: Source(shape="round"), "'round' of the source is unknown"),
        (lambda: Source(gradient_x=1.5, gradient_y=0.6), "negative in a corner"),
        (lambda: Source(veil=1.0), "veil 1.0"),
        (lambda: Source(illumination=np.array([1.0, 2.0])), "two axes"),
        (lambda: Source(illumination=np.full((4, 4), np.nan)), "finite"),
        (lambda: intensity_map(Source(illumination=np.zeros((4, 4))), 8, 80, 1e5), "dark everywhere"),
        (lambda: Geometry(source_mask_mm=0), "source_mask_mm 0"),
        (lambda: Geometry(mask_object_mm=-1), "mask_object_mm -1"),
        (lambda: Geometry(object_detector_mm=float("inf")), "object_detector_mm inf"),
    ],
)
def test_impossible_light(build, message):
    with pytest.raises(CxgiError, match=message):
        build()
