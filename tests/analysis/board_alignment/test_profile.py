from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxgi_bluesky.analysis.board_alignment.fit import fit_edges, profile_offsets_um
from cxgi_bluesky.analysis.board_alignment.search import match, orientations, overlap_share, search_grid_um
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment
from tests.plans.test_align import fiducial_board

BOARD = fiducial_board()
OFFSETS = profile_offsets_um(BOARD, 6)


def light(board, position_um, centre_um, *, t0=0.17, open_pa=15.0):
    return open_pa * (t0 + (1 - t0) * overlap_share(position_um - centre_um, board.tile_um, board.aperture_um))


@settings(max_examples=50, deadline=None)
@given(
    centre=st.floats(-6, 6),
    aperture=st.sampled_from([40.0, 60.0, 80.0, 120.0]),
    around=st.floats(-1e5, 1e5),
    level=st.floats(0.01, 1e6),
)
def test_the_centre_of_an_exact_profile_is_found(centre, aperture, around, level):
    board = fiducial_board(aperture_um=aperture)
    position = profile_offsets_um(board, 6) + around
    values = light(board, position, around + min(aperture, 80) / 80 * centre, open_pa=level)
    fit = fit_edges(position, values, np.full(len(values), np.nan), board=board)
    assert fit.centre_um == pytest.approx(around + min(aperture, 80) / 80 * centre, abs=1e-3)
    assert fit.width_um == pytest.approx(80 + aperture, rel=1e-3)


def test_the_sigma_of_the_centre_is_that_of_repeats_and_there_is_no_bias():
    rng, noise, errors = np.random.default_rng(0), 0.1, []
    for _ in range(300):
        values = light(BOARD, OFFSETS, 3.0) + noise * rng.normal(size=len(OFFSETS))
        errors.append(fit_edges(OFFSETS, values, np.full(len(values), noise), board=BOARD))
    found = np.array([fit.centre_um - 3.0 for fit in errors])
    told = np.sqrt(np.mean([fit.sigma_um**2 for fit in errors]))
    assert found.std() == pytest.approx(told, rel=0.15)
    assert abs(found.mean()) < 4 * told / math.sqrt(len(found))
    chi_square = np.mean([fit.chi_square for fit in errors])
    assert chi_square == pytest.approx(errors[0].degrees_of_freedom, rel=0.1)


def test_a_source_that_drifts_moves_the_centre_little():
    """A drift of 1 % during the profile: below a thousandth of the tile, as the sides alternate."""
    values = light(BOARD, OFFSETS, 0.0) * np.linspace(0.995, 1.005, len(OFFSETS))
    fit = fit_edges(OFFSETS, values, np.full(len(values), 0.01), board=BOARD)
    assert abs(fit.centre_um) < BOARD.tile_um / 1000


@pytest.mark.parametrize(
    "values",
    [
        np.full(len(OFFSETS), 3.0),
        3 + np.random.default_rng(1).normal(size=len(OFFSETS)),
        20 - light(BOARD, OFFSETS, 0.0),  # dark between light
        light(BOARD, OFFSETS, 70.0),  # one edge alone
    ],
)
def test_what_is_no_open_square_is_an_error(values):
    with pytest.raises(CxgiError, match=r"no open square"):
        fit_edges(OFFSETS, values, np.full(len(OFFSETS), 0.05), board=BOARD)


def test_too_few_usable_readings_are_counted():
    values = light(BOARD, OFFSETS, 0.0)
    values[5:] = np.nan
    with pytest.raises(CxgiError, match="5 usable readings"):
        fit_edges(OFFSETS, values, np.full(len(OFFSETS), 0.05), board=BOARD)


# ---------------------------------------------------------------- search


def seen(board, landmark, offset_um, reach, lies):
    """Light on the grid if the fiducial alone were on the board."""
    grid = search_grid_um(board, reach)
    board_um = (grid - offset_um) @ np.linalg.inv(lies.matrix).T
    return grid, 15 * (0.17 + 0.83 * np.prod(overlap_share(board_um, board.tile_um, board.aperture_um), axis=1))


@settings(max_examples=40, deadline=None)
@given(dx=st.floats(-79, 79), dy=st.floats(-79, 79), mirrored=st.booleans())
def test_the_search_finds_a_fiducial_wherever_it_is(dx, dy, mirrored):
    lies = Alignment(mirrored=mirrored)
    grid, values = seen(BOARD, 0, np.array([dx, dy]), 1, lies)
    found = match(BOARD, BOARD.fiducials[0], lies, grid, values, np.full(len(values), 0.05))
    assert found is not None
    assert np.hypot(found.offset_um[0] - dx, found.offset_um[1] - dy) < 0.05 * BOARD.tile_um


def test_noise_in_the_metal_is_no_fiducial():
    grid = search_grid_um(BOARD, 1)
    for seed in range(50):
        values = 2.5 + 0.05 * np.random.default_rng(seed).normal(size=len(grid))
        assert match(BOARD, BOARD.fiducials[0], Alignment(), grid, values, np.full(len(grid), 0.05)) is None


def test_back_to_front_in_place_covers_the_same_tiles():
    board = fiducial_board(alignment=Alignment(3.0, -1.0, 10.0, 1.01))
    turned = fiducial_board(alignment=orientations(board)["back to front"])
    for row, column in ((0, 0), (3, 5), (-5, 4)):
        assert turned.place_mm((row, column)) == pytest.approx(board.place_mm((row, board.columns - 1 - column)))
