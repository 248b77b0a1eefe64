"""The run of one image: dark, incident and metal exposures, then the patterns, in whatever way a plan exposes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp

from ..callbacks.live_reconstruction import ReferenceRuns
from ..callbacks.live_steering import LINES, Goal, LiveSteering
from ..devices.object_stage import IN, OUT
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..masks.board import MaskBoard
from ..masks.pattern_set import ChosenSet
from ..masks.speckle_board import Board
from ..masks.speckle_set import AnyPatternSet
from ..measurement.validation import ValidationDraws
from ..reconstruction.registry import default_live_method
from .exposure import Exposing, ExposureLimits, TileExposures
from .metadata import mask_board_on, start_metadata
from .stubs import Plan, logger, move, read_darks, safe_run, with_object

NO_TILE = -1


@dataclass(frozen=True, eq=False)
class ImageRun:
    """What the run of an image is made of, whatever the plan.

    Attributes
    ----------
    stage, shutter, diode, object_stage
    board : MaskBoard or SpeckleBoard
    pattern_set : PatternSet, ChosenSet or SpeckleSet
    arguments : dict
        Those of the plan, by their names: ``exposure_s``, ``open_exposures``, ``open_every``, ``dark_exposures``,
        ``incident_exposures``, ``metal_exposures``, ``max_repeats``, ``max_open_s``, ``until``, ``method`` at least.
    links : dict of str to str or None
        Uids of other runs: ``reference_uid``, ``dark_uid``, ``resumes``.
    draws : ValidationDraws, optional
        Of the validation patterns.
    """

    stage: TileStage
    shutter: BeamShutter
    diode: BucketDetector
    object_stage: ObjectMover | None
    board: Board
    pattern_set: AnyPatternSet | ChosenSet
    arguments: dict[str, Any]
    links: dict[str, str | None]
    draws: ValidationDraws | None = None

    @property
    def limits(self) -> ExposureLimits:
        """What the scan may do to the sample."""
        return ExposureLimits(self.arguments["max_repeats"], self.arguments["max_open_s"])

    def make_steering(self, **rule: Any) -> LiveSteering:
        """Make the images that the plan goes by, beside the scan.

        Parameters
        ----------
        **rule
            Of `LiveSteering`: ``rule``, ``available``, ``seed``.

        Raises
        ------
        CxgiError
            For a method that is unknown, or whose weights cannot be read.
        """
        assert isinstance(self.board, MaskBoard)
        references = ReferenceRuns()
        for name in ("reference_uid", "resumes"):
            uid = self.links.get(name)
            if uid is not None and references.get(uid) is None:
                logger.warning("run %s (%s) is not at hand: the scan goes by images made without it", uid, name)
        return LiveSteering(
            self.arguments["method"] or default_live_method(self.board.size),
            references=references,
            lines_z=(self.arguments["until"] or {}).get(LINES),
            **rule,
        )

    def run(
        self,
        plan_name: str,
        expose_patterns: Callable[[TileExposures, Goal | None], Plan],
        *,
        points: int,
        steering: LiveSteering | None,
        md: dict[str, Any] | None,
    ) -> Plan:
        """Expose dark, incident and metal, then the patterns, in one run.

        Parameters
        ----------
        plan_name : str
            For the start document.
        expose_patterns : callable
            Gives the plan that exposes open tiles and patterns; what that returns is why it has ended early.
        points : int
            Patterns, at most.
        steering : LiveSteering or None
            What the plan goes by; sees the documents of this run.
        md : dict or None
            Metadata of the user.

        Returns
        -------
        str
            Uid of the run.
        """
        board, arguments, exposure_s = self.board, self.arguments, self.arguments["exposure_s"]
        metal_exposures = arguments["metal_exposures"]
        metal_tile = mask_board_on(self.stage, board).metal_tile_number if metal_exposures else NO_TILE
        devices = [self.stage, self.shutter, self.diode, *with_object(self.object_stage)]
        exposing = Exposing(self.shutter, self.diode, exposure_s, self.limits)
        incident_exposures = 0 if self.object_stage is None else arguments["incident_exposures"]
        self.limits.check_suffices(incident_exposures + metal_exposures + arguments["open_exposures"], exposure_s)
        tile = TileExposures(self.stage, exposing, board.open_tile_number, arguments["open_every"])
        goal = Goal(arguments["until"], steering) if steering is not None and arguments["until"] else None

        def exposures() -> Plan:
            yield from read_darks(self.stage, self.diode, exposure_s, arguments["dark_exposures"])
            if incident_exposures:
                yield from bps.checkpoint()  # a pause in the move repeats no dark reading
                yield from move(self.object_stage, OUT)
                yield from tile.expose_open(incident_exposures, "incident")
                yield from tile.expose_tile(metal_tile, "metal", metal_exposures)
                yield from bps.checkpoint()
                yield from move(self.object_stage, IN)
            else:
                yield from tile.expose_tile(metal_tile, "metal", metal_exposures)
            reached = yield from expose_patterns(tile, goal)
            if reached is not None:
                logger.warning("%s; the scan ends here", reached)
            return goal.explain_end(points) if reached is None and goal is not None else reached

        metadata = start_metadata(
            plan_name,
            "image",
            devices,
            arguments,
            diode=self.diode,
            stage=self.stage,
            board=board,
            pattern_set=self.pattern_set,
            points=points,
            links=self.links,
            draws=self.draws,
        )
        run = safe_run(
            devices,
            self.shutter,
            exposures,
            figures=exposing.figures,
            metadata=metadata,
            md=md,
            object_stage=self.object_stage,
        )
        if steering is None:
            return (yield from run)
        try:
            return (yield from bpp.subs_wrapper(run, steering))
        finally:
            steering.close(1.0)
