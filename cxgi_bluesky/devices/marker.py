"""MarkedStage: a mask stage whose readings also say what they are of."""

from __future__ import annotations

from typing import Any

from ophyd.status import Status, StatusBase

from .stage import MaskStage

LANDMARK, VISIT = "fiducial_landmark", "fiducial_visit"


class MarkedStage:
    """What is read of a mask stage, and two whole numbers that a plan has set: which fiducial, at which visit.

    ``Msg("set", marked, (landmark, visit))`` sets them and moves nothing.

    Parameters
    ----------
    stage : MaskStage
    """

    parent = None

    def __init__(self, stage: MaskStage) -> None:
        self.stage = stage
        self.name = f"{stage.name}_marked"
        self._numbers = {LANDMARK: -1, VISIT: -1}

    def set(self, numbers: tuple[int, int]) -> StatusBase:
        """Which fiducial, at which visit."""
        self._numbers = dict(zip((LANDMARK, VISIT), numbers, strict=True))
        status = Status(obj=self, timeout=1)
        status.set_finished()
        return status

    def read(self) -> dict[str, Any]:
        """Readings of the stage, and the numbers."""
        readings = self.stage.read()
        latest = max(reading["timestamp"] for reading in readings.values())
        return {**readings, **{key: {"value": n, "timestamp": latest} for key, n in self._numbers.items()}}

    def describe(self) -> dict[str, Any]:
        """Descriptions of both."""
        words = {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], "units": "", "source": "PLAN:fiducials"}
        return {**self.stage.describe(), **{key: dict(words) for key in self._numbers}}

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
