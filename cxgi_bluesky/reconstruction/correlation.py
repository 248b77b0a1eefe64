"""Linear reconstructions: zero-filled inverse and second-order correlation (GI)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..measurement import Measurement
from ..patterns import pattern, walsh_hadamard_2d

Array = NDArray[np.float64]


def inverse(measurement: Measurement) -> tuple[Array, dict[str, Any]]:
    """Zero-filled inverse transform (1/N) sum_k s_k H_k, shape (n, n)."""
    return walsh_hadamard_2d(measurement.coefficient_grid()) / measurement.size**2, {}


def correlation(measurement: Measurement) -> tuple[Array, dict[str, Any]]:
    """Second-order correlation <B I> - <B><I> over the measured patterns except k = 0.

    With I = (1 + H) / 2 this is (1 / 2M) sum_k (s_k - <s>) H_k: one fast transform. Pixel (0, 0)
    is open in every pattern and has no covariance; it is filled from its neighbours.
    """
    others = measurement.pattern_index != 0
    if not others.any():
        return np.zeros((measurement.size, measurement.size)), {}
    bucket = measurement.coefficient[others]
    grid = np.zeros(measurement.size**2)
    grid[measurement.pattern_index[others]] = (bucket - bucket.mean()) / (2 * len(bucket))
    return fill_corner(walsh_hadamard_2d(grid.reshape(measurement.size, measurement.size))), {}


def fill_corner(image: Array) -> Array:
    """Replace pixel (0, 0) by the mean of its three neighbours."""
    image[0, 0] = (image[0, 1] + image[1, 0] + image[1, 1]) / 3
    return image


class EventByEventCorrelation:
    """The same correlation, one exposure after another; a repeated pattern_index replaces.

    Keeps the sums of B I, B and I, so that a new exposure costs one pattern and an image two
    operations per pixel. Equal to `correlation` to rounding.

    Parameters
    ----------
    size : int
        Pixels per side n.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._bucket: dict[int, float] = {}
        self._sum_b = 0.0
        self._sum_i = np.zeros((size, size))
        self._sum_bi = np.zeros((size, size))

    def __len__(self) -> int:
        return len(self._bucket)

    def update(self, pattern_index: int, bucket: float) -> None:
        """Take the bucket (any linear function of the signal) of one pattern; k = 0 is ignored.

        Raises
        ------
        CxgiError
            If the bucket is not finite: it could never be taken out of the sums again.
        """
        if not np.isfinite(bucket):
            raise CxgiError(f"bucket of pattern_index {pattern_index} is {bucket}: leave that exposure out")
        if pattern_index == 0:
            return
        intensity = (1.0 + pattern(self.size, pattern_index)) / 2
        earlier = self._bucket.get(pattern_index)
        if earlier is None:
            self._sum_i += intensity
        change = bucket - (earlier or 0.0)
        self._bucket[pattern_index] = bucket
        self._sum_b += change
        self._sum_bi += change * intensity

    def image(self) -> Array:
        """<B I> - <B><I> so far, shape (n, n)."""
        count = max(1, len(self._bucket))
        covariance = self._sum_bi / count - self._sum_b / count * (self._sum_i / count)
        return fill_corner(covariance)
