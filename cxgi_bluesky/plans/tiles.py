"""Exposures of the tiles on a stage: each at its position, the all-open tile in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bluesky import Msg

from ..devices.stage import MaskStage, PositionError
from .exposure import Exposing, Reading, consequence
from .goal import Goal
from .stubs import Plan, move

_NO_TILES: Mapping[int, Sequence[int]] = {}


@dataclass(frozen=True)
class TilePosition:
    """A tile of the board on a stage."""

    device: MaskStage
    tile: int

    def reach(self) -> Plan:
        """Move to the tile and make sure that the stage is there."""
        yield from move(self.device.tile, self.tile)
        if not self.device.checks_arrival:
            reading = yield Msg("read", self.device)
            self.check(reading or {}, exposed=False)

    def check(self, reading: Reading, *, exposed: bool = True) -> None:
        """Raise `PositionError` unless a reading of the stage is of the tile; an empty one (a dry run) passes.

        Parameters
        ----------
        reading : mapping
            Of the stage, by data key; distance from the tile in um.
        exposed : bool, optional
            Whether something was exposed there, for the message (default True).
        """
        stage = self.device
        reached = reading.get(stage.tile.name, {}).get("value", self.tile)
        distance_um = reading.get(stage.tile_distance_um.name, {}).get("value", 0.0)
        if reached != self.tile or not distance_um <= stage.in_position_um:
            raise PositionError(
                f"{stage.name} was sent to tile {self.tile} and is {distance_um:.1f} um from tile {reached} "
                f"(allowed: {stage.in_position_um:g} um): check the stage, {consequence(exposed)}"
            )


@dataclass
class TileExposures:
    """Exposures of the tiles on a stage, the all-open tile among them.

    Attributes
    ----------
    stage, exposing
    open_tile : int
        Number of the all-open tile.
    open_every : int
        Patterns between two of its exposures (stream ``open``); 0: none.
    """

    stage: MaskStage
    exposing: Exposing
    open_tile: int
    open_every: int = 0

    def __post_init__(self) -> None:
        self._patterns = 0

    def expose_tile(self, tile: int, stream: str, count: int = 1) -> Plan:
        """Expose one tile a number of times.

        Parameters
        ----------
        tile : int
            Number of the tile.
        stream : str
            Event stream.
        count : int, optional
            Exposures (default 1).
        """
        position = TilePosition(self.stage, tile)
        for _ in range(count):
            yield from self.exposing.expose_at(position, stream)

    def expose_open(self, count: int, stream: str = "open") -> Plan:
        """Expose the all-open tile a number of times.

        Parameters
        ----------
        count : int
        stream : str, optional
            Event stream (default "open").
        """
        yield from self.expose_tile(self.open_tile, stream, count)

    def expose_pattern(self, tile: int) -> Plan:
        """Expose a tile (stream ``primary``), the all-open tile before it where it is due."""
        if self.open_every and self._patterns and self._patterns % self.open_every == 0:
            yield from self.expose_open(1)
        yield from self.expose_tile(tile, "primary")
        self._patterns += 1

    def expose_tiles(
        self,
        tiles: Sequence[int],
        *,
        open_exposures: int,
        validation_after: Mapping[int, Sequence[int]] = _NO_TILES,
        goal: Goal | None = None,
    ) -> Plan:
        """Expose each tile once, the all-open tile before, after and in between.

        Parameters
        ----------
        tiles : sequence of int
            In the order of the scan.
        open_exposures : int
            Exposures of the all-open tile before the first tile and after the last one.
        validation_after : mapping of int to sequence of int
            Validation tiles to expose after the tile with this index (0: the first).
        goal : Goal, optional
            What ends the scan before its last tile.

        Returns
        -------
        str or None
            Why it has ended before its last tile.
        """
        yield from self.expose_open(open_exposures)
        reached = None
        for done, tile in enumerate(tiles):
            yield from self.expose_pattern(tile)
            for validation_tile in validation_after.get(done, ()):
                yield from self.expose_tile(validation_tile, "validation")
            reached = goal.reached() if goal is not None and done + 1 < len(tiles) else None
            if reached is not None:
                break
        yield from self.expose_open(open_exposures)
        return reached
