"""Objects of the simulation: transmission maps on sub-pixels of the field.

Each takes the pixels per side and the sub-pixels per pixel and returns an array of
shape (size * subpixels, size * subpixels) with values 0..1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..._files.image_file import is_image_path, read_image_file
from ...errors import ConfigError, FileFormatError
from ...masks.transform import check_size
from ..materials import effective_transmission
from ..spectrum import Spectrum
from .paper import cas_stencil, gear, gear_aperture, gold_semi_cylinder, resolution_bars
from .rendering import Map, block_mean, resample

__all__ = [
    "OBJECTS",
    "Map",
    "block_mean",
    "cas_stencil",
    "check_object",
    "gear",
    "gear_aperture",
    "gold_semi_cylinder",
    "image_object",
    "render_object",
    "resolution_bars",
]

OBJECTS: dict[str, Callable[..., Map]] = {
    "CAS": cas_stencil,
    "gold": gold_semi_cylinder,
    "gear": gear,
    "gear-aperture": gear_aperture,
    "bars": resolution_bars,
}


def check_object(name: str) -> None:
    """Raise `CxgiError` unless `render_object` knows the name, or it is the path of an image."""
    _drawing(name)


def render_object(name: str | Path, size: int, subpixels: int = 4, **parameters: Any) -> Map:
    """A named object, or the user's image, as a transmission map.

    Parameters
    ----------
    name : str or Path
        One of `OBJECTS`, or a .png, .npy or .tiff file (see `image_object`). Parameters may follow a name,
        as in ``"gear:diameter_px=20"`` or ``"bars:line_pairs_um=80/40"``.
    size : int
        Mask pixels per side.
    subpixels : int, optional
        Sub-pixels per mask pixel and side, 1 or more; 4 by default.
    **parameters
        Of the object's own function, such as ``gap_um`` of "gold".

    Raises
    ------
    CxgiError
        For an unknown name or parameter, a file that is no object, or fewer than one sub-pixel.
    """
    if subpixels < 1:
        raise ConfigError(f"{subpixels} sub-pixels per pixel: at least 1, and 4 for numbers to be quoted")
    draw, in_name = _drawing(str(name))
    return draw(check_size(size), subpixels, **{**in_name, **_check_parameters(str(name), draw, parameters)})


def _drawing(name: str) -> tuple[Callable[..., Map], dict[str, Any]]:
    """The function that draws an object and the parameters in its name."""
    known, _, tail = name.partition(":")
    if known in OBJECTS:
        return OBJECTS[known], _check_parameters(name, OBJECTS[known], _parameters(name, tail))
    if not is_image_path(name):
        raise ConfigError(
            f"object {name!r} is unknown: choose one of {', '.join(OBJECTS)}, or a .png, .npy or .tiff file"
        )

    def draw_image(
        size: int,
        subpixels: int,
        *,
        attenuation_length_um: float | None = None,
        material: str | None = None,
        spectrum: Spectrum | None = None,
    ) -> Map:
        return image_object(
            name,
            size,
            subpixels,
            attenuation_length_um=attenuation_length_um,
            material=material,
            spectrum=spectrum,
        )

    return draw_image, {}


def _parameters(name: str, text: str) -> dict[str, Any]:
    """Numbers of ``a=1,b=2/3``; several parted by slashes are a tuple."""
    parameters: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            numbers = tuple(float(number) for number in value.split("/"))
        except ValueError:
            raise ConfigError(f"object {name!r}: give parameters as NAME=NUMBER, parted by commas") from None
        parameters[key.strip()] = numbers if "/" in value or key.strip().startswith("line_pairs") else numbers[0]
    return parameters


def _check_parameters(name: str, draw: Callable[..., Map], parameters: dict[str, Any]) -> dict[str, Any]:
    own = [p.name for p in inspect.signature(draw).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for key in parameters:
        if key not in own:
            raise ConfigError(f"object {name!r} has no parameter {key!r}: it has {', '.join(own) or 'none'}")
    return parameters


# ---------------------------------------------------------------- the user's image


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
