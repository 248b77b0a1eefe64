"""Tiles one after another: what `mask_scan` and `reference_scan` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..devices.diode import Diode
from ..devices.shutter import Shutter
from ..devices.stage import MaskStage
from .steps import Plan, expose

_NO_TILES: Mapping[int, Sequence[int]] = {}


@dataclass(frozen=True)
class TileExposures:
    """With what tiles are exposed, and for how long."""

    stage: MaskStage
    shutter: Shutter
    diode: Diode
    exposure_s: float

    def of(self, tile: int, stream: str, count: int = 1) -> Plan:
        """So many exposures of one tile."""
        for _ in range(count):
            yield from expose(self.stage, self.shutter, self.diode, tile, stream, self.exposure_s)

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
