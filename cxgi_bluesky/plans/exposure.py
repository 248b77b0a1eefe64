"""One exposure that is checked: what fails is repeated, so many times and no more, and every repeat is recorded.

What is done at every exposure yields its messages itself: each call of a function of `plan_stubs` formats the
whole stack for a warning that is hardly ever shown, a third of the RunEngine's time per exposure.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from bluesky import Msg

from ..callbacks.live_steering import Goal
from ..devices.exposure_counter import ExposureFigures
from ..devices.positions import NotArrivedError, PositionError
from ..devices.protocols import BeamShutter, BucketDetector, TileStage
from ..devices.shutter import CLOSED, OPEN
from ..errors import ScanError
from ..measurement.outliers import INTENSITY, MAX_I0_CHANGE, NOT_A_NUMBER
from .metadata import is_count, is_positive
from .stubs import (
    EXPOSURE_MARGIN_S,
    SHUTTER_TIMEOUT_S,
    BudgetSpentError,
    Plan,
    fault_of,
    move,
    store,
    wait_for,
    wait_for_straggler,
)

logger = logging.getLogger(__name__)

FAILED = "failed"  # stream of the exposures that were repeated, with the reason
LATE = "late"  # begin of the reason, where a value has not come in time
MAX_REPEATS = 2
_MIN_I0, _MAX_I0 = 4, 64  # exposures whose median is the usual incident intensity

Reading = Mapping[str, Any]


class Position(Protocol):
    """Where something is exposed."""

    @property
    def device(self) -> Any:
        """What is read with the exposure."""

    def reach(self) -> Plan:
        """Go there, and raise `PositionError` unless it is there."""

    def check(self, reading: Reading, *, exposed: bool = True) -> None:
        """Raise `PositionError` unless a reading is of this position.

        Parameters
        ----------
        reading : mapping
            What was read of `device`, by data key: ``{"value": ..., "timestamp": ...}``.
        exposed : bool, optional
            Whether it was taken after the exposure (default True).
        """


def consequence(exposed: bool) -> str:
    """What a wrong position means for the exposure."""
    return "the exposure is not used" if exposed else "nothing was exposed"


@dataclass(frozen=True)
class ExposureLimits:
    """What a scan may do to the sample.

    Attributes
    ----------
    max_repeats : int
        How often one exposure that failed its checks is made again.
    max_open_s : float, optional
        Seconds that the shutter may be open in all; the scan ends cleanly before an exposure that would exceed it.

    Raises
    ------
    CxgiError
        For impossible numbers.
    """

    max_repeats: int = MAX_REPEATS
    max_open_s: float | None = None

    def __post_init__(self) -> None:
        if not is_count(self.max_repeats):
            raise ScanError(f"max_repeats {self.max_repeats!r}: give a whole number, 0 for no repeats")
        if self.max_open_s is not None and not is_positive(self.max_open_s):
            raise ScanError(
                f"max_open_s {self.max_open_s!r} is no positive number of seconds: leave it out for no limit"
            )

    def check_suffices(self, exposures: int, exposure_s: float) -> None:
        """Raise `CxgiError` if the budget would be spent before the first pattern is exposed.

        Parameters
        ----------
        exposures : int
            Of light, before that.
        exposure_s : float
        """
        needed_s = (exposures + 1) * exposure_s
        if self.max_open_s is not None and needed_s > self.max_open_s * (1 + 1e-9):
            raise ScanError(
                f"max_open_s {self.max_open_s:g}: {exposures} exposures of {exposure_s:g} s come before the first "
                f"pattern, give at least {needed_s:g} s, or fewer open_exposures and incident_exposures"
            )


@dataclass
class Exposing:
    """Shutter and detector, for how long, and what it has cost so far.

    Attributes
    ----------
    shutter, diode
    exposure_s : float
    limits : ExposureLimits
    figures : ExposureFigures
        Of the run; made from the shutter.
    """

    shutter: BeamShutter
    diode: BucketDetector
    exposure_s: float
    limits: ExposureLimits = field(default_factory=ExposureLimits)

    def __post_init__(self) -> None:
        longest_s = getattr(self.shutter, "longest_open_s", None)
        if longest_s is not None and self.exposure_s >= longest_s:
            logger.warning(  # no error: behind a simulated IOC time may pass faster
                "exposure_s %g: %s is closed by its own timer after %g s (max_open_s of the beamline file)",
                self.exposure_s,
                self.shutter.name,
                longest_s,
            )
        self.figures = ExposureFigures(
            self.shutter, max_repeats=self.limits.max_repeats, max_open_s=self.limits.max_open_s
        )
        self._longest_s = self.exposure_s
        self._i0: list[float] = []

    def expose_at(self, position: Position, stream: str) -> Plan:
        """Make one stored exposure: checkpoint, reach the position, open, expose, close, check, store.

        One that fails its checks goes into the stream ``failed`` and is repeated. If the bucket is still NaN,
        or I0 still unusual, after the last repeat, the exposure is stored and left out of images.

        Parameters
        ----------
        position : Position
            Where to expose.
        stream : str
            Event stream.

        Returns
        -------
        mapping
            What was read of position and detector, by data key; empty where a plan is only walked through.

        Raises
        ------
        PositionError
            If the position is not reached or kept after the last repeat; nothing is stored under a wrong name.
        BudgetSpentError
            Before an exposure that `limits` do not allow.
        """
        for left in range(self.limits.max_repeats, -1, -1):
            yield Msg("checkpoint")
            yield from self._reach(position)
            yield from wait_for_straggler(self.diode)
            self._check_budget()
            yield from self._expose()
            reading = yield from self._store(position, stream, last=left == 0)
            if reading is not None:
                return reading
        raise AssertionError  # the last one is stored, or has raised

    def _reach(self, position: Position) -> Plan:
        for left in range(self.limits.max_repeats, -1, -1):
            try:
                yield from position.reach()
            except NotArrivedError:
                raise  # a stuck axis is not helped by waiting for it again
            except PositionError as error:
                if left == 0:
                    raise
                self.figures.moved_again += 1
                logger.warning("%s; moving again", error)
            else:
                return

    def _check_budget(self) -> None:
        allowed_s, opened_s = self.limits.max_open_s, float(self.figures.open_s.get())
        if allowed_s is not None and opened_s + self._longest_s > allowed_s * (1 + 1e-9):
            raise BudgetSpentError(
                f"exposure budget: the shutter was open for {opened_s:.2f} s, and one more exposure "
                f"({self._longest_s:.2f} s) would exceed max_open_s {allowed_s:g}"
            )

    def _expose(self) -> Plan:
        opened_s = float(self.figures.open_s.get())
        yield from move(self.shutter, OPEN, SHUTTER_TIMEOUT_S)
        yield Msg("trigger", self.diode, group="exposure")
        yield from wait_for("exposure", self.exposure_s + EXPOSURE_MARGIN_S)
        yield from move(self.shutter, CLOSED, SHUTTER_TIMEOUT_S)
        self._longest_s = max(self._longest_s, float(self.figures.open_s.get()) - opened_s)

    def _store(self, position: Position, stream: str, *, last: bool) -> Plan:
        """Store the exposure and return what was read; None if it has failed and is to be repeated."""
        yield Msg("create", name=stream)
        where = yield Msg("read", position.device)
        what = yield Msg("read", self.diode)
        misplaced = _check_position(position, where or {})
        fault = self._fault(what or {}) if misplaced is None else str(misplaced)
        if fault is not None and (misplaced is not None or not last):
            yield Msg("drop")
            yield from self._record_failed(position, stream, fault)
            if misplaced is not None and last:
                raise misplaced
            return None
        yield Msg("read", self.figures)
        yield Msg("save")
        return {**(where or {}), **(what or {})}

    def _record_failed(self, position: Position, stream: str, fault: str) -> Plan:
        self.figures.repeated += 1
        self.figures.fault.put(f"{stream}: {fault}")
        logger.warning("an exposure (%s) has failed: %s", stream, fault)
        yield from store([position.device, self.diode, self.figures, self.figures.fault], FAILED)

    def _fault(self, reading: Reading) -> str | None:
        """Why an exposure is not valid by the readings of its detectors, None if it is."""
        bucket = _value(reading, self.diode.bucket_name)
        if bucket is not None and not math.isfinite(bucket):
            return _why_no_number(self.diode, reading)
        i0 = _value(reading, getattr(self.diode, "i0_name", None))
        if i0 is None:
            return None
        if not (math.isfinite(i0) and i0 > 0):
            return f"{INTENSITY} is {i0:g}"
        if len(self._i0) >= _MIN_I0 and abs(i0 / median(self._i0) - 1) > MAX_I0_CHANGE:
            return f"{INTENSITY} {i0:g}, while the median is {median(self._i0):g}"
        self._i0 = [*self._i0[1 - _MAX_I0 :], i0]
        return None


def _check_position(position: Position, reading: Reading) -> PositionError | None:
    try:
        position.check(reading)
    except PositionError as error:
        return error
    return None


def _value(reading: Reading, key: str | None) -> float | None:
    """A number of a reading; None where a plan is only walked through, and nothing is read."""
    return float(reading[key]["value"]) if key is not None and key in reading else None


def _why_no_number(diode: BucketDetector, reading: Reading) -> str:
    if fault := fault_of(diode):
        return f"{LATE}: {fault}"
    overload = getattr(diode, "overload", None)
    return "overload" if overload is not None and _value(reading, overload.name) else NOT_A_NUMBER


_NO_TILES: Mapping[int, Sequence[int]] = {}


@dataclass(frozen=True)
class TilePosition:
    """A tile of the board on a stage."""

    device: TileStage
    tile: int

    def reach(self) -> Plan:
        """Move to the tile and make sure that the stage is there."""
        yield from move(self.device.tile, self.tile)
        if not getattr(self.device, "checks_arrival", False):
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


@dataclass
class TileExposures:
    """Exposures of the tiles on a stage, the all-open tile among them.

    Attributes
    ----------
    stage, exposing
    open_tile : int
        Number of the all-open tile.
    open_every : int
        Patterns between two of its exposures (stream ``open``); 0: none.
    """

    stage: TileStage
    exposing: Exposing
    open_tile: int
    open_every: int = 0

    def __post_init__(self) -> None:
        self._patterns = 0

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

    def expose_open(self, count: int, stream: str = "open") -> Plan:
        """Expose the all-open tile a number of times.

        Parameters
        ----------
        count : int
        stream : str, optional
            Event stream (default "open").
        """
        yield from self.expose_tile(self.open_tile, stream, count)

    def expose_pattern(self, tile: int) -> Plan:
        """Expose a tile (stream ``primary``), the all-open tile before it where it is due."""
        if self.open_every and self._patterns and self._patterns % self.open_every == 0:
            yield from self.expose_open(1)
        yield from self.expose_tile(tile, "primary")
        self._patterns += 1

    def expose_tiles(
        self,
        tiles: Sequence[int],
        *,
        open_exposures: int,
        validation_after: Mapping[int, Sequence[int]] = _NO_TILES,
        goal: Goal | None = None,
    ) -> Plan:
        """Expose each tile once, the all-open tile before, after and in between.

        Parameters
        ----------
        tiles : sequence of int
            In the order of the scan.
        open_exposures : int
            Exposures of the all-open tile before the first tile and after the last one.
        validation_after : mapping of int to sequence of int
            Validation tiles to expose after the tile with this index (0: the first).
        goal : Goal, optional
            What ends the scan before its last tile.

        Returns
        -------
        str or None
            Why it has ended before its last tile.
        """
        yield from self.expose_open(open_exposures)
        reached = None
        for done, tile in enumerate(tiles):
            yield from self.expose_pattern(tile)
            for validation_tile in validation_after.get(done, ()):
                yield from self.expose_tile(validation_tile, "validation")
            reached = goal.find_reason() if goal is not None and done + 1 < len(tiles) else None
            if reached is not None:
                break
        yield from self.expose_open(open_exposures)
        return reached
