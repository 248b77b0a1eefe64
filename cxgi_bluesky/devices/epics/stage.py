"""Mask stages over EPICS: two motor records, or two axes without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ophyd import FormattedComponent, Kind
from ophyd.status import StatusBase

from ..stage import AxesStage
from .axes import Axis, AxisPvs, BoundedMotor, BoundedPositioner, move_together
from .signals import Timeouts, finish_unstaging, give_timeouts


class EpicsAxesStage(AxesStage):
    """Base of mask stages over EPICS axes; ``stage.tile.set(17)`` moves both at once and checks where they are.

    A subclass gives `x` and `y`.

    Parameters
    ----------
    timeouts : Timeouts
    kwargs
        Of `AxesStage`.
    """

    x: Axis
    y: Axis

    def __init__(self, prefix: str = "", *, timeouts: Timeouts | None = None, **kwargs: Any) -> None:
        super().__init__(prefix, **kwargs)
        give_timeouts(self, timeouts or Timeouts())

    def stage(self) -> list[object]:
        """Stage, if both axes are in mm; what an unstaging without the IOC has left is put back first."""
        for device in (*self.axes, self):
            finish_unstaging(device)
        return super().stage()

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
