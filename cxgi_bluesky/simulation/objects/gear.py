"""The paper's metal gear (Fig. 3e): 14 teeth, 1.5 mm across, opaque; and an aperture of the same shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError
from .grid import Map, Places, sampled

TEETH = 14
DIAMETER_PX = 10.0  # 1.5 mm on the copper board's pixels of 150 um
BORE = 0.25  # of the radius
TOOTH_DEPTH = 0.18  # of the radius
DUTY = 0.5  # of the pitch is tooth


def gear(size: int, subpixels: int, *, diameter_px: float = DIAMETER_PX, teeth: int = TEETH) -> Map:
    """An opaque gear in an open field.

    Tooth depth 18 % and bore 25 % of the radius, teeth as wide as the spaces (ours: the paper gives the number
    of teeth and the diameter). One tooth points to the right.

    Parameters
    ----------
    size, subpixels : int
    diameter_px : float
        In mask pixels, at most `size`.
    teeth : int
    """
    return np.float32(1) - gear_aperture(size, subpixels, diameter_px=diameter_px, teeth=teeth)


def gear_aperture(size: int, subpixels: int, *, diameter_px: float = DIAMETER_PX, teeth: int = TEETH) -> Map:
    """The negative of `gear`: open in the shape of the gear, opaque elsewhere."""
    if not 0 < diameter_px <= size:
        raise CxgiError(f"diameter_px {diameter_px:g} of the gear: give more than 0 and at most {size} mask pixels")
    if teeth < 2 or teeth != int(teeth):
        raise CxgiError(f"teeth {teeth}: give a whole number, 2 or more")
    radius = diameter_px / size / 2

    def inside(x: Places, y: Places) -> NDArray[np.floating]:
        distance = np.hypot(x, y) / radius
        phase = np.arctan2(y, x) * teeth / (2 * np.pi)
        tooth = np.abs(phase - np.rint(phase)) < DUTY / 2
        rim = np.where(tooth, 1.0, 1 - TOOTH_DEPTH)
        return ((distance < rim) & (distance > BORE)).astype(np.float32)

    return sampled(inside, size, subpixels)
