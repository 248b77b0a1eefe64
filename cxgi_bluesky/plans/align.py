"""align_board: find how the plate really lies on its stage, by the edges of its fiducials."""

from __future__ import annotations

from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

from ..analysis.plate_alignment.profile import FEWEST_POINTS
from ..analysis.plate_alignment.run import PURPOSE
from ..analysis.plate_alignment.search import landmarks_of
from ..devices.diode import Diode
from ..devices.object_stage import IN, OUT, ObjectStage
from ..devices.shutter import Shutter
from ..devices.stage import LANDMARK, VISIT, MarkedStage, MaskStage
from ..errors import CxgiError
from ..masks.board_files import short_words
from .arguments import GivenBoard, for_queues
from .exposing import MAX_REPEATS, Exposing, ExposureLimits
from .fiducials import FiducialExposures, find_orientation, visit_all
from .metadata import board_words, bucket_words, check_counts, check_exposure, mask_board_on, start_document
from .steps import Plan, move_object, safe_run, with_object


@for_queues
def align_board(
    stage: MaskStage,
    shutter: Shutter,
    diode: Diode,
    *,
    board: GivenBoard = None,
    exposure_s: float,
    points: int = 6,
    search_tiles: int = 1,
    dark_exposures: int = 2,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectStage | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Find the plate's offset, rotation, scale and handedness; `alignment_from_run` makes the fit of the run.

    The first fiducial of the board is looked for on a grid of one tile's step around its place, then the second one,
    where the board's file puts them, or where they are when the plate is mounted back to front. Then
    profiles along x and y are taken across the edges of each fiducial, each at the place that those before
    predict, and of the first one again. That is ``dark_exposures + (2 search_tiles + 1)^2 + 9 + (fiducials + 1) *
    4 * (points + 1)`` exposures, and up to twice the first search for each orientation that the plate does not have.

    However the plan ends, the shutter is closed and the object is back in. The board of the stage is not changed.

    Parameters
    ----------
    stage : MaskStage
        Mask stage.
    shutter : Shutter
        Beam shutter.
    diode : Diode
        Bucket detector.
    board : MaskBoard or str, optional
        The board on the stage, or its name or file; another one is refused. By default the one on the
        stage. It needs three fiducials or more.
    exposure_s : float
        Exposure time (s).
    points : int
        Exposures on each flank of a profile; two more are taken outside.
    search_tiles : int
        How far from its place the first fiducial may lie, in tiles.
    dark_exposures : int
        Readings with the shutter closed.
    max_repeats : int
        How often an exposure that failed its checks is made again.
    max_open_s : float, optional
        Exposure budget, seconds that the shutter may be open in all. An alignment that was cut short by it is to be
        repeated.
    object_stage : ObjectStage, optional
        Takes the object out meanwhile. Without one the object must have been taken out by hand.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves: when the board is not the stage's, has no fiducials to be aligned by, or reaches beyond
        the stage's limits, or a number is impossible. Later, when no orientation shows the fiducials where they
        should be: it says where was looked, and what was seen.
    """
    mask_board = mask_board_on(stage, board)
    landmarks_of(mask_board)
    check_exposure(exposure_s)
    check_counts(dark_exposures=dark_exposures)
    if points < FEWEST_POINTS:
        raise CxgiError(f"points {points}: a flank of an edge profile needs {FEWEST_POINTS} or more")
    if search_tiles < 1:
        raise CxgiError(f"search_tiles {search_tiles}: give 1 or more")
    devices: list[Any] = [stage, shutter, diode, *with_object(object_stage)]
    fields = {
        **bucket_words(diode, stage)["fields"],
        "x": stage.x.name,
        "y": stage.y.name,
        "landmark": LANDMARK,
        "visit": VISIT,
    }
    exposing = Exposing(shutter, diode, exposure_s, ExposureLimits(max_repeats, max_open_s))
    fiducials = FiducialExposures(MarkedStage(stage), exposing, mask_board, points, fields)
    fiducials.check_limits(list(map(mask_board.place_mm, mask_board.fiducials)))

    def exposures() -> Plan:
        with_dark = yield from fiducials.darks(dark_exposures)
        yield from move_object(object_stage, OUT)
        lies = yield from find_orientation(with_dark, search_tiles)
        yield from visit_all(with_dark, lies)
        yield from bps.checkpoint()

    arguments = {
        "exposure_s": exposure_s,
        "points": points,
        "search_tiles": search_tiles,
        "dark_exposures": dark_exposures,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    metadata = start_document(
        "align_board",
        PURPOSE,
        devices,
        arguments,
        detector=diode,
        axis=stage.tile,
        words={
            **bucket_words(diode, stage),
            "fields": fields,
            "board": {**board_words(mask_board), "d_r": mask_board.d_r},
            PURPOSE: {"board": short_words(mask_board.to_dict())},
        },
    )
    put_back = partial(move_object, object_stage, IN)
    return (
        yield from safe_run(
            devices, shutter, exposures, put_back=put_back, figures=exposing.figures, metadata=metadata, md=md
        )
    )
