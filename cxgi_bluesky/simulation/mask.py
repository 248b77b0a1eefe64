"""Transmission of the mask board as the beam sees it.

A tile is drawn in three steps: design, relative metal thickness (`etching`), transmission.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..board import MaskBoard
from ..patterns import pattern
from .etching import Defects, thickness

Map = NDArray[np.float32]


def design(board: MaskBoard, tile: int, subpixels: int) -> Map:
    """1 where the tile is meant to be open, 0 where metal is meant to stay."""
    cells = board.size * subpixels
    if tile == board.open_tile_number:
        return np.ones((cells, cells), dtype=np.float32)
    if tile == board.metal_tile_number:
        return np.zeros((cells, cells), dtype=np.float32)
    is_open = pattern(board.size, board.pattern_index_of(tile)) > 0
    return is_open.repeat(subpixels, axis=0).repeat(subpixels, axis=1).astype(np.float32)


@lru_cache(maxsize=64)  # the neighbours of a tile are drawn again and again
def tile_transmission(board: MaskBoard, tile: int, subpixels: int, defects: Defects | None = None) -> Map:
    """T0 ** thickness, shape (n * subpixels,) * 2; without defects the thickness is 1 - design."""
    drawn = design(board, tile, subpixels)
    metal = 1 - drawn if defects is None else thickness(drawn, defects, board.pixel_um / subpixels, tile)
    transmission = np.power(np.float32(_metal(board)), metal)
    transmission.setflags(write=False)
    return transmission


def _metal(board: MaskBoard) -> float:
    return max(board.t0, 1e-6)


def view_transmission(
    board: MaskBoard, x_mm: float, y_mm: float, cells: int, subpixels: int, defects: Defects | None = None
) -> Map:
    """Transmission of the plate in a square view of `cells` sub-pixels, centred at a stage position.

    Every tile that reaches into the view is drawn, the rest is metal; a position between
    sub-pixels is interpolated linearly.
    """
    cell_um = board.pixel_um / subpixels
    metal = np.float32(_metal(board))
    view = np.full((cells, cells), metal, dtype=np.float32)
    for tile in board.tiles_within(x_mm, y_mm, cells * cell_um / 2):
        tile_x, tile_y = board.position_mm(tile)
        drawn = tile_transmission(board, tile, subpixels, defects)
        corner = (cells - len(drawn)) / 2
        top = corner + (tile_y - y_mm) * 1000 / cell_um
        left = corner + (tile_x - x_mm) * 1000 / cell_um
        _lay(view, drawn, top, left, metal)
    return view


def _lay(view: Map, tile: Map, top: float, left: float, metal: np.float32) -> None:
    """Add a tile's open parts to a view of metal, its corner at a fractional sub-pixel."""
    row, column = math.floor(top), math.floor(left)
    down, right = np.float32(top - row), np.float32(left - column)
    for i, weight_i in ((0, 1 - down), (1, down)):
        for j, weight_j in ((0, 1 - right), (1, right)):
            weight = weight_i * weight_j
            if weight > 1e-9:
                _add(view, tile, row + i, column + j, weight, metal)


def _add(view: Map, tile: Map, row: int, column: int, weight: np.float32, metal: np.float32) -> None:
    """Add `weight` times the tile's excess over metal at a whole sub-pixel, cut to the view."""
    rows = slice(max(0, row), min(len(view), row + len(tile)))
    columns = slice(max(0, column), min(len(view), column + len(tile)))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = tile[rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]
        view[rows, columns] += weight * (part - metal)
