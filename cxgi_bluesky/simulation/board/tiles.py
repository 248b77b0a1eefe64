"""Where the transmission of a tile comes from: its design, the etching model, or a measurement."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import asdict
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...masks.board import MaskBoard
from ...masks.tile_maps import FineTileMaps
from ...masks.transform import hadamard_matrix
from .cache import TileFile, from_levels, to_levels
from .drawing import DRAWING_VERSION, Design, draw_tile
from .etching import Defects

Map = NDArray[np.float32]

KEPT_TILES = 32  # in memory
MIN_T0 = 1e-6


class Tiles(Protocol):
    """The tiles of a board, drawn on sub-pixels."""

    board: MaskBoard
    subpixels: int
    as_mounted: bool  # already mirrored and turned as the beam sees them, else as on the board

    def part(self, tile: int, rows: slice, columns: slice) -> Map:
        """Transmission of some sub-pixels of a tile.

        Parameters
        ----------
        tile : int
            Its number on the board.
        rows, columns : slice
            Which sub-pixels of the tile.

        Returns
        -------
        ndarray, shape (rows, columns)
        """
        ...


def whole(tiles: Tiles, tile: int) -> Map:
    """Transmission of a tile, shape (size * subpixels,) * 2, read-only.

    Parameters
    ----------
    tiles : Tiles
        Of the board.
    tile : int
        Its number on the board.
    """
    side = slice(0, tiles.board.size * tiles.subpixels)
    transmission = tiles.part(tile, side, side)
    transmission.setflags(write=False)
    return transmission


def metal_transmission(board: MaskBoard) -> float:
    """T0, never quite 0."""
    return max(board.t0, MIN_T0)


def lines(board: MaskBoard, tile: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Rows and columns factor of a tile's pattern, each of shape (n,): +1 and -1; ``outer`` > 0 is open.

    Parameters
    ----------
    board : MaskBoard
    tile : int
        Its number on the board.
    """
    ones = np.ones(board.size, dtype=np.int8)
    if tile == board.open_tile_number:
        return ones, ones
    if tile == board.metal_tile_number:
        return -ones, ones
    row, column = divmod(board.pattern_index_of(tile), board.size)
    matrix = hadamard_matrix(board.size)
    return matrix[row], matrix[column]


class DesignedTiles:
    """Tiles as they were meant to be."""

    as_mounted = False

    def __init__(self, board: MaskBoard, subpixels: int) -> None:
        self.board, self.subpixels = board, subpixels

    def part(self, tile: int, rows: slice, columns: slice) -> Map:
        """1 where the tile is open, T0 where it is metal.

        Parameters
        ----------
        tile : int
            Its number on the board.
        rows, columns : slice
            Which sub-pixels of the tile.

        Returns
        -------
        ndarray, shape (rows, columns)
        """
        down, across = (line.repeat(self.subpixels) for line in lines(self.board, tile))
        is_open = np.multiply.outer(down[rows], across[columns]) > 0
        return np.where(is_open, np.float32(1), np.float32(metal_transmission(self.board)))


class EtchedTiles:
    """Tiles as etching left them, drawn once and kept on disk.

    All are rounded to the stored steps, so that it makes no difference where one comes from.
    """

    as_mounted = False

    def __init__(self, board: MaskBoard, subpixels: int, defects: Defects) -> None:
        self.board, self.subpixels, self.defects = board, subpixels, defects
        self._file = TileFile(self._key(), board.size * subpixels)
        self._kept: OrderedDict[int, Map] = OrderedDict()

    def _key(self) -> str:
        content = {
            "version": DRAWING_VERSION,
            "size": self.board.size,
            "pixel_um": self.board.pixel_um,
            "pattern_index": list(self.board.pattern_index),
            "t0": metal_transmission(self.board),
            "defects": asdict(self.defects),
            "subpixels": self.subpixels,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def part(self, tile: int, rows: slice, columns: slice) -> Map:
        """Of a tile that is not known yet, a strip is drawn alone.

        Parameters
        ----------
        tile : int
            Its number on the board.
        rows, columns : slice
            Which sub-pixels of the tile; both ends given.

        Returns
        -------
        ndarray, shape (rows, columns)
            Transmission, 0..1.
        """
        known = self._check_tile(tile)
        if known is None:
            cells = self.board.size * self.subpixels
            strip = (rows.stop - rows.start) * (columns.stop - columns.start) < cells**2 / 4
            if strip:
                return from_levels(to_levels(self._draw(tile, rows, columns)))
            levels = to_levels(self._draw(tile, slice(0, cells), slice(0, cells)))
            self._file.write(tile, levels)
            known = self._keep(tile, from_levels(levels))
        return known[rows, columns]

    def _draw(self, tile: int, rows: slice, columns: slice) -> Map:
        down, across = lines(self.board, tile)
        design = Design(
            tuple(down.tolist()), tuple(across.tolist()), self.board.pixel_um, metal_transmission(self.board)
        )
        return draw_tile(design, self.defects, tile, self.subpixels, rows=rows, columns=columns)

    def _check_tile(self, tile: int) -> Map | None:
        if tile in self._kept:
            self._kept.move_to_end(tile)
            return self._kept[tile]
        levels = self._file.read(tile)
        return None if levels is None else self._keep(tile, from_levels(levels))

    def _keep(self, tile: int, transmission: Map) -> Map:
        transmission.setflags(write=False)
        self._kept[tile] = transmission
        while len(self._kept) > KEPT_TILES:
            self._kept.popitem(last=False)
        return transmission


class MeasuredTiles:
    """Tiles as a camera saw them; the metal tile and all between the tiles is T0.

    Raises
    ------
    CxgiError
        If the maps do not fit the board, or their sub-pixels those asked for.
    """

    as_mounted = True

    def __init__(self, board: MaskBoard, subpixels: int, maps: FineTileMaps) -> None:
        maps.check_board(board)
        self.board, self.subpixels = board, subpixels
        self._maps = maps
        if subpixels % maps.subpixels and maps.subpixels % subpixels:
            raise ConfigError(
                f"tile maps have {maps.subpixels} sub-pixels per mask pixel, the twin {subpixels}: "
                "one must be a whole multiple of the other"
            )

    def part(self, tile: int, rows: slice, columns: slice) -> Map:
        """The tile's map on the simulation's sub-pixels.

        Parameters
        ----------
        tile : int
            Its number on the board.
        rows, columns : slice
            Which sub-pixels of the tile.

        Returns
        -------
        ndarray, shape (rows, columns)
            Transmission as it was measured.
        """
        return self._tile(tile)[rows, columns]

    def _tile(self, tile: int) -> Map:
        if tile == self.board.metal_tile_number:
            cells = self.board.size * self.subpixels
            return np.full((cells, cells), metal_transmission(self.board), dtype=np.float32)
        if tile == self.board.open_tile_number:
            fine = self._maps.open_tile()
        else:
            fine = self._maps.select([self.board.pattern_index_of(tile)])[0]
        if self.subpixels > self._maps.subpixels:
            factor = self.subpixels // self._maps.subpixels
            return fine.repeat(factor, axis=0).repeat(factor, axis=1)
        factor = self._maps.subpixels // self.subpixels
        side = len(fine) // factor
        averaged: Map = fine.reshape(side, factor, side, factor).mean(axis=(1, 3), dtype=np.float32)
        return averaged


@lru_cache(maxsize=4)
def tiles_of(
    board: MaskBoard, subpixels: int, defects: Defects | None = None, maps: FineTileMaps | None = None
) -> Tiles:
    """Tiles of a board: measured where there are maps, etched where there are defects, else as designed.

    Parameters
    ----------
    board : MaskBoard
    subpixels : int
        Sub-pixels per mask pixel and side.
    defects : Defects, optional
        What etching did to the board; none by default.
    maps : FineTileMaps, optional
        Measured transmission of its tiles; none by default.
    """
    if maps is not None:
        return MeasuredTiles(board, subpixels, maps)
    if defects is not None:
        return EtchedTiles(board, subpixels, defects)
    return DesignedTiles(board, subpixels)
