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
    """How strong the denoiser is, and how far the data are trusted against it.

    Attributes
    ----------
    first, last : float
        Strength of the denoiser at the first and the last of the iterations, in units of the image's range; in between
        a geometric series.
    iterations : int
    data : float
        Factor on the variance of the data: 1 takes sigma as it is, 0 the data as exact.
    dual : bool
        ADMM, which carries what the two steps disagree about into the next iteration; else half-quadratic splitting.
    """

    first: float
    last: float
    iterations: int
    data: float
    dual: bool

    def __str__(self) -> str:
        kind = "ADMM" if self.dual else "half-quadratic splitting"
        return (
            f"{kind}, {self.iterations} iterations, denoiser from {self.first:g} to {self.last:g} of the range, "
            f"variance of the data times {self.data:g}"
        )


def pnp_ffdnet(measurement: Measurement, denoiser: FFDNet, schedule: Schedule) -> Image:
    """Reconstruct an object of transmission 0 to 1, shape (n, n); the last step is that of the data."""
    size, index = measurement.size, measurement.pattern_index
    values, known, variance = (np.zeros(size**2) for _ in range(3))
    values[index], known[index] = measurement.coefficient / size, 1
    variance[index] = schedule.data * (measurement.sigma / size) ** 2
    image = _back(values, size)
    gap = np.zeros_like(image)
    for strength in np.geomspace(schedule.first, schedule.last, schedule.iterations):
        with torch.inference_mode():
            given = torch.tensor(image + gap, dtype=torch.float32)
            denoised = denoiser(given, float(strength)).numpy().astype(np.float64)
        made = walsh_hadamard_2d(denoised - gap).ravel() / size
        image = _back(made + known * strength**2 / (strength**2 + variance) * (values - made), size)
        if schedule.dual:
            gap += image - denoised
    return image


def _back(coefficients: Image, size: int) -> Image:
    """Image, shape (n, n), of orthonormal coefficients, shape (n * n,)."""
    return walsh_hadamard_2d(coefficients.reshape(size, size)) / size
