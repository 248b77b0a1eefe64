"""align_board: find the alignment of a board on its stage, by the edges of its fiducials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray
from ophyd.utils import LimitError

from ..analysis.board_alignment.fit import (
    MIN_POINTS,
    EdgeFit,
    Visit,
    fit_edges,
    fit_similarity,
    profile_offsets_um,
    similarity_of,
)
from ..analysis.board_alignment.run import ALONG_X, ALONG_Y, PURPOSE, SEARCH, reading
from ..analysis.board_alignment.search import landmarks_of, match, orientations, search_grid_um
from ..devices.object_stage import OUT
from ..devices.positions import PositionError
from ..devices.protocols import AlignableStage, BeamShutter, BucketDetector, ObjectMover
from ..devices.stage import LANDMARK, VISIT, MarkedStage
from ..errors import CxgiError, ScanError
from ..masks.board import Alignment, MaskBoard
from ..masks.board_files import abbreviate_tiles
from .arguments import GivenBoard, for_queues
from .exposure import MAX_REPEATS, Exposing, ExposureLimits, Reading, consequence
from .metadata import board_metadata, bucket_metadata, check_counts, check_exposure, mask_board_on, start_document
from .stubs import EXPOSURE_MARGIN_S, Plan, move, move_object, safe_run, wait_for, with_object

Array = NDArray[np.float64]
PositionMm = tuple[float, float]

SECOND_SEARCH_TILES = 1  # a board turned by a degree moves the second fiducial by less


@dataclass(frozen=True)
class FiducialPosition:
    """A position of the stage beside its tiles."""

    device: MarkedStage
    place_mm: PositionMm
    numbers: tuple[int, int]  # landmark, visit

    def reach(self) -> Plan:
        """Move there and make sure that the stage is there."""
        yield Msg("set", self.device, self.numbers, group="marked")
        yield from move(self.device.stage.xy, self.place_mm)
        reading = yield Msg("read", self.device)
        self.check(reading or {}, exposed=False)

    def check(self, reading: Reading, *, exposed: bool = True) -> None:
        """Raise `PositionError` unless a reading of the stage is of this position.

        Parameters
        ----------
        reading : mapping
            Of the stage, by data key; positions in mm. An axis that is missing counts as there.
        exposed : bool, optional
            Whether something was exposed there, for the message (default True).
        """
        stage = self.device.stage
        for axis, wanted in zip((stage.x, stage.y), self.place_mm, strict=True):
            reached = reading.get(axis.name, {}).get("value", wanted)
            if not abs(reached - wanted) * 1000 <= stage.in_position_um:
                raise PositionError(
                    f"{axis.name} was sent to {wanted:.4f} mm and is at {reached:.4f} mm "
                    f"(allowed: {stage.in_position_um:g} um off): check the stage, {consequence(exposed)}"
                )


@dataclass(frozen=True)
class FiducialExposures:
    """Exposures around the fiducials of a board."""

    marked: MarkedStage
    exposing: Exposing
    board: MaskBoard
    points: int
    fields: Mapping[str, Any]
    dark: float = 0.0

    @property
    def stage(self) -> AlignableStage:
        """The stage."""
        return self.marked.stage

    def check_limits(self, positions_mm: Sequence[PositionMm]) -> None:
        """Raise `CxgiError` unless the profiles around all these positions lie within the stage's limits."""
        reach_mm = float(profile_offsets_um(self.board, self.points).max()) / 1000
        for x, y in positions_mm:
            for corner in ((x - reach_mm, y - reach_mm), (x + reach_mm, y + reach_mm)):
                try:
                    self.stage.xy.check_value(corner)
                except (LimitError, ValueError, CxgiError) as error:
                    raise ScanError(
                        f"the fiducial at x {x:.3f}, y {y:.3f} mm needs {reach_mm:.3f} mm to all sides, beyond the "
                        f"limits of {self.stage.name}: {error}; widen them, or leave that fiducial out of the board"
                    ) from error

    def darks(self, count: int) -> Plan:
        """Set the exposure time, and so many readings with the shutter closed; returns the same with their mean."""
        diode, exposure_s = self.exposing.diode, self.exposing.exposure_s
        yield from move(diode.exposure_s, exposure_s)
        level = []
        for _ in range(count):
            yield Msg("checkpoint")
            yield Msg("trigger", diode, group="exposure")
            yield from wait_for("exposure", exposure_s + EXPOSURE_MARGIN_S)
            yield Msg("create", name="dark")
            yield Msg("read", self.stage)
            read = yield Msg("read", diode)
            yield Msg("save")
            level.append(read[diode.bucket_name]["value"] if read else 0.0)
        level = [value for value in level if math.isfinite(value)]
        return replace(self, dark=float(np.mean(level)) if level else 0.0)

    def expose_at(self, place_mm: PositionMm, stream: str, landmark: int, visit: int) -> Plan:
        """One stored exposure.

        Parameters
        ----------
        place_mm : (float, float)
            Position of the stage, x and y (mm).
        stream : str
            Event stream.
        landmark : int
            Number of the fiducial in the board.
        visit : int
            Number of the visit; in the search, of the orientation.

        Returns
        -------
        dict or None
            What was read, by data key; None where the plan is only walked through.
        """
        read = yield from self.exposing.expose_at(FiducialPosition(self.marked, place_mm, (landmark, visit)), stream)
        return {key: entry["value"] for key, entry in read.items()} or None


# ---------------------------------------------------------------- search


def find_orientation(exposing: FiducialExposures, search_tiles: int) -> Plan:
    """Find the rough alignment of the board: the first orientation of which two fiducials are seen.

    Parameters
    ----------
    exposing : FiducialExposures
    search_tiles : int
        How far from its nominal position the first fiducial may lie (tiles).

    Returns
    -------
    Alignment
    """
    looked: list[str] = []
    for number, (name, lies) in enumerate(orientations(exposing.board).items()):
        found = yield from _search(exposing, 0, number, lies, search_tiles)
        if isinstance(found, Alignment):
            again = yield from _search(exposing, 1, number, found, SECOND_SEARCH_TILES)
            if isinstance(again, Alignment):
                return _through_both(exposing.board, found, again)
            found = f"first fiducial seen, second one not: {again}"
        looked.append(f"{name}: {found}")
    raise ScanError(
        f"the board was not found on {exposing.stage.name} ({'; '.join(looked)}). Is it this board, is the object out, "
        "is there beam? Else search further (search_tiles) or correct the alignment in the board file by hand"
    )


def _through_both(board: MaskBoard, first: Alignment, second: Alignment) -> Alignment:
    """Turned and scaled so that both fiducials lie where they were seen."""
    nominal_mm = np.array([board.on_board_mm(position) for position in board.fiducials[:2]])
    seen = [
        replace(board, alignment=lies).place_mm(position)
        for lies, position in zip((first, second), board.fiducials[:2], strict=True)
    ]
    return fit_similarity(nominal_mm, np.array(seen), np.ones((2, 2)), mirrored=first.mirrored).alignment


def _search(exposing: FiducialExposures, landmark: int, orientation: int, lies: Alignment, reach: int) -> Plan:
    """The alignment moved so that a fiducial lies where it was seen, else what was seen."""
    board = exposing.board
    x, y = replace(board, alignment=lies).place_mm(board.fiducials[landmark])
    grid = search_grid_um(board, reach)
    positions = [(x + dx / 1000, y + dy / 1000) for dx, dy in grid.tolist()]
    where = f"x {x:.3f}, y {y:.3f} mm"
    try:
        for position in positions:
            exposing.stage.xy.check_value(position)
    except (LimitError, ValueError, CxgiError) as error:
        return f"{where} +- {reach} tiles is beyond the limits ({error})"
    readings = []
    for position in positions:
        readings.append((yield from exposing.expose_at(position, SEARCH, landmark, orientation)))
    if None in readings:
        return lies  # a dry run
    value, sigma = np.array([reading(row, exposing.fields, exposing.dark) for row in readings]).T
    found = match(board, board.fiducials[landmark], lies, grid, value, sigma)
    if found is None:
        seen = f"{np.nanmin(value):.4g} to {np.nanmax(value):.4g}" if np.isfinite(value).any() else "no usable reading"
        return f"{where} +- {reach} tiles showed {seen} ({len(value)} exposures)"
    dx, dy = found.offset_um
    return replace(lies, x0_mm=lies.x0_mm + dx / 1000, y0_mm=lies.y0_mm + dy / 1000)


# ---------------------------------------------------------------- profiles


def visit_all(exposing: FiducialExposures, lies: Alignment) -> Plan:
    """Profiles of each fiducial, at the position that those before predict, and of the first one again.

    Parameters
    ----------
    exposing : FiducialExposures
    lies : Alignment
        Rough alignment of the board (`find_orientation`).
    """
    board = exposing.board
    visits: list[Visit] = []
    for number, landmark in enumerate([*range(len(board.fiducials)), 0]):
        position = _predict(board, visits, landmark, lies)
        exposing.check_limits([position])
        visits.append((yield from _visit(exposing, landmark, number, position)))


def _predict(board: MaskBoard, visits: Sequence[Visit], landmark: int, lies: Alignment) -> PositionMm:
    if len(visits) == 1:
        known, (x, y) = replace(board, alignment=lies), (um / 1000 for um in visits[0].centre_um)
        there, first = known.place_mm(board.fiducials[landmark]), known.place_mm(board.fiducials[visits[0].landmark])
        return x + there[0] - first[0], y + there[1] - first[1]
    if visits:
        lies = similarity_of(board, visits, mirrored=lies.mirrored).alignment
    return replace(board, alignment=lies).place_mm(board.fiducials[landmark])


def _visit(exposing: FiducialExposures, landmark: int, number: int, place_mm: PositionMm) -> Plan:
    """Profile along x at the predicted y, then along y at the x found."""
    x, y = place_mm
    offsets = profile_offsets_um(exposing.board, exposing.points) / 1000
    along_x = yield from _profile(exposing, [(x + d, y) for d in offsets], ALONG_X, landmark, number, "x")
    x = along_x.centre_um / 1000
    along_y = yield from _profile(exposing, [(x, y + d) for d in offsets], ALONG_Y, landmark, number, "y")
    return Visit(landmark, along_x, along_y)


def _profile(
    exposing: FiducialExposures, positions: Sequence[PositionMm], stream: str, landmark: int, number: int, axis: str
) -> Plan:
    readings = []
    for x, y in positions:
        readings.append((yield from exposing.expose_at((float(x), float(y)), stream, landmark, number)))
    if None in readings:
        middle = float(np.mean([position["xy".index(axis)] for position in positions]))
        return EdgeFit(1000 * middle, 1.0, math.nan, math.nan, 1)  # a dry run
    value, sigma = np.array([reading(row, exposing.fields, exposing.dark) for row in readings]).T
    position = [1000 * float(row[exposing.fields[axis]]) for row in readings]
    try:
        return fit_edges(position, value, sigma, board=exposing.board)
    except CxgiError as error:
        raise ScanError(f"fiducial {exposing.board.fiducials[landmark]} along {axis}: {error}") from error


# ---------------------------------------------------------------- the plan


@for_queues
def align_board(
    stage: AlignableStage,
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    board: GivenBoard = None,
    exposure_s: float,
    points: int = 6,
    search_tiles: int = 1,
    dark_exposures: int = 2,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    object_stage: ObjectMover | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Find the board's offset, rotation, scale and handedness; `alignment_from_run` makes the fit of the run.

    The first fiducial of the board is looked for on a grid of one tile's step around its nominal position, then the
    second one, where the board's file puts them, or where they are when the board is mounted back to front. Then
    profiles along x and y are taken across the edges of each fiducial, each at the position that those before
    predict, and of the first one again. That is ``dark_exposures + (2 search_tiles + 1)^2 + 9 + (fiducials + 1) *
    4 * (points + 1)`` exposures, and up to twice the first search for each orientation that the board does not have.

    However the plan ends, the shutter is closed and the object is back in. The board of the stage is not changed.

    Parameters
    ----------
    stage : AlignableStage
        Mask stage.
    shutter : BeamShutter
        Beam shutter.
    diode : BucketDetector
        Bucket detector.
    board : MaskBoard or str, optional
        The board on the stage, or its name or file; another one is refused. By default the one on the
        stage. It needs three fiducials or more.
    exposure_s : float
        Exposure time (s).
    points : int
        Exposures on each flank of a profile; two more are taken outside.
    search_tiles : int
        How far from its nominal position the first fiducial may lie, in tiles.
    dark_exposures : int
        Readings with the shutter closed.
    max_repeats : int
        How often an exposure that failed its checks is made again.
    max_open_s : float, optional
        Exposure budget, seconds that the shutter may be open in all. An alignment that was cut short by it is to be
        repeated.
    object_stage : ObjectMover, optional
        Takes the object out meanwhile. Without one the object must have been taken out by hand.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves: when the board is not the stage's, has no fiducials to be aligned by, or reaches beyond
        the stage's limits, or a number is impossible. Later, when no orientation shows the fiducials where they
        should be: the message gives where was looked, and what was seen.
    """
    mask_board = mask_board_on(stage, board)
    landmarks_of(mask_board)
    check_exposure(exposure_s)
    check_counts(dark_exposures=dark_exposures)
    if points < MIN_POINTS:
        raise ScanError(f"points {points}: a flank of an edge profile needs {MIN_POINTS} or more")
    if search_tiles < 1:
        raise ScanError(f"search_tiles {search_tiles}: give 1 or more")
    devices: list[Any] = [stage, shutter, diode, *with_object(object_stage)]
    fields = {
        **bucket_metadata(diode, stage)["fields"],
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
        bucket_unit=bucket_metadata(diode)["bucket_unit"],
        fields=fields,
        board={**board_metadata(mask_board), "d_r": mask_board.d_r},
        alignment={"board": abbreviate_tiles(mask_board.to_dict())},
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
