"""Checks of devices that are not ours: do they answer, read what they describe, and reach the whole board?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bluesky.protocols import Stageable

from ...errors import CxgiError
from ..epics.diode import EpicsDiode
from ..epics.shutter import EpicsShutter
from ..epics.stage import EpicsAxesStage
from ..movable_stage import MovableMaskStage
from ..protocols import BucketDetector, TileStage
from ..shutter import CLOSED
from ..status import wait_for
from .passive import AXES, Finding, find_board_spans


def check_own_devices(line: Any, connection_s: float) -> tuple[list[Finding], int]:
    """Connect and read what is not ours.

    Parameters
    ----------
    line : Beamline
    connection_s : float
        Longest wait for an axis (s).

    Returns
    -------
    findings : list of Finding
    read : int
        Devices that were read.
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = []
    if isinstance(line.stage, MovableMaskStage):
        checks.append(("stage", lambda: _check_axes(line, connection_s)))
    elif not isinstance(line.stage, EpicsAxesStage):
        checks.append(("stage", lambda: _check_stage(line.stage)))
    if not isinstance(line.diode, EpicsDiode):
        checks.append(("diode", lambda: _check_diode(line.diode)))
    if not isinstance(line.shutter, EpicsShutter):
        checks.append(("shutter", lambda: _check_shutter(line.shutter)))
    found: list[Finding] = []
    for where, check in checks:
        try:
            found += check()
        except Exception as error:
            found.append(Finding(where, _show(error), "see the device and its class"))
    return found, len(checks)


def is_closed(shutter: Any) -> bool | None:
    """Whether a shutter of any class is closed by its `state`; None if it has none."""
    state = getattr(shutter, "state", None)
    return None if state is None else state.get() == CLOSED


def _check_axes(line: Any, connection_s: float) -> Iterator[Finding]:
    stage = line.stage
    try:
        stage.wait_for_connection(timeout=connection_s)
    except CxgiError as error:
        yield Finding("stage", str(error), "check its options in the beamline file, and its IOC")
        return
    spans = find_board_spans(line.board)
    for name, axis in zip(AXES, stage.axes, strict=True):
        try:
            axis.check_unit()
            for position in spans[name]:
                axis.check_value(position)
        except Exception as error:
            low, high = spans[name]
            what = f"tiles and fiducials lie at {low:.4g} to {high:.4g} mm: {_show(error)}"
            yield Finding(f"stage.{name}", what, "widen the limits, or correct unit or the board's alignment")


def _check_stage(stage: TileStage) -> Iterator[Finding]:
    wanted = [part.name for part in (stage.tile, stage.tile_distance_um, stage.pattern_index)]
    yield from _find_missing("stage", stage, wanted)


def _check_diode(diode: BucketDetector) -> Iterator[Finding]:
    wanted = [diode.bucket_name, getattr(diode, "sigma_name", None), getattr(diode, "i0_name", None)]
    yield from _find_missing("diode", diode, [name for name in wanted if name is not None])


def _check_shutter(shutter: Any) -> Iterator[Finding]:
    if is_closed(shutter) is False:
        yield Finding("shutter", f"it is {shutter.state.get()}: light is on the sample", "close it before a scan")


def _find_missing(where: str, device: Any, wanted: list[str]) -> Iterator[Finding]:
    described, read = device.describe(), device.read()
    for name in wanted:
        for what, keys in (("describe()", described), ("read()", read)):
            if name not in keys:
                yield Finding(where, f"{what} has {', '.join(keys)}, and not {name!r}", "correct its class")
    if odd := set(described) ^ set(read):
        yield Finding(where, f"read() and describe() differ in {', '.join(sorted(odd))}", "correct its class")


def try_own_exposure(diode: Any, exposure_s: float, timeout_s: float) -> list[Finding]:
    """Trigger a detector once and look whether its bucket is a number.

    Parameters
    ----------
    diode : BucketDetector
    exposure_s : float
        Exposure time, which it is set to (s).
    timeout_s : float
        Longest wait for the exposure (s).
    """
    try:
        if isinstance(diode, Stageable):
            diode.stage()
        wait_for(diode.exposure_s.set(exposure_s), timeout_s)
        wait_for(diode.trigger(), timeout_s)
        bucket = float(diode.read()[diode.bucket_name]["value"])
    except Exception as error:
        return [Finding("diode", f"an exposure of {exposure_s:g} s has failed ({_show(error)})", "see the detector")]
    finally:
        if isinstance(diode, Stageable):
            diode.unstage()
    if not np.isfinite(bucket):
        return [Finding("diode", f"an exposure in the dark gives {bucket}", "see range and input")]
    return []


def _show(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
