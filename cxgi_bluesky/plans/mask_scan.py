"""mask_scan: raster the patterns of a set, one exposure per tile; hadamard_scan is its name for Hadamard masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ..callbacks.live_steering import PSNR, Goal, check_targets
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..errors import ScanError
from ..masks.board import MaskBoard
from ..masks.pattern_set import PatternSet
from ..masks.speckle_board import Board
from ..masks.speckle_set import AnyPatternSet
from ..measurement.validation import ValidationDraws, draw_validation
from ..reconstruction.planning.choose import start_patterns
from .arguments import GivenBoard, GivenPatterns, for_queues, rebuild_patterns
from .exposure import MAX_REPEATS, TileExposures
from .image_run import ImageRun
from .metadata import board_on, check_counts, check_raster
from .stubs import Plan

DEFAULT_VALIDATION = 64  # draws, where a PSNR is to be estimated


@for_queues
def mask_scan(
    stage: TileStage,
    shutter: BeamShutter,
    diode: BucketDetector,
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
    validation: int | None = None,
    validation_seed: int = 0,
    until: dict[str, float] | None = None,
    method: str | None = None,
    reference_uid: str | None = None,
    dark_uid: str | None = None,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectMover | None = None,
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
    stage : TileStage
        Mask stage.
    shutter : BeamShutter
        Beam shutter.
    diode : BucketDetector
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
    validation : int, optional
        So many patterns are drawn at random, with known probabilities, and measured too (stream ``validation``), spread
        over the scan. No image is made from them: they test whether what an image shows beyond the measured patterns is
        true, and give its PSNR without a truth. They are drawn from all outside the set; with ``until``, which needs
        them early, from all but the first patterns of the set, and measured after these. By default 64 with a PSNR to
        be reached, else none.
    validation_seed : int
        Seed with which the validation patterns are drawn.
    until : dict, optional
        Ends the scan cleanly before its last pattern as soon as the newest image is good enough:
        ``{"psnr_db": 25}``, the lower end of its estimated PSNR (dB); ``{"lines_z": 5}``, a line
        or point in the residual with this z (sigma); or both. The budget goes on to rule. Images are made beside the
        scan, which never waits for one.
    method : str, optional
        By which these images are made: "ch-mwcnn", or "tv" for a size that the network does not know.
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
    object_stage : ObjectMover, optional
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
        "until": until,
        "method": method,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    patterns = rebuild_patterns(pattern_set)
    links = {"reference_uid": reference_uid, "dark_uid": dark_uid}
    found = board_on(stage, board)
    tiles = plan_tiles(found, patterns, arguments)
    image = ImageRun(stage, shutter, diode, object_stage, found, patterns, arguments, links, tiles.draws)
    return (yield from expose(image, tiles, f"{patterns.basis}_scan", md))


hadamard_scan = mask_scan  # earlier name; runs are stored under it, or as speckle_scan


@dataclass(frozen=True, eq=False)
class ScanTiles:
    """Tiles of one scan.

    Attributes
    ----------
    patterns : list of int
        In the order of the scan.
    validation_after : mapping of int to list of int
        Those of validation patterns that are exposed after the tile with this index (0: the first).
    draws : ValidationDraws, optional
        Of the validation patterns.
    """

    patterns: list[int]
    validation_after: Mapping[int, Sequence[int]] = field(default_factory=dict)
    draws: ValidationDraws | None = None

    def without(self, patterns: set[int], validation: set[int], *, early: bool) -> ScanTiles:
        """What is left when some tiles are not exposed again.

        Parameters
        ----------
        patterns, validation : set of int
            Tiles.
        early : bool
            Whether the validation tiles come first, or spread over the others.
        """
        left = [tile for tile in self.patterns if tile not in patterns]
        outside = [tile for tiles in self.validation_after.values() for tile in tiles if tile not in validation]
        return ScanTiles(left, {0: outside} if early else _spread(outside, len(left)), self.draws)


def expose(image: ImageRun, tiles: ScanTiles, plan_name: str, md: dict[str, Any] | None) -> Plan:
    """Expose the tiles of a fixed set in one run.

    Parameters
    ----------
    image : ImageRun
    tiles : ScanTiles
    plan_name : str
    md : dict or None
        Metadata of the user.
    """

    def expose_patterns(tile: TileExposures, goal: Goal | None) -> Plan:
        return tile.expose_tiles(
            tiles.patterns,
            open_exposures=image.arguments["open_exposures"],
            validation_after=tiles.validation_after,
            goal=goal,
        )

    steering = image.make_steering() if image.arguments["until"] else None
    return (yield from image.run(plan_name, expose_patterns, points=len(tiles.patterns), steering=steering, md=md))


def plan_tiles(board: Board, pattern_set: AnyPatternSet, arguments: dict[str, Any]) -> ScanTiles:
    """The tiles of a scan with some arguments; `CxgiError` for what is impossible.

    Parameters
    ----------
    board : MaskBoard or SpeckleBoard
    pattern_set : PatternSet or SpeckleSet
        What to measure.
    arguments : dict
        Those of `mask_scan`, by their names.
    """
    check_raster(board, pattern_set, arguments)
    tiles = board.tiles_along(pattern_set, arguments["path"])
    until, seed = arguments["until"], arguments["validation_seed"]
    if until is not None:
        _check_until(board, pattern_set, arguments)
    validation = arguments["validation"]
    if validation is None:
        validation = DEFAULT_VALIDATION if PSNR in (until or {}) else 0
    check_counts(validation=validation)
    if not validation:
        return ScanTiles(tiles)
    if not isinstance(pattern_set, PatternSet) or not isinstance(board, MaskBoard):
        outside = _positions_outside(board, pattern_set, validation, seed)
        return ScanTiles(tiles, _spread(outside, len(tiles)))
    start = pattern_set.count if until is None else min(pattern_set.count, len(start_patterns(pattern_set.size)))
    draws = draw_outside(board, pattern_set.pattern_index[:start], validation, seed)
    outside = [board.tile_of(k) for k in draws.patterns]
    if until is None:
        return ScanTiles(tiles, _spread(outside, len(tiles)), draws)
    return ScanTiles(tiles, {start - 1: board.in_snake(outside)}, draws)


def _check_until(board: Board, pattern_set: AnyPatternSet, arguments: dict[str, Any]) -> None:
    """Raise `CxgiError` where no scan can end by its images."""
    check_targets(arguments["until"])
    if not isinstance(pattern_set, PatternSet) or not isinstance(board, MaskBoard):
        raise ScanError("until: a scan with recorded speckle says nothing of its image's PSNR, leave it out")
    if arguments["path"] != "order":
        raise ScanError(
            f"until with path {arguments['path']!r}: along the board an image is complete only at the end, give 'order'"
        )
    if PSNR in arguments["until"]:
        check_estimable(board)


def check_estimable(board: MaskBoard) -> None:
    """Raise `CxgiError` if a PSNR cannot be estimated on a board: it takes every pattern of the size."""
    if board.pattern_count < board.size**2:
        raise ScanError(
            f"until psnr_db: board {board.name!r} has {board.pattern_count} of {board.size**2} patterns, and what the "
            "others hold cannot be known: leave it out"
        )


def draw_outside(board: MaskBoard, start: NDArray[np.int64], count: int, seed: int) -> ValidationDraws:
    """Draw validation patterns from all that the board has but those that the scan begins with.

    Parameters
    ----------
    board : MaskBoard
    start : ndarray of int64
        Patterns of the beginning.
    count : int
        Draws.
    seed : int
    """
    candidates = sorted(set(board.pattern_index) - set(start.tolist()))
    return draw_validation(board.size, candidates, count, seed, start_count=len(start))


def _positions_outside(board: Board, pattern_set: AnyPatternSet, count: int, seed: int) -> list[int]:
    """Some positions of a speckle board whose patterns are not in the set."""
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
