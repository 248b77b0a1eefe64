"""resume_scan: measure what an earlier scan lacks, into a run of its own that belongs to the same image."""

from __future__ import annotations

from typing import Any

from bluesky.utils import MsgGenerator

from ..callbacks.live_reconstruction import ReferenceRuns
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..errors import ScanError
from ..masks.pattern_set import ChosenSet, PatternSet
from ..masks.speckle_board import Board
from ..masks.speckle_set import SpeckleSet
from ..measurement.exposures import Exposures
from .adaptive_scan import choose_and_expose
from .arguments import for_queues
from .exposure import MAX_REPEATS
from .image_run import ImageRun
from .mask_scan import expose, plan_tiles
from .metadata import bucket_metadata


@for_queues
def resume_scan(
    stage: TileStage,
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    earlier: Exposures,
    recorded: SpeckleSet | None = None,
    max_open_s: float | None = None,
    object_stage: ObjectMover | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Expose the tiles that an earlier scan did not come to, or whose exposures cannot be trusted.

    Exposure time, path, dark, open, incident and validation exposures are those of the earlier scan; the dark, open
    and incident ones are made anew, as time has passed. The new run names the earlier one (`cxgi.resumes`), and every
    reconstruction of it takes both.

    Parameters
    ----------
    stage : TileStage
        Mask stage.
    shutter : BeamShutter
        Beam shutter.
    diode : BucketDetector
        Bucket detector.
    earlier : Exposures
        Of the scan, together with those that it resumed itself. A queue, which carries uids only, takes the
        `resume_scan` of a session (`Session.plans_by_uid`).
    recorded : SpeckleSet, optional
        The recorded patterns of a speckle scan.
    max_open_s : float, optional
        Exposure budget of this run; by default what the earlier one has left of its own, if it had one.
    object_stage : ObjectMover, optional
        What moves the object.
    md : dict, optional
        Metadata of the user; the sample is that of the scan.

    Raises
    ------
    CxgiError
        Before anything moves: when nothing is missing, nothing is left of the budget, or the scan was made with
        another board, detector, unit or intensity monitor.
    """
    board = stage.board
    _check_same(earlier, board, diode)
    pattern_set = earlier.pattern_set if recorded is None else recorded
    arguments = {"max_repeats": MAX_REPEATS, "until": None, "method": None, **earlier.start["plan_args"]}
    del arguments["devices"]
    arguments["max_open_s"] = _remaining_budget_s(earlier) if max_open_s is None else max_open_s
    metadata, uid = earlier.metadata, earlier.start["uid"]
    links = {"reference_uid": metadata.reference_uid, "dark_uid": metadata.dark_uid, "resumes": uid}
    if "sample" in earlier.start:
        md = {"sample": earlier.start["sample"], **(md or {})}
    ReferenceRuns().keep(earlier)
    draws = earlier.validation_draws
    image = ImageRun(stage, shutter, diode, object_stage, board, pattern_set, arguments, links, draws)
    measured, validated = earlier.valid_patterns(), earlier.valid_patterns("validation")
    if isinstance(pattern_set, ChosenSet):
        return (yield from choose_and_expose(image, measured, validated, "resume_scan", md))
    if draws is None and isinstance(pattern_set, PatternSet):
        arguments["validation"] = 0  # those of earlier releases were drawn in another way
    tiles = plan_tiles(board, pattern_set, arguments)
    left = tiles.without(
        {tile for tile in tiles.patterns if board.pattern_index_of(tile) in measured},
        {board.tile_of(k) for k in validated},
        early=arguments["until"] is not None,
    )
    if not left.patterns:
        raise ScanError(f"nothing is missing in run {uid}: all {len(tiles.patterns)} patterns are measured")
    return (yield from expose(image, left, "resume_scan", md))


def _check_same(earlier: Exposures, board: Board, diode: BucketDetector) -> None:
    """Raise `CxgiError` unless this is the board and the detector of the earlier scan."""
    uid, purpose = earlier.start.get("uid"), earlier.metadata.purpose
    if purpose != "image":
        raise ScanError(f"run {uid} is no image (purpose {purpose!r}): only image scans can be resumed")
    if earlier.board.sha256 != board.sha256:
        raise ScanError(
            f"run {uid} was made with board {earlier.board.id!r}, and the stage has another one or another "
            f"alignment ({board.name!r}): its exposures do not belong to one image, start a new scan"
        )
    now = bucket_metadata(diode)
    for what, before, here in (
        ("detector", earlier.metadata.fields["bucket"], now["fields"]["bucket"]),
        ("unit", earlier.bucket_unit, now["bucket_unit"]),
        ("intensity monitor", earlier.metadata.fields.get("i0"), now["fields"]["i0"]),  # one alone corrects only a part
    ):
        if before != here:
            raise ScanError(f"run {uid} has {what} {before!r}, this scan would have {here!r}: start a new scan")


def _remaining_budget_s(earlier: Exposures) -> float | None:
    """Seconds; None without a budget.

    A run that resumes has as its own budget what was left, so what the newest one has spent is all that counts.
    """
    allowed_s = earlier.start["plan_args"].get("max_open_s")
    if allowed_s is None:
        return None
    left_s = float(allowed_s - earlier.figures_of[earlier.start["uid"]].get("open_s", 0.0))
    if left_s <= 0:
        raise ScanError(
            f"the exposure budget of run {earlier.start['uid']} is spent (max_open_s {allowed_s:g}): give max_open_s "
            "to allow more"
        )
    return left_s
