"""MaskBoard: which pattern lies where on the plate, in stage coordinates (mm).

Tiles lie in rows of `columns`, row 0 first; tile t carries ``pattern_index[t]``. The two
reference tiles, all open and all metal, have tile numbers of their own after the last pattern.
A stage position puts the centre of a tile into the beam.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, CxgiError
from .board_files import board_path, check_names, parse_value, read_words, write_words
from .pattern_set import PatternSet, check_index
from .speckle_set import SpeckleSet


@dataclass(frozen=True)
class Alignment:
    """How the plate sits on the stage: position of tile 0, rotation, scale, handedness.

    Attributes
    ----------
    x0_mm, y0_mm : float
        Stage position with tile 0 in the beam.
    rotation_deg : float
        Rotation of the plate's rows against the stage's x axis, counter-clockwise.
    scale : float
        Real tile pitch over nominal tile pitch.
    mirrored : bool
        True when the plate is mounted back to front (columns run towards -x).
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
        """Plate coordinates to stage coordinates, shape (2, 2)."""
        c, s = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        flip = -1.0 if self.mirrored else 1.0
        return self.scale * np.array([[c, -s], [s, c]]) @ np.diag([flip, 1.0])


# ---------------------------------------------------------------- the board


PATHS = ("order", "snake")  # of the stage over the board
Places = NDArray[np.float64]

NO_PATTERN = -1  # the pattern_index of a reference tile


@dataclass(frozen=True)
class MaskBoard:
    """A plate of Hadamard masks.

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
        Tiles in a row of the plate.
    pattern_index : tuple of int
        Pattern on each tile.
    open_tile, metal_tile : (int, int)
        Plate position (row, column) of the reference tiles.
    metal : str
        Material and thickness, for people.
    d_r : float
        Modulation depth ratio; T0 = 1 - d_r is the transmission of the metal.
    aperture_um : float
        Side of the limiting aperture around the object.
    alignment : Alignment
    fiducials : tuple of (int, int)
        Further all-open places (row, column) beside the patterns, alone in the metal, by which `align_board` finds
        how the plate lies; they have no tile numbers.

    Raises
    ------
    CxgiError
        If a value is impossible or two tiles share a place.
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
        self._check_places_beside_patterns()

    def _check_places_beside_patterns(self) -> None:
        fiducials = [(f"fiducial {number}", place) for number, place in enumerate(self.fiducials)]
        taken: dict[tuple[int, int], str] = {}
        for name, place in [("open_tile", self.open_tile), ("metal_tile", self.metal_tile), *fiducials]:
            row, column = place
            if 0 <= column < self.columns and row >= 0 and row * self.columns + column < len(self.pattern_index):
                raise ConfigError(f"{name} {place} lies on the tile of a pattern: give it a place beside them")
            if place in taken:
                raise ConfigError(f"{taken[place]} and {name} share the place {place}")
            taken[place] = name

    # ------------------------------------------------------------ numbers

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
    def tile_count(self) -> int:
        """All tiles, the two reference tiles included."""
        return self.pattern_count + 2

    @property
    def open_tile_number(self) -> int:
        """Tile number of the all-open reference tile."""
        return self.pattern_count

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

    def pattern_index_of(self, tile: int) -> int:
        """Pattern on a tile; -1 for a reference tile."""
        self._check_tile(tile)
        return self.pattern_index[tile] if tile < self.pattern_count else NO_PATTERN

    def tiles_along(self, pattern_set: PatternSet | SpeckleSet, path: str) -> list[int]:
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
        if path not in PATHS:
            raise ConfigError(f"path {path!r} is unknown: choose one of {', '.join(PATHS)}")
        tiles = [self.tile_of(k) for k in pattern_set.pattern_index]
        return tiles if path == "order" else sorted(tiles, key=self._place_in_snake)

    def _place_in_snake(self, tile: int) -> tuple[int, int]:
        row, column = divmod(tile, self.columns)
        return row, column if row % 2 == 0 else -column

    def _check_tile(self, tile: int) -> None:
        if not 0 <= tile < self.tile_count:
            raise ConfigError(f"tile {tile} is outside 0..{self.tile_count - 1} of board {self.name!r}")

    # ------------------------------------------------------------ places

    @cached_property
    def _places_mm(self) -> Places:
        """Stage position of every tile, shape (tile_count, 2)."""
        row, column = np.divmod(np.arange(self.pattern_count), self.columns)
        cells = np.concatenate([np.stack([column, row], axis=1), [self.open_tile[::-1]], [self.metal_tile[::-1]]])
        plate_mm = cells * self.tile_pitch_um / 1000
        return plate_mm @ self.alignment.matrix.T + [self.alignment.x0_mm, self.alignment.y0_mm]

    def place_mm(self, place: tuple[int, int]) -> tuple[float, float]:
        """Stage position (x, y) that puts the centre of a place (row, column) of the plate into the beam."""
        x, y = self.alignment.matrix @ self.on_board_mm(place) + [self.alignment.x0_mm, self.alignment.y0_mm]
        return float(x), float(y)

    def on_board_mm(self, place: tuple[int, int]) -> Places:
        """Centre (x, y) of a place (row, column) in plate coordinates: from tile 0, columns along x."""
        return np.array(place[::-1]) * self.tile_pitch_um / 1000

    def position_mm(self, tile: int) -> tuple[float, float]:
        """Stage position (x, y) that puts a tile's centre into the beam."""
        self._check_tile(tile)
        x, y = self._places_mm[tile]
        return float(x), float(y)

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
        distance = np.hypot(*(self._places_mm - [x_mm, y_mm]).T)
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
        return np.flatnonzero(self._reach_into(self._places_mm, x_mm, y_mm, reach_um)).tolist()

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
    def _fiducials_mm(self) -> Places:
        return np.array([self.place_mm(place) for place in self.fiducials]).reshape(-1, 2)

    def _reach_into(self, places_mm: Places, x_mm: float, y_mm: float, reach_um: float) -> NDArray[np.bool_]:
        offset = np.abs(places_mm - [x_mm, y_mm]) * 1000
        half_um = np.abs(self.alignment.matrix).sum(axis=1) * self.tile_um / 2
        return (offset < reach_um + half_um).all(axis=1)

    # ------------------------------------------------------------ files

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in the YAML file."""
        words = {f.name: getattr(self, f.name) for f in fields(self)}
        words["pattern_index"] = list(self.pattern_index)
        words["open_tile"], words["metal_tile"] = list(self.open_tile), list(self.metal_tile)
        words["alignment"] = {f.name: getattr(self.alignment, f.name) for f in fields(Alignment)}
        fiducials = [list(place) for place in words.pop("fiducials")]
        if fiducials:  # a board without them is the board it was before there were any
            words["fiducials"] = fiducials
        return words

    @cached_property
    def sha256(self) -> str:
        """Digest of everything the board says."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, words: Any) -> MaskBoard:
        """Build and check a board from plain values.

        ``pattern_index`` may be a list, or ``{order: zig-zag}`` for a full plate.
        """
        check_names(words, {f.name for f in fields(cls)})
        try:
            values = parse_value(words)
            return cls(**{**values, "alignment": Alignment(**values.get("alignment", {}))})
        except (TypeError, KeyError, ValueError) as error:
            if isinstance(error, CxgiError):
                raise
            raise ConfigError(f"board {words.get('name')!r}: {error}") from error

    @classmethod
    def from_yaml(cls, path: str | Path) -> MaskBoard:
        """Read a board file.

        Raises
        ------
        CxgiError
            If it cannot be read or says something impossible.
        """
        words = read_words(path)
        try:
            return cls.from_dict(words)
        except CxgiError as error:
            raise ConfigError(f"board file {path}: {error}") from error

    def to_yaml(self, path: str | Path) -> None:
        """Write a board file that `from_yaml` reads back to an equal board."""
        write_words(path, self.to_dict())


def load_board(name_or_path: str | Path) -> MaskBoard:
    """A shipped board by name, or any board by its YAML file."""
    return MaskBoard.from_yaml(board_path(name_or_path))
