"""Transmission of the mask board as the beam sees it: its tiles, laid where the stage has put them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .tiles import Tiles, metal_transmission

Map = NDArray[np.float32]
Positions = NDArray[np.float64]

SNAP = 1e-6  # sub-pixels: what is nearer to a whole one lies on it


def view(tiles: Tiles, x_mm: float, y_mm: float, cells: int) -> Map:
    """Transmission of the board in a square view, centred at a stage position.

    Of every tile and fiducial (a copy of the open tile) that reaches into the view the part inside is drawn, the rest
    is metal; a position between sub-pixels is interpolated linearly. The board is mirrored, turned and scaled by its
    alignment.

    Parameters
    ----------
    tiles : Tiles
        Of the board.
    x_mm, y_mm : float
        Stage position (mm).
    cells : int
        Sub-pixels per side of the view.

    Returns
    -------
    ndarray, shape (cells, cells)
    """
    board = tiles.board
    metal = np.float32(metal_transmission(board))
    seen = np.full((cells, cells), metal, dtype=np.float32)
    straight = tiles.as_mounted or (board.alignment.rotation_deg == 0 and board.alignment.scale == 1)
    cell_um = board.pixel_um / tiles.subpixels
    reach_um = cells * cell_um / 2
    drawn = [(tile, *board.position_mm(tile)) for tile in board.tiles_within(x_mm, y_mm, reach_um)]
    drawn += [(board.open_tile_number, x, y) for x, y in board.fiducials_within(x_mm, y_mm, reach_um)]
    for tile, tile_x, tile_y in drawn:
        away = np.array([tile_y - y_mm, tile_x - x_mm]) * 1000 / cell_um
        (_lay if straight else _turn)(seen, tiles, tile, away, metal)
    return seen


def _lay(seen: Map, tiles: Tiles, tile: int, away: Positions, metal: np.float32) -> None:
    """Add a tile's excess over metal, its centre `away` (down, right) sub-pixels from that of the view."""
    cells = tiles.board.size * tiles.subpixels
    down, right = (_shares((len(seen) - cells) / 2 + float(distance)) for distance in away)
    rows, columns = (_inside(shares, cells, len(seen)) for shares in (down, right))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    if tiles.board.mirrored and not tiles.as_mounted:
        back = slice(cells - columns.stop, cells - columns.start)
        excess = tiles.part(tile, rows, back)[:, ::-1] - metal
    else:
        excess = tiles.part(tile, rows, columns) - metal
    for row, share_down in down:
        for column, share_right in right:
            _add(seen, excess, row + rows.start, column + columns.start, np.float32(share_down * share_right))


def _shares(corner: float) -> list[tuple[int, float]]:
    """The whole sub-pixels on either side of a position, with the share of each."""
    nearest = round(corner)
    if abs(corner - nearest) < SNAP:
        return [(nearest, 1.0)]
    below = math.floor(corner)
    return [(below, 1 - (corner - below)), (below + 1, corner - below)]


def _inside(shares: list[tuple[int, float]], cells: int, length: int) -> slice:
    """Sub-pixels of the tile that fall into the view, whichever share."""
    return slice(max(0, -shares[-1][0]), min(cells, length - shares[0][0]))


def _add(seen: Map, excess: Map, row: int, column: int, weight: np.float32) -> None:
    """Add `weight` times a part of a tile at a whole sub-pixel, cut to the view."""
    rows = slice(max(0, row), min(len(seen), row + excess.shape[0]))
    columns = slice(max(0, column), min(len(seen), column + excess.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = excess[rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]
        seen[rows, columns] += weight * part


def _turn(seen: Map, tiles: Tiles, tile: int, away: Positions, metal: np.float32) -> None:
    """The same for a board that is turned or scaled: each sub-pixel of the view looks up its position on the tile."""
    from scipy.ndimage import affine_transform

    cells = tiles.board.size * tiles.subpixels
    to_board = np.linalg.inv(tiles.board.alignment.matrix)[::-1, ::-1]  # as (row, column)
    first = (cells - 1) / 2 - to_board @ ((len(seen) - 1) / 2 + away)
    corners = to_board @ np.array([[0, 0, 1, 1], [0, 1, 0, 1]]) * (len(seen) - 1) + first[:, None]
    rows, columns = (
        slice(max(0, math.floor(low) - 2), min(cells, math.ceil(high) + 3))
        for low, high in zip(corners.min(axis=1), corners.max(axis=1), strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    excess = tiles.part(tile, rows, columns) - metal
    first = first - [rows.start, columns.start]
    seen += affine_transform(excess, to_board, first, output_shape=seen.shape, order=1, mode="grid-constant")
