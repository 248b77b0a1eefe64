"""How much of the gold object's gap an image shows: its place and shape are known, its brightness is measured.

Amplitude: a box 10 um wide, averaged over the pixels, is fitted to the image at the gap's place, over the level of the
dark on both sides; the image's own bright and dark levels are 1 and 0, so that its unit does not matter. 1 is right,
0 is no gap. The same fit beside the gap, where all is dark, tells how large an amplitude is by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.analysis.resolution.gap import gap_profile, measure_gap
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.objects.paper import (
    GOLD_COLUMN_UM,
    GOLD_FIELD_UM,
    GOLD_GAP_UM,
    GOLD_RADIUS_UM,
    GOLD_TILT_DEG,
)

Image = NDArray[Any]
SEGMENTS = 8
SIGNIFICANT = 3.0  # sigma, of a segment
SHOWN_SEGMENTS = 6  # of eight: the gap shows along its length
FALSE_SEGMENTS = 3  # of eight: too many where there is no gap
WIDTH_ERROR = 0.3  # of the true width
_TRUE_PX = GOLD_GAP_UM / 10.0
_NEAR_PX, _FAR_PX = 3.0, 10.0  # the dark on both sides of the gap's middle
_SHIFTS_PX = (-9.0, -7.0, -5.0, 5.0, 7.0, 9.0)  # where the same fit is made for comparison
MIN_AMPLITUDE = 0.1  # fainter pieces are not counted, however little a smooth image scatters
_HALF_LINE_PX, _STRIP_PX, _PLACE_PX = 8.5, 52.0, 1.5


@dataclass(frozen=True)
class GapScore:
    """What an image shows of the gap.

    Attributes
    ----------
    amplitude : float
        Fitted over true brightness of the gap along its whole length; 1 is right, 0 for an image without contrast.
    segments : int
        Of the eight pieces of its length, those whose amplitude is above 3 sigma, and 0.1 at least.
    width_px : float
        Full width at half maximum (px), pixel and blur included; NaN unless 6 segments or more show the gap.
    """

    amplitude: float
    segments: int
    width_px: float

    @property
    def shows(self) -> bool:
        """Whether the gap shows along its length."""
        return self.segments >= SHOWN_SEGMENTS

    @property
    def width_is_right(self) -> bool:
        """Whether the width is within 30 % of the true gap's in such an image."""
        return abs(self.width_px / TRUE_WIDTH_PX - 1) <= WIDTH_ERROR


TRUE_WIDTH_PX = 1.04  # full width at half maximum of the true transmission on the mask's pixels


def score_gap(image: Image, truth: Image) -> GapScore:
    """Measure the gap of the gold object at the place where it was drawn.

    Parameters
    ----------
    image : ndarray, shape (n, n)
        In any unit.
    truth : ndarray, shape (n, n)
        True transmission (0..1) of the gold object; it tells what is bright and dark, and may be without the gap.
    """
    size = len(image)
    across, along = _coordinates(size)
    dark = (np.abs(across) > _NEAR_PX) & (np.abs(across) < _FAR_PX)
    contrast = float(image[truth > 0.99].mean() - image[dark].mean())
    if not contrast > 0:
        return GapScore(0.0, 0, math.nan)
    scaled = np.asarray(image, dtype=np.float64) / contrast
    length = along.max() - along.min() + 1e-9
    piece = ((along - along.min()) / length * SEGMENTS).astype(int)
    found = np.array([_amplitudes(scaled[piece == i], across[piece == i]) for i in range(SEGMENTS)])
    sigma = float(np.sqrt(np.mean(found[:, 1:] ** 2)))
    segments = int((found[:, 0] > max(SIGNIFICANT * sigma, MIN_AMPLITUDE)).sum())
    whole = float(_amplitudes(scaled.ravel(), across.ravel())[0])
    return GapScore(whole, segments, _width_px(image) if segments >= SHOWN_SEGMENTS else math.nan)


def _normal() -> tuple[float, float, float]:
    """Distance of the gap's middle from the field's (px), and (row, column) of the normal."""
    tilt = math.radians(GOLD_TILT_DEG)
    middle = (GOLD_COLUMN_UM + GOLD_GAP_UM / 2) - (GOLD_COLUMN_UM + GOLD_GAP_UM + GOLD_RADIUS_UM) / 2
    return middle / GOLD_GAP_UM * _TRUE_PX, math.sin(tilt), math.cos(tilt)


def _coordinates(size: int) -> tuple[Image, Image]:
    """Distance across the gap from its middle, and along it (px), of each pixel; on 64 x 64 pixels of 10 um."""
    middle, down, right = _normal()
    centred = (np.arange(size) - (size - 1) / 2) * (GOLD_FIELD_UM / 10.0 / size)
    y, x = np.meshgrid(centred, centred, indexing="ij")
    return right * x + down * y - middle, right * y - down * x


def _amplitudes(values: Image, across: Image) -> Image:
    """Amplitude at the gap's place, then at `_SHIFTS_PX`, over a ground that is a straight line across."""
    dark = (np.abs(across) > _NEAR_PX) & (np.abs(across) < _FAR_PX)
    slope, level = np.polyfit(across[dark], values[dark], 1)
    rest = values - (slope * across + level)
    shapes = [_shape(across - shift) for shift in (0.0, *_SHIFTS_PX)]
    return np.array([float(shape @ rest / (shape @ shape)) for shape in shapes])


def _shape(across: Image) -> Image:
    """The true gap: a box, averaged over square pixels."""
    box = np.array([0.0, 0.0, 0.0, 0.0, _TRUE_PX, _TRUE_PX**2 / 12, 1.0])
    return gap_profile(across, math.radians(GOLD_TILT_DEG), box)


def _width_px(image: Image) -> float:
    middle, down, right = _normal()
    centre = (len(image) - 1) / 2
    row, col = centre + middle * down, centre + middle * right
    half = _HALF_LINE_PX
    line = (row - half * down, col - half * right, row + half * down, col + half * right)
    try:
        gap = measure_gap(image, line, width=_STRIP_PX)
    except CxgiError:
        return math.nan
    return gap.width_px if gap.bright and abs(gap.offset) < _PLACE_PX else math.nan
