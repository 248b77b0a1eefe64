"""The transmission of a board's tiles, drawn for one look."""

from __future__ import annotations

from cxgi_bluesky.masks.board import MaskBoard
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.board.mask import Map, view
from cxgi_bluesky.simulation.board.tiles import tiles_of, whole


def tile_transmission(board: MaskBoard, tile: int, subpixels: int, defects: Defects | None = None) -> Map:
    """One tile as on the board, neither mirrored nor turned."""
    return whole(tiles_of(board, subpixels, defects), tile)


def view_transmission(
    board: MaskBoard, x_mm: float, y_mm: float, cells: int, subpixels: int, defects: Defects | None = None
) -> Map:
    """The board in a square view."""
    return view(tiles_of(board, subpixels, defects), x_mm, y_mm, cells)
