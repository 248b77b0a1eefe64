"""Where a fiducial lies, from a few exposures on a grid as wide as a tile: the board's lay-out is fitted to them.

A tile of side w seen through an aperture of side a passes, along each axis, max(0, min(a, w, (a + w) / 2 - |offset|)):
light changes linearly with the offset, so that a grid of one tile's step sees every position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError
from ...masks.board import Alignment, MaskBoard

Array = NDArray[np.float64]

CELLS = 16  # of the drawn lay-out, per pitch
STEPS = (1 / 8, 1 / 64)  # of the offsets tried, in pitches: everywhere, then around the best
MIN_SHARE = 0.8  # of the readings' power that the lay-out explains
MIN_CONTRAST = 0.5  # of the board's D_r
MIN_SIGMA = 8.0


@dataclass(frozen=True)
class Match:
    """Where a fiducial lies beside its predicted position.

    Attributes
    ----------
    offset_um : (float, float)
        Along x and y of the stage.
    share : float
        Of the readings' power that the lay-out explains.
    contrast : float
        1 - metal / open of the fit.
    """

    offset_um: tuple[float, float]
    share: float
    contrast: float


def search_grid_um(board: MaskBoard, reach: int) -> Array:
    """Offsets from the predicted position, to and fro.

    Parameters
    ----------
    board : MaskBoard
        The side of its tiles is the step.
    reach : int
        Steps to each side.

    Returns
    -------
    ndarray, shape ((2 * reach + 1)**2, 2)
        Along x and y of the stage (um).
    """
    steps = np.arange(-reach, reach + 1) * board.tile_um
    rows = [[(x, y) for x in (steps if row % 2 == 0 else steps[::-1])] for row, y in enumerate(steps)]
    return np.array(rows).reshape(-1, 2)


def overlap_share(offset_um: Array, tile_um: float, aperture_um: float) -> Array:
    """Share of an aperture that an open tile covers along one axis.

    Parameters
    ----------
    offset_um : ndarray, any shape
        From the tile's centre to the aperture's (um).
    tile_um, aperture_um : float
        Side of each (um).

    Returns
    -------
    ndarray, shape of `offset_um`
        0..1.
    """
    covered = np.clip((tile_um + aperture_um) / 2 - np.abs(offset_um), 0, min(tile_um, aperture_um))
    return covered / aperture_um


def match(
    board: MaskBoard, landmark: tuple[int, int], lies: Alignment, grid_um: Array, value: Array, sigma: Array
) -> Match | None:
    """Find a fiducial in readings around its predicted position.

    Parameters
    ----------
    board : MaskBoard
    landmark : (int, int)
        Its cell on the board.
    lies : Alignment
        That predicted the position.
    grid_um : ndarray, shape (n, 2)
        Where was read, from the predicted position, in stage coordinates.
    value, sigma : ndarray, shape (n,)
        Readings without the dark.

    Returns
    -------
    Match or None
        None where the readings do not show the fiducial among its neighbours.
    """
    usable = np.isfinite(value)
    if usable.sum() < 5 or np.ptp(value[usable]) == 0:
        return None
    grid_um, value = grid_um[usable], value[usable]
    reach_um = float(np.abs(grid_um).max())
    layout = _Layout(board, landmark, 2 * reach_um + board.tile_pitch_um)
    to_board = np.linalg.inv(lies.matrix)
    centre, step_um = np.zeros(2), 0.0
    for share_of_pitch in STEPS:
        half_um = reach_um if step_um == 0 else step_um
        step_um = share_of_pitch * board.tile_pitch_um
        # Beyond the grid only one row is lit, which does not separate nearer from dimmer.
        tried = np.clip(_lattice(centre, half_um, step_um), -reach_um, reach_um)
        light = layout.interpolate((grid_um[None] - tried[:, None]) @ to_board.T)
        slope, metal, share = _fit(light, value)
        best = int(np.argmax(np.where(slope > 0, share, -1)))
        centre = tried[best]
    height, floor, explained = slope[best], metal[best], share[best]
    noise = float(np.median(sigma[np.isfinite(sigma)])) if np.isfinite(sigma).any() else 0.0
    contrast = height / (height + floor) if height + floor > 0 else 0.0
    if explained < MIN_SHARE or contrast < MIN_CONTRAST * board.d_r or height < MIN_SIGMA * noise:
        return None
    return Match((float(centre[0]), float(centre[1])), float(explained), float(contrast))


def _lattice(centre: Array, half_um: float, step_um: float) -> Array:
    steps = np.arange(-half_um, half_um + step_um / 2, step_um)
    x, y = np.meshgrid(steps, steps)
    return centre + np.stack([x.ravel(), y.ravel()], axis=1)


def _fit(light: Array, value: Array) -> tuple[Array, Array, Array]:
    """Slope, value in the metal, and explained share of a straight line through (light, value), for each row."""
    mean, centred = light.mean(axis=1), value - value.mean()
    away = light - mean[:, None]
    power = (away**2).sum(axis=1)
    slope = np.divide(away @ centred, power, out=np.zeros(len(light)), where=power > 1e-9)
    return slope, value.mean() - slope * mean, slope**2 * power / (centred @ centred)


class _Layout:
    """Light behind the aperture, all open = 1 and metal = 0, around a cell of the board."""

    def __init__(self, board: MaskBoard, landmark: tuple[int, int], reach_um: float) -> None:
        pitch = board.tile_pitch_um
        self._cell_um = pitch / CELLS
        self._half = int(np.ceil(reach_um / self._cell_um))
        along = np.arange(-self._half, self._half + 1, dtype=np.float64) * self._cell_um
        self._light = np.zeros((len(along), len(along)))
        far = int(np.ceil((reach_um + board.tile_um + board.aperture_um) / pitch))
        fills = _fills(board)
        for row in range(landmark[0] - far, landmark[0] + far + 1):
            for column in range(landmark[1] - far, landmark[1] + far + 1):
                fill = fills(row, column)
                if fill:
                    down, across = (
                        overlap_share(along - (there - here) * pitch, board.tile_um, board.aperture_um)
                        for there, here in zip((row, column), landmark, strict=True)
                    )
                    self._light += fill * np.multiply.outer(down, across)

    def interpolate(self, board_um: Array) -> Array:
        """Light at positions (x, y) from the landmark, in board coordinates; shape (..., 2) to (...)."""
        from scipy.ndimage import map_coordinates

        cells = board_um[..., ::-1] / self._cell_um + self._half
        return map_coordinates(self._light, np.moveaxis(cells, -1, 0), order=1, mode="nearest")


def _fills(board: MaskBoard) -> Callable[[int, int], float]:
    """Open share of the tile in a cell."""
    whole = {board.open_tile, *board.fiducials}

    def fill(row: int, column: int) -> float:
        if (row, column) in whole:
            return 1.0
        tile = row * board.columns + column
        if not (0 <= column < board.columns and 0 <= tile < board.pattern_count):
            return 0.0
        return 1.0 if board.pattern_index[tile] == 0 else 0.5

    return fill


# ---------------------------------------------------------------- orientation


MIN_LANDMARKS = 3
ALONE_TILES = 3  # an edge profile must see nothing but its own fiducial
MIN_SPREAD = 1e-3  # of the shorter extent over the longer one, below which the fiducials lie on a line

Cell = tuple[int, int]


def landmarks_of(board: MaskBoard) -> tuple[Cell, ...]:
    """The board's fiducials, if a board can be aligned by them.

    Raises
    ------
    CxgiError
        For fewer than three, for fiducials on a line (which do not fix the handedness), or for one that has
        anything else but metal within two cells.
    """
    cells = board.fiducials
    if len(cells) < MIN_LANDMARKS:
        raise MeasurementError(
            f"board {board.name!r} has {len(cells)} fiducials, alignment needs {MIN_LANDMARKS} or more: "
            "name all-open places of the plate in its file, fiducials: [[row, column], ...]"
        )
    extent = np.linalg.svd(np.array(cells, dtype=float) - np.mean(cells, axis=0), compute_uv=False)
    if extent[1] < MIN_SPREAD * extent[0]:
        raise MeasurementError(f"the fiducials of board {board.name!r} lie on a line: give one beside it")
    open_cells = [divmod(tile, board.columns) for tile in range(board.pattern_count)]
    others = np.array([*open_cells, board.open_tile, *cells])
    for cell in cells:
        near = (np.abs(others - cell).max(axis=1) < ALONE_TILES).sum()
        if near > 1:  # itself
            raise MeasurementError(
                f"fiducial {cell} of board {board.name!r} is not alone: within {ALONE_TILES - 1} places of it there "
                "must be nothing but metal"
            )
    return cells


def orientations(board: MaskBoard) -> dict[str, Alignment]:
    """Alignments to try: as in the file, turned back to front where it lies, and back to front about tile 0."""
    in_file = board.alignment
    turned = replace(in_file, mirrored=not in_file.mirrored)
    across_mm = in_file.matrix @ [(board.columns - 1) * board.tile_pitch_um / 1000, 0.0]
    in_place = replace(turned, x0_mm=in_file.x0_mm + float(across_mm[0]), y0_mm=in_file.y0_mm + float(across_mm[1]))
    return {"as in the file": in_file, "back to front": in_place, "back to front about tile 0": turned}
