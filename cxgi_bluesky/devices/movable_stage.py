"""A mask stage over any two movables with a readback: ophyd's, ophyd-async's, or a class of the user's."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

from bluesky.protocols import Configurable, Stageable, Status, Stoppable
from ophyd import Component, Kind, SoftPositioner
from ophyd.status import StatusBase

from ..errors import ScanError
from .base import Configured, Named, Settings
from .ophyd_async import AsyncMovable, is_async
from .positions import UNIT, NotArrivedError, PositionError, check_window, check_within, describe_in_mm
from .protocols import StageAxis, check_device
from .stage import AxesStage
from .status import in_background, wait_for

READBACK_S = 0.5  # a readback may come so much later than the end of the move
POLL_S = 0.02
_MARGIN_S = 10.0  # for what is asked after the move


class MovableAxis(Named, Configured, SoftPositioner):
    """An axis of a mask stage, in mm; its readback goes into events by the stage's name of it.

    The readback is what the movable reads under its own name, or under its only hinted one.

    Attributes
    ----------
    movable : StageAxis
        What moves.
    limits_mm : (float, float), optional
        Beside those of the movable.
    """

    kind_labels = frozenset({"motors"})
    limits_mm: tuple[float, float] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, egu=UNIT, **kwargs)
        self.movable: Any = self.parent.movables[self.attr_name]
        self._key: str | None = None

    @property
    def title(self) -> str:
        """Name by which people know it."""
        return str(self.movable.name)

    def settings(self) -> Settings:
        """What moves."""
        return {"movable": (self.movable.name, "")}

    def list_configured_parts(self) -> Iterator[Any]:
        """What moves, if it has a configuration."""
        if isinstance(self.movable, Configurable):
            yield self.movable

    def read(self) -> dict[str, Any]:
        """Readback."""
        found = self.movable.read()
        if self._key is None:
            self._key = _readback_key(self.movable, found)
        reading = found[self._key]
        return {self.name: {"value": float(reading["value"]), "timestamp": reading["timestamp"]}}

    def describe(self) -> dict[str, Any]:
        """Description with unit, type and a precision that shows less than a um."""
        key = self._describe_readback()
        described = {"source": key["source"], "shape": []}
        return {self.name: describe_in_mm(described, int(key.get("precision") or 0))}

    def _describe_readback(self) -> dict[str, Any]:
        described = self.movable.describe()
        return dict(described[_readback_key(self.movable, described)])

    @property
    def position(self) -> float:
        """The readback."""
        return float(self.read()[self.name]["value"])

    def check_unit(self) -> None:
        """Raise `CxgiError` if the readback has another unit than mm; one without a unit is taken to be in mm."""
        unit = self._describe_readback().get("units")
        if unit not in (None, "", UNIT):
            raise ScanError(f"{self.name} ({self.title}) is in {unit!r}: positions of boards are in mm, set it to mm")

    def check_value(self, pos: float) -> None:
        """Raise `LimitError` beyond either limits, `ValueError` for what is no position."""
        check_within(self.name, pos, self.limits_mm)
        check = getattr(self.movable, "check_value", None)
        if check is not None:
            check(pos)

    def stop(self, *, success: bool = False) -> None:
        """Stop it, if it can be."""
        if isinstance(self.movable, Stoppable):
            self.movable.stop(success=success)

    def _setup_move(self, position: Any, status: StatusBase) -> None:
        """Move this axis alone."""

        def end(moved: Status) -> None:
            if status.done:
                return
            error = moved.exception(0.0)
            if error is None:
                self.renew_position()
                self._done_moving()
            else:
                status.set_exception(PositionError(f"{self.name} was sent to {position:.4f} mm: {error}"))
                self._reset_sub(self._SUB_REQ_DONE)

        self.movable.set(position).add_callback(end)

    def renew_position(self) -> None:
        """Tell all that listen where it is."""
        self._set_position(self.position)


def _readback_key(movable: Any, keys: Any) -> str:
    """Data key of the readback among the keys of a movable."""
    fields = (getattr(movable, "hints", None) or {}).get("fields", [])
    for key in (movable.name, *(fields if len(fields) == 1 else ())):
        if key in keys:
            return str(key)
    raise ScanError(f"{movable.name} has no readback of its own name, it has {', '.join(keys)}: give it one")


class MovableMaskStage(AxesStage):
    """Mask stage over two movables; ``stage.tile.set(17)`` moves both at once and checks where they are.

    Parameters
    ----------
    x, y : StageAxis
        In mm: EpicsMotor, PVPositioner, SoftPositioner, an axis of a PseudoPositioner, an ophyd-async Motor, ...
    kwargs
        Of `AxesStage`.

    Raises
    ------
    CxgiError
        If one is no movable with a readback.
    """

    x = Component(MovableAxis, kind=Kind.normal)
    y = Component(MovableAxis, kind=Kind.normal)

    def __init__(self, prefix: str = "", *, x: Any, y: Any, **kwargs: Any) -> None:
        self.movables: dict[str, Any] = {}
        for key, movable in (("x", x), ("y", y)):
            check_device(movable, StageAxis, f"stage.{key}")
            self.movables[key] = AsyncMovable(movable) if is_async(movable) else movable
        super().__init__(prefix, **kwargs)

    @property
    def extra_signals(self) -> dict[str, Any]:
        """Signals of the movables, where they have some."""
        walks = {
            key: movable.walk_signals() for key, movable in self.movables.items() if hasattr(movable, "walk_signals")
        }
        return {f"{key}.{walk.dotted_name}": walk.item for key, signals in walks.items() for walk in signals}

    def list_configured_parts(self) -> Iterator[Any]:
        """Also the axes, which ophyd takes for no devices."""
        yield from super().list_configured_parts()
        yield from self.axes

    def wait_for_connection(self, all_signals: bool = False, timeout: Any = 2.0) -> None:
        """Wait until both have answered.

        Parameters
        ----------
        all_signals : bool, optional
            Of ophyd; not used.
        timeout : float, optional
            Longest wait for each (s).

        Raises
        ------
        CxgiError
            Naming the one that has not.
        """
        for axis in self.axes:
            try:
                if hasattr(axis.movable, "wait_for_connection"):
                    axis.movable.wait_for_connection(timeout=timeout)
                axis.renew_position()
            except TimeoutError as error:
                raise ScanError(f"{axis.name} ({axis.title}): no answer within {timeout} s ({error})") from error
        super().wait_for_connection(timeout=timeout)

    def stage(self) -> list[object]:
        """Stage, if both axes are in mm."""
        staged = super().stage()
        for movable in self.movables.values():
            if isinstance(movable, Stageable):
                wait_for(movable.stage(), self.move_timeout_s)
        return staged

    def unstage(self) -> list[object]:
        """Unstage this and the axes; one that fails keeps none of the others."""
        errors = []
        for movable in self.movables.values():
            try:
                if isinstance(movable, Stageable):
                    wait_for(movable.unstage(), self.move_timeout_s)
            except Exception as error:
                errors.append(error)
        unstaged = list(super().unstage())
        if errors:
            raise errors[0]
        return unstaged

    def stop(self, success: bool = False) -> None:
        """Stop both axes. With `success`, as in a pause, the move is forgotten: the plan makes it again."""
        errors = []
        super().stop(success=success)
        for axis in self.axes:
            try:
                axis.stop(success=success)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def move_axes(self, x_mm: float, y_mm: float) -> StatusBase:
        """Move both axes at once, and check where they are.

        Parameters
        ----------
        x_mm, y_mm : float
            Position of each axis (mm).

        Returns
        -------
        StatusBase
            It ends when both axes are within `in_position_um`; it fails with a `PositionError` that names axis,
            wanted, found and window.

        Raises
        ------
        LimitError, ValueError
            Before anything moves, for a position beyond the limits, or what is none.
        """
        wanted = dict(zip(self.axes, (x_mm, y_mm), strict=True))
        for axis, position in wanted.items():
            axis.check_value(position)
        ended: queue.SimpleQueue[tuple[MovableAxis, Status]] = queue.SimpleQueue()
        for axis, position in wanted.items():
            moved: Status = axis.movable.set(position)
            moved.add_callback(lambda status, axis=axis: ended.put((axis, status)))
        settle_s = float(self.x.settle_time)

        def arrive() -> None:
            self._wait_for_ends(wanted, ended)
            time.sleep(settle_s)
            self._check_window(wanted)
            for axis in self.axes:
                axis.renew_position()

        return in_background(self, arrive, self.move_timeout_s + settle_s + READBACK_S + _MARGIN_S)

    def _wait_for_ends(self, wanted: dict[Any, float], ended: queue.SimpleQueue[Any]) -> None:
        """Wait for both moves; one that fails stops both."""
        deadline = time.monotonic() + self.move_timeout_s
        moving = dict(wanted)
        while moving:
            try:
                axis, status = ended.get(timeout=max(deadline - time.monotonic(), 0.0))
                error = status.exception(0.0)
            except queue.Empty:
                axis, error = next(iter(moving)), TimeoutError(f"longest move {self.move_timeout_s:g} s")
            if error is not None:
                self._give_up(axis, wanted[axis], error)
            del moving[axis]

    def _give_up(self, axis: MovableAxis, wanted_mm: float, error: BaseException) -> None:
        """One axis has failed: none need go on."""
        why = f"within {self.move_timeout_s:g} s" if isinstance(error, TimeoutError) else "as its move has failed"
        where = _show_position(axis)
        for each in self.axes:
            each.stop(success=False)
        raise NotArrivedError(
            f"{axis.name} was sent to {wanted_mm:.4f} mm and has not arrived {why} ({type(error).__name__}: {error}); "
            f"it reads {where} mm (window {self.in_position_um:g} um): check the axis"
        ) from error

    def _check_window(self, wanted: dict[Any, float]) -> None:
        names, positions = [axis.name for axis in wanted], list(wanted.values())
        deadline = time.monotonic() + READBACK_S
        while True:
            try:
                check_window(names, positions, [axis.position for axis in wanted], self.in_position_um)
            except PositionError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return


def _show_position(axis: MovableAxis) -> str:
    try:
        return f"{axis.position:.4f}"
    except Exception:  # what it is asked of is gone: the position is not known
        return "unknown"
