"""Noise of the photodiode and of its electrometer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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
        Electrometer readings in an exposure, from which its sigma is told.
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
