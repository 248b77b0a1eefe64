from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.masks.tile_maps import FineTileMaps
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.board.tiles import EtchedTiles, whole
from cxgi_bluesky.training.boards import SUBPIXELS, BoardRanges, _displace, _early_patterns, board_pool, draw_board
from tests.conftest import small_board as plate

KNOWN = {"corner": 0.2, "side_wall": 0.15, "offset": 0.05, "offset_rms": 0.05, "offset_field": 0.06}
RANGES = BoardRanges(
    **{name: (value, value) for name, value in KNOWN.items()},
    thickness_rms=(0.03, 0.03),
    stage_rms=(0.0, 0.0),
    d_r=(0.8, 0.8),
)


def test_a_drawn_board_is_one_of_the_twin():
    size, pixel_um = 16, 10.0
    board = draw_board(size, 24, RANGES, seed=3)
    index = board.pattern_index.numpy()
    carries = (size * size - 1, *range(size * size - 1))  # tile t carries pattern t - 1
    mounted = plate(size, pattern_index=carries, d_r=0.8, pixel_um=pixel_um)
    defects = Defects(**{f"{name}_um": value * pixel_um for name, value in KNOWN.items()}, thickness_rms=0.03, seed=3)
    tiles = EtchedTiles(mounted, SUBPIXELS, defects)
    others = index[index != 0]
    fine = np.stack([whole(tiles, int(k) + 1) for k in others])
    maps = FineTileMaps(size, SUBPIXELS, others, fine, np.ones(fine.shape[1:]), None, "the twin").average()
    expected = maps.to_signed_masks(index, 0.8).reshape(len(index), -1)
    np.testing.assert_allclose(board.masks.double(), expected, atol=2e-3)


def test_the_stage_moves_a_tile():
    moved, still = (draw_board(16, 24, BoardRanges(stage_rms=(rms, rms)), seed=3) for rms in (0.3, 0.0))
    others = moved.pattern_index != 0
    assert (moved.masks[others].float() - still.masks[others]).abs().max() > 0.05
    fine = np.arange(64.0).reshape(8, 8)
    np.testing.assert_allclose(_displace(fine, np.array([2.0, -1.0]))[2:, :-1], fine[:-2, 1:])
    np.testing.assert_allclose(_displace(fine, np.array([0.25, 0.0]))[1:], fine[1:] - 0.25 * 8)


@pytest.mark.parametrize(("size", "count"), [(16, 24), (16, 250), (32, 200), (64, 1536)])
def test_the_tiles_of_a_board_are_those_that_orders_ask_for_first(size, count):
    index = _early_patterns(size, count, seed=1)
    assert len(index) == count == len(set(index.tolist()))
    assert 0 in index
    for order in ("zig-zag", "cake-cutting"):
        assert np.isin(ranking(order, size)[: count // 3], index).all()


def test_boards_are_drawn_once_and_kept(tmp_path):
    told: list[str] = []
    ranges = BoardRanges()
    first = board_pool(2, 8, 20, ranges, 200, tmp_path, told.append)
    again = board_pool(2, 8, 20, ranges, 200, tmp_path, told.append)
    assert len(told) == 2
    assert "board 1 of 2, 8 x 8" in told[0]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.masks, two.masks)
    assert (first[0].masks.float() - first[1].masks).abs().max() > 0.05
    kept = next(tmp_path.glob("board-*.npz"))
    kept.write_bytes(kept.read_bytes()[:500])
    with pytest.raises(CxgiError, match=r"board .*npz cannot be read .*: remove it"):
        board_pool(2, 8, 20, ranges, 200, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CxgiError, match=r"cannot be written .*another folder as cache"):
        board_pool(1, 8, 20, BoardRanges(), 200, tmp_path / "file")
