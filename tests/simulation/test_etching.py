from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.board import load_board
from cxgi_bluesky.simulation.beamline import twin_parameters
from cxgi_bluesky.simulation.etching import COPPER_DEFECTS, GOLD_DEFECTS, Defects, thickness
from cxgi_bluesky.simulation.mask import design, tile_transmission

CU = load_board("cu32")
TILE = CU.tile_of(5 * 32 + 9)
CELL_UM = CU.pixel_um / 4


def metal(defects, tile=TILE):
    return thickness(design(CU, tile, 4), defects, CELL_UM, tile)


def test_without_defects_the_metal_is_where_it_was_designed():
    drawn = metal(Defects())
    inner = slice(4, -4)  # at the rim there is metal all around
    np.testing.assert_allclose(drawn[inner, inner], 1 - design(CU, TILE, 4)[inner, inner], atol=0.51)
    assert ((drawn > 0.5) == (design(CU, TILE, 4) < 0.5)).mean() > 0.97


def test_over_etching_opens_and_under_etching_closes():
    closed, as_designed, opened = (metal(Defects(offset_um=d)).mean() for d in (-15, 0, 15))
    assert closed > as_designed + 0.02
    assert opened < as_designed - 0.02


def test_corners_are_rounded_and_fine_features_fade():
    coarse, fine = CU.tile_of(1 * 32), CU.tile_of(31 * 32 + 31)
    blurred = {tile: metal(Defects(corner_um=200.0), tile) for tile in (coarse, fine)}
    depth = {tile: np.ptp(np.percentile(m[16:-16, 16:-16], [5, 95])) for tile, m in blurred.items()}
    assert (
        depth[fine] < 0.9
        or (np.abs(blurred[fine] - (1 - design(CU, fine, 4)))[16:-16, 16:-16]).mean()
        > (np.abs(blurred[coarse] - (1 - design(CU, coarse, 4)))[16:-16, 16:-16]).mean()
    )


def test_side_walls_are_slopes():
    steep, sloped = metal(Defects()), metal(Defects(side_wall_um=60.0))
    between = [((m > 0.1) & (m < 0.9)).mean() for m in (steep, sloped)]
    assert between[1] > between[0] + 0.1


def test_each_tile_has_its_own_defects_the_same_in_every_exposure():
    defects = replace(COPPER_DEFECTS, seed=3)
    np.testing.assert_array_equal(metal(defects), metal(defects))
    assert np.abs(metal(defects) - metal(replace(defects, seed=4))).max() > 0.01
    spread = [thickness(np.zeros((16, 16), np.float32), Defects(thickness_rms=0.1), 1.0, t).mean() for t in range(200)]
    assert np.std(spread) == pytest.approx(0.1, rel=0.2)


def test_the_papers_boards_have_their_defects_when_asked():
    assert twin_parameters(CU).defects is None
    assert twin_parameters(CU, etched=True).defects == COPPER_DEFECTS
    assert twin_parameters(load_board("au64"), etched=True).defects == GOLD_DEFECTS


def test_the_open_tile_stays_open_and_the_metal_tile_metal():
    opened, closed = (
        tile_transmission(CU, tile, 4, COPPER_DEFECTS)[16:-16, 16:-16]
        for tile in (CU.open_tile_number, CU.metal_tile_number)
    )
    assert opened.min() > 0.97
    assert abs(closed.mean() - CU.t0) < 0.1 * CU.t0
