"""Images whose truth is known: rendered on sub-pixels and averaged, apart from the code under test."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr


def across(size: int, angle_deg: float, offset: float, subpixels: int) -> np.ndarray:
    """Distance of every sub-pixel from a line that passes `offset` from the middle of the image."""
    axis = (np.arange(size * subpixels) + 0.5) / subpixels - size / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angle = np.deg2rad(angle_deg)
    return x * np.cos(angle) + y * np.sin(angle) - offset


def pixels(fine: np.ndarray, subpixels: int) -> np.ndarray:
    n = len(fine) // subpixels
    return fine.reshape(n, subpixels, n, subpixels).mean(axis=(1, 3))


def edge_image(size=16, angle_deg=8.0, offset=0.3, sigma=0.7, subpixels=16) -> np.ndarray:
    """A step from 0 to 1, blurred by a Gaussian of this sigma (px)."""
    return pixels(ndtr(across(size, angle_deg, offset, subpixels) / sigma), subpixels)


def gap_image(size=24, angle_deg=12.0, offset=0.3, width=2.0, sigma=0.7, subpixels=8) -> np.ndarray:
    """A stripe of 1 in 0, of this width (px), blurred."""
    distance = across(size, angle_deg, offset, subpixels)
    return pixels(ndtr((distance + width / 2) / sigma) - ndtr((distance - width / 2) / sigma), subpixels)


def noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    return sigma * np.random.default_rng(seed).normal(size=image.shape)
