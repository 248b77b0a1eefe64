"""Measured masks: what each tile of a board really transmits, pixel by pixel.

The file is HDF5 with a group ``/tile_maps``, or a folder of images; see docs/reference/files.md. `TileMaps` has
one number per mask pixel, for reconstruction; `FineTileMaps` has several, for the simulation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, CxgiError
from .board import MaskBoard
from .pattern_set import check_index
from .tile_map_files import read_folder, read_hdf5, write_hdf5
from .transform import check_size

Map = NDArray[np.float32]

MIN_TRANSMISSION, MAX_TRANSMISSION = -0.1, 1.25  # noise and illumination may carry a transmission a little beyond 0..1


class _Maps:
    """What maps of tiles have, whatever their pixels."""

    size: int
    subpixels: int
    pattern_index: NDArray[np.int64]
    maps: Map
    open_map: Map | None
    board_sha256: str | None

    def __post_init__(self) -> None:
        size = check_size(self.size)
        if self.subpixels < 1:
            raise ConfigError(f"{self.subpixels} sub-pixels per mask pixel: at least 1")
        cells = size * self.subpixels
        object.__setattr__(self, "pattern_index", check_index(self.pattern_index, size))
        maps = _as_map("tile maps", self.maps)
        if maps.shape != (len(self.pattern_index), cells, cells):
            raise ConfigError(
                f"tile maps of shape {maps.shape} for {len(self.pattern_index)} patterns of {cells} x {cells} values: "
                "give one map per pattern, and a whole number of values per mask pixel"
            )
        object.__setattr__(self, "maps", maps)
        if self.open_map is not None:
            opened = _as_map("map of the open tile", self.open_map)
            if opened.shape != (cells, cells):
                raise ConfigError(f"map of the open tile has shape {opened.shape}, the tiles {(cells, cells)}")
            object.__setattr__(self, "open_map", opened)

    @cached_property
    def sha256(self) -> str:
        """Digest of the maps and of what they belong to (the source apart)."""
        digest = hashlib.sha256(f"{self.size} {self.subpixels} {self.board_sha256}".encode())
        digest.update(self.pattern_index.astype("<i8").tobytes())
        for values in (self.maps, self.open_map):
            digest.update(b"none" if values is None else values.astype("<f4").tobytes())
        return digest.hexdigest()

    def select(self, pattern_index: ArrayLike) -> Map:
        """Maps of some patterns, shape (len, n * s, n * s) for s sub-pixels.

        Raises
        ------
        CxgiError
            Naming the first pattern that has no map.
        """
        asked = np.atleast_1d(np.asarray(pattern_index, dtype=np.int64))
        order = np.argsort(self.pattern_index)
        index = np.minimum(np.searchsorted(self.pattern_index, asked, sorter=order), len(order) - 1)
        found = order[index]
        missing = asked[self.pattern_index[found] != asked]
        if len(missing):
            raise ConfigError(
                f"no tile map of pattern_index {missing[0]} ({len(missing)} of {len(asked)} are missing): "
                "record the tiles of the whole pattern set"
            )
        chosen: Map = self.maps[found]
        return chosen

    def open_tile(self) -> Map:
        """Map of the all-open tile: its own, else that of pattern 0, else 1 everywhere."""
        if self.open_map is not None:
            return self.open_map
        if 0 in self.pattern_index:
            return self.select(0)[0]
        return np.ones(self.maps.shape[1:], dtype=np.float32)

    def check_board(self, board: MaskBoard) -> None:
        """Raise `CxgiError` unless the maps are of this board."""
        if self.size != board.size:
            raise ConfigError(f"tile maps have {self.size} pixels a side, board {board.name!r} has {board.size}")
        if self.board_sha256 is not None and self.board_sha256 != board.sha256:
            raise ConfigError(
                f"tile maps are of another board ({self.board_sha256[:12]}, here {board.sha256[:12]} of "
                f"{board.name!r}): give the board file that they were recorded with"
            )
        foreign = np.setdiff1d(self.pattern_index, board.pattern_index)
        if len(foreign):
            raise ConfigError(f"tile maps have pattern_index {foreign[0]}, which board {board.name!r} does not carry")

    def to_file(self, path: str | Path) -> None:
        """Write an HDF5 file that `from_file` reads back."""
        write_hdf5(Path(path), self)


@dataclass(frozen=True, eq=False)
class FineTileMaps(_Maps):
    """Transmission of tiles on `subpixels` x `subpixels` parts of each mask pixel.

    Attributes
    ----------
    size : int
        Mask pixels per side n.
    subpixels : int
        Parts per mask pixel and side s.
    pattern_index : ndarray of int64, shape (M,)
    maps : ndarray of float32, shape (M, n * s, n * s)
        Transmission of each tile as the beam sees it, the board as it is mounted; an open tile is 1, up to the
        illumination.
    open_map : ndarray of float32, shape (n * s, n * s), or None
        The same of the all-open reference tile.
    board_sha256 : str or None
        Digest of the board that carries the tiles.
    source : str
        Where the maps came from, for people.

    Raises
    ------
    CxgiError
        For shapes that do not fit, a repeated or impossible index, NaN, or values beyond -0.1 and 1.25.
    """

    size: int
    subpixels: int
    pattern_index: NDArray[np.int64]
    maps: Map
    open_map: Map | None
    board_sha256: str | None
    source: str

    def average(self) -> TileMaps:
        """The same on whole mask pixels."""
        opened = None if self.open_map is None else _average_blocks(self.open_map[None], self.subpixels)[0]
        maps = _average_blocks(self.maps, self.subpixels)
        return TileMaps(self.size, self.pattern_index, maps, opened, self.board_sha256, self.source)

    @classmethod
    def from_file(cls, path: str | Path, board: MaskBoard | None = None, *, size: int | None = None) -> FineTileMaps:
        """Read an HDF5 file or a folder of images.

        A folder holds images (.npy, .tiff, .png) called ``pattern_NUMBER`` or ``tile_NUMBER`` (which needs the
        board) and, if there is one, ``open``; all of the same shape, a whole multiple of n. With neither board nor
        size, each value of an image is a mask pixel.

        Parameters
        ----------
        path : str or Path
            The HDF5 file or the folder.
        board : MaskBoard, optional
            The board of the tiles, which the maps must fit; gives n for a folder.
        size : int, optional
            Mask pixels per side n: for a folder without a board; else it must be the size of the maps.

        Raises
        ------
        CxgiError
            If it cannot be read, holds no maps, or they do not fit the board.
        """
        path = Path(path)
        if path.is_dir():
            made = cls(**read_folder(path, board, size))
        else:
            content = read_hdf5(path)
            try:
                made = cls(**content)
            except CxgiError as error:
                raise ConfigError(f"{path}: {error}") from error
        if size not in (None, made.size):
            raise ConfigError(f"{path}: tile maps of {made.size} pixels a side, expected {size}: give others")
        if board is not None:
            made.check_board(board)
        return made


@dataclass(frozen=True, eq=False)
class TileMaps(_Maps):
    """Transmission of tiles averaged onto mask pixels.

    Attributes
    ----------
    size : int
        Mask pixels per side n.
    pattern_index : ndarray of int64, shape (M,)
    maps : ndarray of float32, shape (M, n, n)
        ``maps[i]`` is the tile with ``pattern_index[i]`` as the beam sees it, the board as it is mounted; an open
        tile is 1, up to the illumination.
    open_map : ndarray of float32, shape (n, n), or None
        The same of the all-open reference tile.
    board_sha256 : str or None
        Digest of the board that carries the tiles.
    source : str
        Where the maps came from, for people.

    Raises
    ------
    CxgiError
        For shapes that do not fit, a repeated or impossible index, NaN, or values beyond -0.1 and 1.25.
    """

    size: int
    pattern_index: NDArray[np.int64]
    maps: Map
    open_map: Map | None
    board_sha256: str | None
    source: str

    subpixels = 1

    def to_signed_masks(self, pattern_index: ArrayLike, d_r: float) -> Map:
        """Masks instead of the +-1 patterns: s_k = sum_xy W_k * image for the coefficients of a binary scan.

        W_k = (2 M_k - (1 + T0) O) / (1 - T0) and W_0 = O, with M_k the map of a tile and O `open_tile`, in units of
        O's mean: the reduction of binary buckets, applied to the masks.

        Parameters
        ----------
        pattern_index : array_like of int, shape (M,)
            Which patterns.
        d_r : float
            Modulation depth ratio of the masks, T0 = 1 - d_r.

        Returns
        -------
        ndarray of float32, shape (M, n, n)

        Raises
        ------
        CxgiError
            Naming the first pattern that has no map (pattern 0 needs none: it is the open tile).
        """
        index = np.asarray(pattern_index, dtype=np.int64).reshape(-1)
        others = index != 0
        opened = self.open_tile()
        level = np.float32(opened.mean())
        masks = np.empty((len(index), self.size, self.size), np.float32)
        masks[others] = (2 * self.select(index[others]) - np.float32(2 - d_r) * opened) / (np.float32(d_r) * level)
        masks[~others] = opened / level
        return masks

    @classmethod
    def from_file(cls, path: str | Path, board: MaskBoard | None = None, *, size: int | None = None) -> TileMaps:
        """Read an HDF5 file or a folder of images, averaged onto mask pixels; see `FineTileMaps.from_file`.

        Parameters
        ----------
        path : str or Path
            The HDF5 file or the folder.
        board : MaskBoard, optional
            The board of the tiles, which the maps must fit; gives n for a folder.
        size : int, optional
            Mask pixels per side n: for a folder without a board; else it must be the size of the maps.
        """
        return FineTileMaps.from_file(path, board, size=size).average()


def _as_map(name: str, values: Any) -> Map:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array is values or np.shares_memory(array, values):
        array = array.view()
    if not np.isfinite(array).all():
        raise ConfigError(f"{name} have {int((~np.isfinite(array)).sum())} values that are NaN or infinite: mend them")
    if array.size and (array.min() < MIN_TRANSMISSION or array.max() > MAX_TRANSMISSION):
        raise ConfigError(
            f"{name} span {array.min():.3g}..{array.max():.3g}, but a transmission lies within 0..1 "
            f"(up to noise: {MIN_TRANSMISSION}..{MAX_TRANSMISSION}): subtract the dark image and divide by the image "
            "of the open tile"
        )
    array.setflags(write=False)
    return array


def _average_blocks(maps: Map, factor: int) -> Map:
    count, side = len(maps), maps.shape[1] // factor
    averaged: Map = maps.reshape(count, side, factor, side, factor).mean(axis=(2, 4), dtype=np.float32)
    return averaged
