"""The paper's stencil: the letters CAS."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .grid import Map, block_mean, samples_per_subpixel

FONT_SAMPLES = 16  # the letters' own edges are anti-aliased


def cas_stencil(size: int, subpixels: int, *, samples: float = FONT_SAMPLES) -> Map:
    """The letters CAS, open in opaque steel: 94 % of the field wide, at most 42 % high, centred.

    Set in DejaVu Sans Bold, as a stand-in for the paper's stencil (Fig. 2a).

    Parameters
    ----------
    size, subpixels : int
    samples : float
        Points per mask pixel and side at which the letters are drawn, at least.
    """
    from PIL import Image

    factor = samples_per_subpixel(subpixels, samples)
    fine = size * subpixels * factor
    width, height = _ink("CAS", 1000).size
    letters = _ink("CAS", int(1000 * min(0.94 * fine / width, 0.42 * fine / height)))
    canvas = Image.new("L", (fine, fine), 0)
    canvas.paste(letters, ((fine - letters.width) // 2, (fine - letters.height) // 2))
    return block_mean(np.asarray(canvas, dtype=np.float32) / 255, factor)


@lru_cache(maxsize=4)
def _ink(text: str, height: int) -> Any:
    """The text in a font of this height (px), cut to its ink; drawn once, as nobody changes it."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf", height)
    canvas = Image.new("L", (height * (len(text) + 1), height * 2), 0)
    ImageDraw.Draw(canvas).text((height // 2, height // 4), text, fill=255, font=font)
    return canvas.crop(canvas.getbbox())
