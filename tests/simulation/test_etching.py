from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.transform import hadamard_matrix
from cxgi_bluesky.simulation.beamline import simulation_parameters
from cxgi_bluesky.simulation.board.drawing import Design, cells_per_pixel, draw_tile
from cxgi_bluesky.simulation.board.etching import COPPER_DEFECTS, DEFECT_NAMES, GOLD_DEFECTS, Defects
from cxgi_bluesky.simulation.objects.rendering import block_mean
from tests.board_views import tile_transmission

CU, AU = load_board("cu32"), load_board("au64")
T0 = 0.25
PIXEL_UM = 150.0


def design(k=5 * 16 + 9, size=16, pixel_um=PIXEL_UM, t0=T0):
    row, column = (hadamard_matrix(size)[i] for i in divmod(k, size))
    return Design(tuple(row.tolist()), tuple(column.tolist()), pixel_um, t0)


def drawn(defects, k=5 * 16 + 9, tile=3, subpixels=4, **options):
    return draw_tile(design(k), defects, tile, subpixels, **options)


def perfect(k=5 * 16 + 9, subpixels=4):
    pattern = np.multiply.outer(*(np.array(line) for line in (design(k).rows, design(k).columns))) > 0
    return np.where(pattern, 1, T0).repeat(subpixels, axis=0).repeat(subpixels, axis=1)


@pytest.mark.parametrize("k", [0, 1, 89, 255])
def test_without_defects_a_tile_is_its_design(k):
    np.testing.assert_allclose(drawn(Defects(), k), perfect(k), atol=1e-6)


@pytest.mark.parametrize("offset", [-6.0, 3.0, 15.0, 37.0])
@pytest.mark.parametrize("corner", [0.0, 20.0])
def test_straight_edges_move_by_the_offset(offset, corner):
    """Pattern 1: stripes of one pixel; away from the rim each opening is wider by twice the offset."""
    columns = drawn(Defects(corner_um=corner, offset_um=offset), k=1)[24:40].mean(axis=0)
    inner = columns[8:-8]
    opened = ((inner - T0) / (1 - T0)).mean() * 2 - 1
    assert opened == pytest.approx(2 * offset / PIXEL_UM, abs=0.004)


def test_corners_are_rounded_and_fine_patterns_suffer_most():
    def lost(k):
        return np.abs(drawn(Defects(corner_um=40.0), k) - perfect(k))[8:-8, 8:-8].mean()

    assert lost(255) > 3 * lost(8 * 16 + 8) > 0


def test_side_walls_are_slopes_of_their_width():
    """Behind a wall log T is a Gaussian integral: the rms width of its derivative is the wall's."""
    columns = drawn(Defects(side_wall_um=15.0), k=8, subpixels=16)[100:150].mean(axis=0)
    metal = np.log(columns[64:192]) / np.log(T0)  # one edge, at 128
    slope = np.abs(np.diff(metal))
    place = np.arange(len(slope)) * PIXEL_UM / 16
    rms = np.sqrt(np.average((place - np.average(place, weights=slope)) ** 2, weights=slope))
    assert rms == pytest.approx(15.0, rel=0.05)


def test_thickness_spreads_from_tile_to_tile():
    metal = [np.log(drawn(Defects(thickness_rms=0.1), 255, tile).min()) / np.log(T0) for tile in range(200)]
    assert np.mean(metal) == pytest.approx(1, abs=3 * 0.1 / np.sqrt(200))
    assert np.std(metal) == pytest.approx(0.1, rel=3 / np.sqrt(400))


def test_the_field_of_offsets_has_its_size_everywhere():
    """Offsets of straight edges at the middle and near the rim, over many tiles."""
    defects = Defects(corner_um=40.0, offset_field_um=5.0)
    openings = []
    for tile in range(150):
        edge = drawn(defects, k=8, tile=tile, rows=slice(0, 64, 1), columns=slice(28, 36))
        openings.append(((edge - T0) / (1 - T0)).sum(axis=1)[[4, 32, 60]] * PIXEL_UM / 4)
    spread = np.std(openings, axis=0)
    np.testing.assert_allclose(spread, 5.0, rtol=4 / np.sqrt(300))


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(0, 255),
    tile=st.integers(0, 10**6),
    corner=st.sampled_from([0.0, 10.0, 40.0]),
    wall=st.sampled_from([0.0, 6.0, 15.0, 60.0]),
    offset=st.floats(-20, 20),
    field=st.floats(0, 6),
)
def test_four_sub_pixels_are_eight_averaged(k, tile, corner, wall, offset, field):
    defects = Defects(corner, wall, offset, 2.0, field, 0.02)
    if cells_per_pixel(defects, PIXEL_UM, 4) % 8:
        return
    four, eight = (drawn(defects, k, tile, s) for s in (4, 8))
    np.testing.assert_allclose(four, block_mean(eight, 2), atol=1e-6)
    assert four.min() >= 0
    assert four.max() <= 1


@settings(max_examples=15, deadline=None)
@given(k=st.integers(0, 255), tile=st.integers(0, 1000), top=st.integers(0, 60), left=st.integers(0, 60))
def test_a_part_of_a_tile_is_that_part_of_the_whole(k, tile, top, left):
    for defects in (COPPER_DEFECTS, Defects(offset_um=9.0, side_wall_um=15.0)):
        part = drawn(defects, k, tile, rows=slice(top, top + 3), columns=slice(left, left + 4))
        np.testing.assert_allclose(part, drawn(defects, k, tile)[top : top + 3, left : left + 4], atol=1e-6)


@pytest.mark.parametrize(("board", "defects"), [(CU, COPPER_DEFECTS), (AU, GOLD_DEFECTS)], ids=["Cu", "Au"])
def test_the_fine_grid_is_fine_enough(board, defects):
    """A grid four times as fine changes mask pixels by a few thousandths."""
    tile = Design((1, -1, 1, -1), (1, 1, -1, -1), board.pixel_um, board.t0)
    cells = cells_per_pixel(defects, board.pixel_um, 4)
    usual, fine = (block_mean(draw_tile(tile, defects, 0, 4, cells=c), 4) for c in (cells, 4 * cells))
    assert np.sqrt(np.mean((usual - fine) ** 2)) < 0.003
    assert np.abs(usual - fine).max() < 0.006
    assert abs(usual.mean() - fine.mean()) < 0.001


def test_each_defect_can_be_mended_alone():
    for name in DEFECT_NAMES:
        without, only = COPPER_DEFECTS.without(name), COPPER_DEFECTS.only(name)
        assert getattr(without, name) == 0 != getattr(only, name)
        assert sum(getattr(only, other) != 0 for other in DEFECT_NAMES) == 1
        assert np.abs(drawn(without) - drawn(COPPER_DEFECTS)).max() > 1e-4
    offset = [drawn(COPPER_DEFECTS.without(name), k=1, tile=5).mean() for name in ("offset_field_um", "thickness_rms")]
    assert offset[0] == pytest.approx(offset[1], abs=0.01)  # the tile's own offset is the same in both
    with pytest.raises(CxgiError, match="defect 'corner' is unknown"):
        COPPER_DEFECTS.without("corner")


@pytest.mark.parametrize("words", [{"corner_um": -1.0}, {"side_wall_um": float("nan")}, {"seed": -1}])
def test_impossible_defects(words):
    with pytest.raises(CxgiError):
        Defects(**words)


def test_each_tile_has_its_own_defects_the_same_in_every_exposure():
    defects = replace(COPPER_DEFECTS, seed=3)
    np.testing.assert_array_equal(drawn(defects), drawn(defects))
    assert np.abs(drawn(defects) - drawn(replace(defects, seed=4))).max() > 0.01
    assert np.abs(drawn(defects) - drawn(defects, tile=4)).max() > 0.01


def test_the_papers_boards_have_their_defects_when_asked():
    assert simulation_parameters(CU).defects is None
    assert simulation_parameters(CU, etched=True).defects == COPPER_DEFECTS
    assert simulation_parameters(AU, etched=True).defects == GOLD_DEFECTS


def test_the_open_tile_stays_open_and_the_metal_tile_metal():
    opened, closed = (
        tile_transmission(CU, tile, 4, COPPER_DEFECTS)[16:-16, 16:-16]
        for tile in (CU.open_tile_number, CU.metal_tile_number)
    )
    assert opened.min() > 0.97
    assert abs(closed.mean() - CU.t0) < 0.1 * CU.t0
