from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment, load_board
from cxgi_bluesky.masks.pattern_set import pattern
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.simulation.base import Detector
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, SimulationParameters, simulation_parameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
from cxgi_bluesky.simulation.random_objects import FAMILIES, PHOTOGRAPHS, _font_files, random_object
from cxgi_bluesky.simulation.source import intensity_drift
from tests.board_views import tile_transmission, view_transmission
from tests.conftest import QUIET, small_board


def simulation_of(board, **changes):
    return BeamlineSimulation(board, render_object("CAS", board.size, 4), QUIET, seed=changes.pop("seed", 0))


def test_currents_follow_the_forward_model(board):
    simulation = simulation_of(board)
    simulation.open_shutter()
    for k in (0, 1, 9, 63):
        simulation.move_to(*board.position_mm(board.tile_of(k)))
        mask = np.where(pattern(8, k) > 0, 1.0, board.t0)
        assert simulation.current_pa() == pytest.approx(15 * (mask * simulation.truth).mean(), rel=1e-5)


def test_a_scan_without_noise_gives_the_truth(board):
    simulation = simulation_of(board)
    simulation.open_shutter()
    buckets = []
    for k in range(64):
        simulation.move_to(*board.position_mm(board.tile_of(k)))
        buckets.append(simulation.expose(1.0)[0])
    m = Measurement.from_buckets(8, np.arange(64), buckets, coding="binary", d_r=board.d_r, incident=15.0)
    image = np.array([(s * pattern(8, k)) for k, s in enumerate(m.coefficient)]).sum(axis=0) / 64
    np.testing.assert_allclose(image, simulation.truth, atol=2e-4)


def test_reference_tiles_show_the_modulation_depth(board):
    simulation = simulation_of(board)
    simulation.object_in = False
    simulation.open_shutter()
    currents = []
    for tile in (board.open_tile_number, board.metal_tile_number):
        simulation.move_to(*board.position_mm(tile))
        currents.append(simulation.current_pa())
    assert 1 - currents[1] / currents[0] == pytest.approx(board.d_r, rel=1e-5)


def test_closed_shutter_gives_the_dark_current_only(board):
    simulation = BeamlineSimulation(board, render_object("CAS", 8), SimulationParameters(), seed=0)
    readings = [simulation.expose(1.0)[0] for _ in range(50)]
    assert np.mean(readings) == pytest.approx(0.05, abs=0.02)
    assert simulation.shutter_open_s == 0
    assert simulation.openings == 0


def test_shutter_seconds_and_openings_are_counted(board):
    simulation = simulation_of(board)
    for _ in range(3):
        simulation.open_shutter()
        simulation.open_shutter()
        simulation.expose(2.0)
        simulation.close_shutter()
        simulation.expose(5.0)
    assert (simulation.shutter_open_s, simulation.openings) == (6.0, 3)


def test_same_seed_same_readings(board):
    def readings(seed):
        simulation = BeamlineSimulation(board, render_object("CAS", 8), SimulationParameters(), seed=seed)
        simulation.open_shutter()
        return [simulation.expose(1.0) for _ in range(5)]

    assert readings(1) == readings(1)
    assert readings(1) != readings(2)


def test_noise_is_as_large_as_it_says():
    detector, rng = Detector(), np.random.default_rng(0)
    readings = np.array([detector.read(5.0, 1.0, rng) for _ in range(4000)])
    expected = np.sqrt(detector.variance_pa2(5.0, 1.0))
    assert readings[:, 0].std() == pytest.approx(expected, rel=0.05)
    assert np.sqrt((readings[:, 1] ** 2).mean()) == pytest.approx(expected, rel=0.05)
    assert readings[:, 0].mean() == pytest.approx(5.05, abs=0.01)


def test_shot_noise_of_a_few_picoamperes():
    """5 pA for 1 s: 6.5e3 detected photons, a signal-to-noise ratio of about 78."""
    quiet = Detector(electrometer_fa=0.0)
    assert 5.0 / np.sqrt(quiet.variance_pa2(5.0, 1.0)) == pytest.approx(78, abs=2)
    assert quiet.variance_pa2(5.0, 4.0) == pytest.approx(quiet.variance_pa2(5.0, 1.0) / 4)


def test_drift_is_slow_and_has_its_rms():
    drift = intensity_drift(np.random.default_rng(0), 0.01)
    values = np.array([next(drift) for _ in range(40000)]) - 1
    assert values.std() == pytest.approx(0.01, rel=0.3)
    lagged = np.corrcoef(values[:-200], values[200:])[0, 1]
    assert lagged == pytest.approx(np.exp(-1), abs=0.15)


def test_half_a_pixel_off_mixes_neighbouring_pixels():
    board = small_board(alignment=Alignment())
    tile = board.tile_of(5)
    x, y = board.position_mm(tile)
    drawn = tile_transmission(board, tile, 4)
    here = view_transmission(board, x, y, 32, 4)
    np.testing.assert_allclose(here, drawn, atol=1e-6)
    one_cell = view_transmission(board, x + board.pixel_um / 4 / 1000, y, 32, 4)
    np.testing.assert_allclose(one_cell[:, :-1], drawn[:, 1:], atol=1e-5)
    between = view_transmission(board, x + board.pixel_um / 8 / 1000, y, 32, 4)
    np.testing.assert_allclose(between[:, :-1], (drawn[:, 1:] + drawn[:, :-1]) / 2, atol=1e-5)


def test_between_tiles_there_is_metal():
    board = small_board(alignment=Alignment(), tile_pitch_um=8 * 10 + 200)
    x, y = board.position_mm(0)
    view = view_transmission(board, x + board.tile_pitch_um / 2000, y, 32, 4)
    np.testing.assert_allclose(view, board.t0, atol=1e-6)


def test_without_a_limiting_aperture_neighbours_leak():
    tight = small_board(alignment=Alignment(), tile_pitch_um=80.0)
    wide = small_board(alignment=Alignment(), tile_pitch_um=80.0, aperture_um=160.0)
    closed = small_board(alignment=Alignment(), tile_pitch_um=80.0, aperture_um=40.0)
    currents = []
    for board in (closed, tight, wide):
        simulation = simulation_of(board)
        simulation.object_in = False
        simulation.open_shutter()
        simulation.move_to(*board.position_mm(board.tile_of(9)))
        currents.append(simulation.current_pa())
    assert currents[0] < currents[1] < 0.6 * currents[2]


@pytest.mark.parametrize("name", ["CAS", "gold"])
def test_more_sub_pixels_change_nothing_that_matters(name):
    coarse, fine = block_mean(render_object(name, 64, 4), 4), block_mean(render_object(name, 64, 8), 8)
    assert np.sqrt(np.mean((coarse - fine) ** 2)) < 0.03
    assert np.mean((coarse >= 0.5) != (fine >= 0.5)) < 0.01


def test_gold_object_has_its_geometry():
    gold = render_object("gold", 64, 8)
    middle = gold[len(gold) // 2] > 0.5
    edges = np.flatnonzero(np.diff(middle.astype(int))) + 1
    um = np.diff(edges) * 640 / len(gold) * np.cos(np.deg2rad(12))
    column, gap, half_cylinder = um
    assert column == pytest.approx(160, abs=2)
    assert gap == pytest.approx(10, abs=2)
    assert half_cylinder == pytest.approx(220, abs=2)
    tilt = np.argmax(gold[0] < 0.5) - np.argmax(gold[-1] < 0.5)
    assert np.rad2deg(np.arctan2(abs(tilt), len(gold) - 1)) == pytest.approx(12, abs=0.3)


def test_cas_fits_the_field():
    cas = render_object("CAS", 64, 4)
    rows, columns = np.flatnonzero(cas.max(axis=1) > 0.5), np.flatnonzero(cas.max(axis=0) > 0.5)
    assert np.ptp(columns) / len(cas) == pytest.approx(0.94, abs=0.01)
    assert np.ptp(rows) / len(cas) <= 0.42
    assert columns.mean() == pytest.approx(len(cas) / 2, abs=4)


def test_impossible_objects():
    with pytest.raises(CxgiError, match=r"'cat' is unknown: choose one of CAS, gold"):
        render_object("cat", 64)
    with pytest.raises(CxgiError, match="sub-pixels"):
        render_object("CAS", 64, 0)
    with pytest.raises(CxgiError, match="object of shape"):
        BeamlineSimulation(load_board("au64"), np.zeros((8, 8)), SimulationParameters(), seed=0)


def test_boards_have_their_parameters():
    assert simulation_parameters(load_board("cu32")).open_pa == 60
    assert simulation_parameters(load_board("au64")).open_pa == 15


@pytest.mark.parametrize("family", FAMILIES)
def test_random_objects_are_seeded_images(family):
    one, two = (random_object(np.random.default_rng(4), 32, {family: 1.0}) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (32, 32)
    assert one.min() >= 0
    assert one.max() <= 1
    assert one.std() > 0.01


def test_nothing_to_be_judged_on_is_trained_on():
    assert not {"camera", "astronaut", "coins", "shepp_logan_phantom"} & set(PHOTOGRAPHS)
    assert not any(f.name.startswith("DejaVuSans-Bold") for f in _font_files())
    assert len(_font_files()) > 10
