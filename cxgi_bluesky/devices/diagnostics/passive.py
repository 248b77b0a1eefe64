"""Checks that only read: do all PVs answer, and are units, limits, access and values those of the beamline file?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ophyd import EpicsSignal

from ..beamline import Beamline
from ..epics.arrivals import is_stamp
from ..epics.axes import Axis, BoundedMotor, BoundedPositioner
from ..epics.diode import EpicsDiode
from ..epics.shutter import EpicsShutter
from ..epics.signals import (
    Timeouts,
    enum_label,
    epics_signals,
    equals,
    find_unconnected,
    read_uncached,
    read_uncached_with_time,
    silent_pvs,
)
from ..positions import UNIT


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    where : str
        Device and part, as in the beamline file.
    what : str
        What is wrong, with names and values.
    remedy : str
        What to do.
    """

    where: str
    what: str
    remedy: str


def format_table(findings: Sequence[Finding]) -> str:
    """The findings as a table for people, one line each."""
    rows = [("where", "what is wrong", "what to do"), *((f.where, f.what, f.remedy) for f in findings)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{where:{widths[0]}}  {what:{widths[1]}}  {remedy}" for where, what, remedy in rows)


# ---------------------------------------------------------------- values


AXES = ("x", "y")


def find_axes(line: Any) -> dict[str, Axis]:
    """The axes over EPICS of a beamline by their keys in its file, those that are connected."""
    motors = {f"stage.{axis}": getattr(line.stage, axis, None) for axis in AXES}
    motors |= {f"{part}.motor": getattr(getattr(line, part), "motor", None) for part in ("object_stage", "knife")}
    return {name: motor for name, motor in motors.items() if isinstance(motor, Axis) and motor.connected}


def check_units(line: Any) -> list[Finding]:
    """EGU of the motors, and of the currents where the IOC gives it."""
    found = []
    for where, axis in find_axes(line).items():
        if isinstance(axis, BoundedMotor) and (unit := read_uncached(axis.motor_egu)) != UNIT:
            remedy = f"set {axis.prefix}.EGU to mm, with MRES, limits and velocity in mm"
            found.append(Finding(where, f"{axis.prefix}.EGU is {unit!r}, boards are in mm", remedy))
        elif isinstance(axis, BoundedPositioner) and (unit := axis.read_unit()) not in (None, UNIT):
            what = f"{axis.readback_pv} is in {unit!r}, boards are in mm"
            found.append(Finding(where, what, "set its EGU, scale and limits to mm"))
    for where, signal, unit in _list_currents(line.diode):
        reported = (signal.metadata or {}).get("units") if signal.connected else None
        if reported and reported != unit:
            what = f"{signal.pvname} is in {reported!r}, the beamline file says {unit!r}"
            found.append(Finding(where, what, f"put unit: {reported} there, or set EGU right"))
    return found


def _list_currents(diode: Any) -> list[tuple[str, Any, str]]:
    """Signals that are currents, and the unit that they are taken to have."""
    if not isinstance(diode, EpicsDiode):
        return []
    signal = next((getattr(diode, a) for a in ("reading", "mean_value", "value") if hasattr(diode, a)), None)
    currents = [] if signal is None else [("diode.unit", signal, diode.unit)]
    if diode.monitor is not None:
        currents.append(("monitor.unit", diode.extra_signals["i0_pv"], diode.monitor.unit))
    return currents


def check_limits(line: Any) -> list[Finding]:
    """The board, and the object's two positions, must lie within the limits of records and file."""
    found, motors = [], find_axes(line)
    spans = find_board_spans(line.board)
    for axis, other in (AXES, AXES[::-1]):
        motor = motors.get(f"stage.{axis}")
        if motor is None:
            continue
        outside = _find_exceeded_limits(motor, *spans[axis])
        if outside:
            swapped = f"stage.{other}" in motors and not _find_exceeded_limits(motor, *spans[other])
            remedy = "widen the limits, or correct the board's alignment"
            hint = f"are x and y swapped? The other axis' tiles would fit; else {remedy}" if swapped else remedy
            low, high = spans[axis]
            found.append(
                Finding(f"stage.{axis}", f"tiles and fiducials lie at {low:.4g} to {high:.4g} mm, {outside}", hint)
            )
    motor = motors.get("object_stage.motor")
    if motor is not None:
        for key in ("in_mm", "out_mm"):
            if outside := _find_exceeded_limits(motor, position := getattr(line.object_stage, key), position):
                found.append(Finding(f"object_stage.{key}", f"{position:g} mm: {outside}", "change it, or the limits"))
    return found


def find_board_spans(board: Any) -> dict[str, tuple[float, float]]:
    """Lowest and highest position of a board's tiles and fiducials along each axis (mm)."""
    tiles = [board.position_mm(tile) for tile in range(board.tile_count)]
    positions = np.array([*tiles, *(board.place_mm(fiducial) for fiducial in board.fiducials)])
    return {
        axis: (float(low), float(high))
        for axis, low, high in zip(AXES, positions.min(0), positions.max(0), strict=True)
    }


def _find_exceeded_limits(motor: Axis, low_mm: float, high_mm: float) -> str:
    """Which limits do not contain a span; empty if all do. Equal limits mean none."""
    own = motor.own_limits()
    if own[0] < own[1] and not (own[0] <= low_mm and high_mm <= own[1]):
        return f"limits of {motor.title} are {own[0]:g} to {own[1]:g} mm"
    if motor.limits_mm is not None and not (motor.limits_mm[0] <= low_mm and high_mm <= motor.limits_mm[1]):
        return f"limits_mm of the file are {motor.limits_mm[0]:g} to {motor.limits_mm[1]:g} mm"
    return ""


def check_labels(line: Beamline) -> list[Finding]:
    """Find labels that an enum does not have, and a readback of the shutter that is neither open nor closed."""
    shutter: Any = line.shutter
    if not isinstance(shutter, EpicsShutter):
        return []
    found = [
        Finding(
            f"shutter.{key}", f"{signal.pvname} has no word {wanted!r}: {', '.join(signal.enum_strs or ())}", "take one"
        )
        for key, signal, wanted in _list_enum_labels(shutter)
        if signal is not None
        and signal.connected
        and isinstance(wanted, str)
        and wanted not in (signal.enum_strs or ())
        and not isinstance(read_uncached(signal), str)
    ]
    if found or not shutter.readback.connected:
        return found
    value = read_uncached(shutter.readback)
    if not any(
        equals(shutter.readback, value, wanted) for wanted in (shutter.pvs.opened_value, shutter.pvs.closed_value)
    ):
        what = f"{shutter.readback.pvname} says {enum_label(shutter.readback, value)}, neither open nor closed"
        remedy = "see the shutter, or correct opened_value and closed_value"
        if isinstance(value, str):
            remedy += ': it is a text, give texts, such as "Open" and "Closed"'
        found.append(Finding("shutter.readback", what, remedy))
    return found


def _list_enum_labels(shutter: Any) -> list[tuple[str, Any, Any]]:
    pvs, barrier = shutter.pvs, shutter.barrier
    used = [
        ("opened_value", shutter.readback, pvs.opened_value),
        ("closed_value", shutter.readback, pvs.closed_value),
        ("open_value", shutter.command, pvs.open_value),
        ("close_value", shutter.command, pvs.close_value),
        ("permit_value", shutter.permit, pvs.permit_value),
    ]
    if barrier is not None:
        used += [
            ("second_barrier.close_value", barrier.command, barrier.close_value),
            ("second_barrier.closed_value", barrier.readback, barrier.closed_value),
        ]
    return used


# ---------------------------------------------------------------- states


def check_states(line: Beamline) -> list[Finding]:
    """What stands in the way of a scan now, or lets light on the sample."""
    shutter: Any = line.shutter
    if not isinstance(shutter, EpicsShutter):
        return []
    pvs, barrier = shutter.pvs, shutter.barrier
    found = []
    if _equals(shutter.readback, pvs.opened_value):
        found.append(_make_state_finding("shutter", shutter.readback, "light is on the sample", "close it"))
    if barrier is not None and _equals(barrier.readback, barrier.closed_value):
        found.append(
            _make_state_finding("shutter.second_barrier", barrier.readback, "there is no beam", "open it by hand")
        )
    permit = shutter.permit
    if permit is not None and permit.connected and not _equals(permit, pvs.permit_value):
        found.append(_make_state_finding("shutter.permit", permit, "the shutter may not open", "get the permit"))
    return found


def _equals(signal: Any, wanted: Any) -> bool:
    return signal.connected and equals(signal, read_uncached(signal), wanted)


def _make_state_finding(where: str, signal: Any, meaning: str, remedy: str) -> Finding:
    return Finding(
        where, f"{signal.pvname} says {enum_label(signal, read_uncached(signal))}: {meaning}", f"{remedy} before a scan"
    )


# ---------------------------------------------------------------- connections


MAX_SILENT = 3  # readings that time out before the rest is not asked for


def check_connections(devices: Sequence[Any], timeouts: Timeouts) -> list[Finding]:
    """PVs that do not exist, those of one record in one line; a dead IOC is one line altogether.

    Parameters
    ----------
    devices : sequence of ophyd Device
    timeouts : Timeouts
        All PVs are waited for `connection_s` (s) at most.
    """
    devices = list(devices)
    waiting = find_unconnected(devices, timeouts.connection_s)
    every = sum(len(epics_signals(device)) for device in devices)
    if waiting and len(waiting) == every:
        return [_describe_dead_ioc(devices, timeouts)]
    lost = {id(signal) for signal in waiting}
    found: list[Finding] = []
    for device in devices:
        signals = epics_signals(device)
        silent = {name: silent_pvs(signal) for name, signal in signals.items() if id(signal) in lost}
        found += _summarize_silent(device.name, silent, whole=len(silent) == len(signals) > 3)
    return found


def _describe_dead_ioc(devices: list[Any], timeouts: Timeouts) -> Finding:
    example = next(pv for device in devices for signal in epics_signals(device).values() for pv in silent_pvs(signal))
    addresses = os.environ.get("EPICS_CA_ADDR_LIST") or "not set"
    return Finding(
        "IOC",
        f"no PV answers within {timeouts.connection_s:g} s ({example} and all others)",
        f"start the IOC, check prefix and network; EPICS_CA_ADDR_LIST is {addresses}",
    )


def _summarize_silent(device: str, silent: dict[str, list[str]], *, whole: bool) -> list[Finding]:
    if not silent:
        return []
    if whole:
        pvs = [pv for names in silent.values() for pv in names]
        what = f"none of its {len(silent)} signals answers ({pvs[0]}, ...)"
        return [Finding(device, what, f"check the PV names of {device} in the beamline file, and its IOC")]
    records: dict[tuple[str, str], int] = {}
    for name, names in silent.items():
        for pv in names:
            key = f"{device}.{name.split('.')[0]}", pv.split(".")[0]
            records[key] = records.get(key, 0) + 1
    return [
        Finding(where, f"no answer from {record}{f' ({count} fields)' if count > 1 else ''}",
                "check this PV name in the beamline file, and that its IOC has it")
        for (where, record), count in records.items()
    ]  # fmt: skip


def read_all(devices: Sequence[Any]) -> tuple[list[Finding], int]:
    """Read every connected PV once; findings, and how many were read."""
    found: list[Finding] = []
    read = 0
    for device in devices:
        for name, signal in epics_signals(device).items():
            if not signal.connected:
                continue
            try:
                read_uncached(signal)
                read += 1
            except Exception as error:
                what = f"{signal.pvname} is connected, but is not read ({type(error).__name__})"
                found.append(Finding(f"{device.name}.{name}", what, "see its IOC: it may hang"))
            if len(found) >= MAX_SILENT:
                return found, read
    return found, read


# ---------------------------------------------------------------- access


def check_access(line: Beamline) -> list[Finding]:
    """PVs that move, open, close or expose, and that may not be written from here."""
    return [
        Finding(where, f"{signal.setpoint_pvname} is read-only from here", "correct the name, or get write access")
        for where, signal in _try_writing(line)
        if isinstance(signal, EpicsSignal) and signal.connected and not signal.write_access
    ]


def _try_writing(line: Any) -> list[tuple[str, Any]]:
    shutter = line.shutter
    signals = [(where, axis.user_setpoint) for where, axis in find_axes(line).items()]
    if isinstance(shutter, EpicsShutter):
        signals += [(f"shutter.{key}", getattr(shutter, key)) for key in ("command", "open_pulse", "close_pulse")]
    if getattr(shutter, "barrier", None) is not None:
        signals.append(("shutter.second_barrier.command", shutter.barrier.command))
    return [*signals, ("diode.acquire", getattr(line.diode, "acquire", None))]


# ---------------------------------------------------------------- time stamps


NO_STAMP = "it cannot be told whether a value is of its own exposure"
STAMP_REMEDY = "see the record's TSE and its driver"


def check_stamps(line: Any) -> list[Finding]:
    """Records of the detector and the monitor that have no time stamp."""
    return [
        Finding(
            where,
            f"{signal.pvname} has no time stamp: {NO_STAMP}",
            f"try --expose; if it never has one, {STAMP_REMEDY}",
        )
        for where, signal in list_signals_after_exposure(line.diode)
        if signal.connected and not is_stamp(read_uncached_with_time(signal)[1])
    ]


def list_signals_after_exposure(diode: Any) -> list[tuple[str, Any]]:
    """Signals over EPICS that are read after an exposure, each with the block of the beamline file that names it."""
    if not isinstance(diode, EpicsDiode):
        return []
    return [*(("diode", signal) for signal in diode.results), *(("monitor", s) for s in diode.monitor_signals)]
