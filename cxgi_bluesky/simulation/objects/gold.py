"""The paper's gold object (Fig. 4a): a semi-cylinder beside a column, a narrow gap between them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError
from .grid import Map, Places, sampled

GOLD_ATTENUATION_LENGTH_UM = 4.4
GOLD_FIELD_UM = 640.0
GOLD_COLUMN_UM = 160.0
GOLD_COLUMN_THICKNESS_UM = 300.0
GOLD_GAP_UM = 10.0
GOLD_RADIUS_UM = 220.0
GOLD_TILT_DEG = 12.0


def gold_semi_cylinder(
    size: int,
    subpixels: int,
    *,
    gap_um: float = GOLD_GAP_UM,
    attenuation_length_um: float = GOLD_ATTENUATION_LENGTH_UM,
    tilt_deg: float = GOLD_TILT_DEG,
) -> Map:
    """A gold semi-cylinder, its flat face 10 um from a gold column, the whole tilted by 12 degrees.

    Column 160 um wide and 300 um thick, semi-cylinder of radius 220 um with its axis along y,
    both centred in a field of 640 um (Fig. 4a of the paper gives the shape, not the numbers). On a
    board with another field the whole object is scaled with it.

    Parameters
    ----------
    size, subpixels : int
    gap_um : float
        Distance between column and semi-cylinder, 0 or more.
    attenuation_length_um : float
        Thickness of gold that lets 1/e pass.
    tilt_deg : float
    """
    if not 0 <= gap_um < GOLD_FIELD_UM:
        raise CxgiError(f"gap_um {gap_um:g}: give 0 or more, and less than the field of {GOLD_FIELD_UM:g} um")
    if not attenuation_length_um > 0:
        raise CxgiError(f"attenuation_length_um {attenuation_length_um:g}: give a length in um above 0")
    tilt = math.radians(tilt_deg)
    face = GOLD_COLUMN_UM + gap_um

    def transmission(x: Places, y: Places) -> NDArray[np.floating]:
        across = (math.cos(tilt) * x + math.sin(tilt) * y) * GOLD_FIELD_UM
        across = across + (face + GOLD_RADIUS_UM) / 2  # 0 at the column's outer face
        thickness = np.where((across > 0) & (across < GOLD_COLUMN_UM), GOLD_COLUMN_THICKNESS_UM, 0.0)
        depth = across - face
        inside = (depth > 0) & (depth < GOLD_RADIUS_UM)
        thickness[inside] = 2 * np.sqrt(GOLD_RADIUS_UM**2 - depth[inside] ** 2)
        return np.exp((-thickness / attenuation_length_um).astype(np.float32))

    return sampled(transmission, size, subpixels)
