"""A camera that records the speckle in the object plane, with the object out of the beam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sandpaper import SandpaperSimulation, pixel_means


@dataclass(frozen=True)
class SpeckleCamera:
    """An integrating detector whose pixels are those of the image (or are binned to them).

    Attributes
    ----------
    psf_um : float
        Full width at half maximum of its point spread; 0 for none.
    efficiency : float
        Share of the diode's photons that it detects.
    counts_per_photon, offset, read_noise : float
        Counts of a detected photon, of no light, and rms of a pixel without light.
    photon_noise : bool
        False for a camera that counts without noise.
    full_well : int
        Largest count.
    """

    psf_um: float = 50.0
    efficiency: float = 1.0
    counts_per_photon: float = 20.0
    offset: float = 100.0
    read_noise: float = 5.0
    photon_noise: bool = True
    full_well: int = 65535

    def frame(self, simulation: SandpaperSimulation, exposure_s: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Counts of one exposure, shape (rows, columns); with the shutter closed a dark frame.

        The object is in the picture unless it was moved out of the beam.

        Parameters
        ----------
        twin : SandpaperTwin
        exposure_s : float
            Exposure time (s).
        rng : numpy.random.Generator
        """
        photons = np.zeros(simulation.board.size)
        if simulation.shutter_open:
            photons = self._light(simulation) * (simulation.photons_per_pixel_s * self.efficiency * exposure_s)
        if self.photon_noise:
            photons = rng.poisson(photons).astype(np.float64)
        counts = photons * self.counts_per_photon + self.offset + self.read_noise * rng.normal(size=photons.shape)
        return np.clip(np.rint(counts), 0, self.full_well).astype(np.uint16)

    def _light(self, simulation: SandpaperSimulation) -> NDArray[np.float64]:
        """Relative intensity on the pixels, blurred by the point spread."""
        from scipy.ndimage import gaussian_filter

        subpixels, width = simulation.parameters.subpixels, self.psf_um / 2.3548 / simulation.cell_um
        margin = math.ceil(4 * width)
        light = simulation.speckle(margin)
        if simulation.object_in:
            light = light * np.pad(simulation.object_map, margin, mode="edge")
        if margin:
            light = gaussian_filter(light, width)[margin:-margin, margin:-margin]
        return pixel_means(light, subpixels).astype(np.float64)
