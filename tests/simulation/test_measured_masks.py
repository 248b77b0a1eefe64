"""Maps recorded behind the simulation's tiles, and a simulation made of such maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.tile_maps import FineTileMaps
from cxgi_bluesky.simulation.beamline import BeamlineSimulation
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
from cxgi_bluesky.simulation.scans import record_fine_tile_maps, record_tile_maps, scan_simulation
from tests.board_views import tile_transmission
from tests.conftest import QUIET, small_board
from tests.patience import PATIENCE_S

PARAMETERS = replace(QUIET, defects=Defects(1.5, 1.5, 0.3, 0.4, 0.4, 0.02, seed=1))
BOARD = small_board(tile_pitch_um=80.0)
PATTERNS = PatternSet(8, 64)


def simulation_of(board=BOARD, parameters=PARAMETERS, tile_maps=None):
    return BeamlineSimulation(
        board, render_object("CAS", 8, parameters.subpixels), parameters, seed=0, tile_maps=tile_maps
    )


def test_without_errors_the_camera_sees_each_tile():
    maps = record_tile_maps(simulation_of(), PATTERNS)
    for k in (0, 9, 63):
        drawn = block_mean(tile_transmission(BOARD, BOARD.tile_of(k), 4, PARAMETERS.defects), 4)
        np.testing.assert_allclose(maps.select([k])[0], drawn, atol=1e-5)
    opened = block_mean(tile_transmission(BOARD, BOARD.open_tile_number, 4, PARAMETERS.defects), 4)
    np.testing.assert_allclose(maps.open_map, opened, atol=1e-5)
    assert maps.board_sha256 == BOARD.sha256


def test_buckets_are_the_maps_times_the_object():
    """Where the object is flat within a mask pixel, its map says all about a tile."""
    board, simulation = BOARD, simulation_of()
    coarse = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    simulation = BeamlineSimulation(board, coarse.repeat(4, 0).repeat(4, 1), PARAMETERS, seed=0)
    maps = record_tile_maps(simulation, PATTERNS)
    simulation.open_shutter()
    for k in (3, 17, 40):
        simulation.move_to(*board.position_mm(board.tile_of(k)))
        assert simulation.current_pa() == pytest.approx(15 * float((maps.select([k])[0] * coarse).mean()), rel=1e-5)


@pytest.mark.parametrize("alignment", [Alignment(), Alignment(mirrored=True), Alignment(rotation_deg=3.0)])
def test_a_twin_of_its_own_maps_gives_the_same_buckets(tmp_path, alignment):
    board = small_board(alignment=alignment)
    record_fine_tile_maps(simulation_of(board), PATTERNS).to_file(tmp_path / "maps.h5")
    maps = FineTileMaps.from_file(tmp_path / "maps.h5", board)
    etched, measured = (
        scan_simulation(simulation_of(board, parameters, m), PATTERNS)
        for parameters, m in ((PARAMETERS, None), (QUIET, maps))
    )
    np.testing.assert_allclose(measured.coefficient, etched.coefficient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("subpixels", "within"), [(1, 0.15), (2, 0.1), (8, 0.01)])
def test_maps_on_other_sub_pixels_than_the_twins(subpixels, within):
    recorded = record_fine_tile_maps(simulation_of(parameters=replace(PARAMETERS, subpixels=subpixels)), PATTERNS)
    expected, measured = (scan_simulation(simulation_of(tile_maps=m), PATTERNS) for m in (None, recorded))
    difference = measured.coefficient - expected.coefficient
    assert difference.std() < within * expected.coefficient.std()


def test_noise_and_stage_error_have_their_size():
    quiet = record_tile_maps(simulation_of(), PATTERNS).maps
    noisy = record_tile_maps(simulation_of(), PATTERNS, noise=0.04, seed=3).maps
    draws = noisy.size
    assert (noisy - quiet).std() == pytest.approx(0.04 / 4, rel=4 / np.sqrt(2 * draws))
    again, other = (record_tile_maps(simulation_of(), PATTERNS, noise=0.04, seed=seed).maps for seed in (3, 4))
    np.testing.assert_array_equal(noisy, again)
    assert np.abs(noisy - other).max() > 0.01
    moved = [
        np.abs(record_tile_maps(simulation_of(), PATTERNS, stage_rms_um=s).maps - quiet).mean() for s in (0.5, 1.0)
    ]
    assert moved[1] == pytest.approx(2 * moved[0], rel=0.05)


def test_taking_pictures_leaves_the_twin_alone():
    one, two = (simulation_of(parameters=replace(PARAMETERS, stage_rms_um=0.5)) for _ in range(2))
    record_tile_maps(one, PATTERNS, noise=0.1)
    assert (one.x_mm, one.exposures, one.openings) == (two.x_mm, 0, 0)
    one.move_to(0, 0)
    two.move_to(0, 0)
    assert (one.x_mm, one.y_mm) == (two.x_mm, two.y_mm)


def test_a_mirrored_board_is_photographed_as_it_is_mounted():
    mirrored = small_board(alignment=Alignment(mirrored=True))
    plain = record_tile_maps(simulation_of(small_board(), QUIET), PATTERNS).maps
    np.testing.assert_allclose(
        record_tile_maps(simulation_of(mirrored, QUIET), PATTERNS).maps, plain[:, :, ::-1], atol=1e-6
    )


def test_the_beamline_takes_measured_maps():
    maps = record_fine_tile_maps(simulation_of(), PATTERNS)
    line = simulated_beamline(BOARD, "CAS", parameters=QUIET, tile_maps=maps)
    line.simulation.open_shutter()
    line.stage.tile.set(9).wait(timeout=PATIENCE_S)
    simulation = simulation_of()
    simulation.open_shutter()
    simulation.move_to(*BOARD.position_mm(9))
    assert line.simulation.current_pa() == pytest.approx(simulation.current_pa(), rel=1e-5)


def test_maps_that_do_not_fit_the_twin():
    some = record_fine_tile_maps(simulation_of(), PatternSet(8, 10))
    simulation = simulation_of(tile_maps=some)
    simulation.open_shutter()
    simulation.move_to(*BOARD.position_mm(BOARD.tile_of(63)))
    with pytest.raises(CxgiError, match="no tile map of pattern_index 63"):
        simulation.current_pa()
    with pytest.raises(CxgiError, match="of another board"):
        simulation_of(small_board(d_r=0.5), tile_maps=some)
    with pytest.raises(CxgiError, match="whole multiple"):
        simulation_of(parameters=replace(QUIET, subpixels=3), tile_maps=some)
    with pytest.raises(CxgiError, match="noise -1"):
        record_tile_maps(simulation_of(), PATTERNS, noise=-1)
