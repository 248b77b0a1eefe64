"""What every twin of a beamline has: a stage, a shutter, an object that moves out, a diode to read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .detector import Detector
from .source import intensity_drift


class SimulationControls:
    """State of a simulated beamline and the methods by which devices change it.

    Time is simulated: it passes only in exposures, so that the shutter-open seconds are those of the
    real scan. A subclass gives `current_pa` and `truth`.

    Parameters
    ----------
    position_mm : (float, float)
        Where the stage is at first.
    detector : Detector
    drift_rms : float
        Relative rms of the source's drift.
    stage_rms_um : float
        Random error of each stage move, per axis.
    seed : int
        The same seed gives the same readings for the same sequence of calls.
    """

    def __init__(
        self, position_mm: tuple[float, float], *, detector: Detector, drift_rms: float, stage_rms_um: float, seed: int
    ) -> None:
        self.x_mm, self.y_mm = position_mm
        self.shutter_open = False
        self.object_in = True
        self.openings = 0
        self.exposures = 0
        self.shutter_open_s = 0.0
        self.detector, self._stage_rms_um = detector, stage_rms_um
        self._rng = np.random.default_rng(seed)
        self._drift = intensity_drift(self._rng, drift_rms)

    @property
    def truth(self) -> NDArray[np.float32]:
        """True transmission on the image's pixels."""
        raise NotImplementedError

    def current_pa(self) -> float:
        """Current of the diode without noise, drift and dark current."""
        raise NotImplementedError

    def move_to(self, x_mm: float, y_mm: float) -> None:
        """Stage move, with the stage's random error.

        Parameters
        ----------
        x_mm, y_mm : float
            Stage position to go to (mm).
        """
        self.x_mm, self.y_mm = self._reach(x_mm), self._reach(y_mm)

    def move_x(self, x_mm: float) -> None:
        """Move of the x axis alone."""
        self.x_mm = self._reach(x_mm)

    def move_y(self, y_mm: float) -> None:
        """Move of the y axis alone."""
        self.y_mm = self._reach(y_mm)

    def _reach(self, target_mm: float) -> float:
        return target_mm + self._stage_rms_um / 1000 * float(self._rng.normal())

    def open_shutter(self) -> None:
        """Let the beam through."""
        self.openings += not self.shutter_open
        self.shutter_open = True

    def close_shutter(self) -> None:
        """Stop the beam."""
        self.shutter_open = False

    def expose(self, exposure_s: float) -> tuple[float, float]:
        """Integrate for `exposure_s`; returns the mean current and its sigma (pA)."""
        return self.detector.read(self._exposed_pa(exposure_s), exposure_s, self._rng)

    def _exposed_pa(self, exposure_s: float) -> float:
        """Current during an exposure, drift included; counts the exposure."""
        self.exposures += 1
        if self.shutter_open:
            self.shutter_open_s += exposure_s
        return self.current_pa() * next(self._drift)
