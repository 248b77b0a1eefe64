"""deepinv SinglePixelCamera.A_dagger: the pseudo-inverse."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from _shared import Image, on_grid
from deepinv.physics import SinglePixelCamera

PACKAGE = "deepinv"
NAME = "deepinv A_dagger"
SETTINGS = "SinglePixelCamera, fast, with the mask of the patterns measured"
TUNED = "nothing to tune"


@lru_cache(maxsize=16)
def physics(index: bytes, size: int) -> SinglePixelCamera:
    """deepinv's operator for exactly these patterns: its own orders are others, the default a 1-D sequency."""
    rows = np.frombuffer(index, dtype=np.int64)
    made = SinglePixelCamera(m=len(rows), img_size=(1, size, size), fast=True, ordering="zig_zag")
    made.mask = torch.from_numpy(on_grid(1.0, rows, size).astype(np.float32))[None, None]
    return made


def measured(coefficients: Image, index: Image, size: int) -> torch.Tensor:
    """Orthonormal coefficients at their places, as deepinv's operator returns them."""
    return torch.from_numpy(on_grid(coefficients / size, index, size).astype(np.float32))[None, None]


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    with torch.no_grad():
        return physics(index.tobytes(), size).A_dagger(measured(coefficients, index, size))[0, 0].numpy()
