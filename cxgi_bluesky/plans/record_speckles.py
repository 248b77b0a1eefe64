"""record_speckles: take a frame of every pattern of a sandpaper board, once, before images are measured."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import MsgGenerator

from ..devices.object_stage import IN, OUT
from ..devices.protocols import BeamShutter, ObjectMover, PatternRecorder, TileStage
from ..devices.shutter import CLOSED, OPEN
from ..errors import ScanError
from ..masks.speckle_board import SpeckleBoard
from .arguments import for_queues
from .exposure import TilePosition
from .metadata import board_metadata, start_document, with_user_metadata
from .stubs import (
    EXPOSURE_MARGIN_S,
    SHUTTER_TIMEOUT_S,
    Plan,
    closing_finally,
    move,
    move_object,
    store,
    wait_for,
    with_object,
)

FINISH_TIMEOUT_S = 120.0
DARK_FRAME = -1


@for_queues
def record_speckles(
    stage: TileStage,
    shutter: BeamShutter,
    camera: PatternRecorder,
    *,
    path: str | Path,
    exposure_s: float,
    count: int | None = None,
    dark_frames: int = 8,
    object_stage: ObjectMover | None = None,
    grain_um: float | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Record the reference patterns: one frame at each position, with the object out, into an asset.

    Events give where and how bright (stream ``primary``), the last one which asset it became (stream
    ``asset``: sha256, path, frames); the frames are in the asset alone. However the plan ends, the
    shutter is closed and the object back in; what was recorded before it ended is kept.

    Parameters
    ----------
    stage : TileStage
        Stage with a `SpeckleBoard`.
    shutter : BeamShutter
        Beam shutter.
    camera : PatternRecorder
        Camera in the object plane.
    path : path or str
        The asset to make; it must not exist.
    exposure_s : float
        Exposure time of a frame (s).
    count : int, optional
        Positions, the first ones; all by default.
    dark_frames : int
        Frames with the shutter closed; their mean is subtracted.
    object_stage : ObjectMover, optional
        What takes the object out; without it you have done that.
    grain_um : float, optional
        Size of a speckle, if you know it.
    md : dict, optional
        Metadata of the user.

    Returns
    -------
    SpeckleSet
        What was recorded (the value of the plan; also ``camera.recorded``).

    Raises
    ------
    CxgiError
        Before anything moves: when the stage carries masks, the file exists or a number is impossible.
    """
    board = _check_board(stage, camera)
    positions = board.count if count is None else count
    _check_arguments(board, path, positions, exposure_s, dark_frames)
    devices = [stage, shutter, camera, *with_object(object_stage)]
    source = {"recorded_with": camera.name, "exposure_s": exposure_s, "dark_frames": dark_frames}
    metadata = start_document(
        "record_speckles",
        "speckles",
        devices,
        {"path": str(path), "count": positions, **source},
        detector=camera,
        axis=stage.tile,
        points=positions,
        board=board_metadata(board),
    )
    whole = with_user_metadata(metadata, md)
    recording = {
        "path": path,
        "count": positions,
        "pixel_um": board.pixel_um,
        "board_sha256": board.sha256,
        "grain_um": grain_um,
        "source": source,
    }

    def take(frame: int, stream: str) -> Plan:
        yield from move(camera.frame, frame)
        yield Msg("trigger", camera, group="frame")
        yield from wait_for("frame", exposure_s + EXPOSURE_MARGIN_S)
        if stream == "primary":
            yield from move(shutter, CLOSED, SHUTTER_TIMEOUT_S)
        yield from store([stage, camera], stream)

    def frames() -> Plan:
        yield from bps.mv(camera.exposure_s, exposure_s)
        for _ in range(dark_frames):
            yield from bps.checkpoint()
            yield from take(DARK_FRAME, "dark")
        yield from bps.checkpoint()
        yield from move_object(object_stage, OUT)
        for tile in range(positions):
            yield Msg("checkpoint")
            yield from TilePosition(stage, tile).reach()
            yield from move(shutter, OPEN, SHUTTER_TIMEOUT_S)
            yield from take(board.pattern_index_of(tile), "primary")

    def asset() -> Plan:
        yield from bps.checkpoint()
        yield from bps.trigger(camera.asset, group="asset")
        yield from bps.wait(group="asset", timeout=FINISH_TIMEOUT_S)
        yield from store([camera.asset], "asset")
        yield from bps.checkpoint()

    @bpp.stage_decorator(devices)
    @bpp.run_decorator(md=whole)
    def run() -> Plan:
        yield from move(shutter, CLOSED, SHUTTER_TIMEOUT_S)
        yield from bps.configure(camera, recording)
        yield from closing_finally(shutter, frames, partial(move_object, object_stage, IN))
        yield from asset()

    yield from run()
    return camera.recorded


# ---------------------------------------------------------------- preparation


def _check_board(stage: TileStage, camera: PatternRecorder) -> SpeckleBoard:
    board = stage.board
    if not isinstance(board, SpeckleBoard):
        raise ScanError(f"{stage.name} carries masks ({board.name!r}): record_speckles is for a SpeckleBoard")
    if camera.size != board.size:
        raise ScanError(f"{camera.name} gives frames of {camera.size}, board {board.name!r} has {board.size}")
    return board


def _check_arguments(board: SpeckleBoard, path: str | Path, count: int, exposure_s: float, dark_frames: int) -> None:
    if not 1 <= count <= board.count:
        raise ScanError(f"count {count} is outside 1..{board.count}, the positions of {board.name!r}")
    if not 0 < exposure_s < float("inf") or dark_frames < 0:
        raise ScanError(f"exposure_s {exposure_s} and dark_frames {dark_frames}: give a time and a number of frames")
    if Path(path).exists():
        raise ScanError(f"{path} exists, and recorded patterns are never overwritten: choose another name")
