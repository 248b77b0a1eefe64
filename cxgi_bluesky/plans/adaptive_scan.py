"""adaptive_scan: choose the patterns of an image while it is measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ..callbacks.live_steering import PSNR, Goal, LiveSteering, check_targets
from ..devices.exposure_counter import BatchRecord
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..errors import ScanError
from ..masks.board import MaskBoard
from ..masks.orders import LEARNED_SIZE, ranking
from ..masks.pattern_set import ChosenSet, PatternSet
from ..measurement.exposures import BATCHES
from ..reconstruction.planning.choose import (
    DEFAULT_RULE,
    START_ORDER,
    Batch,
    batch_size,
    find_rule,
    start_patterns,
    take_batch,
)
from .arguments import GivenBoard, for_queues
from .exposure import MAX_REPEATS, TileExposures
from .image_run import ImageRun
from .mask_scan import DEFAULT_VALIDATION, check_estimable, draw_outside
from .metadata import check_counts, check_raster, mask_board_on
from .stubs import Plan, store

logger = logging.getLogger(__name__)


@for_queues
def adaptive_scan(
    stage: TileStage,
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    board: GivenBoard = None,
    count: int,
    exposure_s: float,
    rule: str = DEFAULT_RULE,
    seed: int = 0,
    until: dict[str, float] | None = None,
    method: str | None = None,
    validation: int = DEFAULT_VALIDATION,
    validation_seed: int = 0,
    open_exposures: int = 4,
    open_every: int = 64,
    dark_exposures: int = 4,
    incident_exposures: int = 4,
    metal_exposures: int = 0,
    reference_uid: str | None = None,
    dark_uid: str | None = None,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectMover | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Measure one image with patterns that are chosen while it is measured.

    A start set is measured first, then the validation patterns, then batches that are chosen by the newest image.
    Images are made beside the scan, which never waits for one: a slow image means that a later batch is chosen by an
    older one. The tiles of a batch are visited along the board. What was chosen, by which image and how far the stage
    had to go is stored once a batch (stream ``batches``). Everything else is as in `mask_scan`.

    On etched masks that are corrected by a reference scan choosing patterns brings nothing: a fixed order is as good.

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
    count : int
        Exposures of patterns in all, at most, those of the validation patterns among them.
    exposure_s : float
        Exposure time per tile (s).
    rule : str
        By which patterns are chosen: a name in `reconstruction.planning.choose.RULES`, to which you may add one.
    seed : int
        Of what the rule leaves to chance.
    until : dict, optional
        As in `mask_scan`: ends the scan as soon as the newest image is good enough, ``{"psnr_db": 25}``.
    method : str, optional
        By which the images are made: "ch-mwcnn", or "tv" for a size that the network does not know.
    validation : int
        Validation patterns to draw; as in `mask_scan`. One that the rule wants enters the image, without a second
        exposure.
    validation_seed : int
        Seed with which the validation patterns are drawn.
    open_exposures : int
        Exposures of the all-open tile before the first tile, and after the last one.
    open_every : int
        Tiles between two exposures of the all-open tile in the scan (0: none).
    dark_exposures : int
        Readings with the shutter closed, before the scan.
    incident_exposures : int
        Exposures of the all-open tile with the object out, where there is an `object_stage`.
    metal_exposures : int
        Exposures of the all-metal tile (stream ``metal``).
    reference_uid : str, optional
        Run of `reference_scan` that belongs to this image; one that has all patterns of the board, as none can know
        which will be chosen. Afterwards, `reference_scan` with ``of`` measures those that were.
    dark_uid : str, optional
        Run of `dark_scan` that belongs to this image; its reconstructions use it.
    max_repeats : int
        How often an exposure that failed its checks is made again.
    max_open_s : float, optional
        Exposure budget: longest total time with the shutter open (s).
    object_stage : ObjectMover, optional
        What moves the object.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves: when the board is not the stage's, a rule or method is unknown, or a number is
        impossible.
    """
    arguments: dict[str, Any] = {
        "count": count,
        "exposure_s": exposure_s,
        "rule": rule,
        "seed": seed,
        "until": until,
        "method": method,
        "validation": validation,
        "validation_seed": validation_seed,
        "open_exposures": open_exposures,
        "open_every": open_every,
        "dark_exposures": dark_exposures,
        "incident_exposures": incident_exposures,
        "metal_exposures": metal_exposures,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    mask_board = mask_board_on(stage, board)
    check_counts(count=count, validation=validation)
    find_rule(rule)
    if until is not None:
        check_targets(until)
        if PSNR in until:
            check_estimable(mask_board)
    start = PatternSet(mask_board.size, len(start_patterns(mask_board.size)), START_ORDER)
    draws = draw_outside(mask_board, start.pattern_index, validation, validation_seed) if validation else None
    held_back = 0 if draws is None else len(draws.patterns)
    available = mask_board.pattern_count
    if not start.count + held_back < count <= available:
        raise ScanError(
            f"count {count}: give {start.count + held_back + 1} to {available} exposures, {start.count} for the start "
            f"set, {held_back} for validation and at least one for a pattern that is chosen"
        )
    patterns = ChosenSet(start, count - held_back, rule, batch_size(mask_board.size), seed)
    check_raster(mask_board, patterns, arguments)
    if reference_uid is not None:
        logger.warning(
            "on etched masks with a reference scan, choosing patterns brings no better image than a fixed order: "
            "mask_scan travels less"
        )
    links = {"reference_uid": reference_uid, "dark_uid": dark_uid}
    image = ImageRun(stage, shutter, diode, object_stage, mask_board, patterns, arguments, links, draws)
    return (yield from choose_and_expose(image, set(), set(), "adaptive_scan", md))


def choose_and_expose(
    image: ImageRun, measured: set[int], validated: set[int], plan_name: str, md: dict[str, Any] | None
) -> Plan:
    """Expose what is left of the start set, the validation patterns and chosen patterns in one run.

    Parameters
    ----------
    image : ImageRun
        Of a `ChosenSet` on a `MaskBoard`.
    measured, validated : set of int
        Patterns that an earlier run has measured, for the image and for validation.
    plan_name : str
    md : dict or None
        Metadata of the user.

    Raises
    ------
    CxgiError
        If nothing is left.
    """
    board, patterns = image.board, image.pattern_set
    assert isinstance(board, MaskBoard)
    assert isinstance(patterns, ChosenSet)
    points = patterns.count - len(measured)
    if points <= 0:
        raise ScanError(f"nothing is missing: all {patterns.count} patterns are measured")
    drawn = [] if image.draws is None else image.draws.patterns
    steering = image.make_steering(rule=patterns.rule, available=board.pattern_index, seed=patterns.seed)
    choice = _Choice(board, patterns, steering, set(drawn), set(measured))
    start = board.in_snake(board.tile_of(k) for k in patterns.pattern_index.tolist() if k not in measured)
    outside = board.in_snake(board.tile_of(k) for k in drawn if k not in validated)

    def expose_patterns(tile: TileExposures, goal: Goal | None) -> Plan:
        open_exposures = image.arguments["open_exposures"]
        yield from tile.expose_open(open_exposures)
        for one in start:
            yield from tile.expose_pattern(choice.visit(one))
        for one in outside:
            yield from tile.expose_tile(choice.travel_to(one), "validation")
        reached = yield from expose_batches(tile, goal)
        yield from tile.expose_open(open_exposures)
        choice.report_travel()
        return reached

    def expose_batches(tile: TileExposures, goal: Goal | None) -> Plan:
        for batch in choice.batches():
            yield Msg("checkpoint")
            yield from store([choice.record], BATCHES)
            for one in batch:
                yield from tile.expose_pattern(choice.visit(one))
                reached = goal.find_reason() if goal is not None and choice.left else None
                if reached is not None:
                    return reached
        return None

    return (yield from image.run(plan_name, expose_patterns, points=points, steering=steering, md=md))


class _Choice:
    """What a scan has visited, and what it chooses next."""

    def __init__(
        self, board: MaskBoard, patterns: ChosenSet, steering: LiveSteering, validation: set[int], measured: set[int]
    ) -> None:
        self.record = BatchRecord()
        self._board, self._patterns, self._steering = board, patterns, steering
        self._validation, self._measured = validation, measured
        self._visited: list[int] = []
        self._wanted: set[int] = set()

    @property
    def left(self) -> int:
        """Patterns that may still be measured."""
        return self._patterns.count - len(self._measured)

    def travel_to(self, tile: int) -> int:
        """Note that the stage goes to a tile, and return it."""
        self._visited.append(tile)
        return tile

    def visit(self, tile: int) -> int:
        """Note that a tile is exposed for the image, and return it."""
        self._measured.add(self._board.pattern_index_of(tile))
        return self.travel_to(tile)

    def batches(self) -> Iterator[list[int]]:
        """Tiles of one batch after the other, each chosen when it is asked for."""
        while self.left > 0:
            newest = self._steering.newest
            ranked = None if newest is None else newest.ranked
            batch = self._take(self._ranked_beforehand() if ranked is None else ranked)
            if not batch.patterns:
                return
            here = self._visited[-1:]
            tiles = self._board.in_snake(
                (self._board.tile_of(k) for k in batch.patterns), near=here[0] if here else None
            )
            self.record.record(
                patterns=len(tiles),
                image_patterns=0 if newest is None else newest.image_patterns,
                travel_mm=self._board.travel_mm([*here, *tiles]),
                wanted=[k for k in batch.wanted if k not in self._wanted],
            )
            self._wanted.update(batch.wanted)
            yield tiles

    def _take(self, ranked: NDArray[np.int64]) -> Batch:
        count = min(self._patterns.batch, self.left)
        return take_batch(ranked, measured=self._measured, validation=self._validation, count=count)

    def _ranked_beforehand(self) -> NDArray[np.int64]:
        """Patterns by what is known of objects in general: there is no image yet."""
        order = "learned-density" if self._board.size <= LEARNED_SIZE else "variable-density"
        ranked = ranking(order, self._board.size, self._patterns.seed)
        return ranked[np.isin(ranked, self._board.pattern_index)]

    def report_travel(self) -> None:
        """Log how far the stage has gone, and how far it would have gone in a fixed order."""
        count = min(len(self._visited), self._board.pattern_count)
        fixed = PatternSet(self._board.size, count)
        if not set(fixed.pattern_index.tolist()) <= set(self._board.pattern_index):
            return
        order, snake = (self._board.travel_mm(self._board.tiles_along(fixed, path)) for path in ("order", "snake"))
        logger.info(
            "the stage has gone %.0f mm for %d tiles; %.0f mm in zig-zag order, %.0f mm of it along the board",
            self._board.travel_mm(self._visited),
            len(self._visited),
            order,
            snake,
        )
