"""MaskBoard: which pattern lies where on the board, in stage coordinates (mm); and what every board has.

Tiles lie in rows of `columns`, row 0 first; tile t carries ``pattern_index[t]``. The two
reference tiles, all open and all metal, have tile numbers of their own after the last pattern.
A stage position puts the centre of a tile into the beam.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files.yaml_file import read_yaml_file
from ..errors import ConfigError, CxgiError, check_choice
from .board_files import board_path, check_names, parse_values, to_yaml_text
from .pattern_set import PatternSet, check_index
from .speckle_set import AnyPatternSet


@dataclass(frozen=True)
class Alignment:
    """How the board sits on the stage: position of tile 0, rotation, scale, handedness.

    Attributes
    ----------
    x0_mm, y0_mm : float
        Stage position with tile 0 in the beam.
    rotation_deg : float
        Rotation of the board's rows against the stage's x axis, counter-clockwise.
    scale : float
        Real tile pitch over nominal tile pitch.
    mirrored : bool
        True when the board is mounted back to front (columns run towards -x).
    """

    x0_mm: float = 0.0
    y0_mm: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 1.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.x0_mm, self.y0_mm, self.rotation_deg, self.scale)):
            raise ConfigError(f"alignment {self} has a value that is not finite")
        if not 0.5 < self.scale < 2:
            raise ConfigError(f"alignment scale {self.scale} is not near 1: it is real pitch over nominal pitch")

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Board coordinates to stage coordinates, shape (2, 2)."""
        c, s = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        flip = -1.0 if self.mirrored else 1.0
        return self.scale * np.array([[c, -s], [s, c]]) @ np.diag([flip, 1.0])


# ---------------------------------------------------------------- every board


PATHS = ("order", "snake")  # of the stage over the board
Positions = NDArray[np.float64]

NO_PATTERN = -1  # the pattern_index of a reference tile


class TiledBoard(ABC):
    """Tiles at stage positions: the patterns first, then the reference tiles, the open one before any other."""

    name: str
    kind = "board"  # in messages
    reference_tiles = 2

    @property
    @abstractmethod
    def pattern_count(self) -> int:
        """Tiles that carry a pattern, numbered from 0."""

    @cached_property
    @abstractmethod
    def _positions_mm(self) -> Positions:
        """Stage position of every tile, shape (tile_count, 2)."""

    @abstractmethod
    def _pattern_index_of(self, tile: int) -> int:
        """Pattern on a tile that is no reference tile."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain values."""

    @property
    def mirrored(self) -> bool:
        """Whether the board is mounted back to front; speckle has no front."""
        return False

    @property
    def tile_count(self) -> int:
        """All tiles, the reference tiles included."""
        return self.pattern_count + self.reference_tiles

    @property
    def open_tile_number(self) -> int:
        """Tile number of the reference tile that passes all light."""
        return self.pattern_count

    def pattern_index_of(self, tile: int) -> int:
        """Pattern on a tile; -1 for a reference tile."""
        self._check_tile(tile)
        return self._pattern_index_of(tile) if tile < self.pattern_count else NO_PATTERN

    def position_mm(self, tile: int) -> tuple[float, float]:
        """Stage position (x, y) that puts a tile's centre into the beam."""
        self._check_tile(tile)
        x, y = self._positions_mm[tile]
        return float(x), float(y)

    def _check_tile(self, tile: int) -> None:
        if not 0 <= tile < self.tile_count:
            raise ConfigError(f"tile {tile} is outside 0..{self.tile_count - 1} of {self.kind} {self.name!r}")

    @cached_property
    def sha256(self) -> str:
        """Digest of all values of the board."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------- a board of masks


@dataclass(frozen=True)
class MaskBoard(TiledBoard):
    """A board of Hadamard masks.

    Attributes
    ----------
    name : str
    size : int
        Pixels per side n of a pattern.
    pixel_um : float
        Pixel pitch of the masks.
    tile_pitch_um : float
        Distance of neighbouring tiles' centres; at least the tile's size, the rest is a guard gap of metal.
    columns : int
        Tiles in a row of the board.
    pattern_index : tuple of int
        Pattern on each tile.
    open_tile, metal_tile : (int, int)
        Cell (row, column) of the reference tiles.
    metal : str
        Material and thickness, for people.
    d_r : float
        Modulation depth ratio; T0 = 1 - d_r is the transmission of the metal.
    aperture_um : float
        Side of the limiting aperture around the object.
    alignment : Alignment
    fiducials : tuple of (int, int)
        All-open cells (row, column) beside the patterns, alone in the metal, by which `align_board` finds the
        alignment; they have no tile numbers.

    Raises
    ------
    CxgiError
        If a value is impossible or two tiles share a cell.
    """

    name: str
    size: int
    pixel_um: float
    tile_pitch_um: float
    columns: int
    pattern_index: tuple[int, ...]
    open_tile: tuple[int, int]
    metal_tile: tuple[int, int]
    metal: str
    d_r: float
    aperture_um: float
    alignment: Alignment = field(default_factory=Alignment)
    fiducials: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_index(self.pattern_index, self.size)
        if not 0 < self.d_r <= 1:
            raise ConfigError(f"d_r {self.d_r} of board {self.name!r} is outside 0 < d_r <= 1")
        for name in ("pixel_um", "tile_pitch_um", "aperture_um"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} {getattr(self, name)} of board {self.name!r} is not a length in um")
        if self.tile_pitch_um < self.tile_um:
            raise ConfigError(f"tile_pitch_um {self.tile_pitch_um} is less than the tile itself ({self.tile_um} um)")
        if self.columns < 1:
            raise ConfigError(f"columns {self.columns} of board {self.name!r} must be at least 1")
        self._check_cells_beside_patterns()

    def __repr__(self) -> str:
        of_pixels = f"{len(self.pattern_index)} patterns of {self.size} x {self.size} pixels of {self.pixel_um:g} um"
        mirrored = ", mirrored" if self.mirrored else ""
        return f"MaskBoard({self.name!r}: {of_pixels}, {self.metal}, D_r {self.d_r:g}{mirrored})"

    def _check_cells_beside_patterns(self) -> None:
        fiducials = [(f"fiducial {number}", cell) for number, cell in enumerate(self.fiducials)]
        taken: dict[tuple[int, int], str] = {}
        for name, cell in [("open_tile", self.open_tile), ("metal_tile", self.metal_tile), *fiducials]:
            row, column = cell
            if 0 <= column < self.columns and row >= 0 and row * self.columns + column < len(self.pattern_index):
                raise ConfigError(f"{name} {cell} lies on the tile of a pattern: give it a place beside them")
            if cell in taken:
                raise ConfigError(f"{taken[cell]} and {name} share the place {cell}")
            taken[cell] = name

    # ------------------------------------------------------------ numbers

    @property
    def mirrored(self) -> bool:
        """Whether the board is mounted back to front."""
        return self.alignment.mirrored

    @property
    def t0(self) -> float:
        """Transmission of the metal, 1 - d_r."""
        return 1.0 - self.d_r

    @property
    def tile_um(self) -> float:
        """Side of a tile."""
        return self.size * self.pixel_um

    @property
    def pattern_count(self) -> int:
        """Tiles that carry a pattern, numbered from 0."""
        return len(self.pattern_index)

    @property
    def metal_tile_number(self) -> int:
        """Tile number of the all-metal reference tile."""
        return self.pattern_count + 1

    @cached_property
    def _tile_of(self) -> dict[int, int]:
        return {k: t for t, k in enumerate(self.pattern_index)}

    def tile_of(self, pattern_index: int) -> int:
        """Tile that carries a pattern.

        Raises
        ------
        CxgiError
            If the board does not carry it.
        """
        try:
            return self._tile_of[int(pattern_index)]
        except KeyError:
            raise ConfigError(
                f"board {self.name!r} has no tile with pattern_index {pattern_index} (it carries {self.pattern_count} "
                f"patterns of size {self.size}): choose another pattern set or board"
            ) from None

    def _pattern_index_of(self, tile: int) -> int:
        return self.pattern_index[tile]

    def tiles_along(self, pattern_set: AnyPatternSet, path: str) -> list[int]:
        """Tiles of a pattern set in the order of a scan.

        Parameters
        ----------
        pattern_set : PatternSet
            A speckle set belongs to a `SpeckleBoard`.
        path : {"order", "snake"}
            Most important patterns first, or along the rows of the board, to and fro.

        Raises
        ------
        CxgiError
            For an unknown path, or a pattern that the board does not carry.
        """
        if not isinstance(pattern_set, PatternSet):
            raise ConfigError(f"board {self.name!r} carries masks: recorded speckle belongs to a SpeckleBoard")
        check_choice("path", path, PATHS)
        tiles = [self.tile_of(k) for k in pattern_set.pattern_index]
        return tiles if path == "order" else self.in_snake(tiles)

    def in_snake(self, tiles: Iterable[int], near: int | None = None) -> list[int]:
        """Tiles along the rows of the board, to and fro: little travel.

        Parameters
        ----------
        tiles : iterable of int
        near : int, optional
            Tile on which the stage is: begin with the nearer end.
        """
        along = sorted(tiles, key=self._order_in_snake)
        if near is None or not along:
            return along
        first, last = (self.travel_mm([near, end]) for end in (along[0], along[-1]))
        return along if first <= last else along[::-1]

    def travel_mm(self, tiles: Sequence[int]) -> float:
        """Way of the stage from tile to tile (mm)."""
        return float(np.sum(np.hypot(*np.diff(self._positions_mm[list(tiles)], axis=0).T)))

    def _order_in_snake(self, tile: int) -> tuple[int, int]:
        row, column = divmod(tile, self.columns)
        return row, column if row % 2 == 0 else -column

    # ------------------------------------------------------------ positions

    @cached_property
    def _positions_mm(self) -> Positions:
        row, column = np.divmod(np.arange(self.pattern_count), self.columns)
        cells = np.concatenate([np.stack([column, row], axis=1), [self.open_tile[::-1]], [self.metal_tile[::-1]]])
        board_mm = cells * self.tile_pitch_um / 1000
        return board_mm @ self.alignment.matrix.T + [self.alignment.x0_mm, self.alignment.y0_mm]

    def place_mm(self, cell: tuple[int, int]) -> tuple[float, float]:
        """Stage position (x, y) that puts the centre of a cell (row, column) of the board into the beam."""
        x, y = self.alignment.matrix @ self.on_board_mm(cell) + [self.alignment.x0_mm, self.alignment.y0_mm]
        return float(x), float(y)

    def on_board_mm(self, cell: tuple[int, int]) -> Positions:
        """Centre (x, y) of a cell (row, column) in board coordinates: from tile 0, columns along x."""
        return np.array(cell[::-1]) * self.tile_pitch_um / 1000

    def nearest_tile(self, x_mm: float, y_mm: float) -> tuple[int, float]:
        """The tile nearest to a stage position and the distance to its centre (um).

        Parameters
        ----------
        x_mm, y_mm : float
            Stage position (mm).

        Returns
        -------
        tile : int
            Its number; reference tiles count too.
        distance_um : float
        """
        distance = np.hypot(*(self._positions_mm - [x_mm, y_mm]).T)
        tile = int(np.argmin(distance))
        return tile, float(distance[tile] * 1000)

    def tiles_within(self, x_mm: float, y_mm: float, reach_um: float) -> list[int]:
        """Tiles of which any part lies in a square view around a position.

        Parameters
        ----------
        x_mm, y_mm : float
            Stage position (mm).
        reach_um : float
            Half the side of the view (um).

        Returns
        -------
        list of int
            Their numbers; reference tiles count too.
        """
        return np.flatnonzero(self._reach_into(self._positions_mm, x_mm, y_mm, reach_um)).tolist()

    def fiducials_within(self, x_mm: float, y_mm: float, reach_um: float) -> list[list[float]]:
        """Stage positions [x, y] of the fiducials of which any part lies in such a view.

        Parameters
        ----------
        x_mm, y_mm : float
            Stage position (mm).
        reach_um : float
            Half the side of the view (um).

        Returns
        -------
        list of [float, float]
            In mm.
        """
        return self._fiducials_mm[self._reach_into(self._fiducials_mm, x_mm, y_mm, reach_um)].tolist()

    @cached_property
    def _fiducials_mm(self) -> Positions:
        return np.array([self.place_mm(cell) for cell in self.fiducials]).reshape(-1, 2)

    def _reach_into(self, positions_mm: Positions, x_mm: float, y_mm: float, reach_um: float) -> NDArray[np.bool_]:
        offset = np.abs(positions_mm - [x_mm, y_mm]) * 1000
        half_um = np.abs(self.alignment.matrix).sum(axis=1) * self.tile_um / 2
        return (offset < reach_um + half_um).all(axis=1)

    # ------------------------------------------------------------ files

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in the YAML file."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["pattern_index"] = list(self.pattern_index)
        values["open_tile"], values["metal_tile"] = list(self.open_tile), list(self.metal_tile)
        values["alignment"] = {f.name: getattr(self.alignment, f.name) for f in fields(Alignment)}
        fiducials = [list(cell) for cell in values.pop("fiducials")]
        if fiducials:  # a board without them is the board it was before there were any
            values["fiducials"] = fiducials
        return values

    @classmethod
    def from_dict(cls, data: Any) -> MaskBoard:
        """Build and check a board from plain values.

        ``pattern_index`` may be a list, or ``{order: zig-zag}`` for a full board.
        """
        check_names(data, {f.name for f in fields(cls)})
        try:
            values = parse_values(data)
            return cls(**{**values, "alignment": Alignment(**values.get("alignment", {}))})
        except (TypeError, KeyError, ValueError) as error:
            if isinstance(error, CxgiError):
                raise
            raise ConfigError(f"board {data.get('name')!r}: {error}") from error

    @classmethod
    def from_yaml(cls, path: str | Path) -> MaskBoard:
        """Read a board file.

        Raises
        ------
        CxgiError
            If it cannot be read or a value is impossible.
        """
        data = read_yaml_file(path, "board file")
        try:
            return cls.from_dict(data)
        except CxgiError as error:
            raise ConfigError(f"board file {path}: {error}") from error

    def to_yaml(self, path: str | Path) -> None:
        """Write a board file that `from_yaml` reads back to an equal board."""
        Path(path).write_text(to_yaml_text(self.to_dict()), encoding="utf-8")


def load_board(name_or_path: str | Path) -> MaskBoard:
    """A shipped board by name, or any board by its YAML file."""
    return MaskBoard.from_yaml(board_path(name_or_path))
