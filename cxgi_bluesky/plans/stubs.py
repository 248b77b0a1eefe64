"""Steps that the plans share: a run that ends safely whatever happens, move, store, read the dark.

What is done at every exposure yields its messages itself: each call of a function of `plan_stubs` formats the
whole stack for a warning that is hardly ever shown, a third of the RunEngine's time per exposure.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import FailedStatus, IllegalMessageSequence, RunEngineControlException

from ..devices.exposure_counter import ExposureFigures
from ..devices.object_stage import IN
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..devices.shutter import CLOSED
from .metadata import with_user_metadata

logger = logging.getLogger(__name__)

Plan = Generator[Any, Any, Any]

FIGURES = "figures"  # stream of the last event: what the run has cost

MOVE_TIMEOUT_S = 120.0
SHUTTER_TIMEOUT_S = 10.0
EXPOSURE_MARGIN_S = 30.0
DARK_REPEATS = 2
_moves = itertools.count()


class BudgetSpentError(Exception):
    """The next exposure would keep the shutter open for longer than the scan may."""


def safe_run(
    devices: list[Any],
    shutter: BeamShutter,
    exposures: Callable[[], Plan],
    *,
    figures: ExposureFigures,
    metadata: dict[str, Any],
    md: dict[str, Any] | None,
    object_stage: ObjectMover | None = None,
    put_back: Callable[[], Plan] | None = None,
) -> Plan:
    """One run of `exposures`; however it ends, the shutter is closed, and then what was moved is put back.

    The last event (stream ``figures``) gives what the run has cost. A spent exposure budget ends the run as a
    success that was cut short, with the reason in the stop document.

    Parameters
    ----------
    devices : list of ophyd Device
        To be staged.
    shutter : BeamShutter
    exposures : callable
        Gives the plan of what the run does; what that returns, text or None, is why it has ended early.
    figures : ExposureFigures
        Of the run.
    metadata : dict
        Start document of the plan.
    md : dict or None
        Metadata of the user.
    object_stage : ObjectMover, optional
        No event reads it: its settings stand with the figures.
    put_back : callable, optional
        Gives the plan that puts back what was moved (default: the object into the beam).

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    CxgiError
        Before anything moves: for metadata that `with_user_metadata` refuses.
    """
    whole = with_user_metadata(metadata, md)
    figures.unread = with_object(object_stage)
    object_back = partial(move_object, object_stage, IN)

    @bpp.stage_decorator(devices)
    def run() -> Plan:
        figures.begin()
        return (yield from in_one_run(scan, whole))

    def scan() -> Plan:
        yield from move(shutter, CLOSED, SHUTTER_TIMEOUT_S)
        cut_short = None
        try:
            cut_short = yield from bpp.finalize_wrapper(
                closing_finally(shutter, exposures, put_back or object_back), store([figures], FIGURES)
            )
        except BudgetSpentError as spent:
            cut_short = str(spent)
            logger.warning("%s: the scan ends here, cut short", cut_short)
        yield from bps.checkpoint()  # a pause from here on has nothing to repeat
        return cut_short

    return (yield from run())


def in_one_run(scan: Callable[[], Plan], metadata: dict[str, Any]) -> Plan:
    """A run around a plan.

    Parameters
    ----------
    scan : callable
        Gives the plan; what that returns, text or None, is the reason of the run's end.
    metadata : dict
        Start document.

    Returns
    -------
    str
        Uid of the run.
    """
    uid = yield from bps.open_run(metadata)
    reasons: list[str | None] = []

    def keep_reason() -> Plan:
        reasons.append((yield from scan()))

    def close_failed(error: Exception) -> Plan:
        if not isinstance(error, RunEngineControlException):  # after an abort the engine does it: it has the reason
            yield from bps.close_run(exit_status="fail", reason=str(error))

    def close_ended() -> Plan:
        yield from bps.close_run(reason=reasons[0])

    yield from bpp.contingency_wrapper(keep_reason(), except_plan=close_failed, else_plan=close_ended)
    return uid


def closing_finally(shutter: BeamShutter, exposures: Callable[[], Plan], put_back: Callable[[], Plan]) -> Plan:
    """`exposures`; however they end, the shutter is closed, and then, even if that fails, `put_back` is done.

    Parameters
    ----------
    shutter : BeamShutter
    exposures, put_back : callable
        Each gives a plan.
    """
    failures: list[Exception] = []

    def keep_failure(error: Exception) -> Plan:
        failures.append(error)
        yield from _forget_the_exposure()

    def put_back_all_the_same() -> Plan:
        try:
            yield from put_back()
        except RunEngineControlException:
            raise
        except Exception as error:
            if not failures:
                raise
            logger.error("not put back: %s; the run ends for what failed first", error)

    def make_safe() -> Plan:
        yield from bpp.finalize_wrapper(move(shutter, CLOSED, SHUTTER_TIMEOUT_S), put_back_all_the_same)

    return (yield from bpp.finalize_wrapper(bpp.contingency_wrapper(exposures(), except_plan=keep_failure), make_safe))


def _forget_the_exposure() -> Plan:
    """Drop the event that was begun; a pause from here on must not repeat the exposure, which would open again."""
    with suppress(IllegalMessageSequence):  # no event was begun
        yield Msg("drop")
    yield Msg("checkpoint")


def with_object(object_stage: ObjectMover | None) -> list[Any]:
    """The object's stage as a list of devices, empty without one."""
    return [] if object_stage is None else [object_stage]


# ---------------------------------------------------------------- steps
def wait_for(group: str, timeout_s: float) -> Plan:
    """Wait for what was started under a name; an error after the time-out.

    Re-raise the device's own exception, so that the stop document gives the cause.

    Parameters
    ----------
    group : str
        Name of what was started.
    timeout_s : float
        Longest wait (s).
    """
    try:
        yield Msg("wait", None, group=group, error_on_timeout=True, timeout=timeout_s, watch=())
    except FailedStatus as error:
        raise (error.__cause__ or error) from None


def move(device: Any, target: Any, timeout_s: float = MOVE_TIMEOUT_S) -> Plan:
    """Set and wait, never longer than the time-out.

    Parameters
    ----------
    device : ophyd positioner or signal
    target : number, text or tuple
        What it is set to, in its unit.
    timeout_s : float, optional
        Longest wait (s; default 120).
    """
    group = f"{device.name} to {target}, {next(_moves)}"  # a move that has failed leaves its name behind
    try:
        yield Msg("set", device, target, group=group)
    except FailedStatus as error:  # as soon as that
        raise (error.__cause__ or error) from None
    yield from wait_for(group, timeout_s)


def move_object(object_stage: ObjectMover | None, position: str) -> Plan:
    """The object in or out, where something can move it.

    Parameters
    ----------
    object_stage : ObjectMover or None
        None: nothing is done.
    position : {"in", "out"}
    """
    yield from move(object_stage, position) if object_stage is not None else bps.null()


def store(devices: Iterable[Any], stream: str) -> Plan:
    """Store one event of a stream: the present readings of devices.

    Parameters
    ----------
    devices : iterable of ophyd Device
        What is read, in this order.
    stream : str
        Event stream.
    """
    yield Msg("create", name=stream)
    for device in devices:
        yield Msg("read", device)
    yield Msg("save")


def fault_of(diode: BucketDetector) -> str:
    """What the last exposure lacks, as a text; empty without a fault, and for a detector that knows none."""
    return getattr(diode, "fault", "")


def wait_for_straggler(diode: BucketDetector) -> Plan:
    """Wait for what the last exposure lacked, with the shutter closed; it would be taken for the next one's."""
    if fault_of(diode) and (straggler := getattr(diode, "straggler", None)) is not None:
        yield Msg("trigger", straggler, group="straggler")
        yield from wait_for("straggler", EXPOSURE_MARGIN_S + SHUTTER_TIMEOUT_S)


def read_darks(stage: TileStage | None, diode: BucketDetector, exposure_s: float, count: int) -> Plan:
    """Set the exposure time, and so many readings with the shutter closed.

    Parameters
    ----------
    stage : TileStage or None
        Read with the detector, where there is one.
    diode : BucketDetector
        Bucket detector.
    exposure_s : float
        Exposure time (s).
    count : int
        Readings (stream ``dark``).
    """
    yield from move(diode.exposure_s, exposure_s)
    for _ in range(count):
        yield from _read_dark(diode, exposure_s)
        yield from store([diode] if stage is None else [stage, diode], "dark")


def _read_dark(diode: BucketDetector, exposure_s: float) -> Plan:
    """One reading, made again if it has not come in time; the last one is stored as it is, NaN, and left out."""
    for _ in range(1 + DARK_REPEATS):
        yield from bps.checkpoint()
        yield from bps.trigger(diode, group="exposure")
        yield from wait_for("exposure", exposure_s + EXPOSURE_MARGIN_S)
        fault = fault_of(diode)
        if not fault:
            return
        logger.warning("a dark reading has failed: %s", fault)
