"""A pixel detector behind the object: the direct projection image that a ghost image is compared with."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.knife_edge import FWHM_PER_SIGMA
from ..analysis.resolution.edge import TEN_TO_NINETY
from ..errors import ConfigError
from .optics import Geometry, transfer
from .source import Source

Map = NDArray[np.float32]
Frame = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pixel detector that counts.

    Attributes
    ----------
    pixel_um : float
        Pitch of its pixels; each is sensitive all over.
    counts_per_photon : float
    read_noise_counts : float
        Rms in each pixel of each frame.
    offset_counts : float
        Level of a pixel without light.
    saturation_counts : float
        No pixel reads more.

    Raises
    ------
    CxgiError
        For an impossible value.
    """

    pixel_um: float = 6.5
    counts_per_photon: float = 1.0
    read_noise_counts: float = 2.0
    offset_counts: float = 100.0
    saturation_counts: float = 65535.0

    def __post_init__(self) -> None:
        for name in ("pixel_um", "counts_per_photon", "saturation_counts"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} {getattr(self, name)} of the camera must be positive")
        if not (0 <= self.read_noise_counts < math.inf and 0 <= self.offset_counts < self.saturation_counts):
            raise ConfigError("read-out noise and offset of the camera must be 0 or more, the offset below saturation")

    def pixel_at(self, geometry: Geometry) -> float:
        """Size of a pixel in the object's plane (um)."""
        return self.pixel_um / geometry.detector_magnification

    def frame(self, photons: NDArray[np.floating], rng: np.random.Generator) -> Frame:
        """Counts of one frame for the mean photons of each pixel: shot and read-out noise, cut at saturation.

        Parameters
        ----------
        photons : ndarray, shape (rows, columns)
            Mean number of detected photons in each pixel.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray, shape (rows, columns)
            Whole numbers, the offset included.
        """
        counts = rng.poisson(photons) * self.counts_per_photon + self.offset_counts
        counts = counts + self.read_noise_counts * rng.normal(size=counts.shape)
        return np.clip(np.rint(counts), 0.0, self.saturation_counts)


@dataclass(frozen=True, eq=False)
class DirectImage:
    """A projection image in the object's plane.

    Attributes
    ----------
    image : ndarray, shape (rows, columns)
        Offset subtracted, over the level of an open pixel: a transmission, with noise.
    pixel_um : float
        Size of a pixel in the object's plane.
    """

    image: Map
    pixel_um: float


def direct_image(
    object_map: NDArray[np.floating],
    cell_um: float,
    source: Source,
    geometry: Geometry,
    camera: Camera,
    *,
    photons_per_pixel: float,
    seed: int,
) -> DirectImage:
    """Image of an object on a camera behind it, without a mask: blurred by the source, then sampled.

    Parameters
    ----------
    object_map : ndarray, shape (cells, cells)
        Transmission; around it nothing passes.
    cell_um : float
        Size of its cells in the object's plane (um).
    source : Source
    geometry : Geometry
    camera : Camera
    photons_per_pixel : float
        Mean number of photons in an open pixel.
    seed : int
        Of the camera's noise.

    Raises
    ------
    CxgiError
        If no whole pixel lies in the object's field, or the number of photons is not positive.
    """
    if not 0 < photons_per_pixel < math.inf:
        raise ConfigError(f"{photons_per_pixel} photons per pixel: give a positive number")
    pixel_um = camera.pixel_at(geometry)
    shares = project(object_map, cell_um, source, geometry, pixel_um)
    counts = camera.frame(photons_per_pixel * shares, np.random.default_rng(seed)) - camera.offset_counts
    return DirectImage((counts / (photons_per_pixel * camera.counts_per_photon)).astype(np.float32), pixel_um)


def project(view: NDArray[np.floating], cell_um: float, source: Source, geometry: Geometry, pixel_um: float) -> Frame:
    """Mean of a map, blurred by the source's projection, over each pixel; lengths in the object's plane.

    As many whole pixels as fit the map, centred on it.

    Parameters
    ----------
    view : ndarray, shape (cells, cells)
        The map, 0 around it.
    cell_um : float
        Size of its cells (um).
    source : Source
    geometry : Geometry
    pixel_um : float
        Size of a pixel (um).

    Returns
    -------
    ndarray, shape (pixels, pixels)
        In the unit of the map.
    """
    cell_edges: Frame = (np.arange(len(view) + 1.0) - len(view) / 2) * cell_um
    count = pixels_across(len(view) * cell_um, pixel_um)
    pixel_edges: Frame = (np.arange(count + 1.0) - count / 2) * pixel_um
    down, across = (
        transfer(pixel_edges, cell_edges, geometry.direct_blur_um(source.fwhm_um(axis)), source.shape) for axis in "yx"
    )
    return np.maximum(down @ view @ across.T, 0.0) * (cell_um / pixel_um) ** 2


def pixels_across(field_um: float, pixel_um: float) -> int:
    """Whole pixels that fit a field; lengths in one plane.

    Parameters
    ----------
    field_um : float
        Side of the field (um).
    pixel_um : float
        Size of a pixel (um).

    Raises
    ------
    CxgiError
        If there is none.
    """
    count = math.floor(field_um / pixel_um + 1e-9)
    if count < 1:
        raise ConfigError(f"no pixel of {pixel_um:g} um fits a field of {field_um:g} um: use smaller pixels")
    return count


def predict_edge_um(source: Source, geometry: Geometry, pixel_um: float, *, angle_deg: float = 0.0) -> float:
    """Predict the 10-90 % width (um, object's plane) of a sharp edge in a direct image, by geometry alone.

    The spot's FWHM across the edge times (M - 1) / M gives a Gaussian of 1.088 FWHM; the pixel
    adds its variance, pixel^2 / 12. Noise does not widen an edge, it makes its width uncertain.

    Parameters
    ----------
    source : Source
    geometry : Geometry
    pixel_um : float
        Size of a pixel in the object's plane (um).
    angle_deg : float, optional
        Tilt of the edge from upright (degrees); 0 by default.
    """
    angle = math.radians(angle_deg)
    fwhm_um = math.hypot(source.fwhm_x_um * math.cos(angle), source.fwhm_y_um * math.sin(angle))
    per_sigma = FWHM_PER_SIGMA if source.shape == "gaussian" else math.sqrt(12)
    sigma_um = geometry.direct_blur_um(fwhm_um) / per_sigma
    return TEN_TO_NINETY * math.sqrt(sigma_um**2 + pixel_um**2 / 12)


def __getattr__(name: str) -> Any:
    if name == "expected_edge_um":
        warnings.warn("expected_edge_um is now predict_edge_um", FutureWarning, stacklevel=2)
        return predict_edge_um
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
