"""mask_scan: raster the patterns of a set, one exposure per tile; hadamard_scan is its name for Hadamard masks."""

from __future__ import annotations

from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np

from ..board import load_board
from ..devices.diode import Diode
from ..devices.object_stage import IN, OUT, ObjectStage
from ..devices.shutter import CLOSED, Shutter
from ..devices.stage import MaskStage
from ..errors import CxgiError
from ..exposures import SCHEMA
from ..patterns import PatternSet
from ..speckle_board import Board
from ..speckle_set import SpeckleSet
from .steps import SHUTTER_TIMEOUT_S, Plan, expose, move, read_dark


def mask_scan(
    stage: MaskStage,
    shutter: Shutter,
    diode: Diode,
    *,
    board: Board | str,
    pattern_set: PatternSet | SpeckleSet,
    exposure_s: float,
    path: str = "order",
    open_exposures: int = 4,
    open_every: int = 64,
    dark_exposures: int = 4,
    incident_exposures: int = 4,
    validation: int = 0,
    validation_seed: int = 0,
    object_stage: ObjectStage | None = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Measure one image: one exposure for each pattern of the set, one event each.

    The same for the masks of a `MaskBoard` and the random speckle of a `SpeckleBoard`, whose "all-open
    tile" is the place beside the sheet.

    Before the first tile and after the last one, and after every `open_every` tiles in between,
    the all-open tile is exposed (stream ``open``): it gives b_0 and the drift. With an
    `object_stage`, the all-open tile is also exposed with the object out (stream ``incident``),
    which makes the image a transmission. However the plan ends, the shutter is closed and the
    object is back in.

    Parameters
    ----------
    stage, shutter, diode
        Mask stage, shutter and bucket detector.
    board : MaskBoard, SpeckleBoard or str
        The board on the stage, or its name or file; another board than the stage's is refused.
    pattern_set : PatternSet or SpeckleSet
        What to measure; speckle patterns were recorded before (`record_speckles`).
    exposure_s : float
        Exposure time per tile (s).
    path : {"order", "snake"}
        "order": most important patterns first, a scan cut short is still an image;
        "snake": along the rows of the board, least travel.
    open_exposures, open_every : int
        Open exposures at the start and at the end, and tiles between two open exposures in the
        scan (0: none).
    dark_exposures, incident_exposures : int
        Exposures with the shutter closed, and with the object out.
    validation, validation_seed : int
        So many patterns outside the set, drawn at random with that seed and spread over the scan, are
        measured too (stream ``validation``). No picture is made from them: they tell whether what a
        picture shows beyond the measured patterns is true.
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
    if "cxgi" in (md or {}):
        raise CxgiError("md has a key 'cxgi': that block is written by the plan, choose another key")
    board = load_board(board) if isinstance(board, str) else board
    _check_arguments(stage, board, pattern_set, exposure_s)
    _check_counts(open_exposures, open_every, dark_exposures, incident_exposures, validation)
    tiles = board.tiles_along(pattern_set, path)
    judges = _validation_tiles(board, pattern_set, validation, validation_seed)
    judges_after = _spread(judges, len(tiles))
    devices = [stage, shutter, diode] + ([object_stage] if object_stage is not None else [])
    metadata = _start_metadata(
        devices,
        board,
        pattern_set,
        {
            "exposure_s": exposure_s,
            "path": path,
            "open_exposures": open_exposures,
            "open_every": open_every,
            "dark_exposures": dark_exposures,
            "incident_exposures": incident_exposures,
            "validation": validation,
            "validation_seed": validation_seed,
        },
    )

    def references(count: int, stream: str) -> Plan:
        for _ in range(count):
            yield from expose(stage, shutter, diode, board.open_tile_number, stream, exposure_s)

    def exposures() -> Plan:
        yield from bps.mv(diode.exposure_s, exposure_s)
        for _ in range(dark_exposures):
            yield from read_dark(stage, diode, exposure_s)
        if object_stage is not None and incident_exposures:
            yield from move(object_stage, OUT)
            yield from references(incident_exposures, "incident")
            yield from bps.checkpoint()
            yield from move(object_stage, IN)
        yield from references(open_exposures, "open")
        for done, tile in enumerate(tiles):
            if open_every and done and done % open_every == 0:
                yield from references(1, "open")
            yield from expose(stage, shutter, diode, tile, "primary", exposure_s)
            for judge in judges_after.get(done, ()):
                yield from expose(stage, shutter, diode, judge, "validation", exposure_s)
        yield from references(open_exposures, "open")

    def object_back() -> Plan:
        yield from move(object_stage, IN) if object_stage is not None else bps.null()

    def make_safe() -> Plan:
        yield from bpp.finalize_wrapper(move(shutter, CLOSED, SHUTTER_TIMEOUT_S), object_back)

    @bpp.stage_decorator(devices)
    @bpp.run_decorator(md={**metadata, **(md or {})})
    def run() -> Plan:
        yield from move(shutter, CLOSED, SHUTTER_TIMEOUT_S)
        yield from bpp.finalize_wrapper(exposures(), make_safe)
        yield from bps.checkpoint()  # a pause from here on has nothing to repeat

    return (yield from run())


hadamard_scan = mask_scan  # the run says by its pattern set which of the two it was


# ---------------------------------------------------------------- preparation


def _check_arguments(stage: MaskStage, board: Board, pattern_set: PatternSet | SpeckleSet, exposure_s: float) -> None:
    if board.sha256 != stage.board.sha256:
        raise CxgiError(f"board {board.name!r} is not the one of {stage.name} ({stage.board.name!r}): give stage.board")
    if pattern_set.size != board.size:
        raise CxgiError(f"pattern set of size {pattern_set.size} on board {board.name!r} of size {board.size}")
    if not 0 < exposure_s < float("inf"):
        raise CxgiError(f"exposure_s {exposure_s} is no positive number of seconds")


def _check_counts(*counts: int) -> None:
    if min(counts) < 0:
        raise CxgiError(f"a number of exposures is negative: {min(counts)}")


def _validation_tiles(board: Board, pattern_set: PatternSet | SpeckleSet, count: int, seed: int) -> list[int]:
    """Tiles of some patterns that the board has and the set has not."""
    outside = sorted(set(board.pattern_index) - set(pattern_set.pattern_index.tolist()))
    if count > len(outside):
        raise CxgiError(
            f"validation {count}: board {board.name!r} has {len(outside)} patterns outside the set, ask for fewer"
        )
    chosen: list[int] = np.random.default_rng(seed).permutation(outside)[:count].tolist()
    return [board.tile_of(k) for k in chosen]


def _spread(judges: list[int], tiles: int) -> dict[int, list[int]]:
    """Validation tiles to expose after each tile of the scan, evenly over it: a scan cut short has some."""
    after: dict[int, list[int]] = {}
    for place, tile in enumerate(judges):
        after.setdefault((place + 1) * tiles // (len(judges) + 1), []).append(tile)
    return after


def _start_metadata(
    devices: list[Any], board: Board, pattern_set: PatternSet | SpeckleSet, arguments: dict[str, Any]
) -> dict[str, Any]:
    stage, _, diode = devices[:3]
    return {
        "plan_name": f"{pattern_set.basis}_scan",
        "plan_args": {**arguments, "devices": [d.name for d in devices]},
        "detectors": [diode.name],
        "motors": [stage.tile.name],
        "num_points": pattern_set.count,
        "hints": {"dimensions": [([stage.tile.name], "primary")]},
        "cxgi": {
            "schema": SCHEMA,
            "purpose": "image",
            "mode": "step",
            "board": {
                "id": board.name,
                "sha256": board.sha256,
                "d_r": board.d_r,
                "pixel_um": board.pixel_um,
                "metal": board.metal,
            },
            "pattern_set": pattern_set.to_dict(),
            "exposure_s": arguments["exposure_s"],
            "fields": {
                "pattern_index": stage.pattern_index.name,
                "bucket": diode.current.name,
                "sigma": diode.sigma.name,
                "i0": None,
            },
        },
    }
