"""Transmission of one etched tile on sub-pixels.

A Hadamard pattern is the outer product of two lines of +1 and -1, so the Gaussian-smoothed design is
the exact sum of two products of one-dimensional profiles, each a sum of error functions. It is taken at
the cells of a grid fine enough for the side walls, made into a transmission there, and only then averaged
onto the sub-pixels asked for: a tile at 4 sub-pixels is the tile at 8, averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .etching import Defects

Map = NDArray[np.float32]
Line = NDArray[np.float64]

DRAWING_VERSION = 1  # part of the key of stored tiles: raise it when a tile comes out differently
WALL_CELLS = 1.6  # fine cells in the rms width of a wall
UPRIGHT = 1 / 40  # walls narrower than this part of a mask pixel are drawn upright
MIN_CELLS, MAX_CELLS = 8, 32  # fine cells per mask pixel
FIELD_LENGTH = 0.075  # tile widths; the field's correlation then falls to half at 1/8 on either side
FIELD_NODES = np.arange(-4, 21) / 16  # beyond the tile's rim, so that the field is the same kind everywhere
TAIL = 1e-6  # of the Gaussian: the smooth distance ends at 4.75 radii


@dataclass(frozen=True)
class Design:
    """What a tile was meant to be: pattern ``(1 + outer(rows, columns)) / 2``, metal all around."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    pixel_um: float
    t0: float

    @property
    def size(self) -> int:
        """Mask pixels per side."""
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one tile: the same whichever defects are switched on."""

    offset: float
    thickness: float
    nodes: Line

    @classmethod
    def from_seed(cls, seed: int, tile: int) -> Draws:
        """Draw those of a tile of a board.

        Parameters
        ----------
        seed : int
            Of the board (`Defects.seed`).
        tile : int
            Its number on the board.
        """
        rng = np.random.default_rng([seed, tile])
        offset, thickness = rng.normal(size=2)
        return cls(float(offset), float(thickness), rng.normal(size=(len(FIELD_NODES),) * 2))


def cells_per_pixel(defects: Defects, pixel_um: float, subpixels: int) -> int:
    """Fine cells per mask pixel: a multiple of the sub-pixels, enough for the walls.

    Parameters
    ----------
    defects : Defects
    pixel_um : float
        Size of a mask pixel (um).
    subpixels : int
        Sub-pixels per mask pixel and side.
    """
    needed = MIN_CELLS
    if _slope(defects, pixel_um):
        needed = max(needed, math.ceil(WALL_CELLS * pixel_um / defects.side_wall_um - 1e-9))
    return subpixels * math.ceil(min(needed, MAX_CELLS) / subpixels)


def _slope(defects: Defects, pixel_um: float) -> bool:
    return defects.side_wall_um >= UPRIGHT * pixel_um


def draw_tile(
    design: Design,
    defects: Defects,
    tile: int,
    subpixels: int,
    *,
    rows: slice | None = None,
    columns: slice | None = None,
    cells: int | None = None,
) -> Map:
    """Transmission of an etched tile.

    Parameters
    ----------
    design : Design
    defects : Defects
    tile : int
        Its number on the board: each tile has its own defects, the same in every exposure.
    subpixels : int
        Per mask pixel.
    rows, columns : slice, optional
        Draw these sub-pixels only.
    cells : int, optional
        Fine cells per mask pixel, a multiple of `subpixels`; by default `cells_per_pixel`.

    Returns
    -------
    ndarray, shape (size * subpixels,) * 2 or that of the window
        Averages over the sub-pixels, 0..1.
    """
    cells = cells or cells_per_pixel(defects, design.pixel_um, subpixels)
    whole = slice(0, design.size * subpixels)
    cell_um, factor = design.pixel_um / cells, cells // subpixels
    wall = _wall_cells(defects, design.pixel_um, cell_um)
    margin = math.ceil(4 * wall) + 2
    window = [_fine(part or whole, factor, margin) for part in (rows, columns)]
    draws = Draws.from_seed(defects.seed, tile)
    rounded = defects.corner_um > 0 and defects.reach_um < 4.5 * defects.corner_um
    measure = _smooth_distance_um if rounded else _far_distance_um
    distance = measure(design, defects.corner_um, window, cells)
    distance += defects.offset_um + defects.offset_rms_um * draws.offset
    if defects.offset_field_um > 0:
        distance += np.float32(defects.offset_field_um) * _field(draws.nodes, window, design.size * cells)
    metal = _share_of_metal(distance / np.float32(cell_um), steepest=np.inf if rounded else 1.0)
    transmission = _through(metal, wall, design.t0, 1 + defects.thickness_rms * draws.thickness)
    inner = transmission[margin:-margin, margin:-margin]
    down, across = (length // factor for length in inner.shape)
    averaged: Map = inner.reshape(down, factor, across, factor).mean(axis=(1, 3), dtype=np.float32)
    return averaged


def _fine(part: slice, factor: int, margin: int) -> range:
    """Fine cells of a slice of sub-pixels and of a margin around it."""
    return range(part.start * factor - margin, part.stop * factor + margin)


def _wall_cells(defects: Defects, pixel_um: float, cell_um: float) -> float:
    """Rms width of the walls in fine cells, less what a cell's own width adds; 0 for upright ones."""
    if not _slope(defects, pixel_um):
        return 0.0
    return math.sqrt(max((defects.side_wall_um / cell_um) ** 2 - 1 / 12, 0.05))


def _share_of_metal(distance: Map, steepest: float) -> Map:
    """Share of each cell on the metal's side of the edge, from the smooth distance in cells.

    Divided by its slope, because where features merge the smooth distance rises more slowly than the real one.
    """
    slope = np.ones_like(distance)
    down, across = distance[2:, 1:-1] - distance[:-2, 1:-1], distance[1:-1, 2:] - distance[1:-1, :-2]
    slope[1:-1, 1:-1] = np.sqrt(down * down + across * across) * np.float32(0.5)
    return np.clip(np.float32(0.5) - distance / np.clip(slope, np.float32(0.1), np.float32(steepest)), 0, 1)


def _through(metal: Map, wall: float, t0: float, thickness: float) -> Map:
    """Transmission of a share of metal: of its thickness behind sloped walls, of its area between upright ones."""
    from scipy.ndimage import gaussian_filter

    thickness = max(thickness, 0.0)
    if not wall:
        return 1 + metal * np.float32(t0**thickness - 1)
    sloped = gaussian_filter(metal, wall, truncate=4.0)
    return np.exp(sloped * np.float32(thickness * math.log(t0)))


def _smooth_distance_um(design: Design, radius_um: float, window: list[range], cells: int) -> Map:
    """Distance to the nearest edge (um), positive where the tile is open, rounded in the corners."""
    from scipy.special import ndtri

    down, across = (_profiles(part, design.size, cells, design.pixel_um / radius_um) for part in window)
    lines = [np.array([np.ones(design.size), line]) for line in (design.rows, design.columns)]
    vertical, horizontal = (
        profiles @ np.diff(line, prepend=0, append=0).T for profiles, line in zip((down, across), lines, strict=True)
    )
    smooth = (vertical.astype(np.float32) @ horizontal.astype(np.float32).T) * np.float32(0.5)
    np.clip(smooth, TAIL, 1 - TAIL, out=smooth)
    return np.float32(radius_um) * ndtri(smooth)


@lru_cache(maxsize=64)
def _profiles(part: range, size: int, cells: int, pixel_in_radii: float) -> Line:
    """Smoothed unit step at each of the size + 1 edges of the pixels, shape (len(part), size + 1)."""
    from scipy.special import ndtr

    position = (np.array(part) + 0.5) / cells
    steps: Line = ndtr((position[:, None] - np.arange(size + 1)) * pixel_in_radii)
    return steps


def _far_distance_um(design: Design, radius_um: float, window: list[range], cells: int) -> Map:
    """The same for sharp corners, or for offsets that leave the smooth distance's range.

    By a distance transform: exact along straight edges, to half a fine cell at corners.
    """
    from scipy.ndimage import distance_transform_edt

    side = range(min(p.start for p in window), max(p.stop for p in window))
    around = range(min(side.start, -1), max(side.stop, design.size * cells + 1))
    if radius_um > 0:
        opened = _smooth_distance_um(design, radius_um, [around, around], cells) > 0
    else:
        pixel = np.array(around) // cells
        inside = (pixel >= 0) & (pixel < design.size)
        rows, columns = (np.take(line, pixel, mode="clip") for line in (design.rows, design.columns))
        opened = np.multiply.outer(rows, columns) > 0
        opened &= np.multiply.outer(inside, inside)
    if not opened.any():
        distance = np.full(opened.shape, -np.inf)
    else:
        distance = np.where(opened, distance_transform_edt(opened) - 0.5, 0.5 - distance_transform_edt(~opened))
    down, across = (slice(p.start - around.start, p.stop - around.start) for p in window)
    return (distance[down, across] * (design.pixel_um / cells)).astype(np.float32)


def _field(nodes: Line, window: list[range], width: int) -> Map:
    """Random field of unit variance that varies over a quarter of the tile, a function of the position."""
    down, across = (_field_weights(part, width) for part in window)
    return (down @ nodes.astype(np.float32)) @ across.T


@lru_cache(maxsize=64)
def _field_weights(part: range, width: int) -> Map:
    position = (np.array(part) + 0.5) / width
    weights = np.exp(-((position[:, None] - FIELD_NODES) ** 2) / (2 * FIELD_LENGTH**2))
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
