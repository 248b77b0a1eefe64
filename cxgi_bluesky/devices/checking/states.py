"""Is the beamline as a scan wants to find it: shutter closed, second barrier open, permit given?"""

from __future__ import annotations

from typing import Any

from ..beamline import Beamline
from ..epics.signals import fresh, says, word_of
from .findings import Finding


def states(line: Beamline) -> list[Finding]:
    """What stands in the way of a scan now, or lets light on the sample."""
    shutter: Any = line.shutter
    pvs, barrier = shutter.pvs, shutter.barrier
    found = []
    if _says(shutter.readback, pvs.opened_value):
        found.append(_now("shutter", shutter.readback, "light is on the sample", "close it"))
    if barrier is not None and _says(barrier.readback, barrier.closed_value):
        found.append(_now("shutter.second_barrier", barrier.readback, "there is no beam", "open it by hand"))
    permit = shutter.permit
    if permit is not None and permit.connected and not _says(permit, pvs.permit_value):
        found.append(_now("shutter.permit", permit, "the shutter may not open", "get the permit"))
    return found


def _says(signal: Any, wanted: Any) -> bool:
    return signal.connected and says(signal, fresh(signal), wanted)


def _now(where: str, signal: Any, meaning: str, remedy: str) -> Finding:
    return Finding(
        where, f"{signal.pvname} says {word_of(signal, fresh(signal))}: {meaning}", f"{remedy} before a scan"
    )
