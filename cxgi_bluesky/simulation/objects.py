"""Objects of the twin: transmission maps on sub-pixels of the field.

Each function takes the pixels per side and the sub-pixels per pixel and returns an array of
shape (size * subpixels, size * subpixels) with values 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..patterns import check_size

Map = NDArray[np.float32]

GOLD_ATTENUATION_LENGTH_UM = 4.4
GOLD_FIELD_UM = 640.0
GOLD_COLUMN_UM = 160.0
GOLD_COLUMN_THICKNESS_UM = 300.0
GOLD_GAP_UM = 10.0
GOLD_RADIUS_UM = 220.0
GOLD_TILT_DEG = 12.0


def cas_stencil(size: int, subpixels: int) -> Map:
    """The letters CAS, open in opaque steel: 94 % of the field wide, at most 42 % high, centred.

    Set in DejaVu Sans Bold, as a stand-in for the paper's stencil (Fig. 2a).
    """
    from PIL import Image

    fine = size * subpixels * 4
    width, height = _ink("CAS", 1000).size
    letters = _ink("CAS", int(1000 * min(0.94 * fine / width, 0.42 * fine / height)))
    canvas = Image.new("L", (fine, fine), 0)
    canvas.paste(letters, ((fine - letters.width) // 2, (fine - letters.height) // 2))
    return block_mean(np.asarray(canvas, dtype=np.float32) / 255, 4)


def _ink(text: str, height: int) -> Any:
    """The text in a font of this height (px), cut to its ink."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf", height)
    canvas = Image.new("L", (height * (len(text) + 1), height * 2), 0)
    ImageDraw.Draw(canvas).text((height // 2, height // 4), text, fill=255, font=font)
    return canvas.crop(canvas.getbbox())


def gold_semi_cylinder(size: int, subpixels: int) -> Map:
    """A gold semi-cylinder, its flat face 10 um from a gold column, the whole tilted by 12 degrees.

    Column 160 um wide and 300 um thick, semi-cylinder of radius 220 um with its axis along y,
    both centred in a field of 640 um (Fig. 4a of the paper gives the shape, not the numbers). On a
    board with another field the whole object is scaled with it.
    """
    cells = size * subpixels
    axis = ((np.arange(cells) + 0.5) / cells - 0.5) * GOLD_FIELD_UM
    y, x = np.meshgrid(axis, axis, indexing="ij")
    tilt = np.deg2rad(GOLD_TILT_DEG)
    across = np.cos(tilt) * x + np.sin(tilt) * y
    across += (GOLD_COLUMN_UM + GOLD_GAP_UM + GOLD_RADIUS_UM) / 2  # 0 at the column's outer face
    face = GOLD_COLUMN_UM + GOLD_GAP_UM
    thickness = np.where((across > 0) & (across < GOLD_COLUMN_UM), GOLD_COLUMN_THICKNESS_UM, 0.0)
    depth = across - face
    inside = (depth > 0) & (depth < GOLD_RADIUS_UM)
    thickness[inside] = 2 * np.sqrt(GOLD_RADIUS_UM**2 - depth[inside] ** 2)
    return np.exp(-thickness / GOLD_ATTENUATION_LENGTH_UM).astype(np.float32)


OBJECTS: dict[str, Callable[[int, int], Map]] = {"CAS": cas_stencil, "gold": gold_semi_cylinder}


def render_object(name: str, size: int, subpixels: int = 4) -> Map:
    """A named object as a transmission map.

    Raises
    ------
    CxgiError
        For an unknown name, or fewer than one sub-pixel.
    """
    if name not in OBJECTS:
        raise CxgiError(f"object {name!r} is unknown: choose one of {', '.join(OBJECTS)}")
    if subpixels < 1:
        raise CxgiError(f"{subpixels} sub-pixels per pixel: at least 1, and 4 for numbers to be quoted")
    return OBJECTS[name](check_size(size), subpixels)


def block_mean(fine: NDArray[np.floating], factor: int) -> Map:
    """Average blocks of factor x factor: sub-pixels to pixels."""
    n = len(fine) // factor
    return fine.reshape(n, factor, n, factor).mean(axis=(1, 3)).astype(np.float32)
