"""Suspenders: a scan waits while the source has no beam, and repeats the exposure that was interrupted."""

from __future__ import annotations

from typing import Any

from bluesky.suspenders import SuspendBoolHigh, SuspendBoolLow, SuspendFloor

RECOVERED = 1.02  # of the least current: one that hovers there does not start and stop the scan


def source_suspenders(source: Any) -> list[Any]:
    """Suspenders for a RunEngine from a source's signals.

    Parameters
    ----------
    source : Device
        With `ready`, `ready_value`, `current`, `at_least_ma`, `wait_s`, as `EpicsSource`.
    """
    suspenders: list[Any] = []
    if source.ready is not None:
        kind = SuspendBoolLow if source.ready_value else SuspendBoolHigh
        suspenders.append(kind(source.ready, sleep=source.wait_s, tripped_message=f"{source.name} is not ready"))
    if source.current is not None:
        floor = source.at_least_ma
        message = f"{source.name}: less than {floor:g} mA"
        words = {"resume_thresh": RECOVERED * floor, "sleep": source.wait_s, "tripped_message": message}
        suspenders.append(SuspendFloor(source.current, floor, **words))
    return suspenders
