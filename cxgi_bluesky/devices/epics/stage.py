"""EpicsMaskStage: the mask stage over two motor records."""

from __future__ import annotations

from typing import Any

from ophyd import FormattedComponent, Kind
from ophyd.status import StatusBase

from ...speckle_board import Board
from ..position import PositionError
from ..stage import MaskStage
from .motors import BoundedMotor, move_together
from .signals import Timeouts, finish_unstaging, give_timeouts

Limits = tuple[float, float]


class EpicsMaskStage(MaskStage):
    """Mask stage over two motor records; ``stage.tile.set(17)`` moves both at once and checks where they are.

    Parameters
    ----------
    x_pv, y_pv : str
        Motor records, in mm.
    board : MaskBoard or SpeckleBoard
        Tiles and alignment.
    in_position_um : float, optional
        Largest distance from where it was sent; by default a quarter of a mask pixel.
    settle_s : float
        Wait after both have stopped, before the readback is looked at.
    move_timeout_s : float
        Longest move.
    x_limits_mm, y_limits_mm : (float, float), optional
        Beside those of the records.
    velocity_mm_s : float, optional
        Set while staged, put back afterwards.
    timeouts : Timeouts

    Raises
    ------
    CxgiError
        When asked for a tile that the board does not have; at staging, if a record is not in mm.
    """

    x = FormattedComponent(BoundedMotor, "{self._x_pv}", kind=Kind.normal)
    y = FormattedComponent(BoundedMotor, "{self._y_pv}", kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        x_pv: str,
        y_pv: str,
        board: Board,
        in_position_um: float | None = None,
        settle_s: float = 0.0,
        move_timeout_s: float = 60.0,
        x_limits_mm: Limits | None = None,
        y_limits_mm: Limits | None = None,
        velocity_mm_s: float | None = None,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        self._x_pv, self._y_pv = x_pv, y_pv
        kwargs.setdefault("labels", {"stages"})
        longest = move_timeout_s + settle_s + 10.0  # what is checked after the move takes its time too
        super().__init__(prefix, board=board, in_position_um=in_position_um, timeout=longest, **kwargs)
        self.move_timeout_s = move_timeout_s
        for axis, limits in ((self.x, x_limits_mm), (self.y, y_limits_mm)):
            axis.limits_mm = limits
            axis.settle_time = settle_s
            axis.timeout = move_timeout_s
            if velocity_mm_s is not None:
                axis.stage_sigs["velocity"] = velocity_mm_s
        give_timeouts(self, timeouts or Timeouts())

    @property
    def axes(self) -> tuple[BoundedMotor, BoundedMotor]:
        """The real axes."""
        return self.x, self.y

    @property
    def real_position(self) -> Any:
        """Where the axes are by their last readbacks, the ones that events store."""
        return self.RealPosition(*(axis.position for axis in self.axes))

    def stage(self) -> list[object]:
        """Stage, if both records are in mm."""
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

    def _setup_move(self, position: Any, status: StatusBase) -> None:
        wanted = self.forward(position)
        moved = move_together(
            self, self.axes, tuple(wanted), window_um=self.in_position_um, timeout_s=self.move_timeout_s
        )
        moved.add_callback(lambda ended: self._end_move(ended, status))

    def _end_move(self, ended: StatusBase, status: StatusBase) -> None:
        """End the pseudo axis' own status, which knows no error but "failed" unless it is told."""
        error = ended.exception(timeout=0)
        if status.done:
            return  # stopped, or replaced by a newer move
        if error is None:
            self._done_moving(success=True)
        else:
            status.set_exception(error if isinstance(error, PositionError) else PositionError(str(error)))
            self._reset_sub(self._SUB_REQ_DONE)
