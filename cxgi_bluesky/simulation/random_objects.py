"""Random objects to train and validate networks on: drawn shapes, text, phantoms, thickness profiles, photographs.

The evaluation objects (the CAS stencil, the gear, the gold semi-cylinder, the usual test photographs)
are never among them, nor is the font DejaVu Sans Bold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

Image = NDArray[Any]
Generator = np.random.Generator

PHOTOGRAPHS = (
    *("brick", "grass", "gravel", "moon", "cell", "retina", "immunohistochemistry", "page"),
    *("text", "hubble_deep_field", "coffee", "rocket", "chelsea", "stereo_motorcycle", "clock"),
)
_EXCLUDED_FONTS = (
    "DejaVuSans-Bold",
    "DejaVuSansMono-Bold",
    "LastResort",
    "STIXSiz",
    "STIXNonUni",
    "cmex",
    "cmsy",
    "Display",
)
DRAWING_VERSION = 3  # part of the key of stored objects: raise it when a family is drawn differently
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-=?!&%#@"
_SUPERSAMPLING = 4


# ---------------------------------------------------------------- building blocks


def _grid(size: int) -> tuple[Image, Image]:
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
    return np.meshgrid(axis, axis, indexing="ij")


def _turn(rng: Generator, size: int) -> tuple[Image, Image]:
    """Coordinates turned by a random angle and shifted by a random amount."""
    y, x = _grid(size)
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.7 else rng.choice([0, np.pi / 2])
    y, x = y - rng.uniform(-0.7, 0.7), x - rng.uniform(-0.7, 0.7)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * y + s * x, c * x - s * y


def _reduce(image: Image) -> Image:
    """Average blocks of sub-pixels."""
    f, n = _SUPERSAMPLING, len(image) // _SUPERSAMPLING
    return image.reshape(n, f, n, f).mean(axis=(1, 3), dtype=np.float32)


def _low_pass_noise(rng: Generator, size: int, correlation: float) -> Image:
    """Unit-variance noise whose spectrum falls off above 1/correlation (in image widths)."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.rfftfreq(size) * size, indexing="ij"))
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) / (1 + (f * correlation) ** 2) ** rng.uniform(0.5, 1.5)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(size, size))
    return (field / (field.std() + 1e-12)).astype(np.float32)


def _shape_mask(rng: Generator, size: int) -> NDArray[np.bool_]:
    """One random filled shape on a (size, size) grid."""
    y, x = _turn(rng, size)
    a, b = np.exp(rng.uniform(np.log(0.06), np.log(0.9), size=2))
    kind = rng.integers(6)
    if kind == 0:
        return (x / a) ** 2 + (y / b) ** 2 < 1
    if kind == 1:
        return (np.abs(x) < a) & (np.abs(y) < b)
    if kind == 2:
        radius = np.hypot(x, y)
        return (radius < a) & (radius > a * rng.uniform(0.3, 0.9))
    if kind == 3:  # a star or a rounded polygon: the radius oscillates with the angle
        radius = a * (1 + rng.uniform(0.05, 0.5) * np.cos(rng.integers(3, 20) * np.arctan2(y, x)))
        return np.hypot(x, y) < radius
    if kind == 4:  # a half plane: long straight edges that leave the field
        return x > 0
    period = np.exp(rng.uniform(np.log(0.08), np.log(0.8)))
    return (np.mod(x, period) < period * rng.uniform(0.2, 0.8)) & (np.abs(y) < b)


# ---------------------------------------------------------------- object families


def binary_shapes(rng: Generator, size: int) -> Image:
    """A few opaque or open shapes, united or cut from one another.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Transmission, 0..1.
    """
    fine = size * _SUPERSAMPLING
    image = np.zeros((fine, fine), dtype=np.float32)
    for _ in range(rng.integers(1, 9)):
        image[_shape_mask(rng, fine)] = rng.random() < 0.7
    return _reduce(image)


def phantom(rng: Generator, size: int) -> Image:
    """Overlapping shapes of several grey levels, some with a gradient inside.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        In no unit; `spread` makes it a transmission.
    """
    fine = size * _SUPERSAMPLING
    y, x = _grid(fine)
    image = np.full((fine, fine), rng.random() * (rng.random() < 0.5), dtype=np.float32)
    for _ in range(rng.integers(3, 14)):
        value = rng.random() + rng.uniform(-0.5, 0.5) * (rng.random() < 0.4) * (x if rng.random() < 0.5 else y)
        mask = _shape_mask(rng, fine)
        image = np.where(mask, image + value if rng.random() < 0.3 else value, image)
    return _reduce(image.astype(np.float32))


def thickness_profile(rng: Generator, size: int) -> Image:
    """Transmission exp(-mu t) of rods, spheres, wedges and plates that lie over one another.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Transmission, 0..1.
    """
    return _reduce(np.exp(-_optical_depth(rng, size * _SUPERSAMPLING, bodies=6)))


def _optical_depth(rng: Generator, size: int, bodies: int) -> Image:
    """Of up to so many rods, spheres, wedges and plates, one over another."""
    optical_depth = np.zeros((size, size), dtype=np.float32)
    for _ in range(rng.integers(1, bodies)):
        y, x = _turn(rng, size)
        radius = np.exp(rng.uniform(np.log(0.1), np.log(0.9)))
        kind = rng.integers(4)
        if kind == 0:
            chord = np.sqrt(np.maximum(radius**2 - x**2, 0))
        elif kind == 1:
            chord = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
        elif kind == 2:
            chord = np.clip(x / radius, 0, 1)
        else:
            chord = (np.abs(x) < radius * 0.5).astype(np.float32)
        optical_depth += chord * np.exp(rng.uniform(np.log(0.3), np.log(20)))
    return optical_depth


def texture(rng: Generator, size: int) -> Image:
    """Low-pass noise, plain or cut at a level: powders, foams, biological tissue.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        In no unit; `spread` makes it a transmission.
    """
    field = _low_pass_noise(rng, size * 2, np.exp(rng.uniform(np.log(0.08), np.log(1.0))))
    if rng.random() < 0.5:
        field = (1 / (1 + np.exp(-np.clip((field - rng.uniform(-1, 1)) * rng.uniform(3, 40), -30, 30)))).astype(
            np.float32
        )
    return field.reshape(size, 2, size, 2).mean(axis=(1, 3), dtype=np.float32)


@lru_cache(maxsize=1)
def _font_files() -> tuple[Path, ...]:
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    files = tuple(f for f in sorted(folder.glob("*.ttf")) if not any(word in f.name for word in _EXCLUDED_FONTS))
    return files


def letters(rng: Generator, size: int) -> Image:
    """Random characters in several fonts and strengths: scattered, or one word across the field.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Transmission, 0..1.
    """
    fine = size * _SUPERSAMPLING
    canvas = _word_across(rng, fine) if rng.random() < 0.5 else _scatter_letters(rng, fine)
    turned = canvas.rotate(rng.uniform(-30, 30) if rng.random() < 0.4 else 0, resample=PillowImage.Resampling.BILINEAR)
    return _reduce(np.asarray(turned, dtype=np.float32) / 255)


def _random_word(rng: Generator, longest: int) -> str:
    while True:
        word = "".join(rng.choice(list(_ALPHABET), size=rng.integers(1, longest + 1)))
        if "CAS" not in word.upper():
            return word


def _random_font(rng: Generator, height: float) -> ImageFont.FreeTypeFont:
    files = _font_files()
    return ImageFont.truetype(str(files[rng.integers(len(files))]), size=max(4, int(height)))


def _scatter_letters(rng: Generator, fine: int) -> PillowImage.Image:
    canvas = PillowImage.new("L", (fine, fine), 0)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(1, 4)):
        font = _random_font(rng, fine * rng.uniform(0.2, 0.8))
        x, y = rng.uniform(-0.1, 0.5, size=2) * fine
        grey = int(rng.uniform(120, 256)) if rng.random() < 0.3 else 255
        pen.text((x, y), _random_word(rng, 4), fill=grey, font=font, stroke_width=_stroke(rng, fine), stroke_fill=grey)
    return canvas


def _word_across(rng: Generator, fine: int) -> PillowImage.Image:
    """One to five characters that fill much of the field's width."""
    canvas = PillowImage.new("L", (fine, fine), 0)
    word, font, stroke = _random_word(rng, 5), _random_font(rng, fine / 2), _stroke(rng, fine)
    left, top, right, bottom = font.getbbox(word, stroke_width=stroke)
    width, height = max(1.0, right - left), max(1.0, bottom - top)
    scale = min(rng.uniform(0.6, 0.98) * fine / width, rng.uniform(0.3, 0.95) * fine / height)
    font, stroke = font.font_variant(size=max(4, int(font.size * scale))), int(stroke * min(1.0, scale))
    left, top, right, bottom = font.getbbox(word, stroke_width=stroke)
    free = np.array([fine - (right - left), fine - (bottom - top)])
    x, y = np.maximum(free, 0) * rng.uniform(0.3, 0.7, size=2) - (left, top)
    ImageDraw.Draw(canvas).text((x, y), word, fill=255, font=font, stroke_width=stroke, stroke_fill=255)
    return canvas


def _stroke(rng: Generator, fine: int) -> int:
    """Half the time the letters are made bolder."""
    return int(fine * rng.uniform(0, 0.025)) if rng.random() < 0.5 else 0


def gaps(rng: Generator, size: int) -> Image:
    """Opaque bodies with narrow slits between and through them, straight or curved.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Transmission, 0..1.
    """
    fine = size * _SUPERSAMPLING
    opaque = _shape_mask(rng, fine) | _shape_mask(rng, fine)
    slits = np.zeros_like(opaque)
    for _ in range(rng.integers(1, 5)):
        slits |= _distance_to_line(rng, fine) <= np.exp(rng.uniform(np.log(0.012), np.log(0.15))) / 2
    if rng.random() < 0.4:
        body = np.exp(-_optical_depth(rng, fine, bodies=4))
    else:
        body = np.full((fine, fine), rng.uniform(0, 0.3) * (rng.random() < 0.3), np.float32)
    return _reduce(np.where(opaque & ~slits, body, np.float32(1)).astype(np.float32))


def _distance_to_line(rng: Generator, size: int) -> Image:
    """Distance of each pixel to a random straight line, or to a circle."""
    y, x = _turn(rng, size)
    if rng.random() < 0.6:
        return np.abs(x)
    radius = np.exp(rng.uniform(np.log(0.2), np.log(2.0)))
    return np.abs(np.hypot(x - radius, y) - radius)


def lines(rng: Generator, size: int) -> Image:
    """A few thin lines, bright or dark, whole or cut off, over an even, shaded or structured ground.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        In no unit; `spread` makes it a transmission.
    """
    fine = size * _SUPERSAMPLING
    luck = rng.random()
    if luck < 0.3:
        image = np.exp(-_optical_depth(rng, fine, bodies=4))
    elif luck < 0.7:
        image = np.where(_shape_mask(rng, fine), np.float32(rng.random()), np.float32(rng.random()))
    else:
        image = np.full((fine, fine), rng.random(), dtype=np.float32)
    for _ in range(rng.integers(1, 7)):
        width = np.exp(rng.uniform(np.log(0.01), np.log(0.08)))
        line = _distance_to_line(rng, fine) <= width / 2
        if rng.random() < 0.4:
            line &= _shape_mask(rng, fine)
        image = np.where(line, image + np.float32(rng.choice((-1, 1)) * rng.uniform(0.15, 1.0)), image)
    return _reduce(np.clip(image, 0, 1))


def gratings(rng: Generator, size: int) -> Image:
    """Groups of parallel bars of different pitch, as of resolution charts and gratings.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Transmission, 0..1.
    """
    fine = size * _SUPERSAMPLING
    image = np.zeros((fine, fine), dtype=np.float32)
    for _ in range(rng.integers(1, 7)):
        y, x = _turn(rng, fine)
        pitch, number = np.exp(rng.uniform(np.log(0.05), np.log(0.5))), rng.integers(2, 12)
        inside = (np.abs(x) < number * pitch / 2) & (np.abs(y) < pitch * rng.uniform(1, 6))
        bar = np.mod(x + number * pitch / 2, pitch) < pitch * rng.uniform(0.3, 0.7)
        image[inside] = 0
        image[inside & bar] = 1 if rng.random() < 0.7 else rng.uniform(0.3, 1)
    return _reduce(image)


@lru_cache(maxsize=1)
def _photographs() -> tuple[Image, ...]:
    import skimage.data

    images = []
    for name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        image = image[0] if isinstance(image, tuple) else image
        grey = image.astype(np.float32)
        images.append(grey.mean(axis=2) if grey.ndim == 3 else grey)
    return tuple(images)


def photograph(rng: Generator, size: int) -> Image:
    """A random crop, at a random scale, of one of the allowed photographs.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Pixels per side n.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Grey values of the photograph; `spread` makes them a transmission.
    """
    from skimage.transform import resize

    image = _photographs()[rng.integers(len(_photographs()))]
    shortest = min(image.shape)
    side = int(np.exp(rng.uniform(np.log(min(size * 1.2, shortest)), np.log(shortest))))
    top, left = (rng.integers(0, extent - side + 1) for extent in image.shape)
    crop = image[top : top + side, left : left + side]
    return np.asarray(resize(crop, (size, size), order=1, anti_aliasing=True), dtype=np.float32)


FAMILIES: dict[str, tuple[float, Callable[[Generator, int], Image]]] = {
    "binary_shapes": (0.13, binary_shapes),
    "phantom": (0.15, phantom),
    "thickness_profile": (0.08, thickness_profile),
    "texture": (0.07, texture),
    "letters": (0.15, letters),
    "gaps": (0.13, gaps),
    "lines": (0.06, lines),
    "gratings": (0.06, gratings),
    "photograph": (0.17, photograph),
}


def spread(image: Image) -> Image | None:
    """Stretch to [0, 1]; None when there is nothing to see in it."""
    low, high = float(image.min()), float(image.max())
    if high - low < 0.05 or image.std() / (high - low) < 0.02:
        return None
    return (image - low) / (high - low)


def random_object(rng: Generator, size: int, shares: Mapping[str, float] | None = None) -> Image:
    """One random object, shape (size, size), stretched to [0, 1] and turned by a random symmetry.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
    shares : mapping, optional
        Families to draw from and how often; by default all, as often as in `FAMILIES`.
    """
    shares = shares or {name: share for name, (share, _) in FAMILIES.items()}
    names, weights = list(shares), np.array(list(shares.values()))
    while True:
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        image = spread(FAMILIES[name][1](rng, size))
        if image is not None:
            image = np.rot90(image, int(rng.integers(4)))
            image = image[:, ::-1] if rng.random() < 0.5 else image
            return np.ascontiguousarray(1 - image if rng.random() < 0.3 else image, dtype=np.float32)
