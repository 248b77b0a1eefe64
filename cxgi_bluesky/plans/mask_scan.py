"""mask_scan: raster the patterns of a set, one exposure per tile; hadamard_scan is its name for Hadamard masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import bluesky.plan_stubs as bps
import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator

from ..devices.diode import Diode
from ..devices.object_stage import IN, OUT, ObjectStage
from ..devices.shutter import Shutter
from ..devices.stage import MaskStage, PositionError
from ..errors import ScanError
from ..masks.speckle_board import Board
from ..masks.speckle_set import AnyPatternSet
from .arguments import GivenBoard, GivenPatterns, for_queues, rebuild_patterns
from .exposure import MAX_REPEATS, Exposing, ExposureLimits, Reading, consequence
from .metadata import board_on, check_counts, check_raster, mask_board_on, start_metadata
from .stubs import Plan, move, move_object, read_darks, safe_run, with_object

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


@dataclass(frozen=True)
class TileExposures:
    """Exposures of the tiles on a stage."""

    stage: MaskStage
    exposing: Exposing

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

    def expose_tiles(
        self,
        tiles: Sequence[int],
        *,
        open_tile: int,
        open_exposures: int,
        open_every: int,
        validation_after: Mapping[int, Sequence[int]] = _NO_TILES,
    ) -> Plan:
        """Expose each tile once, the all-open tile before, after and in between.

        Parameters
        ----------
        tiles : sequence of int
            In the order of the scan (stream ``primary``).
        open_tile, open_exposures, open_every : int
            Stream ``open``: so many exposures before the first tile and after the last one, and one after every
            `open_every` tiles (0: none).
        validation_after : mapping of int to sequence of int
            Validation tiles to expose after the tile with this index (0: the first).
        """
        yield from self.expose_tile(open_tile, "open", open_exposures)
        for done, tile in enumerate(tiles):
            if open_every and done and done % open_every == 0:
                yield from self.expose_tile(open_tile, "open")
            yield from self.expose_tile(tile, "primary")
            for held_back in validation_after.get(done, ()):
                yield from self.expose_tile(held_back, "validation")
        yield from self.expose_tile(open_tile, "open", open_exposures)


# ---------------------------------------------------------------- the scan


NO_TILE = -1


@for_queues
def mask_scan(
    stage: MaskStage,
    shutter: Shutter,
    diode: Diode,
    *,
    board: GivenBoard = None,
    pattern_set: GivenPatterns,
    exposure_s: float,
    path: Literal["order", "snake"] = "order",
    open_exposures: int = 4,
    open_every: int = 64,
    dark_exposures: int = 4,
    incident_exposures: int = 4,
    metal_exposures: int = 0,
    validation: int = 0,
    validation_seed: int = 0,
    reference_uid: str | None = None,
    dark_uid: str | None = None,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectStage | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Measure one image: one exposure for each pattern of the set, one event each.

    The same for the masks of a `MaskBoard` and the random speckle of a `SpeckleBoard`, whose "all-open
    tile" is the position beside the sheet.

    Before the first tile and after the last one, and after every `open_every` tiles in between,
    the all-open tile is exposed (stream ``open``): it gives b_0 and the drift. With an
    `object_stage`, the all-open tile is also exposed with the object out (stream ``incident``),
    which makes the image a transmission. However the plan ends, the shutter is closed and the
    object is back in.

    Parameters
    ----------
    stage : MaskStage
        Mask stage.
    shutter : Shutter
        Beam shutter.
    diode : Diode
        Bucket detector.
    board : MaskBoard, SpeckleBoard or str, optional
        The board on the stage, or its name or file; another one is refused. By default the one on the stage.
    pattern_set : PatternSet, SpeckleSet or dict
        What to measure, or the dict that it makes of itself (basis, size, order, count); speckle patterns were
        recorded before (`record_speckles`).
    exposure_s : float
        Exposure time per tile (s).
    path : {"order", "snake"}
        "order": most important patterns first, a scan cut short is still an image;
        "snake": along the rows of the board, least travel.
    open_exposures : int
        Exposures of the all-open tile before the first tile, and after the last one.
    open_every : int
        Tiles between two exposures of the all-open tile in the scan (0: none).
    dark_exposures : int
        Readings with the shutter closed, before the scan.
    incident_exposures : int
        Exposures of the all-open tile with the object out, where there is an `object_stage`.
    metal_exposures : int
        Exposures of the all-metal tile (stream ``metal``): the modulation depth ratio D_r as measured, to compare with
        the board file. The object is out where there are incident exposures, else in, as for the open tile that they
        are compared with.
    validation : int
        So many patterns outside the set, drawn at random and spread over the scan, are measured too (stream
        ``validation``). No image is made from them: they test whether what an image shows beyond the measured
        patterns is true.
    validation_seed : int
        Seed with which the validation patterns are drawn.
    reference_uid : str, optional
        Run of `reference_scan` that belongs to this image; its reconstructions use it.
    dark_uid : str, optional
        Run of `dark_scan` that belongs to this image; its reconstructions use it.
    max_repeats : int
        How often an exposure that failed its checks (position, overload, no number, incident intensity) is made again;
        what has failed is stored in the stream ``failed``, with the reason.
    max_open_s : float, optional
        Exposure budget: longest total time with the shutter open (s). The scan ends cleanly before an exposure
        that would exceed it.
    object_stage : ObjectStage, optional
        What moves the object.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves: when the board lacks a pattern, is not the stage's, or a number is
        impossible.
    """
    arguments: dict[str, Any] = {
        "exposure_s": exposure_s,
        "path": path,
        "open_exposures": open_exposures,
        "open_every": open_every,
        "dark_exposures": dark_exposures,
        "incident_exposures": incident_exposures,
        "metal_exposures": metal_exposures,
        "validation": validation,
        "validation_seed": validation_seed,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    patterns = rebuild_patterns(pattern_set)
    work = plan_tiles(board_on(stage, board), patterns, arguments)
    links = {"reference_uid": reference_uid, "dark_uid": dark_uid}
    return (yield from raster(stage, shutter, diode, work, f"{patterns.basis}_scan", links, object_stage, md))


hadamard_scan = mask_scan  # earlier name; runs are stored under it, or as speckle_scan


@dataclass(frozen=True, eq=False)
class Work:
    """Tiles and settings of one scan.

    Attributes
    ----------
    board : MaskBoard or SpeckleBoard
    pattern_set : PatternSet or SpeckleSet
    arguments : dict
        Those of `mask_scan`, by their names.
    tiles : list of int
        In the order of the scan.
    validation_tiles : list of int
        Tiles of the validation patterns, to be spread over the scan.
    """

    board: Board
    pattern_set: AnyPatternSet
    arguments: dict[str, Any]
    tiles: list[int]
    validation_tiles: list[int]

    @property
    def limits(self) -> ExposureLimits:
        """What the scan may do to the sample."""
        return ExposureLimits(self.arguments["max_repeats"], self.arguments["max_open_s"])


def plan_tiles(board: Board, pattern_set: AnyPatternSet, arguments: dict[str, Any]) -> Work:
    """The whole work of a scan with some arguments; `CxgiError` for what is impossible.

    Parameters
    ----------
    board : MaskBoard or SpeckleBoard
    pattern_set : PatternSet or SpeckleSet
        What to measure.
    arguments : dict
        Those of `mask_scan`, by their names.
    """
    check_raster(board, pattern_set, arguments)
    check_counts(validation=arguments["validation"])
    validation_tiles = _validation_tiles(board, pattern_set, arguments["validation"], arguments["validation_seed"])
    work = Work(board, pattern_set, arguments, board.tiles_along(pattern_set, arguments["path"]), validation_tiles)
    return work


def raster(
    stage: MaskStage,
    shutter: Shutter,
    diode: Diode,
    work: Work,
    plan_name: str,
    links: dict[str, str | None],
    object_stage: ObjectStage | None,
    md: dict[str, Any] | None,
) -> Plan:
    """Expose the tiles of some work in one run.

    Parameters
    ----------
    stage : MaskStage
    shutter : Shutter
    diode : Diode
    work : Work
        Board, patterns, tiles and arguments.
    plan_name : str
        For the start document.
    links : dict of str to str or None
        Uids of other runs: ``reference_uid``, ``dark_uid``.
    object_stage : ObjectStage or None
        What moves the object.
    md : dict or None
        Metadata of the user.

    Returns
    -------
    str
        Uid of the run.
    """
    board, arguments = work.board, work.arguments
    exposure_s, metal_exposures = arguments["exposure_s"], arguments["metal_exposures"]
    metal_tile = mask_board_on(stage, board).metal_tile_number if metal_exposures else NO_TILE
    devices = [stage, shutter, diode, *with_object(object_stage)]
    exposing = Exposing(shutter, diode, exposure_s, work.limits)
    incident_exposures = 0 if object_stage is None else arguments["incident_exposures"]
    work.limits.check_suffices(incident_exposures + metal_exposures + arguments["open_exposures"], exposure_s)
    tile = TileExposures(stage, exposing)

    def exposures() -> Plan:
        yield from read_darks(stage, diode, exposure_s, arguments["dark_exposures"])
        if incident_exposures:
            yield from bps.checkpoint()  # a pause in the move repeats no dark reading
            yield from move(object_stage, OUT)
            yield from tile.expose_tile(board.open_tile_number, "incident", incident_exposures)
            yield from tile.expose_tile(metal_tile, "metal", metal_exposures)
            yield from bps.checkpoint()
            yield from move(object_stage, IN)
        else:
            yield from tile.expose_tile(metal_tile, "metal", metal_exposures)
        yield from tile.expose_tiles(
            work.tiles,
            open_tile=board.open_tile_number,
            open_exposures=arguments["open_exposures"],
            open_every=arguments["open_every"],
            validation_after=_spread(work.validation_tiles, len(work.tiles)),
        )

    metadata = start_metadata(
        plan_name,
        "image",
        devices,
        arguments,
        diode=diode,
        stage=stage,
        board=board,
        pattern_set=work.pattern_set,
        points=len(work.tiles),
        links=links,
    )
    put_back = partial(move_object, object_stage, IN)
    return (
        yield from safe_run(
            devices, shutter, exposures, put_back=put_back, figures=exposing.figures, metadata=metadata, md=md
        )
    )


def _validation_tiles(board: Board, pattern_set: AnyPatternSet, count: int, seed: int) -> list[int]:
    """Tiles of some patterns that the board has and the set has not."""
    outside = sorted(set(board.pattern_index) - set(pattern_set.pattern_index.tolist()))
    if count > len(outside):
        raise ScanError(
            f"validation {count}: board {board.name!r} has {len(outside)} patterns outside the set, ask for fewer"
        )
    chosen: list[int] = np.random.default_rng(seed).permutation(outside)[:count].tolist()
    return [board.tile_of(k) for k in chosen]


def _spread(validation_tiles: list[int], tiles: int) -> dict[int, list[int]]:
    """Validation tiles to expose after each tile of the scan, evenly over it: a scan cut short has some."""
    after: dict[int, list[int]] = {}
    for number, tile in enumerate(validation_tiles):
        after.setdefault((number + 1) * tiles // (len(validation_tiles) + 1), []).append(tile)
    return after
