"""Knife and object stage on one motor record each."""

from __future__ import annotations

from typing import Any

from ophyd import Component, FormattedComponent, Kind, PseudoPositioner, PseudoSingle
from ophyd.pseudopos import pseudo_position_argument, real_position_argument
from ophyd.status import StatusBase

from ..base import Settings
from ..knife import Knife
from ..object_stage import IN, OUT, ObjectStage
from ..positions import end_pseudo_move, set_bounds
from ..status import finish
from .axes import BoundedMotor, move_together
from .signals import Timeouts, finish_unstaging, give_timeouts

MM_PER_UM = 1e-3


class EpicsKnife(Knife, PseudoPositioner):
    """Blade on a motor record in mm; `edge` is its position in um.

    Parameters
    ----------
    motor_pv : str
        Motor record, in mm.
    axis, in_position_um
        Of `Knife`.
    move_timeout_s, settle_s : float
    limits_mm : (float, float), optional
        Beside those of the record.
    timeouts : Timeouts

    Raises
    ------
    CxgiError
        For another axis than x and y; at staging, if the record is not in mm.
    """

    edge = Component(PseudoSingle, egu="um", kind=Kind.hinted)
    motor = FormattedComponent(BoundedMotor, "{self._motor_pv}", kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        motor_pv: str,
        move_timeout_s: float = 60.0,
        settle_s: float = 0.0,
        limits_mm: tuple[float, float] | None = None,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        self._motor_pv = motor_pv
        super().__init__(prefix, timeout=move_timeout_s + settle_s + 10.0, **kwargs)
        self.move_timeout_s = move_timeout_s
        set_bounds(self.motor, limits_mm, settle_s, move_timeout_s)
        give_timeouts(self, timeouts or Timeouts())

    @pseudo_position_argument
    def forward(self, pseudo: Any) -> Any:
        """Motor's position (mm) of the edge's (um)."""
        return self.RealPosition(pseudo.edge * MM_PER_UM)

    @real_position_argument
    def inverse(self, real: Any) -> Any:
        """Edge's position (um) of the motor's (mm)."""
        return self.PseudoPosition(real.motor / MM_PER_UM)

    @property
    def real_position(self) -> Any:
        """Where the motor is by its last readback, the one that events store."""
        return self.RealPosition(self.motor.position)

    @property
    def target_um(self) -> float:
        """Where the motor was sent to last."""
        return float(self.motor.user_setpoint.get()) / MM_PER_UM

    def stage(self) -> list[object]:
        """Stage, if the record is in mm."""
        self.motor.check_unit()
        return super().stage()

    def stop(self, success: bool = False) -> None:
        """Stop the motor. With `success`, as in a pause, the move is forgotten: the plan makes it again."""
        if success:
            self._done_moving(success=True)
        super().stop(success=success)

    def _setup_move(self, position: Any, status: StatusBase) -> None:
        wanted = tuple(self.forward(position))
        moved = move_together(self, [self.motor], wanted, window_um=self.in_position_um, timeout_s=self.move_timeout_s)
        moved.add_callback(lambda ended: end_pseudo_move(self, ended, status))

    def describe(self) -> dict[str, Any]:
        """Descriptions with units and precision."""
        keys = super().describe()
        for name in (self.edge.readback.name, self.edge.setpoint.name):
            keys[name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "um", "precision": 2}
        return keys


# ---------------------------------------------------------------- object stage


BETWEEN = "between"


class EpicsObjectStage(ObjectStage):
    """Object on a motor record; `state` is "in", "out" or, in neither window, "between".

    Parameters
    ----------
    motor_pv : str
        Motor record, in mm.
    in_mm, out_mm : float
        Positions in and out of the beam.
    in_position_um : float
        Largest distance from either.
    move_timeout_s, settle_s : float
    limits_mm : (float, float), optional
        Beside those of the record.
    timeouts : Timeouts

    Raises
    ------
    CxgiError
        At staging, if the record is not in mm.
    """

    motor = FormattedComponent(BoundedMotor, "{self._motor_pv}", kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        motor_pv: str,
        in_mm: float,
        out_mm: float,
        in_position_um: float = 10.0,
        move_timeout_s: float = 60.0,
        settle_s: float = 0.0,
        limits_mm: tuple[float, float] | None = None,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        self._motor_pv = motor_pv
        self.in_mm, self.out_mm, self.in_position_um = in_mm, out_mm, in_position_um
        self.move_timeout_s = move_timeout_s
        self._move: StatusBase | None = None
        super().__init__(prefix, **kwargs)
        set_bounds(self.motor, limits_mm, settle_s, move_timeout_s)
        give_timeouts(self, timeouts or Timeouts())

    def settings(self) -> Settings:
        """Both positions, and the window."""
        return {
            "in_mm": (self.in_mm, "mm"),
            "out_mm": (self.out_mm, "mm"),
            "in_position_um": (self.in_position_um, "um"),
            "move_timeout_s": (self.move_timeout_s, "s"),
        }

    def stage(self) -> list[object]:
        """Stage, if the record is in mm."""
        self.motor.check_unit()
        finish_unstaging(self)
        return super().stage()

    def _command(self, inside: bool) -> StatusBase:
        wanted = self.in_mm if inside else self.out_mm
        self._move = move_together(
            self, [self.motor], [wanted], window_um=self.in_position_um, timeout_s=self.move_timeout_s
        )
        return self._move

    def stop(self, *, success: bool = False) -> None:
        """Stop the motor. With `success`, as in a pause, the move is forgotten: the plan makes it again."""
        if success and self._move is not None:
            finish(self._move)
        super().stop(success=success)

    def _is_at(self, position_mm: float) -> bool:
        return abs(self.motor.position - position_mm) * 1000 <= self.in_position_um

    @property
    def _is_in(self) -> bool:
        return self._is_at(self.in_mm)

    @property
    def _state(self) -> str:
        if self._is_in:
            return IN
        return OUT if self._is_at(self.out_mm) else BETWEEN
