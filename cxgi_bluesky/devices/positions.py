"""Positions of axes: in mm, within limits, and reached or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ophyd.status import StatusBase
from ophyd.utils import LimitError

UNIT = "mm"


class PositionError(RuntimeError):
    """An axis is not where it was sent to; moving there again may help."""


class NotArrivedError(PositionError):
    """A move has not ended in time, or was stopped: moving again does not help."""


def check_within(name: str, position_mm: float, limits_mm: tuple[float, float] | None) -> None:
    """Raise `ValueError` for what is no position, `LimitError` beyond limits of the beamline file.

    Parameters
    ----------
    name : str
        Of the axis, for the message.
    position_mm : float
        Position (mm).
    limits_mm : (float, float) or None
        Lowest and highest position (mm); None: no limits.
    """
    if not math.isfinite(position_mm):
        raise ValueError(f"{name}: {position_mm} mm is no position")
    if limits_mm is not None and not limits_mm[0] <= position_mm <= limits_mm[1]:
        raise LimitError(f"{name}: {position_mm:g} mm is outside {limits_mm} mm of the beamline file")


def describe_in_mm(key: dict[str, Any], precision: int) -> dict[str, Any]:
    """Description of a position with unit, type and a precision that shows less than a um.

    Parameters
    ----------
    key : dict
        Description by ophyd; it is not changed.
    precision : int
        Decimals that the IOC gives; 4 at least are given.
    """
    return {**key, "dtype": "number", "dtype_numpy": "<f8", "units": UNIT, "precision": max(precision, 4)}


def set_bounds(axis: Any, limits_mm: tuple[float, float] | None, settle_s: float, move_timeout_s: float) -> None:
    """Give an axis what the beamline file has: limits beside its own, a wait after each move, its longest move.

    Parameters
    ----------
    axis : ophyd positioner
        With limits of its own, `limits_mm`.
    limits_mm : (float, float) or None
        Lowest and highest position (mm); None: no other limits than its own.
    settle_s : float
        Wait after each move (s).
    move_timeout_s : float
        Longest time of a move (s).
    """
    axis.limits_mm, axis.settle_time, axis.timeout = limits_mm, settle_s, move_timeout_s


def check_window(names: Sequence[str], wanted_mm: Sequence[float], found: Sequence[float], window_um: float) -> None:
    """Raise `PositionError` unless the positions found are within the window.

    Parameters
    ----------
    names : sequence of str
        Of the axes.
    wanted_mm, found : sequence of float
        Where they were sent, and where they are (mm).
    window_um : float
        Largest distance, over all axes (um).
    """
    off_um = [1000 * (there - wanted) for there, wanted in zip(found, wanted_mm, strict=True)]
    if math.hypot(*off_um) <= window_um:
        return
    worst = max(range(len(names)), key=lambda index: abs(off_um[index]))
    raise PositionError(
        f"{names[worst]} was sent to {wanted_mm[worst]:.4f} mm and reads {found[worst]:.4f} mm, "
        f"{off_um[worst]:+.1f} um off (window {window_um:g} um): check the axis for lost steps, then move again"
    )


def end_pseudo_move(device: Any, ended: StatusBase, status: StatusBase) -> None:
    """End a pseudo axis' own status, which knows no error but "failed" unless it is given one.

    Parameters
    ----------
    device : ophyd PseudoPositioner
        Whose pseudo axis moves.
    ended : StatusBase
        Of the move of the real axes, which is over.
    status : StatusBase
        Of the move of the pseudo axis.
    """
    error = ended.exception(timeout=0)
    if status.done:
        return  # stopped, or replaced by a newer move
    if error is None:
        device._done_moving(success=True)
    else:
        status.set_exception(error if isinstance(error, PositionError) else PositionError(str(error)))
        device._reset_sub(device._SUB_REQ_DONE)
