"""Tiles one after another: what `mask_scan` and `reference_scan` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bluesky import Msg

from ..devices.stage import MaskStage, PositionError
from .exposing import Exposing, Reading, consequence
from .steps import Plan, move

_NO_TILES: Mapping[int, Sequence[int]] = {}


@dataclass(frozen=True)
class TilePlace:
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
        """Raise `PositionError` unless a reading of the stage is that of the tile; nothing read is nothing wrong."""
        stage = self.device
        reached = reading.get(stage.tile.name, {}).get("value", self.tile)
        distance_um = reading.get(stage.tile_distance_um.name, {}).get("value", 0.0)
        if reached != self.tile or not distance_um <= stage.in_position_um:
            raise PositionError(
                f"{stage.name} was sent to tile {self.tile} and is {distance_um:.1f} um from tile {reached} "
                f"(allowed: {stage.in_position_um:g} um): check the stage, {consequence(exposed)}"
            )


@dataclass(frozen=True)
class TileExposures:
    """Exposures of the tiles on a stage."""

    stage: MaskStage
    exposing: Exposing

    def of(self, tile: int, stream: str, count: int = 1) -> Plan:
        """So many exposures of one tile."""
        place = TilePlace(self.stage, tile)
        for _ in range(count):
            yield from self.exposing.at(place, stream)

    def along(
        self,
        tiles: Sequence[int],
        *,
        open_tile: int,
        open_exposures: int,
        open_every: int,
        validation_after: Mapping[int, Sequence[int]] = _NO_TILES,
    ) -> Plan:
        """Each tile once, the all-open tile before, after and in between.

        Parameters
        ----------
        tiles : sequence of int
            In the order of the scan (stream ``primary``).
        open_tile, open_exposures, open_every : int
            Stream ``open``: so many exposures before the first tile and after the last one, and one after every
            `open_every` tiles (0: none).
        validation_after : mapping of int to sequence of int
            Tiles to expose after the tile at a place of the scan (stream ``validation``).
        """
        yield from self.of(open_tile, "open", open_exposures)
        for done, tile in enumerate(tiles):
            if open_every and done and done % open_every == 0:
                yield from self.of(open_tile, "open")
            yield from self.of(tile, "primary")
            for judge in validation_after.get(done, ()):
                yield from self.of(judge, "validation")
        yield from self.of(open_tile, "open", open_exposures)
