"""MaskStage: a two-axis stage that is moved by tile number."""

from __future__ import annotations

from typing import Any

from ophyd import Component, Kind, PseudoPositioner, PseudoSingle
from ophyd.pseudopos import pseudo_position_argument, real_position_argument
from ophyd.signal import AttributeSignal
from ophyd.status import Status, StatusBase

from ..errors import ScanError
from ..masks.board import MaskBoard
from ..masks.speckle_board import Board
from .base import Configured, Named, Settings, prefix
from .positions import end_pseudo_move, set_bounds
from .protocols import AlignableStage

Limits = tuple[float, float]


class TileAxis(Named, PseudoSingle):
    """The pseudo axis of a mask stage's tile."""

    kind_labels = frozenset({"motors"})


class StagePosition:
    """Both axes of a mask stage as one thing that plans move: ``Msg("set", stage.xy, (x_mm, y_mm))``."""

    parent = None

    def __init__(self, stage: MaskStage) -> None:
        self._stage = stage
        self.name = f"{stage.name}_xy"

    def set(self, position_mm: tuple[float, float]) -> StatusBase:
        """Move both axes; `LimitError` beyond their limits."""
        return self._stage.move_axes(*position_mm)

    def check_value(self, position_mm: tuple[float, float]) -> None:
        """Raise `LimitError` for a position beyond the limits of an axis, `ValueError` for what is none."""
        self._stage.x.check_value(position_mm[0])
        self._stage.y.check_value(position_mm[1])

    def stop(self, *, success: bool = False) -> None:
        """Stop both axes."""
        self._stage.stop(success=success)


class MaskStage(Named, Configured, PseudoPositioner):
    """Mask stage over a board: real axes `x`, `y` (mm, given by a subclass), pseudo axis `tile`.

    ``stage.tile.set(17)`` moves both axes together. Between tiles, the readback of `tile` is the
    nearest tile and `tile_distance_um` the distance to its centre. `pattern_index` follows from
    the readback, never from what was asked for; it is -1 on a reference tile.
    ``stage.xy.set((x_mm, y_mm))`` moves both axes to any position.

    Parameters
    ----------
    board : MaskBoard or SpeckleBoard
        Tiles and alignment.
    in_position_um : float, optional
        Largest distance from a tile's centre at which it may be exposed; by default a quarter of
        a mask pixel.

    Raises
    ------
    CxgiError
        When asked for a tile that the board does not have.
    """

    checks_arrival = False  # whether the end of a move is its arrival in the window; else a plan looks

    kind_labels = frozenset({"stages"})

    tile = Component(TileAxis, egu="", kind=Kind.hinted)
    tile_distance_um = Component(AttributeSignal, attr="_tile_distance_um", kind=Kind.normal)
    pattern_index = Component(AttributeSignal, attr="_pattern_index", kind=Kind.normal)

    def __init__(self, prefix: str = "", *, board: Board, in_position_um: float | None = None, **kwargs: Any) -> None:
        self.board = board
        self._held: Any = None  # the real position for the time of a reading
        self.in_position_um = board.pixel_um / 4 if in_position_um is None else in_position_um
        self._known_nearest: tuple[tuple[float, float], Board, tuple[int, float]] | None = None
        super().__init__(prefix, **kwargs)
        self.xy = StagePosition(self)
        self.pattern_index.name = "pattern_index"

    def settings(self) -> Settings:
        """The board, how it lies on the stage, and the window."""
        return {**prefix("board", board_settings(self.board)), "in_position_um": (self.in_position_um, "um")}

    @pseudo_position_argument
    def forward(self, pseudo: Any) -> Any:
        """Stage position of a tile (mm)."""
        if pseudo.tile != int(pseudo.tile):
            raise ScanError(f"tile {pseudo.tile} is no whole number: tiles count from 0")
        return self.RealPosition(*self.board.position_mm(int(pseudo.tile)))

    @real_position_argument
    def inverse(self, real: Any) -> Any:
        """Nearest tile to a stage position."""
        return self.PseudoPosition(self._nearest(real)[0])

    def _nearest(self, real: Any) -> tuple[int, float]:
        """Nearest tile to a position and the distance; the last answer is kept, as each reading asks some times."""
        position, board = (float(real.x), float(real.y)), self.board
        known = self._known_nearest
        if known is None or known[:2] != (position, board):
            self._known_nearest = known = (position, board, board.nearest_tile(*position))
        return known[2]

    def read(self) -> Any:
        """Reading; all that follows from the real position follows from one and the same."""
        self._held = self._real_position()
        try:
            return super().read()
        finally:
            self._held = None

    @property
    def real_position(self) -> Any:
        """Where the axes are."""
        held = self._held
        return self._real_position() if held is None else held

    def _real_position(self) -> Any:
        return super().real_position

    def move_axes(self, x_mm: float, y_mm: float) -> StatusBase:
        """Move both axes to a position that need not be a tile's.

        Parameters
        ----------
        x_mm, y_mm : float
            Position of each axis (mm).

        Returns
        -------
        StatusBase
            It ends when both axes have arrived.
        """
        return self.x.move(x_mm, wait=False) & self.y.move(y_mm, wait=False)

    @property
    def _tile_distance_um(self) -> float:
        return self._nearest(self.real_position)[1]

    @property
    def _pattern_index(self) -> int:
        return self.board.pattern_index_of(self.tile.position)

    def describe(self) -> dict[str, Any]:
        """Descriptions with units, precision and exact integer types."""
        keys = super().describe()
        for name in (self.tile.readback.name, self.tile.setpoint.name, self.pattern_index.name):
            if name in keys:
                keys[name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        limits = {"lower_ctrl_limit": 0, "upper_ctrl_limit": self.board.tile_count - 1}
        for name in (self.tile.readback.name, self.tile.setpoint.name):
            keys[name] |= limits
        keys[self.tile_distance_um.name] |= {"dtype_numpy": "<f8", "units": "um", "precision": 2}
        return keys


class AxesStage(MaskStage):
    """Base of stages that move both axes at once and check where they are; a subclass gives `x`, `y`, `move_axes`.

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

    Raises
    ------
    CxgiError
        When asked for a tile that the board does not have; at staging, if an axis is not in mm.
    """

    checks_arrival = True
    x: Any
    y: Any

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
        **kwargs: Any,
    ) -> None:
        longest = move_timeout_s + settle_s + 10.0  # what is checked after the move takes its time too
        super().__init__(prefix, board=board, in_position_um=in_position_um, timeout=longest, **kwargs)
        self.move_timeout_s = move_timeout_s
        for axis, limits in ((self.x, x_limits_mm), (self.y, y_limits_mm)):
            set_bounds(axis, limits, settle_s, move_timeout_s)

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
    def axes(self) -> tuple[Any, Any]:
        """The real axes."""
        return self.x, self.y

    def _real_position(self) -> Any:
        """Where the axes are by their last readbacks, the ones that events store."""
        return self.RealPosition(*(axis.position for axis in self.axes))

    def stage(self) -> list[object]:
        """Stage, if both axes are in mm."""
        for axis in self.axes:
            axis.check_unit()
        return list(super().stage())

    def stop(self, success: bool = False) -> None:
        """Stop both axes. With `success`, as in a pause, the move is forgotten: the plan makes it again."""
        if success:
            self._done_moving(success=True)
        super().stop(success=success)

    def _setup_move(self, position: Any, status: StatusBase) -> None:
        wanted = self.forward(position)
        moved = self.move_axes(*wanted)
        moved.add_callback(lambda ended: end_pseudo_move(self, ended, status))


def board_settings(board: Board) -> Settings:
    """List what a run should know of a board without its file: identity, masks and alignment."""
    common: Settings = {
        "name": (board.name, ""),
        "sha256": (board.sha256, ""),
        "size": (board.size, "pixels"),
        "pixel_um": (board.pixel_um, "um"),
        "columns": (board.columns, ""),
        "metal": (board.metal, ""),
    }
    if not isinstance(board, MaskBoard):
        offsets = {name: (getattr(board, name), "mm") for name in ("x0_mm", "y0_mm", "beside_mm")}
        return {**common, "step_um": (board.step_um, "um"), **offsets}
    alignment = board.alignment
    return {
        **common,
        "tile_pitch_um": (board.tile_pitch_um, "um"),
        "aperture_um": (board.aperture_um, "um"),
        "d_r": (board.d_r, ""),
        "x0_mm": (alignment.x0_mm, "mm"),
        "y0_mm": (alignment.y0_mm, "mm"),
        "rotation_deg": (alignment.rotation_deg, "deg"),
        "scale": (alignment.scale, ""),
        "mirrored": (alignment.mirrored, ""),
    }


# ---------------------------------------------------------------- marker


LANDMARK, VISIT = "fiducial_landmark", "fiducial_visit"


class MarkedStage:
    """What is read of a mask stage, and two whole numbers that a plan has set: which fiducial, at which visit.

    ``Msg("set", marked, (landmark, visit))`` sets them and moves nothing.

    Parameters
    ----------
    stage : AlignableStage
    """

    parent = None

    def __init__(self, stage: AlignableStage) -> None:
        self.stage: Any = stage
        self.name = f"{stage.name}_marked"
        self._numbers = {LANDMARK: -1, VISIT: -1}

    def set(self, numbers: tuple[int, int]) -> StatusBase:
        """Which fiducial, at which visit."""
        self._numbers = dict(zip((LANDMARK, VISIT), numbers, strict=True))
        status = Status(obj=self)
        status.set_finished()
        return status

    def read(self) -> dict[str, Any]:
        """Readings of the stage, and the numbers."""
        readings = self.stage.read()
        latest = max(reading["timestamp"] for reading in readings.values())
        return {**readings, **{key: {"value": n, "timestamp": latest} for key, n in self._numbers.items()}}

    def describe(self) -> dict[str, Any]:
        """Descriptions of both."""
        number = {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], "units": "", "source": "PLAN:fiducials"}
        return {**self.stage.describe(), **{key: dict(number) for key in self._numbers}}

    def read_configuration(self) -> dict[str, Any]:
        """That of the stage."""
        return self.stage.read_configuration()

    def describe_configuration(self) -> dict[str, Any]:
        """That of the stage."""
        return self.stage.describe_configuration()

    @property
    def hints(self) -> dict[str, Any]:
        """Those of the stage."""
        return self.stage.hints
