"""Does every PV answer, once?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ophyd import EpicsSignal

from ..beamline import Beamline
from ..epics.signals import Timeouts, epics_signals, find_unconnected, read_uncached, silent_pvs
from .findings import Finding
from .values import axes_of

MAX_SILENT = 3  # readings that time out before the rest is not asked for


def connections(devices: Sequence[Any], timeouts: Timeouts) -> list[Finding]:
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
        return [_dead(devices, timeouts)]
    lost = {id(signal) for signal in waiting}
    found: list[Finding] = []
    for device in devices:
        signals = epics_signals(device)
        silent = {place: silent_pvs(signal) for place, signal in signals.items() if id(signal) in lost}
        found += _lines(device.name, silent, whole=len(silent) == len(signals) > 3)
    return found


def _dead(devices: list[Any], timeouts: Timeouts) -> Finding:
    example = next(pv for device in devices for signal in epics_signals(device).values() for pv in silent_pvs(signal))
    addresses = os.environ.get("EPICS_CA_ADDR_LIST") or "not set"
    return Finding(
        "IOC",
        f"no PV answers within {timeouts.connection_s:g} s ({example} and all others)",
        f"start the IOC, check prefix and network; EPICS_CA_ADDR_LIST is {addresses}",
    )


def _lines(device: str, silent: dict[str, list[str]], *, whole: bool) -> list[Finding]:
    if not silent:
        return []
    if whole:
        pvs = [pv for names in silent.values() for pv in names]
        what = f"none of its {len(silent)} signals answers ({pvs[0]}, ...)"
        return [Finding(device, what, f"check the PV names of {device} in the beamline file, and its IOC")]
    records: dict[tuple[str, str], int] = {}
    for place, names in silent.items():
        for pv in names:
            key = f"{device}.{place.split('.')[0]}", pv.split(".")[0]
            records[key] = records.get(key, 0) + 1
    return [
        Finding(where, f"no answer from {record}{f' ({count} fields)' if count > 1 else ''}",
                "check this PV name in the beamline file, and that its IOC has it")
        for (where, record), count in records.items()
    ]  # fmt: skip


def readings(devices: Sequence[Any]) -> tuple[list[Finding], int]:
    """Read every connected PV once; findings, and how many were read."""
    found: list[Finding] = []
    read = 0
    for device in devices:
        for place, signal in epics_signals(device).items():
            if not signal.connected:
                continue
            try:
                read_uncached(signal)
                read += 1
            except Exception as error:
                what = f"{signal.pvname} is connected, but is not read ({type(error).__name__})"
                found.append(Finding(f"{device.name}.{place}", what, "see its IOC: it may hang"))
            if len(found) >= MAX_SILENT:
                return found, read
    return found, read


# ---------------------------------------------------------------- access


def access(line: Beamline) -> list[Finding]:
    """PVs that move, open, close or expose, and that may not be written from here."""
    return [
        Finding(where, f"{signal.setpoint_pvname} is read-only from here", "correct the name, or get write access")
        for where, signal in _try_writing(line)
        if isinstance(signal, EpicsSignal) and signal.connected and not signal.write_access
    ]


def _try_writing(line: Any) -> list[tuple[str, Any]]:
    shutter = line.shutter
    signals = [(place, axis.user_setpoint) for place, axis in axes_of(line).items()]
    signals += [(f"shutter.{key}", getattr(shutter, key)) for key in ("command", "open_pulse", "close_pulse")]
    if shutter.barrier is not None:
        signals.append(("shutter.second_barrier.command", shutter.barrier.command))
    return [*signals, ("diode.acquire", getattr(line.diode, "acquire", None))]
