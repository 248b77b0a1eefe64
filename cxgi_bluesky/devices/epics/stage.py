"""Mask stages over EPICS: two motor records, or two axes without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ophyd import FormattedComponent, Kind
from ophyd.status import StatusBase

from ...masks.speckle_board import Board
from ..base import Settings
from ..stage import MaskStage
from .axes import Axis, AxisPvs, BoundedMotor, BoundedPositioner, end_pseudo_move, move_together, set_bounds
from .signals import Timeouts, finish_unstaging, give_timeouts

Limits = tuple[float, float]


class EpicsAxesStage(MaskStage):
    """Base of mask stages over EPICS axes; ``stage.tile.set(17)`` moves both at once and checks where they are.

    A subclass gives `x` and `y`.

    Parameters
    ----------
    board : MaskBoard or SpeckleBoard
        Tiles and alignment.
    in_position_um : float, optional
        Largest distance from where it was sent; by default a quarter of a mask pixel.
    settle_s : float
        Wait after both have stopped, before the readback is looked at.
    move_timeout_s : float
        Longest move.
    x_limits_mm, y_limits_mm : (float, float), optional
        Beside those of the axes themselves.
    timeouts : Timeouts

    Raises
    ------
    CxgiError
        When asked for a tile that the board does not have; at staging, if an axis is not in mm.
    """

    checks_arrival = True
    x: Axis
    y: Axis

    def __init__(
        self,
        prefix: str = "",
        *,
        board: Board,
        in_position_um: float | None = None,
        settle_s: float = 0.0,
        move_timeout_s: float = 60.0,
        x_limits_mm: Limits | None = None,
        y_limits_mm: Limits | None = None,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        longest = move_timeout_s + settle_s + 10.0  # what is checked after the move takes its time too
        super().__init__(prefix, board=board, in_position_um=in_position_um, timeout=longest, **kwargs)
        self.move_timeout_s = move_timeout_s
        for axis, limits in ((self.x, x_limits_mm), (self.y, y_limits_mm)):
            set_bounds(axis, limits, settle_s, move_timeout_s)
        give_timeouts(self, timeouts or Timeouts())

    def settings(self) -> Settings:
        """Also how it moves."""
        return {
            **super().settings(),
            "move_timeout_s": (self.move_timeout_s, "s"),
            "settle_s": (float(self.x.settle_time), "s"),
            "x_limits_mm": (self.x.limits_mm, "mm"),
            "y_limits_mm": (self.y.limits_mm, "mm"),
        }

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The real axes."""
        return self.x, self.y

    def _real_position(self) -> Any:
        """Where the axes are by their last readbacks, the ones that events store."""
        return self.RealPosition(*(axis.position for axis in self.axes))

    def stage(self) -> list[object]:
        """Stage, if both axes are in mm."""
        for axis in self.axes:
            axis.check_unit()
            finish_unstaging(axis)
        finish_unstaging(self)
        return super().stage()

    def stop(self, success: bool = False) -> None:
        """Stop both axes. With `success`, as in a pause, the move is forgotten: the plan makes it again."""
        if success:
            self._done_moving(success=True)
        super().stop(success=success)

    def move_axes(self, x_mm: float, y_mm: float) -> StatusBase:
        """Move both axes at once, and check where they are.

        Parameters
        ----------
        x_mm, y_mm : float
            Position of each axis (mm).

        Returns
        -------
        StatusBase
            That of `move_together`: it ends when both axes are within `in_position_um`.
        """
        return move_together(
            self, self.axes, (x_mm, y_mm), window_um=self.in_position_um, timeout_s=self.move_timeout_s
        )

    def _setup_move(self, position: Any, status: StatusBase) -> None:
        wanted = self.forward(position)
        moved = self.move_axes(*wanted)
        moved.add_callback(lambda ended: end_pseudo_move(self, ended, status))


class EpicsMaskStage(EpicsAxesStage):
    """Mask stage over two motor records.

    Parameters
    ----------
    x_pv, y_pv : str
        Motor records, in mm.
    velocity_mm_s : float, optional
        Set while staged, put back afterwards.
    kwargs
        Of `EpicsAxesStage`.
    """

    x = FormattedComponent(BoundedMotor, "{self._x_pv}", kind=Kind.normal)
    y = FormattedComponent(BoundedMotor, "{self._y_pv}", kind=Kind.normal)

    def __init__(
        self, prefix: str = "", *, x_pv: str, y_pv: str, velocity_mm_s: float | None = None, **kwargs: Any
    ) -> None:
        self._x_pv, self._y_pv = x_pv, y_pv
        super().__init__(prefix, **kwargs)
        if velocity_mm_s is not None:
            for axis in self.axes:
                axis.stage_sigs["velocity"] = velocity_mm_s


def _positioner(axis: str) -> FormattedComponent[BoundedPositioner]:
    names = ("setpoint", "readback", "stop")
    pvs = {f"{name}_pv": f"{{self._{axis}.{name}}}" for name in names}
    return FormattedComponent(BoundedPositioner, "", add_prefix=("suffix", *pvs), kind=Kind.normal, **pvs)


class EpicsPositionerStage(EpicsAxesStage):
    """Mask stage over two axes without motor records.

    Parameters
    ----------
    x_pvs, y_pvs : AxisPvs
    kwargs
        Of `EpicsAxesStage`.
    """

    x = _positioner("x_pvs")
    y = _positioner("y_pvs")

    def __init__(self, prefix: str = "", *, x_pvs: AxisPvs, y_pvs: AxisPvs, **kwargs: Any) -> None:
        self._x_pvs, self._y_pvs = (replace(pvs, stop=pvs.stop or "") for pvs in (x_pvs, y_pvs))
        super().__init__(prefix, **kwargs)
