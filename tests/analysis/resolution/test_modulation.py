from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.analysis.resolution.modulation_depth import tile_modulation_depth
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import pattern
from cxgi_bluesky.simulation.board.etching import COPPER_DEFECTS, GOLD_DEFECTS
from tests.board_views import tile_transmission
from tests.cases import long_case

BOARDS = {"cu32": COPPER_DEFECTS, "au64": GOLD_DEFECTS}


def camera_image(name, k, *, defects=None, gradient=0.3, noise=0.05, seed=0):
    """A tile behind an uneven beam, in counts, with noise and a few dead and hot pixels."""
    board, rng = load_board(name), np.random.default_rng(seed)
    tile = tile_transmission(board, board.tile_of(k), 8, defects)
    y, x = np.mgrid[: len(tile), : len(tile)] / len(tile) - 0.5
    image = 900 * (1 + gradient * (x + 0.5 * y) - gradient * (x**2 + y**2)) * tile
    image = image + 900 * noise * rng.normal(size=tile.shape)
    hot = rng.integers(0, len(tile), (2, 20))
    image[hot[0], hot[1]] = np.repeat([0, 65535], 10)
    return image, board


@pytest.mark.parametrize(
    ("etched", "known", "name"),
    [
        (False, True, "au64"),
        (False, False, "cu32"),
        (True, True, "cu32"),
        (True, False, "cu32"),
        long_case(True, False, "au64"),
    ],
)
def test_d_r_of_a_tile_is_the_twins(name, known, etched):
    k = 4 * load_board(name).size + 8  # a coarse pattern
    image, board = camera_image(name, k, defects=BOARDS[name].without("thickness_rms") if etched else None)
    depth = tile_modulation_depth(image, pattern(board.size, k) if known else None)
    assert depth.d_r == pytest.approx(board.d_r, abs=0.005 if known else 0.03)
    if known and not etched:
        assert abs(depth.d_r - board.d_r) < 3.5 * depth.d_r_sigma
    assert 0.02 < depth.unevenness < 0.3
    extremes = 1 - max(image.min(), 0) / image.max()
    assert abs(extremes - board.d_r) > 0.1  # what brightest and darkest pixel would say


def test_one_camera_pixel_per_mask_pixel():
    board = load_board("cu32")
    design = pattern(32, 4 * 32 + 8)
    image = np.where(design > 0, 100.0, 25.0) + np.random.default_rng(0).normal(size=(32, 32))
    depth = tile_modulation_depth(image, design)
    assert abs(depth.d_r - board.d_r) < 4 * depth.d_r_sigma < 0.01


def test_the_stated_sigma_is_the_scatter():
    found = [
        tile_modulation_depth(camera_image("cu32", 136, noise=0.2, seed=s)[0], pattern(32, 136)) for s in range(30)
    ]
    scatter, stated = np.std([f.d_r for f in found], ddof=1), np.mean([f.d_r_sigma for f in found])
    assert stated == pytest.approx(scatter, rel=3 / np.sqrt(2 * 29))


@pytest.mark.parametrize(
    ("image", "design", "message"),
    [
        (np.ones((32, 32)), None, "flat"),
        (np.eye(30), np.ones((8, 8)), "cut it to the tile's rim"),
        (np.random.default_rng(0).normal(size=(32, 32)), np.ones((8, 8)), "a coarse pattern"),
        (np.full((32, 32), np.nan), None, "NaN"),
    ],
)
def test_pictures_that_tell_nothing(image, design, message):
    with pytest.raises(CxgiError, match=message):
        tile_modulation_depth(image, design)
