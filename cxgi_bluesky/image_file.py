"""Read a picture from a file: .npy, .tif, .png."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CxgiError

SUFFIXES = (".npy", ".tif", ".tiff", ".png")
PICTURE_PIXELS = 512  # a saved .png is enlarged by whole factors to about this many pixels


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image and what was done to get it.

    Attributes
    ----------
    image : ndarray, shape (rows, columns)
        A .png's grey values as a fraction of white (0..1); other files' numbers as they are.
    enlarged_by : int
        Whole factor by which the picture in the file had been enlarged; it has been undone.
    stretched : bool
        Whether the numbers are grey values, whose zero is no zero of the signal (.png).
    """

    image: NDArray[np.float64]
    enlarged_by: int = 1
    stretched: bool = False


def is_image_path(name: str | Path) -> bool:
    """Whether the name ends like an image file."""
    return Path(name).suffix.lower() in SUFFIXES


def read_image_file(path: str | Path) -> ImageFile:
    """Read a grey image.

    Raises
    ------
    CxgiError
        For an unknown suffix, a missing or damaged file, a colour picture, more than one page.
    """
    path = Path(path)
    if not is_image_path(path):
        raise CxgiError(f"{path.name!r} is no known image: give one of {', '.join(SUFFIXES)}")
    reader = {".npy": _read_npy, ".png": _read_png}.get(path.suffix.lower(), _read_tiff)
    try:
        values = reader(path)
    except CxgiError:
        raise
    except Exception as error:  # damaged files make the readers raise nearly anything
        raise CxgiError(f"{path} cannot be read as an image ({error}): check the file") from error
    if values.ndim != 2:
        raise CxgiError(f"{path} has shape {values.shape}: one grey image with two axes is needed")
    if path.suffix.lower() == ".png":
        factor = enlargement(values)
        return ImageFile(values[::factor, ::factor], factor, stretched=True)
    return ImageFile(values)


def _read_npy(path: Path) -> NDArray[np.float64]:
    values = np.load(path, allow_pickle=False)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise CxgiError(f"{path} holds no array of real numbers: save one with numpy.save")
    return values.astype(np.float64)


def _read_tiff(path: Path) -> NDArray[np.float64]:
    import tifffile

    values = np.squeeze(tifffile.imread(path))
    if values.dtype.kind not in "fiub":
        raise CxgiError(f"{path} holds no real numbers but {values.dtype}")
    return values.astype(np.float64)


def _read_png(path: Path) -> NDArray[np.float64]:
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode in ("P", "RGB", "RGBA", "LA", "PA"):
            colours = np.asarray(picture.convert("RGB"), dtype=np.float64)
            if np.ptp(colours, axis=2).any():
                raise CxgiError(f"{path} is a colour picture, and colours are no numbers: save it in grey, or as .npy")
            return colours[..., 0] / 255
        values: Any = np.asarray(picture)
    if values.dtype == bool:
        return values.astype(np.float64)
    return values.astype(np.float64) / (255 if values.dtype == np.uint8 else 65535)


def enlargement(picture: NDArray[Any]) -> int:
    """The whole factor by which a saved picture was enlarged, 1 if it was not.

    True when the picture consists of equal square blocks of just the size that saving chooses for so many
    pixels; of several such sizes the largest is taken.
    """
    if picture.ndim != 2 or picture.min() == picture.max():
        return 1
    side = math.gcd(*picture.shape)
    for factor in range(side // 8, 1, -1):
        rows = picture.shape[0] // factor
        if side % factor or factor != PICTURE_PIXELS // rows:
            continue
        blocks = picture[::factor, ::factor].repeat(factor, axis=0).repeat(factor, axis=1)
        if np.array_equal(blocks, picture):
            return factor
    return 1
