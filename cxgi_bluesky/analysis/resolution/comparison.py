"""A ghost image and a direct image of one object, side by side: edge width and MTF in um."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError
from .edge import Edge, measure_edge
from .mtf import Mtf, edge_mtf
from .roi import Box


@dataclass(frozen=True, eq=False)
class Sharpness:
    """The edge of an image and its MTF, with the size of the image's pixels in the object's plane."""

    edge: Edge
    mtf: Mtf
    pixel_um: float

    @property
    def width_um(self) -> float:
        """10-90 % width, pixel included."""
        return self.edge.width_px * self.pixel_um

    @property
    def width_sigma_um(self) -> float:
        """One standard deviation of the width."""
        return self.edge.width_sigma_px * self.pixel_um

    @property
    def mtf50_per_mm(self) -> float:
        """Frequency (cycles per mm) at which half the contrast is left."""
        return self.mtf.mtf50 * 1000 / self.pixel_um

    @property
    def mtf50_sigma_per_mm(self) -> float:
        """One standard deviation of it."""
        return self.mtf.mtf50_sigma * 1000 / self.pixel_um

    def __str__(self) -> str:
        return (
            f"10-90 % width {self.width_um:.2f} +- {self.width_sigma_um:.2f} um, "
            f"MTF50 {self.mtf50_per_mm:.1f} +- {self.mtf50_sigma_per_mm:.1f} cycles/mm, pixel {self.pixel_um:.2f} um"
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both images' sharpness; `ratio` is the direct image's width over the ghost image's."""

    ghost: Sharpness
    direct: Sharpness

    @property
    def ratio(self) -> float:
        """How many times wider the edge of the direct image is."""
        return self.direct.width_um / self.ghost.width_um

    @property
    def ratio_sigma(self) -> float:
        """One standard deviation of the ratio."""
        parts = (s.width_sigma_um / s.width_um for s in (self.ghost, self.direct))
        return self.ratio * math.hypot(*parts)

    def __str__(self) -> str:
        return (
            f"ghost image:  {self.ghost}\ndirect image: {self.direct}\n"
            f"the direct image's edge is {self.ratio:.2f} +- {self.ratio_sigma:.2f} times as wide"
        )


def measure_sharpness(image: NDArray[Any], pixel_um: float, *, box: Box | None = None) -> Sharpness:
    """Edge width and MTF of one image.

    Parameters
    ----------
    image : array, shape (rows, columns)
    pixel_um : float
        Size of a pixel in the object's plane.
    box : (row0, row1, col0, col1), optional
        Where the edge is; by default the strongest straight one.

    Raises
    ------
    CxgiError
        If the pixel has no size, or there is no edge.
    """
    if not 0 < pixel_um < math.inf:
        raise MeasurementError(f"pixel_um {pixel_um}: give a positive size in um")
    edge = measure_edge(np.asarray(image), box)
    return Sharpness(edge, edge_mtf(edge), pixel_um)


def compare_sharpness(
    ghost: NDArray[Any],
    direct: NDArray[Any],
    *,
    ghost_pixel_um: float,
    direct_pixel_um: float,
    ghost_box: Box | None = None,
    direct_box: Box | None = None,
) -> Comparison:
    """Measure the same edge in a ghost image and in a direct image.

    Parameters
    ----------
    ghost, direct : array, shape (rows, columns)
        The two images, each of its own size and unit.
    ghost_pixel_um, direct_pixel_um : float
        Pixel in the object's plane (um); a ghost image's is the mask's times the magnification from mask to object.
    ghost_box, direct_box : (row0, row1, col0, col1), optional
        Where the edge is (px); by default the strongest straight one: name the boxes if the object has several.

    Raises
    ------
    CxgiError
        As `measure_sharpness`.
    """
    return Comparison(
        measure_sharpness(ghost, ghost_pixel_um, box=ghost_box),
        measure_sharpness(direct, direct_pixel_um, box=direct_box),
    )
