"""SpeckleBoard: a sheet of sandpaper on the stage, as a board of positions instead of tiles.

Tile t is the t-th position, to and fro along the rows:
for random patterns every order is as good as any other, so they are numbered along the shortest way.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ConfigError, check_choice
from .board import PATHS, MaskBoard, Positions, TiledBoard
from .speckle_set import AnyPatternSet, SpeckleSet


@dataclass(frozen=True)
class SpeckleBoard(TiledBoard):
    """Positions of the stage over random speckle; pattern_index is the number of the position.

    The reference tile is a position beside the sheet: all light, no speckle.

    Parameters
    ----------
    name : str
    size : (int, int)
        Rows and columns of the image.
    pixel_um : float
        Pixel pitch at the object.
    step_um : float
        Distance between neighbouring positions; more than a grain, or neighbouring patterns share their speckle.
    count : int
        Positions.
    columns : int
        Positions in a row.
    x0_mm, y0_mm : float
        Stage position of position 0.
    beside_mm : float
        How far before position 0, along x, the beam passes beside the sheet.

    Raises
    ------
    CxgiError
        For impossible numbers.
    """

    name: str
    size: tuple[int, int]
    pixel_um: float
    step_um: float
    count: int
    columns: int
    x0_mm: float = 0.0
    y0_mm: float = 0.0
    beside_mm: float = 20.0

    kind = "speckle board"
    reference_tiles = 1
    d_r = None  # there is no metal; null in the start document
    metal = "sandpaper"

    def __post_init__(self) -> None:
        for name in ("pixel_um", "step_um", "beside_mm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} {value} of speckle board {self.name!r} is no length")
        if len(self.size) != 2 or min(*self.size, self.count, self.columns) < 1:
            raise ConfigError(
                f"speckle board {self.name!r}: {self.count} positions in rows of {self.columns}, size {self.size}: "
                "give at least 1 of each, and size = (rows, columns)"
            )

    # ------------------------------------------------------------ numbers

    @property
    def pattern_index(self) -> tuple[int, ...]:
        """Pattern of each position."""
        return tuple(range(self.count))

    @property
    def pattern_count(self) -> int:
        """Positions over the sheet."""
        return self.count

    @property
    def rows(self) -> int:
        """Rows of positions; the last one may be shorter."""
        return -(-self.count // self.columns)

    def tile_of(self, pattern_index: int) -> int:
        """Position of a pattern.

        Raises
        ------
        CxgiError
            If the board does not have it.
        """
        if not 0 <= pattern_index < self.count:
            raise ConfigError(
                f"speckle board {self.name!r} has no position {pattern_index}: it has 0..{self.count - 1}"
            )
        return int(pattern_index)

    def _pattern_index_of(self, tile: int) -> int:
        return tile

    def tiles_along(self, pattern_set: AnyPatternSet, path: str) -> list[int]:
        """Positions of a recorded set in the order of a scan; both paths are the same.

        Parameters
        ----------
        pattern_set : SpeckleSet
            Recorded at these positions; a `PatternSet` is refused.
        path : {"order", "snake"}
            As `MaskBoard.tiles_along` takes it.

        Returns
        -------
        list of int
            Numbers of the positions.

        Raises
        ------
        CxgiError
            If the set was not recorded at these positions, or for an unknown path.
        """
        check_choice("path", path, PATHS)
        if not isinstance(pattern_set, SpeckleSet):
            raise ConfigError(f"speckle board {self.name!r} needs recorded patterns (SpeckleSet), not {pattern_set!r}")
        if pattern_set.board_sha256 not in (None, self.sha256):
            raise ConfigError(
                f"the patterns of {pattern_set.path.name} were recorded at the positions of another board "
                f"({str(pattern_set.board_sha256)[:12]}) than {self.name!r} ({self.sha256[:12]}): record them again"
            )
        return [self.tile_of(k) for k in pattern_set.pattern_index.tolist()]

    # ------------------------------------------------------------ positions

    @cached_property
    def _positions_mm(self) -> Positions:
        row, along = np.divmod(np.arange(self.count), self.columns)
        column = np.where(row % 2 == 0, along, self.columns - 1 - along)
        positions = np.stack([column, row], axis=1) * self.step_um / 1000
        origin = np.array([self.x0_mm, self.y0_mm])
        return origin + np.concatenate([positions, [[-self.beside_mm, 0.0]]])

    def nearest_tile(self, x_mm: float, y_mm: float) -> tuple[int, float]:
        """The tile nearest to a stage position and the distance to it (um); asked for at each exposure.

        Parameters
        ----------
        x_mm, y_mm : float
            Stage position (mm).

        Returns
        -------
        tile : int
            Its number; the reference counts too.
        distance_um : float
        """
        row = min(max(round((y_mm - self.y0_mm) * 1000 / self.step_um), 0), self.rows - 1)
        column = min(max(round((x_mm - self.x0_mm) * 1000 / self.step_um), 0), self.columns - 1)
        tile = row * self.columns + (column if row % 2 == 0 else self.columns - 1 - column)
        if tile >= self.count:  # the end of a row that is not full
            tile = int(np.argmin(np.hypot(*(self._positions_mm - [x_mm, y_mm]).T)))
        return min(((t, self._distance_um(t, x_mm, y_mm)) for t in (tile, self.count)), key=lambda found: found[1])

    def _distance_um(self, tile: int, x_mm: float, y_mm: float) -> float:
        x, y = self._positions_mm[tile]
        return math.hypot(x - x_mm, y - y_mm) * 1000

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "size": list(self.size)}


Board = MaskBoard | SpeckleBoard
