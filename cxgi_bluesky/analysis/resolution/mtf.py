"""Edge-spread function and modulation transfer function (MTF) on a measured edge.

The slanted-edge idea of ISO 12233: every pixel near a tilted edge samples the same profile at another
distance, so that together they sample it finer than the pixels are. Two results stand side by side:
`fitted` follows from the blurred step of `edge.py`, `empirical` from the pixels alone.

A ghost image and a direct image of one object are compared by both, in um.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError
from .edge import PIXEL_VARIANCE, TEN_TO_NINETY, Edge, measure_edge
from .roi import Box, Values

OVERSAMPLING = 4
NYQUIST = 0.5  # cycles per pixel


@dataclass(frozen=True, eq=False)
class EdgeSpread:
    """The profile across an edge: distance (px) and value on a grid of 1/oversampling pixels.

    `monotone` is the nearest profile that only rises (weighted isotonic regression), `width_px` its
    10-90 % width between the fitted levels; NaN where it does not reach them.
    """

    distance: Values
    value: Values
    monotone: Values
    oversampling: int
    width_px: float


@dataclass(frozen=True, eq=False)
class Mtf:
    """MTF at `frequency` (cycles per pixel), from the fit and from the pixels.

    `mtf50` and `mtf10` are the frequencies where it falls to 50 % and 10 % (of the fit, with its uncertainty,
    and of the pixels), `at_nyquist` its value at 0.5 cycles per pixel. NaN where the curve does not fall so far.
    """

    frequency: Values
    fitted: Values
    empirical: Values
    mtf50: float
    mtf50_sigma: float
    mtf10: float
    mtf10_sigma: float
    at_nyquist: float
    at_nyquist_sigma: float
    mtf50_empirical: float
    mtf10_empirical: float
    at_nyquist_empirical: float


def edge_spread(edge: Edge) -> EdgeSpread:
    """The edge-spread function on a grid four times finer than the pixels, if the tilt allows.

    The residuals of the fit are averaged in each bin and added to the model at the bin's middle: so a
    bin's width and unevenly placed pixels do not blur the profile. An edge along the axes (or at 45
    degrees) has pixels at few distances only; then the grid is as coarse as it must be for no bin to be empty.
    """
    from scipy.optimize import isotonic_regression

    distance = edge.distance
    half = min(-distance.min(), distance.max())
    for oversampling in range(OVERSAMPLING, 0, -1):
        last = int(half * oversampling)
        index = np.rint(distance * oversampling).astype(int) + last
        inside = (index >= 0) & (index <= 2 * last)
        count = np.bincount(index[inside], minlength=2 * last + 1)
        if count[1:-1].all():
            break
    residual = np.bincount(index[inside], (edge.region.values - edge.model(distance))[inside], minlength=len(count))
    grid = np.arange(-last, last + 1) / oversampling
    value = edge.model(grid) + residual / np.maximum(count, 1)
    monotone = isotonic_regression(value, weights=np.maximum(count, 0.01)).x
    return EdgeSpread(grid, value, monotone, oversampling, _crossing_width(grid, monotone, edge))


def _crossing_width(grid: Values, rising: Values, edge: Edge) -> float:
    crossings = []
    for share in (0.1, 0.9):
        level = edge.low + share * edge.contrast
        above = int(np.searchsorted(rising, level))
        if above in (0, len(rising)):
            return math.nan
        start, end = rising[above - 1], rising[above]
        crossings.append(grid[above - 1] + (level - start) / (end - start) * (grid[above] - grid[above - 1]))
    return float(crossings[1] - crossings[0])


def edge_mtf(edge: Edge, spread: EdgeSpread | None = None) -> Mtf:
    """MTF of an edge, pixel included: fitted exp(-2 pi^2 sigma^2 f^2) times the pixel's sinc, and empirical.

    The empirical one is the Fourier transform of the edge-spread function's differences, under a
    Tukey window that is flat over the middle half, normalised at 0 and divided by
    sinc(f / oversampling), the response of a difference of neighbours. Noise lifts its tail. Beyond
    oversampling / 4 cycles per pixel, where a coarse profile is aliased, it is NaN: an edge along the
    axes carries little information about fine detail.

    Parameters
    ----------
    edge : Edge
        The fitted edge.
    spread : EdgeSpread, optional
        Its edge-spread function; made by `edge_spread` by default.
    """
    spread = edge_spread(edge) if spread is None else spread
    frequency = np.linspace(0, 1.0, 201)
    variance = edge.blur_px**2
    variance_sigma = 2 * edge.width_px * edge.width_sigma_px / TEN_TO_NINETY**2

    def numbers(variance: float) -> Values:
        fine = np.linspace(0, 2.0, 4001)
        curve = _fit(fine, variance, edge.normal)
        return np.array([_falls_to(0.5, fine, curve), _falls_to(0.1, fine, curve), curve[fine.searchsorted(NYQUIST)]])

    mtf50, mtf10, at_nyquist = fitted = numbers(variance)
    step = max(0.1 * variance_sigma, 1e-4 * (variance + PIXEL_VARIANCE))
    errors = np.abs(numbers(variance + step) - fitted) / step * variance_sigma
    empirical = _empirical(frequency, spread, edge.contrast)
    return Mtf(
        frequency=frequency,
        fitted=_fit(frequency, variance, edge.normal),
        empirical=empirical,
        mtf50=float(mtf50),
        mtf50_sigma=float(errors[0]),
        mtf10=float(mtf10),
        mtf10_sigma=float(errors[1]),
        at_nyquist=float(at_nyquist),
        at_nyquist_sigma=float(errors[2]),
        mtf50_empirical=_falls_to(0.5, frequency, empirical),
        mtf10_empirical=_falls_to(0.1, frequency, empirical),
        at_nyquist_empirical=float(empirical[frequency.searchsorted(NYQUIST)]),
    )


def _fit(frequency: Values, variance: float, normal: float) -> Values:
    pixel = np.sinc(frequency * math.cos(normal)) * np.sinc(frequency * math.sin(normal))
    return np.abs(np.exp(-2 * (math.pi * frequency) ** 2 * variance) * pixel)


def _empirical(frequency: Values, spread: EdgeSpread, contrast: float) -> Values:
    from scipy.signal.windows import tukey

    line = np.diff(spread.value) * tukey(len(spread.value) + 1, 0.5)[1:-1]
    middle = (spread.distance[1:] + spread.distance[:-1]) / 2
    transform = np.abs(np.exp(-2j * np.pi * np.outer(frequency, middle)) @ line)
    if transform[0] < 0.1 * contrast:  # the profile does not hold the edge: nothing to normalise by
        return np.full(len(frequency), np.nan)
    curve = transform / transform[0] / np.sinc(frequency / spread.oversampling)
    return np.where(frequency <= spread.oversampling / 4, curve, np.nan)


def _falls_to(level: float, frequency: Values, curve: Values) -> float:
    """First frequency at which the curve is at the level, interpolated; NaN if it stays above."""
    below = np.flatnonzero(curve < level)
    if not below.size or below[0] == 0:
        return math.nan
    i = below[0]
    share = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
    return float(frequency[i - 1] + share * (frequency[i] - frequency[i - 1]))


# ---------------------------------------------------------------- sharpness in um


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
