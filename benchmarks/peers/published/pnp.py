"""Plug-and-play with FFDNet: denoise, then pull the measured coefficients back to their values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.peers.published.folder import Image
from benchmarks.peers.published.networks import FFDNet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement


@dataclass(frozen=True)
class Schedule:
    """Half-quadratic splitting: a denoiser that grows weaker, and how far the data are trusted against it.

    Attributes
    ----------
    first, last : float
        Strength of the denoiser at the first and the last of the iterations, in units of the image's range; in between
        a geometric series.
    iterations : int
    data : float
        Weight of the noise of the data: 1 takes sigma as it is.
    """

    first: float
    last: float
    iterations: int
    data: float


def pnp_ffdnet(measurement: Measurement, denoiser: FFDNet, schedule: Schedule) -> Image:
    """Reconstruct an object of transmission 0 to 1, shape (n, n)."""
    size = measurement.size
    values, known = np.zeros(size**2), np.zeros(size**2, dtype=bool)
    values[measurement.pattern_index], known[measurement.pattern_index] = measurement.coefficient / size, True
    variance = np.zeros(size**2)
    variance[measurement.pattern_index] = schedule.data * (measurement.sigma / size) ** 2
    image = _back(values, size)
    for strength in np.geomspace(schedule.first, schedule.last, schedule.iterations):
        denoised = _denoised(denoiser, image, strength)
        made = walsh_hadamard_2d(denoised).ravel() / size
        trust = known * strength**2 / (strength**2 + variance)
        image = _back(made + trust * (values - made), size)
    return _denoised(denoiser, image, schedule.last)


def _back(coefficients: Image, size: int) -> Image:
    """Image of orthonormal coefficients, shape (n * n,)."""
    return walsh_hadamard_2d(coefficients.reshape(size, size)) / size


def _denoised(denoiser: FFDNet, image: Image, strength: float) -> Image:
    with torch.inference_mode():
        return denoiser(torch.tensor(image, dtype=torch.float32), float(strength)).numpy().astype(np.float64)
