"""Read an image from a file: .npy, .tif, .png."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError, FileFormatError

SUFFIXES = (".npy", ".tif", ".tiff", ".png")
MAX_PIXELS = 32_000_000
MAX_PAGES = 1000  # of a .tif
SAVED_PIXELS = 512  # a saved .png is enlarged by whole factors to about this many pixels


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image and what was done to get it.

    Attributes
    ----------
    image : ndarray, shape (rows, columns)
        A .png's grey values as a fraction of white (0..1); other files' numbers as they are.
    enlarged_by : int
        Whole factor by which the image in the file had been enlarged; it has been undone.
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
    """Read a grey image, the way up that the file gives, white as its brightest.

    Grey values that are stored in three equal colours or a palette are grey. Of TIFF files the numbers are taken as
    they are, those of "white is zero" as distances from the whitest.

    Raises
    ------
    CxgiError
        For an unknown suffix, a missing or damaged file, colours, transparency, more than one page, more than
        `MAX_PIXELS`, and for declarations about its numbers that cannot be followed.
    """
    path = Path(path)
    if not is_image_path(path):
        raise FileFormatError(f"{path.name!r} is no known image: give one of {', '.join(SUFFIXES)}")
    reader = {".npy": _read_npy, ".png": _read_png}.get(path.suffix.lower(), _read_tiff)
    try:
        values = reader(path)
    except CxgiError as error:
        raise FileFormatError(f"{path} {error}") from error
    except Exception as error:  # damaged files make the readers raise nearly anything
        raise FileFormatError(
            f"{path} cannot be read as an image ({' '.join(str(error).split())}): check the file"
        ) from error
    if path.suffix.lower() == ".png":
        factor = enlargement(values)
        return ImageFile(values[::factor, ::factor], factor, stretched=True)
    return ImageFile(values)


def _check_size(shape: tuple[int, ...]) -> None:
    """Raise `CxgiError` for what is no image, or a huge one; before its pixels are read."""
    if len(shape) != 2 or not all(shape):
        raise FileFormatError(f"has shape {shape}: one grey image with two axes is needed")
    if math.prod(shape) > MAX_PIXELS:
        raise FileFormatError(f"has {shape[0]} x {shape[1]} pixels, at most {MAX_PIXELS} are read: cut it or bin it")


# ---------------------------------------------------------------- .npy


def _read_npy(path: Path) -> NDArray[np.float64]:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise FileFormatError("holds no array of real numbers: save one with numpy.save")
    _check_size(values.shape)
    return np.array(values, dtype=np.float64)


# ---------------------------------------------------------------- .tif

_TURNED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {  # how a TIFF's orientation is undone
    1: np.asarray,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).T,
    8: np.rot90,
}


def _read_tiff(path: Path) -> NDArray[np.float64]:
    import tifffile

    with _refuse_damaged_pages(), tifffile.TiffFile(path) as file:
        if len(file.pages) > MAX_PAGES:  # counted first: series of pages in a circle have no end
            raise FileFormatError(f"has {len(file.pages)} pages: save the one that is meant alone")
        whole = [series for series in file.series if not series.keyframe.is_reduced]
        if len(whole) != 1:
            raise FileFormatError(f"has {len(whole)} images: save the one that is meant alone")
        (series,) = whole
        page = series.keyframe
        axes = [
            (axis, length) for axis, length in zip(series.axes, series.shape, strict=True) if length > 1 or axis in "YX"
        ]
        shape = tuple(n for axis, n in axes if axis != "S")
        _check_size(shape)
        samples = math.prod(series.shape) // math.prod(shape)
        if samples > 4:
            raise FileFormatError(f"has {samples} samples a pixel: save it in grey")
        values = series.asarray().reshape([n for _, n in axes])
        if axes[0][0] == "S":
            values = np.moveaxis(values, 0, -1)
        grey = _grey_of_tiff(page, values)
        turned = _TURNED.get(page.tags["Orientation"].value if "Orientation" in page.tags else 1)
    if turned is None:
        raise FileFormatError("says an orientation that TIFF does not know: save it anew")
    return turned(grey).astype(np.float64)


@contextmanager
def _refuse_damaged_pages() -> Iterator[None]:
    """Raise for what tifffile only logs: it goes on with the pages before a link that leads nowhere or back."""

    def refuse(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("<tifffile.TiffPages"):
            raise FileFormatError(f"has damaged pages ({record.getMessage()}): save it anew")
        return True

    library = logging.getLogger("tifffile")
    library.addFilter(refuse)
    try:
        yield
    finally:
        library.removeFilter(refuse)


def _grey_of_tiff(page: Any, values: NDArray[Any]) -> NDArray[Any]:
    """One number a pixel, the larger the brighter."""
    kind = page.photometric.name if page.photometric is not None else "unsaid"
    if values.dtype.kind not in "fiub":
        raise FileFormatError(f"holds no real numbers but {values.dtype}")
    if kind not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE"):
        raise FileFormatError(f"is an image of the kind {kind}: save it in grey")
    colours = 3 if kind == "RGB" else 1
    if values.ndim == 3:
        values = _without_alpha(values[..., :colours], values[..., colours:], [int(e) for e in page.extrasamples])
    if kind == "RGB":
        return _one_of_equal(values)
    if kind == "PALETTE":
        return _one_of_equal(np.moveaxis(page.colormap[:, values], 0, -1))
    if kind == "MINISWHITE":
        if values.dtype.kind not in "bu":
            raise FileFormatError(f"says that 0 is white, and holds {values.dtype}, which has no black: save it anew")
        return (2 ** int(page.bitspersample) - 1) - values.astype(np.int64)
    return values


def _without_alpha(values: NDArray[Any], extra: NDArray[Any], kinds: list[int]) -> NDArray[Any]:
    if extra.shape[-1] != len(kinds) or any(kind not in (1, 2) for kind in kinds):
        raise FileFormatError("has samples that are neither grey, colour nor transparency: save it in grey")
    if extra.size and extra.min() < (1 if extra.dtype.kind == "f" else np.iinfo(extra.dtype).max):
        raise FileFormatError(_TRANSPARENT)
    return values[..., 0] if values.shape[-1] == 1 else values


# ---------------------------------------------------------------- .png

_TRANSPARENT = "is transparent in places, and has no number there: save it in grey, without transparency"


def _read_png(path: Path) -> NDArray[np.float64]:
    from PIL import Image, ImageOps

    with Image.open(path, formats=["PNG"]) as opened:
        _check_size(opened.size[::-1])
        if getattr(opened, "n_frames", 1) > 1:
            raise FileFormatError("is an animation: save one image of it")
        sixteen = "16" in str(opened.tile[0].args)
        if sixteen and not opened.mode.startswith("I"):
            raise FileFormatError("has colours or transparency of 16 bits: save it in grey, or as .npy")
        if sixteen and "transparency" in opened.info:
            raise FileFormatError(_TRANSPARENT)
        if opened.has_transparency_data and opened.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise FileFormatError(_TRANSPARENT)
        turned = ImageOps.exif_transpose(opened)
        if turned.mode in ("P", "RGB", "RGBA", "LA", "PA"):
            return _one_of_equal(np.asarray(turned.convert("RGB"))).astype(np.float64) / 255
        values: NDArray[Any] = np.asarray(turned)
    if values.dtype == bool:
        return values.astype(np.float64)
    return values.astype(np.float64) / (65535 if sixteen else 255)


def _one_of_equal(colours: NDArray[Any]) -> NDArray[Any]:
    """The grey value of colours, shape (rows, columns, 3), that are all grey."""
    if not (colours == colours[..., :1]).all():
        raise FileFormatError("is a colour image, and colours are no numbers: save it in grey, or as .npy")
    return colours[..., 0]


def enlargement(image: NDArray[Any]) -> int:
    """Find the whole factor by which a saved image was enlarged, 1 if it was not.

    An image is enlarged when it consists of equal square blocks of just the size that saving chooses for so many
    pixels; of several such sizes the largest is taken.
    """
    if image.ndim != 2 or image.min() == image.max():
        return 1
    side = math.gcd(*image.shape)
    for factor in range(side // 8, 1, -1):
        rows = image.shape[0] // factor
        if side % factor or factor != SAVED_PIXELS // rows:
            continue
        blocks = image[::factor, ::factor].repeat(factor, axis=0).repeat(factor, axis=1)
        if np.array_equal(blocks, image):
            return factor
    return 1
