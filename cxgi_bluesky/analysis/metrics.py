"""Image quality against a known truth: CNR, PSNR, SSIM, affine fit, D_r; and an image's own two levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeasurementError

Image = NDArray[Any]


def _same_shape(image: Image, truth: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if np.shape(image) != np.shape(truth):
        raise MeasurementError(
            f"image {np.shape(image)} and truth {np.shape(truth)} differ in shape: compare equal sizes"
        )
    return np.asarray(image, dtype=np.float64), np.asarray(truth, dtype=np.float64)


def cnr(image: Image, truth: Image) -> float:
    """Contrast-to-noise ratio (<G1> - <G0>) / sqrt(s1^2 + s0^2), eq. 1 of the paper.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Ghost image, in any unit.
    truth : ndarray, shape (rows, columns)
        True transmission (0..1); its pixels >= 0.5 and < 0.5 are the two classes.

    Returns
    -------
    float
        NaN if a class is empty or the image is flat, infinite for a perfect two-valued image.
    """
    image, truth = _same_shape(image, truth)
    bright, dark = image[truth >= 0.5], image[truth < 0.5]
    if not bright.size or not dark.size:
        return math.nan
    contrast, spread = bright.mean() - dark.mean(), math.sqrt(bright.var() + dark.var())
    if spread > 0:
        return float(contrast / spread)
    return math.copysign(math.inf, contrast) if contrast else math.nan


def affine_fit(image: Image, truth: Image) -> NDArray[np.float64]:
    """The image a * image + b nearest to the truth in the least-squares sense.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Ghost image, in any unit.
    truth : ndarray, shape (rows, columns)
        True transmission.

    Returns
    -------
    ndarray, shape (rows, columns)
        In the unit of the truth; its mean everywhere if the image is flat.
    """
    image, truth = _same_shape(image, truth)
    deviation = image - image.mean()
    power = float(np.sum(deviation**2))
    slope = float(np.sum(deviation * truth)) / power if power > 0 else 0.0
    return truth.mean() + slope * deviation


def psnr(image: Image, truth: Image, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Image in the unit of the truth.
    truth : ndarray, shape (rows, columns)
        True transmission.
    data_range : float, optional
        Peak signal, in the unit of the truth; by default the truth's maximum minus its minimum.

    Returns
    -------
    float
        In dB; infinite if both are equal, minus infinity if they differ and the range is 0.
    """
    image, truth = _same_shape(image, truth)
    extent = float(np.ptp(truth)) if data_range is None else data_range
    error = float(np.mean((image - truth) ** 2))
    if error == 0:
        return math.inf
    return 10 * math.log10(extent**2 / error) if extent > 0 else -math.inf


def ssim(image: Image, truth: Image, *, data_range: float | None = None) -> float:
    """Structural similarity (Wang et al. 2004) with scikit-image's default 7 x 7 window.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Image in the unit of the truth.
    truth : ndarray, shape (rows, columns)
        True transmission.
    data_range : float, optional
        In the unit of the truth; by default its maximum minus its minimum, 1 if it is flat.

    Returns
    -------
    float
        At most 1; NaN if a side has fewer than 7 pixels.
    """
    from skimage.metrics import structural_similarity

    image, truth = _same_shape(image, truth)
    if min(image.shape) < 7:
        return math.nan
    return float(structural_similarity(image, truth, data_range=data_range or float(np.ptp(truth)) or 1.0))


def compare(image: Image, truth: Image) -> dict[str, float]:
    """CNR, and PSNR (dB) and SSIM after a least-squares affine fit to the truth.

    The fit is applied whatever the scale of the image, so that methods can be compared; CNR
    does not depend on it.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Ghost image, in any unit.
    truth : ndarray, shape (rows, columns)
        True transmission (0..1).

    Returns
    -------
    dict of float
        ``cnr``, ``psnr_db`` and ``ssim``.
    """
    fitted = affine_fit(image, truth)
    return {"cnr": cnr(image, truth), "psnr_db": psnr(fitted, truth), "ssim": ssim(fitted, truth)}


def modulation_depth(d_max: float, d_min: float) -> float:
    """Modulation depth ratio D_r = (D_max - D_min) / D_max from an open and a metal tile's bucket.

    Parameters
    ----------
    d_max : float
        Bucket of the all-open tile, dark subtracted, in any unit.
    d_min : float
        Bucket of the all-metal tile, dark subtracted, in the same unit.
    """
    if not d_max > 0:
        raise MeasurementError(f"D_max {d_max} is not positive: the bucket of the all-open tile, dark subtracted")
    return (d_max - d_min) / d_max


@dataclass(frozen=True)
class Levels:
    """The two levels of an image: threshold between them (Otsu), mean and variance of each class."""

    threshold: float
    dark: float
    bright: float
    dark_variance: float
    bright_variance: float

    @property
    def cnr_otsu(self) -> float:
        """Eq. 1 with the image's own classes instead of the true ones.

        It flatters: a pixel on the wrong side counts for the other class instead of against the
        image, so that pure noise has a value of 1.9. For comparing alike images only.
        """
        spread = math.sqrt(self.dark_variance + self.bright_variance)
        return (self.bright - self.dark) / spread if spread > 0 else math.inf

    @property
    def modulation_depth(self) -> float:
        """(bright - dark) / bright; NaN where bright is not positive. Meaningless unless 0 means no light."""
        return (self.bright - self.dark) / self.bright if self.bright > 0 else math.nan


def image_levels(image: Image) -> Levels:
    """Dark and bright level of an image: the means of Otsu's two classes.

    Raises
    ------
    CxgiError
        If the image is flat.
    """
    from skimage.filters import threshold_otsu

    image = np.asarray(image, dtype=np.float64)
    if not np.ptp(image) > 0:
        raise MeasurementError("the image is flat: it has no dark and bright level")
    threshold = float(threshold_otsu(image))
    bright, dark = image[image > threshold], image[image <= threshold]
    return Levels(threshold, float(dark.mean()), float(bright.mean()), float(dark.var()), float(bright.var()))
