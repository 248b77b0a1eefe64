"""An object from the user's own image: its transmission, or its thickness."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..._files.image_file import read_image_file
from ...errors import FileFormatError
from ..materials import effective_transmission
from ..spectrum import Spectrum
from .rendering import Map, resample


def image_object(
    path: str | Path,
    size: int,
    subpixels: int,
    *,
    attenuation_length_um: float | None = None,
    material: str | None = None,
    spectrum: Spectrum | None = None,
) -> Map:
    """A square image that fills the field.

    Parameters
    ----------
    path : str or Path
        .png (black 0, white 1), .npy or .tiff.
    size, subpixels : int
        Mask pixels per side and sub-pixels per mask pixel.
    attenuation_length_um : float, optional
        Given, the image is a thickness in um, and the transmission ``exp(-thickness / attenuation_length_um)``.
    material, spectrum : str and Spectrum, optional
        Given, the image is a thickness in um of that material in that light (`materials.effective_transmission`:
        beam hardening included).

    Raises
    ------
    CxgiError
        If it cannot be read, is not square, or its values are no transmission (0..1) or thickness (>= 0); for
        an unknown material, or a material without its light.
    """
    if (material is None) != (spectrum is None):
        raise FileFormatError(
            "a material needs a spectrum, and a spectrum a material: give both (--material, --energy-kev)"
        )
    if material is not None and attenuation_length_um is not None:
        raise FileFormatError("give a material with its spectrum, or attenuation_length_um, not both")
    image = read_image_file(path).image
    if image.shape[0] != image.shape[1]:
        raise FileFormatError(
            f"{path} has {image.shape[0]} x {image.shape[1]} pixels: the field is square, cut or pad it"
        )
    if not np.isfinite(image).all():
        raise FileFormatError(f"{path} has values that are NaN or infinite: mend them")
    if attenuation_length_um is not None:
        if not (math.isfinite(attenuation_length_um) and attenuation_length_um > 0):
            raise FileFormatError(f"attenuation_length_um {attenuation_length_um:g}: give a length in um above 0")
        if image.min() < 0:
            raise FileFormatError(f"{path} has a thickness of {image.min():.3g} um: none may be below 0")
        image = np.exp(-image / attenuation_length_um)
    elif material is not None and spectrum is not None:
        image = effective_transmission(image, material, spectrum).astype(np.float64)
    elif image.min() < 0 or image.max() > 1:
        raise FileFormatError(
            f"{path} spans {image.min():.3g}..{image.max():.3g}, but a transmission lies within 0..1: rescale it, or "
            "say what a thickness in um is made of (material and spectrum, or attenuation_length_um)"
        )
    return resample(image, size * subpixels)
