"""D_r = (D_max - D_min) / D_max from an image of one tile, as the paper reads it from its camera (Fig. 1c).

Not from the brightest and the darkest pixel, which noise decides: the image is fitted by a smooth
illumination times 1 in the openings and T0 on the metal; pixels at edges, and those that fit neither, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError
from .roi import check_image

Values = NDArray[np.float64]
Chosen = NDArray[np.bool_]

ROUNDS = 20
OUTLIER = 3.0  # standard deviations
MIN_PIXELS = 12  # of each class
MIN_ALONE = 16  # mask pixels of each class
UNIT_NOISE = 1.4826  # standard deviation over median absolute deviation


@dataclass(frozen=True)
class TileDepth:
    """Modulation depth ratio of a tile.

    Attributes
    ----------
    d_r : float
    d_r_sigma : float
        One standard deviation, from the scatter of the pixels.
    d_max, d_min : float
        Mean level of openings and metal, in the image's unit.
    unevenness : float
        Rms of the fitted illumination over its mean.
    pixels : int
        Pixels that were used.
    """

    d_r: float
    d_r_sigma: float
    d_max: float
    d_min: float
    unevenness: float
    pixels: int


def tile_modulation_depth(image: NDArray[Any], pattern: NDArray[Any] | None = None) -> TileDepth:
    """D_r of one tile from a camera's image of it, dark image subtracted.

    Parameters
    ----------
    image : ndarray, shape (n * s, n * s)
        The tile alone, cut to its rim; s camera pixels per mask pixel.
    pattern : ndarray, shape (n, n), optional
        The design, > 0 where it is open. Without it the classes are those of Otsu, found again after
        each fit of the illumination: enough for an illumination that varies less than the masks' own contrast,
        but sloped edges then make the value up to 0.03 too small.

    Returns
    -------
    TileDepth
        Of a coarse pattern. Where features are as fine as the rounding of the etching, neither level is
        reached and the value is too small.

    Raises
    ------
    CxgiError
        If the image is flat, does not fit the pattern, or a class is nearly empty.
    """
    image = check_image(image)
    if not np.ptp(image) > 0:
        raise MeasurementError("the image of the tile is flat: it shows neither openings nor metal")
    basis, sound = _smooth_terms(image.shape), _sound(image)
    if pattern is not None:
        is_open, core = _from_pattern(image, np.asarray(pattern) > 0)
        return _fit(image, basis, is_open, core & sound)
    is_open = _brighter_class(image, sound)
    depth = _fit(image, basis, is_open, sound)
    for _ in range(ROUNDS):
        light = _illumination(image, basis, is_open, 1 - depth.d_r)
        before, is_open = is_open, _brighter_class(image / np.maximum(light, 0.05 * light.mean()), sound)
        depth = _fit(image, basis, is_open, sound)
        if np.array_equal(before, is_open):
            break
    return depth


def _sound(image: Values) -> Chosen:
    """Pixels that are neither dead nor hot: not far outside the range of nearly all."""
    low, high = np.percentile(image, [1, 99])
    return (image >= low - (high - low)) & (image <= high + (high - low))


def _brighter_class(image: Values, sound: Chosen) -> Chosen:
    from skimage.filters import threshold_otsu

    return image > threshold_otsu(image[sound])


def _from_pattern(image: Values, is_open: Chosen) -> tuple[Chosen, Chosen]:
    """The class of each camera pixel, and whether it is to be used.

    Used are mask pixels with none of the other class beside them; where a class has too few of
    these, the middle half of every mask pixel.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    factor = image.shape[0] // len(is_open)
    if is_open.ndim != 2 or factor < 1 or image.shape != tuple(factor * side for side in is_open.shape):
        raise MeasurementError(
            f"an image of {image.shape[0]} x {image.shape[1]} pixels of a tile of {is_open.shape}: cut it to the "
            "tile's rim, a whole number of camera pixels per mask pixel"
        )
    enlarged = is_open.repeat(factor, axis=0).repeat(factor, axis=1)
    framed = np.pad(is_open, 1)  # metal all around
    alone = (minimum_filter(framed, 3) == maximum_filter(framed, 3))[1:-1, 1:-1]
    if min((alone & is_open).sum(), (alone & ~is_open).sum()) >= MIN_ALONE:
        return enlarged, alone.repeat(factor, axis=0).repeat(factor, axis=1)
    position = (np.arange(image.shape[0]) % factor + 0.5) / factor
    middle = np.abs(position - 0.5) < (0.25 if factor >= 4 else 0.5)
    return enlarged, np.multiply.outer(middle, middle)


def _smooth_terms(shape: tuple[int, ...]) -> Values:
    """1, x, y, x^2, xy, y^2 over the image, shape (6, rows, columns)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    return np.array([np.ones(shape), x, y, x**2, x * y, y**2])


def _fit(image: Values, basis: Values, is_open: Chosen, chosen: Chosen) -> TileDepth:
    """Least squares in T0 and the illumination's terms, without the pixels that stand out."""
    for _ in range(3):
        counts = int((chosen & is_open).sum()), int((chosen & ~is_open).sum())
        if min(counts) < MIN_PIXELS:
            raise MeasurementError(
                f"{counts[0]} pixels of openings and {counts[1]} of metal: {MIN_PIXELS} of each are needed, take "
                "the image of a coarse pattern"
            )
        t0 = _best_t0(image[chosen], basis[:, chosen], is_open[chosen])
        light = _illumination(image, basis, is_open, t0, chosen)
        residual = image - light * np.where(is_open, 1, t0)
        noise = UNIT_NOISE * float(np.median(np.abs(residual[chosen])))
        if noise == 0 or (kept := chosen & (np.abs(residual) <= OUTLIER * noise)).sum() == chosen.sum():
            break
        chosen = kept
    terms = np.vstack([basis[:, chosen] * np.where(is_open[chosen], 1, t0), light[chosen] * ~is_open[chosen]])
    scatter = float(np.sum(residual[chosen] ** 2)) / max(1, chosen.sum() - len(terms))
    sigma = math.sqrt(scatter * float(np.linalg.pinv(terms @ terms.T)[-1, -1]))
    d_max = float(light.mean())
    return TileDepth(1 - t0, sigma, d_max, t0 * d_max, float(light.std() / d_max), int(chosen.sum()))


def _best_t0(values: Values, basis: Values, is_open: Chosen) -> float:
    """The level of the metal with which the best illumination leaves the least residual."""
    from scipy.optimize import minimize_scalar

    parts = [basis * is_open, basis * ~is_open]
    gram = [[a @ b.T for b in parts] for a in parts]
    right = [a @ values for a in parts]

    def residual(t0: float) -> float:
        normal = gram[0][0] + t0**2 * gram[1][1]
        vector = right[0] + t0 * right[1]
        return -float(vector @ np.linalg.lstsq(normal, vector, rcond=None)[0])

    return float(minimize_scalar(residual, bounds=(-0.2, 1.0), method="bounded", options={"xatol": 1e-7}).x)


def _illumination(image: Values, basis: Values, is_open: Chosen, t0: float, chosen: Chosen | None = None) -> Values:
    used = np.ones(image.shape, dtype=bool) if chosen is None else chosen
    terms = basis[:, used] * np.where(is_open[used], 1, t0)
    weights = np.linalg.lstsq(terms.T, image[used], rcond=None)[0]
    return np.tensordot(weights, basis, axes=1)
