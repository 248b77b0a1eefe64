"""The sharpness of a straight edge: a blurred step fitted to the pixels of a region.

The model is a step of two levels, blurred by a Gaussian of standard deviation sigma, averaged over
each square pixel, its line anywhere and at any angle. A pixel adds 1/12 px^2 to the variance across
the edge, at every angle. So the width of an image of Gaussian blur is close to
2.563 * sqrt(sigma^2 + 1/12) px, and no edge is narrower than its pixel: 0.8 px along the axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError, MeasurementError
from .fitting import Fit, fit_pixels
from .initial_guess import Split, best_split, straight_edges
from .roi import Box, Region, Values, box_region, line_region

PIXEL_VARIANCE = 1 / 12  # px^2, of a unit square along any direction
TEN_TO_NINETY = 2.5631031310892007  # 10-90 % width of a Gaussian edge in units of its sigma
MIN_SIGNIFICANCE = 6.0  # an edge among the noise of a whole 64 x 64 image reaches 4 to 5
MIN_VARIANCE = 1e-4  # px^2
SENSED_VARIANCE = 0.04  # px^2: below it a pixel that the edge crosses in its middle is the same whatever the blur


@dataclass(frozen=True, eq=False)
class Edge:
    """An edge and how sharp it is. Lengths in pixels, levels in the image's own unit.

    Attributes
    ----------
    row, col : float
        The point of the edge nearest to the middle of the region.
    angle_deg : float
        Tilt of the edge: 0 upright (columns left and right of it differ), 90 lying; in -90..90.
    low, high : float
        Levels on both sides; `contrast` is their difference.
    noise : float
        Rms of what the model does not explain.
    width_px, width_sigma_px : float
        10-90 % width as seen in the image, pixel included, of the fitted edge; its uncertainty.
    blur_px, blur_sigma_px : float
        Standard deviation of the Gaussian blur without the pixel.
    region : Region
    normal : float
        Direction (rad) from dark to bright, as `Region.distance` takes it.
    offset : float
        Distance of the edge from the region's middle along the normal.
    """

    row: float
    col: float
    position_sigma_px: float
    angle_deg: float
    angle_sigma_deg: float
    low: float
    high: float
    noise: float
    width_px: float
    width_sigma_px: float
    blur_px: float
    blur_sigma_px: float
    region: Region
    normal: float
    offset: float

    @property
    def contrast(self) -> float:
        """Difference of the two levels."""
        return self.high - self.low

    @property
    def distance(self) -> Values:
        """Distance (px) of each pixel of the region from the edge, towards the bright side."""
        return self.region.distance(self.normal) - self.offset

    def model(self, distance: NDArray[Any]) -> Values:
        """The fitted edge at distances (px) from it."""
        return self.low + self.contrast * pixel_edge(distance, self.normal, self.blur_px**2)


def pixel_edge(distance: NDArray[Any], normal: float, variance: float) -> Values:
    """A unit step blurred by a Gaussian of this variance (px^2) and averaged over a square pixel.

    The pixel's shadow on the normal is a box of |cos| convolved with one of |sin|; the step's second
    integral, differenced over both, gives the average exactly.

    Parameters
    ----------
    distance : ndarray, any shape
        Of the pixels' centres from the edge, along the normal (px).
    normal : float
        Direction from dark to bright (rad), as `Region.distance` takes it.
    variance : float
        Of the blur without the pixel (px^2), above 0.

    Returns
    -------
    ndarray, shape of `distance`
        From 0 on the dark side to 1.
    """
    from scipy.special import ndtr

    sigma = math.sqrt(variance)
    wide, narrow = max(abs(math.cos(normal)), 0.01), max(abs(math.sin(normal)), 0.01)
    far, near = (wide + narrow) / 2, (wide - narrow) / 2
    t = np.add.outer((far, near, -near, -far), distance)
    bell = np.exp(-(t**2) / (2 * variance)) / math.sqrt(2 * math.pi)
    twice_integrated = ((t**2 + variance) * ndtr(t / sigma) + t * sigma * bell) / 2
    return np.tensordot((1, -1, -1, 1), twice_integrated, axes=1) / (wide * narrow)


def width_of(variance: float, normal: float) -> float:
    """10-90 % width (px) of a blurred edge averaged over the pixel.

    Parameters
    ----------
    variance : float
        Of the blur without the pixel (px^2).
    normal : float
        Direction across the edge (rad).
    """
    from scipy.optimize import brentq

    reach = TEN_TO_NINETY * math.sqrt(variance + PIXEL_VARIANCE) + 1
    crossing = brentq(lambda t: float(pixel_edge(np.array(t), normal, variance)) - 0.9, 0, reach)
    return 2 * float(crossing)


def measure_edge(image: NDArray[Any], box: Box | None = None, *, line: Box | None = None, width: float = 9) -> Edge:
    """Position, angle, contrast and 10-90 % width of a straight edge.

    Parameters
    ----------
    image : array, shape (rows, columns)
    box : (row0, row1, col0, col1), optional
        Where the edge is, row1 and col1 excluded. Without box and line the strongest straight edge
        of the image is taken: strongest by contrast and by how well two levels describe its
        surroundings, not by sharpness, so that the choice does not favour a lucky one.
    line : (row0, col0, row1, col1), optional
        A segment across the edge.
    width : float, optional
        Of the strip around the line (px); 9 by default.

    Raises
    ------
    CxgiError
        For a box or line outside the image, an image that is flat or not finite, and where there is
        no edge or one that is wider than the region.
    """
    if box is not None and line is not None:
        raise MeasurementError("box and line both given: an edge is looked for in one of them")
    if box is not None:
        return fit_edge(box_region(image, box))
    if line is not None:
        return fit_edge(line_region(image, line, width))
    for found in straight_edges(image):
        try:
            return fit_edge(box_region(image, found))
        except CxgiError:
            continue
    raise MeasurementError("no straight edge found in the image: say where it is with a box around it")


def fit_edge(region: Region) -> Edge:
    """Fit the blurred step to the pixels of a region that one edge crosses."""
    if region.is_flat:
        raise MeasurementError(f"no edge in {_outline_text(region)}: all pixels there are alike")
    zero, span = float(region.values.min()), float(np.ptp(region.values))
    scaled = region.in_units(zero, span)
    split = best_split(scaled)
    _check_split(split, region)
    fit = _fit(scaled, split)
    normal = fit.parameters[1]
    width = width_of(fit.parameters[4] - PIXEL_VARIANCE, normal)
    _check_inside(region, fit, width)
    return _edge(region, fit, width, zero, span)


def _outline_text(region: Region) -> str:
    row0, row1, col0, col1 = region.outline()
    return f"rows {row0}..{row1}, columns {col0}..{col1}"


def _check_split(split: Split, region: Region) -> None:
    if split.significance < MIN_SIGNIFICANCE:
        raise MeasurementError(
            f"no edge in {_outline_text(region)}: the best one is {split.significance:.1f} sigma above the noise, "
            f"{MIN_SIGNIFICANCE:.0f} are asked for; choose another place or a larger box"
        )


def _fit(region: Region, split: Split) -> Fit:
    """Parameters: offset (px), normal (rad), low, high, variance of blur and pixel (px^2)."""
    reach = float(np.abs(region.distance(split.normal)).max())
    span = float(np.ptp(region.values))
    distance = region.distance

    def model(p: Values) -> Values:
        return p[2] + (p[3] - p[2]) * pixel_edge(distance(p[1]) - p[0], p[1], max(p[4] - PIXEL_VARIANCE, MIN_VARIANCE))

    fits = [
        fit_pixels(
            model,
            region,
            (split.offset, split.normal, split.low, split.high, variance),
            (-reach, split.normal - 0.5, region.values.min() - span, split.low, PIXEL_VARIANCE + MIN_VARIANCE),
            (reach, split.normal + 0.5, split.high, region.values.max() + span, reach**2),
            sensitive=(*4 * (-math.inf,), PIXEL_VARIANCE + SENSED_VARIANCE),
        )
        for variance in (0.4, 4.0)
    ]
    return min(fits, key=lambda fit: fit.noise)


def _check_inside(region: Region, fit: Fit, width: float) -> None:
    distance = region.distance(fit.parameters[1]) - fit.parameters[0]
    flat_pixels = min((distance < -width / 2).sum(), (distance > width / 2).sum())
    if min(-distance.min(), distance.max()) < width / 2 + 0.5 or flat_pixels < max(5, 0.05 * len(distance)):
        raise MeasurementError(
            f"the edge is {width:.1f} pixels wide or lies at the rim: both of its levels must be in the box, "
            "so move or enlarge it"
        )


def _edge(region: Region, fit: Fit, width: float, zero: float, span: float) -> Edge:
    offset, normal, low, high, variance = fit.parameters
    variance = variance - PIXEL_VARIANCE
    row, col = region.centre
    spread = np.sqrt(np.diag(fit.covariance))
    blur = math.sqrt(variance)
    # both follow from the variance, in which the model is smooth down to 0
    width_sigma = TEN_TO_NINETY**2 * spread[4] / (2 * width)
    blur_sigma = min(spread[4] / (2 * blur), math.sqrt(spread[4]))
    return Edge(
        row=row + offset * math.sin(normal),
        col=col + offset * math.cos(normal),
        position_sigma_px=float(spread[0]),
        angle_deg=upright(normal),
        angle_sigma_deg=float(np.rad2deg(spread[1])),
        low=float(zero + span * low),
        high=float(zero + span * high),
        noise=span * fit.noise,
        width_px=width,
        width_sigma_px=float(width_sigma),
        blur_px=blur,
        blur_sigma_px=float(blur_sigma),
        region=region,
        normal=float(normal),
        offset=float(offset),
    )


def upright(normal: float) -> float:
    """Tilt (degrees, above -90 up to 90) of a line with this normal (rad); 0 is upright."""
    tilt = math.degrees(normal) % 180
    return tilt - 180 if tilt > 90 else tilt
