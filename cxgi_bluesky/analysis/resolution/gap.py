"""The width of a narrow gap, bright or dark, between two features.

The model is a box of some width between two shoulders, blurred by a Gaussian and averaged over each
square pixel, its line at any position and angle. Width and depth are read off the fitted profile, where they are well
determined; the box and the blur behind it are not when the gap is as narrow as the blur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError, MeasurementError
from .edge import MIN_VARIANCE, PIXEL_VARIANCE, pixel_edge, upright
from .fitting import Fit, fit_pixels
from .initial_guess import GapGuess, best_gap, narrow_gaps
from .roi import Box, Region, Values, line_region

Verdict = Literal["resolved", "resolution limit", "unresolved"]

MIN_SIGNIFICANCE = 4.0
MIN_SIGNIFICANCE_OF_ANY = 6.0  # for the strongest anywhere in an image
RESOLVED = 1.2  # times the width of a thin line; a gap of one pixel looks 1.0 to 1.1 times as wide
SENSED_VARIANCE = 0.1  # px^2: where a thinner gap hides in its pixel, the slopes are taken as for this one
SHARES = 1e-3, 1 - 1e-3  # of the box in the variance: a pure Gaussian and a pure box, nearly


@dataclass(frozen=True, eq=False)
class Gap:
    """A gap between two features. Lengths in pixels, levels in the image's own unit.

    Attributes
    ----------
    row, col : float
        Point of the gap nearest to the middle of the region.
    angle_deg : float
        Tilt of the gap: 0 upright, 90 lying; in -90..90.
    bright : bool
        Whether it is brighter than its shoulders.
    width_px, width_sigma_px : float
        Full width at half depth as seen in the image, pixel and blur included; each side's half level is midway
        between its own shoulder and the gap's extreme. NaN if unresolved.
    depth, depth_sigma : float
        How far the extreme stands out of the nearer shoulder.
    visibility : float
        ``|gap - shoulder| / (gap + shoulder)`` with the nearer shoulder; NaN unless both are positive. It
        depends on where the image's zero is.
    area : float
        Integral of the profile over its shoulders (unit of the image times px, signed). Blur does not change it.
    shoulders : (float, float)
    noise : float
        Rms of what the model does not explain.
    verdict : {"resolved", "resolution limit", "unresolved"}
        "unresolved": the depth is less than 4 of its sigma. "resolution limit": no wider than the image shows any
        narrow thing (`limit_px`); the gap itself may be narrower, and its depth is then too small.
    limit_px : float
        Width at half maximum of an infinitely narrow line in this image.
    """

    row: float
    col: float
    angle_deg: float
    bright: bool
    width_px: float
    width_sigma_px: float
    depth: float
    depth_sigma: float
    visibility: float
    area: float
    area_sigma: float
    shoulders: tuple[float, float]
    noise: float
    verdict: Verdict
    limit_px: float
    region: Region
    normal: float
    offset: float
    parameters: Values

    @property
    def distance(self) -> Values:
        """Distance (px) of each pixel of the region from the gap's middle."""
        return self.region.distance(self.normal) - self.offset

    def model(self, distance: NDArray[Any]) -> Values:
        """The fitted profile at distances (px) from the gap's middle."""
        return gap_profile(distance, self.normal, self.parameters)


def measure_gap(
    image: NDArray[Any], line: Box | None = None, *, width: float | None = None, blur_px: float | None = None
) -> Gap:
    """Width at half depth of a gap, its depth and whether the image resolves it.

    Parameters
    ----------
    image : array, shape (rows, columns)
    line : (row0, col0, row1, col1), optional
        A segment across the gap with some pixels of both shoulders. The gap need not be
        perpendicular to it: its angle is fitted (within 40 degrees, roughly) when the strip is 3 pixels wide
        or more. Without it the strongest piece of a gap in the image is taken; it must be 6 sigma deep.
    width : float, optional
        Pixels along the gap over which is averaged; 9 with a line, as found without.
    blur_px : float, optional
        Standard deviation of the image's blur without the pixel, from an edge (`Edge.blur_px`); it
        sets `limit_px`. 0 unless given: then the pixel alone is the limit.

    Raises
    ------
    CxgiError
        For a line outside the image, a flat image or one that is not finite, a region without any
        gap, or a gap that reaches to the ends of the line.
    """
    if line is not None:
        region = line_region(image, line, 9 if width is None else width)
        direction = math.atan2(line[2] - line[0], line[3] - line[1])
        return fit_gap(region, direction, free=width is None or width >= 3, blur_px=blur_px or 0.0)
    for found, along, direction in narrow_gaps(image):
        try:
            gap = fit_gap(line_region(image, found, width or along), direction, blur_px=blur_px or 0.0)
        except CxgiError:
            continue
        if gap.verdict != "unresolved" and gap.depth > MIN_SIGNIFICANCE_OF_ANY * gap.depth_sigma:
            return gap
    raise MeasurementError("no gap found in the image: give a line across it, ROW0,COL0,ROW1,COL1")


def fit_gap(region: Region, direction: float, *, free: bool = True, blur_px: float = 0.0) -> Gap:
    """Fit the model to a region.

    Parameters
    ----------
    region : Region
        Pixels of the gap and of both its shoulders.
    direction : float
        Roughly across the gap (rad), exactly so unless `free`; as `Region.distance` takes it.
    free : bool, optional
        Whether the angle of the gap is fitted; True by default.
    blur_px : float, optional
        Standard deviation of the image's blur without the pixel (px), which sets `limit_px`; 0 by default.
    """
    if region.is_flat:
        raise MeasurementError("no gap along the line: all pixels there are alike")
    zero, span = float(region.values.min()), float(np.ptp(region.values))
    scaled = region.in_units(zero, span)
    fit = _fit(scaled, best_gap(scaled, direction, free=free), free)
    offset, normal = float(fit.parameters[0]), float(fit.parameters[1])
    distance = region.distance(normal) - offset
    readings, sigmas = _readings(fit.parameters), fit.sigma_of(_readings)
    width, depth, area = (float(r * scale) for r, scale in zip(readings, (1, span, span), strict=True))
    width_sigma, depth_sigma, area_sigma = (float(s * scale) for s, scale in zip(sigmas, (1, span, span), strict=True))
    seen = depth > MIN_SIGNIFICANCE * depth_sigma and depth > 1e-6 * span
    if seen and min(-distance.min(), distance.max()) < width / 2 + 1:
        raise MeasurementError(
            f"the gap is {width:.1f} pixels wide and reaches the end of the line: both shoulders must be on it, "
            "so move the line or make it longer"
        )
    parameters = fit.parameters * np.array([1, 1, span, span, span, 1, 1]) + np.array([0, 0, zero, zero, 0, 0, 0])
    limit = line_width(blur_px**2, normal)
    verdict: Verdict = "resolved" if width - width_sigma > RESOLVED * limit else "resolution limit"
    row, col = region.centre
    shoulders = float(parameters[2]), float(parameters[3])
    sign = math.copysign(1, area)
    nearer = max(shoulders) if sign > 0 else min(shoulders)
    both_positive = nearer > 0 and nearer + sign * depth > 0
    return Gap(
        row=row + offset * math.sin(normal),
        col=col + offset * math.cos(normal),
        angle_deg=upright(normal),
        bright=area > 0,
        width_px=width if seen else math.nan,
        width_sigma_px=width_sigma if seen else math.nan,
        depth=depth,
        depth_sigma=depth_sigma,
        visibility=float(depth / (2 * nearer + sign * depth)) if both_positive else math.nan,
        area=area,
        area_sigma=area_sigma,
        shoulders=shoulders,
        noise=span * fit.noise,
        verdict=verdict if seen else "unresolved",
        limit_px=limit,
        region=region,
        normal=normal,
        offset=offset,
        parameters=parameters,
    )


def gap_profile(distance: NDArray[Any], normal: float, parameters: Values) -> Values:
    """The model at distances (px) from the gap's middle.

    Parameters
    ----------
    distance : ndarray, any shape
        Of the pixels' centres, along the normal (px).
    normal : float
        Direction across the gap (rad).
    parameters : ndarray, shape (7,)
        Offset and normal (both unused here), left and right shoulder, area, variance (px^2) of box and blur
        together, and the box's share of it.

    Returns
    -------
    ndarray, shape of `distance`
        In the unit of the shoulders.
    """
    _, _, left, right, area, variance, share = parameters
    share = min(max(share, SHARES[0]), SHARES[1])
    box = math.sqrt(12 * share * max(variance, MIN_VARIANCE))
    blur = (1 - share) * max(variance, MIN_VARIANCE)
    rise, fall = pixel_edge(np.add.outer((box / 2, -box / 2), distance), normal, blur)
    return left + (right - left) * (rise + fall) / 2 + area / box * (rise - fall)


def _fit(region: Region, guess: GapGuess, free: bool) -> Fit:
    reach = float(np.abs(region.distance(guess.normal)).max())
    span = float(np.ptp(region.values))
    low, high = float(region.values.min()) - span, float(region.values.max()) + span
    turn = 0.4 if free else 1e-6

    def model(p: Values) -> Values:
        return gap_profile(region.distance(p[1]) - p[0], p[1], p)

    area = guess.height * guess.width
    variance = max(guess.width**2 / 12, 0.1)
    return fit_pixels(
        model,
        region,
        (guess.offset, guess.normal, guess.left, guess.right, area, variance, 0.6),
        (guess.offset - 0.5 * reach, guess.normal - turn, low, low, -3 * span * reach, MIN_VARIANCE, SHARES[0]),
        (guess.offset + 0.5 * reach, guess.normal + turn, high, high, 3 * span * reach, reach**2, SHARES[1]),
        prior=((0.0, guess.normal, 0.0, 0.0, 0.0, 0.0, 0.5), (*6 * (math.inf,), 0.3)),
        sensitive=(*5 * (-math.inf,), SENSED_VARIANCE, 0.0),
    )


def _readings(parameters: Values) -> Values:
    """Full width at half depth (px), depth over the nearer shoulder, area."""
    _, normal, left, right, area, variance, _ = parameters
    half = 2.5 * math.sqrt(max(variance, MIN_VARIANCE) + PIXEL_VARIANCE) + 1
    grid = np.linspace(-half, half, 1601)
    sign = math.copysign(1, area)
    profile = sign * gap_profile(grid, normal, parameters)
    top = int(np.argmax(profile))
    extreme = float(profile[top])
    depth = extreme - max(sign * left, sign * right)
    start = _crossing(grid[top::-1], profile[top::-1], (extreme + sign * left) / 2)
    end = _crossing(grid[top:], profile[top:], (extreme + sign * right) / 2)
    return np.array([end - start, depth, area])


def _crossing(grid: Values, profile: Values, level: float) -> float:
    """Where a profile first falls below the level; its last position if it never does."""
    below = np.flatnonzero(profile < level)
    if not below.size or below[0] == 0:
        return float(grid[-1])
    i = below[0]
    share = (profile[i - 1] - level) / (profile[i - 1] - profile[i])
    return float(grid[i - 1] + share * (grid[i] - grid[i - 1]))


def line_width(variance: float, normal: float) -> float:
    """Width at half maximum (px) of an infinitely narrow line blurred by a Gaussian and seen by pixels.

    Parameters
    ----------
    variance : float
        Of the blur without the pixel (px^2).
    normal : float
        Direction across the line (rad).
    """
    return float(_readings(np.array([0.0, normal, 0.0, 0.0, 1.0, max(variance, MIN_VARIANCE), 0.0]))[0])
