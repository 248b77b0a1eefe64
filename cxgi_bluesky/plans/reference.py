"""Scans that belong to an image: the same tiles without the object, the dark, the metal's floor."""

from __future__ import annotations

from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

from ..devices.exposure_counter import ExposureFigures
from ..devices.object_stage import OUT
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..errors import ConfigError, ScanError
from ..masks.board import MaskBoard
from ..masks.pattern_set import ChosenSet
from ..masks.speckle_set import AnyPatternSet
from ..measurement.exposures import Exposures
from .arguments import GivenBoard, GivenPatterns, for_queues, rebuild_patterns
from .exposure import MAX_REPEATS, Exposing, ExposureLimits, TileExposures
from .metadata import check_counts, check_exposure, check_raster, mask_board_on, start_metadata
from .stubs import Plan, move_object, read_darks, safe_run, with_object


@for_queues
def reference_scan(
    stage: TileStage,
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    board: GivenBoard = None,
    pattern_set: GivenPatterns | None = None,
    of: Exposures | None = None,
    exposure_s: float,
    path: Literal["order", "snake"] = "order",
    open_exposures: int = 4,
    open_every: int = 64,
    dark_exposures: int = 4,
    metal_exposures: int = 4,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectMover | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Measure what each tile really passes: the exposures of an image with the object out (purpose ``reference``).

    One reference serves every image of the same board and pattern set, until the board is moved or
    touched: give its uid to `hadamard_scan`, or name it when an image is made.

    Parameters
    ----------
    stage : TileStage
        Mask stage.
    shutter : BeamShutter
        Beam shutter.
    diode : BucketDetector
        Bucket detector.
    board : MaskBoard or str, optional
        The board on the stage, or its name or file; another one is refused. By default the one on the stage.
    pattern_set : PatternSet or dict
        What to measure, or the dict that it makes of itself (basis, size, order, count).
    of : Exposures, optional
        In place of `pattern_set`, an image that was measured: the tiles of its patterns, and of its validation
        patterns, are measured along the board. The `reference_scan` of a session takes its uid.
    exposure_s : float
        Exposure time per tile (s).
    path : {"order", "snake"}
        "order": most important patterns first, a scan cut short is still an image;
        "snake": along the rows of the board, least travel.
    open_exposures : int
        Exposures of the all-open tile before the first tile, and after the last one, with the object out.
    open_every : int
        Tiles between two exposures of the all-open tile in the scan (0: none).
    dark_exposures : int
        Readings with the shutter closed, before the scan.
    metal_exposures : int
        Exposures of the all-metal tile (stream ``metal``): the modulation depth ratio as it is.
    max_repeats : int
        How often an exposure that failed its checks is made again.
    max_open_s : float, optional
        Exposure budget: longest total time with the shutter open (s). The scan ends cleanly before an exposure
        that would exceed it.
    object_stage : ObjectMover, optional
        What moves the object out, and back in however the plan ends. Without one the object must have
        been taken out by hand.
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
        "metal_exposures": metal_exposures,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    exposing = Exposing(shutter, diode, exposure_s, ExposureLimits(max_repeats, max_open_s))
    mask_board = mask_board_on(stage, board)
    patterns, tiles = _find_tiles(mask_board, pattern_set, of, path)
    check_raster(mask_board, patterns, arguments)
    devices = [stage, shutter, diode, *with_object(object_stage)]
    tile = TileExposures(stage, exposing, mask_board.open_tile_number, open_every)

    def exposures() -> Plan:
        yield from read_darks(stage, diode, exposure_s, dark_exposures)
        yield from bps.checkpoint()  # a pause in the move repeats no dark reading
        yield from move_object(object_stage, OUT)
        yield from tile.expose_tile(mask_board.metal_tile_number, "metal", metal_exposures)
        yield from tile.expose_tiles(tiles, open_exposures=open_exposures)
        yield from bps.checkpoint()

    metadata = start_metadata(
        "reference_scan",
        "reference",
        devices,
        arguments,
        diode=diode,
        stage=stage,
        board=mask_board,
        pattern_set=patterns,
        points=len(tiles),
    )
    return (
        yield from safe_run(
            devices,
            shutter,
            exposures,
            figures=exposing.figures,
            metadata=metadata,
            md=md,
            object_stage=object_stage,
        )
    )


def _find_tiles(
    board: MaskBoard, pattern_set: GivenPatterns | None, of: Exposures | None, path: str
) -> tuple[AnyPatternSet | ChosenSet, list[int]]:
    """The patterns of a reference scan, and their tiles."""
    if (pattern_set is None) == (of is None):
        raise ConfigError("give pattern_set, the patterns to measure, or of, the image whose patterns they are")
    if of is None:
        assert pattern_set is not None
        patterns = rebuild_patterns(pattern_set)
        return patterns, board.tiles_along(patterns, path)
    if of.metadata.purpose != "image" or of.metadata.basis != "hadamard":
        raise ScanError(f"run {of.start['uid']} is no image with Hadamard masks: it has no use for a reference scan")
    exposed = [*of.streams["primary"], *of.streams["validation"]]
    return of.pattern_set, board.in_snake({board.tile_of(k) for k in exposed})


@for_queues
def dark_scan(
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    exposure_s: float,
    exposures: int = 32,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Read the detector with the shutter closed (purpose ``dark``).

    Its mean is the dark of every image that names this run as `dark_uid` and has no dark readings of its own.

    Parameters
    ----------
    shutter : BeamShutter
        Beam shutter, which is closed first.
    diode : BucketDetector
        Bucket detector.
    exposure_s : float
        Exposure time of a reading (s).
    exposures : int
        Number of readings.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves, for an impossible number.
    """
    check_exposure(exposure_s)
    if exposures < 1:
        raise ScanError(f"exposures {exposures}: a dark scan needs at least one reading")
    devices = [shutter, diode]

    def readings() -> Plan:
        yield from read_darks(None, diode, exposure_s, exposures)

    arguments = {"exposure_s": exposure_s, "exposures": exposures}
    metadata = start_metadata("dark_scan", "dark", devices, arguments, diode=diode)
    figures = ExposureFigures(shutter)
    return (yield from safe_run(devices, shutter, readings, figures=figures, metadata=metadata, md=md))


@for_queues
def metal_scan(
    stage: TileStage,
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    board: GivenBoard = None,
    exposure_s: float,
    exposures: int = 16,
    dark_exposures: int = 4,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectMover | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Expose the all-metal and the all-open tile in turn (purpose ``metal``): the floor T0, and D_r = 1 - T0.

    Parameters
    ----------
    stage : TileStage
        Mask stage.
    shutter : BeamShutter
        Beam shutter.
    diode : BucketDetector
        Bucket detector.
    board : MaskBoard or str, optional
        The board on the stage, or its name or file; another one is refused. By default the one on the stage.
    exposure_s : float
        Exposure time (s).
    exposures : int
        Exposures of each of the two tiles.
    dark_exposures : int
        Readings with the shutter closed.
    max_repeats : int
        How often an exposure that failed its checks is made again.
    max_open_s : float, optional
        Exposure budget: longest total time with the shutter open (s). The scan ends cleanly before an exposure
        that would exceed it.
    object_stage : ObjectMover, optional
        Takes the object out meanwhile. Without one the object stays where it is: the ratio is the same.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves: when the board is not the stage's, or a number is impossible.
    """
    mask_board = mask_board_on(stage, board)
    check_exposure(exposure_s)
    check_counts(exposures=exposures, dark_exposures=dark_exposures)
    exposing = Exposing(shutter, diode, exposure_s, ExposureLimits(max_repeats, max_open_s))
    devices = [stage, shutter, diode, *with_object(object_stage)]
    tile = TileExposures(stage, exposing, mask_board.open_tile_number)

    def in_turn() -> Plan:
        yield from read_darks(stage, diode, exposure_s, dark_exposures)
        yield from bps.checkpoint()  # a pause in the move repeats no dark reading
        yield from move_object(object_stage, OUT)
        for _ in range(exposures):
            yield from tile.expose_tile(mask_board.metal_tile_number, "metal")
            yield from tile.expose_open(1)
        yield from bps.checkpoint()

    arguments = {
        "exposure_s": exposure_s,
        "exposures": exposures,
        "dark_exposures": dark_exposures,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    metadata = start_metadata("metal_scan", "metal", devices, arguments, diode=diode, stage=stage, board=mask_board)
    return (
        yield from safe_run(
            devices,
            shutter,
            in_turn,
            figures=exposing.figures,
            metadata=metadata,
            md=md,
            object_stage=object_stage,
        )
    )
