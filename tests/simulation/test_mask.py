from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import rotate

from cxgi_bluesky.analysis.metrics import cnr
from cxgi_bluesky.masks.board import Alignment, load_board
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, SimulationParameters, simulation_parameters
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import scan_simulation
from tests.board_views import tile_transmission, view_transmission
from tests.conftest import QUIET, small_board

TILE = small_board().tile_of(3 * 8 + 4)  # its negative when mirrored, another pattern when transposed


def seen(board, tile=TILE, cells=32, subpixels=4, defects=None, dx_um=0.0):
    x, y = board.position_mm(tile)
    return view_transmission(board, x + dx_um / 1000, y, cells, subpixels, defects)


@pytest.mark.parametrize("defects", [None, Defects(1.0, 1.0, 0.5, 0.5, 0.5, 0.02)])
def test_a_mirrored_boards_tile_is_seen_mirrored(defects):
    board = small_board(alignment=Alignment(x0_mm=1.0, mirrored=True))
    drawn = tile_transmission(board, TILE, 4, defects)
    np.testing.assert_allclose(seen(board, defects=defects), drawn[:, ::-1], atol=1e-6)
    assert np.abs(drawn - drawn[:, ::-1]).max() > 0.1


def test_a_mirrored_board_moved_by_a_sub_pixel_shows_the_next_one():
    board = small_board(alignment=Alignment(mirrored=True))
    mirrored = tile_transmission(board, TILE, 4)[:, ::-1]
    np.testing.assert_allclose(seen(board, dx_um=2.5)[:, :-1], mirrored[:, 1:], atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 1.5, -7.0])
def test_a_turned_board_turns_the_picture(angle, mirrored):
    board = small_board(alignment=Alignment(rotation_deg=angle, mirrored=mirrored, scale=1 + 1e-9))
    drawn = tile_transmission(board, TILE, 4)
    drawn = drawn[:, ::-1] if mirrored else drawn
    excess = np.pad(drawn - np.float32(board.t0), 8)
    # rows of an image run along +y of the stage, so that counter-clockwise in (x, y) is clockwise on the screen
    turned = rotate(excess, -angle, reshape=False, order=1) + np.float32(board.t0)
    np.testing.assert_allclose(seen(board, cells=48), turned, atol=0.01)
    if angle:
        assert np.abs(turned - np.pad(drawn, 8, constant_values=board.t0)).max() > 0.05


def test_a_right_angle_is_exact():
    board = small_board(alignment=Alignment(rotation_deg=90))
    drawn = tile_transmission(board, TILE, 4)
    np.testing.assert_allclose(seen(board), np.rot90(drawn, -1), atol=1e-4)


def test_a_scaled_board_is_seen_larger():
    for scale in (0.9, 1.1):
        board = small_board(alignment=Alignment(scale=scale), tile_pitch_um=200.0)
        area = ((seen(board, board.open_tile_number, cells=60) - board.t0) / (1 - board.t0)).sum()
        assert area == pytest.approx((32 * scale) ** 2, rel=0.002)


@pytest.mark.parametrize("alignment", [Alignment(), Alignment(mirrored=True), Alignment(rotation_deg=10)])
def test_a_pixel_on_the_plate_is_where_the_alignment_says(alignment):
    """The stage put to a pixel's place on the board sees that pixel in the middle."""
    board = small_board(alignment=alignment)
    design = pattern(8, board.pattern_index_of(TILE))
    tile_mm = np.array(board.position_mm(TILE))
    for row, column in ((0, 0), (0, 7), (3, 5), (6, 1)):
        inside_mm = (np.array([column, row]) - 3.5) * board.pixel_um / 1000
        x, y = tile_mm + alignment.matrix @ inside_mm
        middle = view_transmission(board, x, y, 2, 4).mean()
        assert middle == pytest.approx(1 if design[row, column] > 0 else board.t0, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    dx=st.floats(-60, 60),
    dy=st.floats(-60, 60),
    angle=st.sampled_from([0.0, 1.0, 30.0]),
    mirrored=st.booleans(),
    etched=st.booleans(),
)
def test_a_narrow_view_is_the_middle_of_a_wide_one(dx, dy, angle, mirrored, etched):
    """Whatever reaches into the narrow view has been drawn, strips of neighbours included."""
    board = small_board(tile_pitch_um=80.0, alignment=Alignment(rotation_deg=angle, mirrored=mirrored))
    defects = Defects(1.5, 1.5, 0.3, 0.4, 0.4, 0.02) if etched else None
    x, y = (np.array(board.position_mm(TILE)) + np.array([dx, dy]) / 1000).tolist()
    narrow, wide = (view_transmission(board, x, y, cells, 4, defects) for cells in (16, 80))
    np.testing.assert_allclose(narrow, wide[32:-32, 32:-32], atol=2e-4)


# ---------------------------------------------------------------- buckets


def current(simulation, tile):
    simulation.move_to(*simulation.board.position_mm(tile))
    simulation.open_shutter()
    return simulation.current_pa()


@settings(max_examples=20, deadline=None)
@given(
    d_r=st.floats(0.3, 1.0),
    open_pa=st.floats(0.1, 100),
    name=st.sampled_from(["CAS", "gold", "gear:diameter_px=6", "bars"]),
    subpixels=st.sampled_from([1, 2, 4]),
)
def test_buckets_of_the_reference_tiles(d_r, open_pa, name, subpixels):
    """The open tile passes I_open times the object's mean, the metal tile T0 of that."""
    board = small_board(d_r=d_r)
    parameters = replace(QUIET, open_pa=open_pa, subpixels=subpixels)
    simulation = BeamlineSimulation(board, render_object(name, 8, subpixels), parameters, seed=0)
    opened, closed = current(simulation, board.open_tile_number), current(simulation, board.metal_tile_number)
    assert opened == pytest.approx(open_pa * simulation.truth.mean(), rel=1e-5)
    assert closed == pytest.approx(max(1 - d_r, 1e-6) * opened, rel=1e-4)
    simulation.object_in = False
    assert current(simulation, board.open_tile_number) == pytest.approx(open_pa, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(data=st.data(), aperture=st.floats(10, 80), etched=st.booleans())
def test_behind_the_aperture_neighbours_do_not_matter(data, aperture, etched):
    """Without stage error, a tile's bucket is the same whatever its neighbours show."""
    order = data.draw(st.permutations(range(64)))
    middle = order.index(9)
    order[middle], order[TILE] = order[TILE], 9
    parameters = replace(QUIET, defects=Defects(1.5, 1.5, 0.3, seed=1) if etched else None)
    currents = []
    for index in (tuple(order), tuple(9 if t == TILE else k for t, k in enumerate(_without_9(order)))):
        board = small_board(tile_pitch_um=80.0, aperture_um=aperture, pattern_index=index)
        currents.append(current(BeamlineSimulation(board, render_object("CAS", 8, 4), parameters, seed=0), TILE))
    assert currents[0] == pytest.approx(currents[1], rel=1e-6)


def _without_9(order):
    """The other patterns shifted round by one place, the middle tile left alone."""
    others = [k for t, k in enumerate(order) if t != TILE]
    others = others[1:] + others[:1]
    return [*others[:TILE], 9, *others[TILE:]]


def test_same_seed_same_run_and_other_boards_differ():
    def buckets(board_seed, seed):
        parameters = replace(SimulationParameters(), defects=Defects(1.0, 1.0, 0.3, 0.4, 0.4, 0.02, seed=board_seed))
        simulation = BeamlineSimulation(small_board(), render_object("CAS", 8, 4), parameters, seed=seed)
        return scan_simulation(simulation, PatternSet(8, 16)).coefficient

    np.testing.assert_array_equal(buckets(1, 5), buckets(1, 5))
    assert np.abs(buckets(1, 5) - buckets(2, 5)).max() > 1e-3
    assert np.abs(buckets(1, 5) - buckets(1, 6)).max() > 1e-3


def test_an_aperture_between_sub_pixels_is_cut_to_its_width():
    """Its current grows with its area, and is the same at 4 and at 8 sub-pixels."""
    for aperture in (33.0, 41.7, 80.0):
        board = small_board(aperture_um=aperture)
        for subpixels in (4, 8):
            parameters = replace(QUIET, subpixels=subpixels)
            simulation = BeamlineSimulation(board, np.ones((8 * subpixels,) * 2, np.float32), parameters, seed=0)
            assert current(simulation, board.open_tile_number) == pytest.approx(15 * (aperture / 80) ** 2, rel=1e-5)


def short_scan(board, object_name, subpixels, count):
    parameters = replace(simulation_parameters(board, etched=True), subpixels=subpixels)
    simulation = BeamlineSimulation(board, render_object(object_name, board.size, subpixels), parameters, seed=1)
    return scan_simulation(simulation, PatternSet(board.size, count)), simulation.truth


def test_eight_sub_pixels_change_nothing():
    """Same board, stage errors and noise: buckets to 1 % of their spread, CNR of GI to 0.5 % and of tv to 1.5 %."""
    board = load_board("cu32")
    four, eight = (short_scan(board, "CAS", subpixels, 40) for subpixels in (4, 8))
    difference = four[0].coefficient - eight[0].coefficient
    assert difference.std() < 0.01 * eight[0].coefficient.std()
    for method, within in (("correlation", 0.005), ("tv", 0.015)):
        values = [cnr(reconstruct(m, method=method).image, truth) for m, truth in (four, eight)]
        assert values[0] == pytest.approx(values[1], rel=within)


def test_the_noise_of_a_scan_has_its_theoretical_variance():
    """Repeated exposures of one tile with steady source and stage: variance within 3 sigma of the theory."""
    board, draws = small_board(), 3000
    parameters = SimulationParameters(drift_rms=0.0, stage_rms_um=0.0)
    simulation = BeamlineSimulation(board, render_object("CAS", 8, 4), parameters, seed=3)
    simulation.open_shutter()
    readings = np.array([simulation.expose(1.0)[0] for _ in range(draws)])
    theory = parameters.detector.variance_pa2(simulation.current_pa(), 1.0)
    assert abs(readings.var(ddof=1) / theory - 1) < 3 * np.sqrt(2 / (draws - 1))
    assert abs(readings.mean() - simulation.current_pa() - 0.05) < 3 * np.sqrt(theory / draws)
