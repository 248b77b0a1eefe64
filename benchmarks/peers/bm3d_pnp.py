"""Plug-and-play with BM3D: denoise, then pull the measured coefficients back to their values."""

from __future__ import annotations

import numpy as np
from _shared import Image, hadamard, on_grid
from bm3d import BM3DProfile, bm3d

PACKAGE = "bm3d"
NAME = "PnP-BM3D"
ITERATIONS = 20
FIRST, LAST = 0.3, 0.02  # strength of the denoiser, in units of the image's range
SETTINGS = f"{ITERATIONS} iterations, denoiser {FIRST} falling to {LAST} of the range, then the data step"
TUNED = "first and last strength, on the truths"
SEEDS = 1  # seconds an image


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    profile = BM3DProfile()
    profile.num_threads = 1  # 0, its default, takes all
    matrix = hadamard(size) / np.sqrt(size)
    values, known = on_grid(coefficients / size, index, size), on_grid(1.0, index, size) > 0
    image = matrix @ values @ matrix
    for strength in np.geomspace(FIRST, LAST, ITERATIONS):
        denoised = bm3d(image, strength, profile)
        grid = matrix @ denoised @ matrix
        trust = strength**2 / (strength**2 + (sigma / size) ** 2)
        image = matrix @ np.where(known, trust * values + (1 - trust) * grid, grid) @ matrix
    return bm3d(image, LAST, profile)
