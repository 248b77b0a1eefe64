"""What every simulated beamline has: a stage, a shutter, an object that moves out, a diode that is read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .source import intensity_drift

ELEMENTARY_CHARGE_C = 1.602176634e-19
EV_PER_PAIR = 3.65  # silicon


@dataclass(frozen=True)
class Detector:
    """A silicon diode behind an electrometer.

    Attributes
    ----------
    photon_energy_kev : float
        Mean energy of the detected photons.
    swank : float
        A_s, the share of the photon statistics that survives the spectrum and the absorption.
    electrometer_fa : float
        Rms of the electrometer's noise in a reading of 1 s.
    background_pa : float
        Dark current.
    readings : int
        Electrometer readings in an exposure, from which its sigma is estimated.
    """

    photon_energy_kev: float = 17.6
    swank: float = 0.95
    electrometer_fa: float = 20.0
    background_pa: float = 0.05
    readings: int = 10

    def photons_per_s(self, current_pa: float) -> float:
        """Detected photons that make a current."""
        charge_per_photon = ELEMENTARY_CHARGE_C * self.photon_energy_kev * 1000 / EV_PER_PAIR
        return current_pa * 1e-12 / charge_per_photon

    def variance_pa2(self, current_pa: float, exposure_s: float) -> float:
        """Variance of the mean of an exposure: shot noise and electrometer noise (pA^2).

        Parameters
        ----------
        current_pa : float
            Mean current without dark current (pA).
        exposure_s : float
            Exposure time (s).
        """
        photons = self.photons_per_s(current_pa) * exposure_s
        shot = current_pa**2 / (photons * self.swank) if current_pa > 0 else 0.0
        return shot + (self.electrometer_fa * 1e-3) ** 2 / exposure_s

    def read(self, current_pa: float, exposure_s: float, rng: np.random.Generator) -> tuple[float, float]:
        """Mean of the readings of one exposure and the standard error of that mean (pA).

        Parameters
        ----------
        current_pa : float
            Mean current without dark current, which is added (pA).
        exposure_s : float
            Exposure time (s).
        rng : numpy.random.Generator
        """
        sigma = math.sqrt(self.variance_pa2(current_pa, exposure_s) * self.readings)
        readings = current_pa + self.background_pa + sigma * rng.normal(size=self.readings)
        return float(readings.mean()), float(readings.std(ddof=1) / math.sqrt(self.readings))


# ---------------------------------------------------------------- stage, shutter, readings


class SimulationControls(ABC):
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
    @abstractmethod
    def truth(self) -> NDArray[np.float32]:
        """True transmission on the image's pixels."""

    @abstractmethod
    def current_pa(self) -> float:
        """Current of the diode without noise, drift and dark current."""

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
        return self.detector.read(self._expose_pa(exposure_s), exposure_s, self._rng)

    def _expose_pa(self, exposure_s: float) -> float:
        """Current during an exposure, drift included; counts the exposure."""
        self.exposures += 1
        if self.shutter_open:
            self.shutter_open_s += exposure_s
        return self.current_pa() * next(self._drift)
