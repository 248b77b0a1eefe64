"""The paper's metal gear (Fig. 3e): 14 teeth, 1.5 mm across, opaque; and an aperture of the same shape."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from .rendering import Map, Positions, block_mean, sample, samples_per_subpixel

TEETH = 14
DIAMETER_PX = 10.0  # 1.5 mm on the copper board's pixels of 150 um
BORE = 0.25  # of the radius
TOOTH_DEPTH = 0.18  # of the radius
DUTY = 0.5  # of the pitch is tooth


def gear(size: int, subpixels: int, *, diameter_px: float = DIAMETER_PX, teeth: int = TEETH) -> Map:
    """An opaque gear in an open field.

    Tooth depth 18 % and bore 25 % of the radius, teeth as wide as the spaces (ours: the paper gives the number
    of teeth and the diameter). One tooth points to the right.

    Parameters
    ----------
    size, subpixels : int
        Mask pixels per side and sub-pixels per mask pixel.
    diameter_px : float, optional
        In mask pixels, at most `size`; 10 by default.
    teeth : int, optional
        14 by default.
    """
    return np.float32(1) - gear_aperture(size, subpixels, diameter_px=diameter_px, teeth=teeth)


def gear_aperture(size: int, subpixels: int, *, diameter_px: float = DIAMETER_PX, teeth: int = TEETH) -> Map:
    """The negative of `gear`: open in the shape of the gear, opaque elsewhere.

    Parameters
    ----------
    size, subpixels : int
        Mask pixels per side and sub-pixels per mask pixel.
    diameter_px : float, optional
        In mask pixels, at most `size`; 10 by default.
    teeth : int, optional
        2 or more; 14 by default.

    Returns
    -------
    ndarray, shape (size * subpixels,) * 2
        Transmission, 0..1.
    """
    if not 0 < diameter_px <= size:
        raise ConfigError(f"diameter_px {diameter_px:g} of the gear: give more than 0 and at most {size} mask pixels")
    if teeth < 2 or teeth != int(teeth):
        raise ConfigError(f"teeth {teeth}: give a whole number, 2 or more")
    radius = diameter_px / size / 2

    def inside(x: Positions, y: Positions) -> NDArray[np.floating]:
        distance = np.hypot(x, y) / radius
        phase = np.arctan2(y, x) * teeth / (2 * np.pi)
        tooth = np.abs(phase - np.rint(phase)) < DUTY / 2
        rim = np.where(tooth, 1.0, 1 - TOOTH_DEPTH)
        return ((distance < rim) & (distance > BORE)).astype(np.float32)

    return sample(inside, size, subpixels)


# ---------------------------------------------------------------- gold


GOLD_ATTENUATION_LENGTH_UM = 4.4
GOLD_FIELD_UM = 640.0
GOLD_COLUMN_UM = 160.0
GOLD_COLUMN_THICKNESS_UM = 300.0
GOLD_GAP_UM = 10.0
GOLD_RADIUS_UM = 220.0
GOLD_TILT_DEG = 12.0


def gold_semi_cylinder(
    size: int,
    subpixels: int,
    *,
    gap_um: float = GOLD_GAP_UM,
    attenuation_length_um: float = GOLD_ATTENUATION_LENGTH_UM,
    tilt_deg: float = GOLD_TILT_DEG,
) -> Map:
    """A gold semi-cylinder, its flat face 10 um from a gold column, the whole tilted by 12 degrees.

    Column 160 um wide and 300 um thick, semi-cylinder of radius 220 um with its axis along y,
    both centred in a field of 640 um (Fig. 4a of the paper gives the shape, not the numbers). On a
    board with another field the whole object is scaled with it.

    Parameters
    ----------
    size, subpixels : int
        Mask pixels per side and sub-pixels per mask pixel.
    gap_um : float, optional
        Distance between column and semi-cylinder (um), 0 or more; 10 by default.
    attenuation_length_um : float, optional
        Thickness of gold that lets 1/e pass (um); 4.4 by default.
    tilt_deg : float, optional
        Turn of the whole in the field (degrees); 12 by default.
    """
    if not 0 <= gap_um < GOLD_FIELD_UM:
        raise ConfigError(f"gap_um {gap_um:g}: give 0 or more, and less than the field of {GOLD_FIELD_UM:g} um")
    if not attenuation_length_um > 0:
        raise ConfigError(f"attenuation_length_um {attenuation_length_um:g}: give a length in um above 0")
    tilt = math.radians(tilt_deg)
    face = GOLD_COLUMN_UM + gap_um

    def transmission(x: Positions, y: Positions) -> NDArray[np.floating]:
        across = (math.cos(tilt) * x + math.sin(tilt) * y) * GOLD_FIELD_UM
        across = across + (face + GOLD_RADIUS_UM) / 2  # 0 at the column's outer face
        thickness = np.where((across > 0) & (across < GOLD_COLUMN_UM), GOLD_COLUMN_THICKNESS_UM, 0.0)
        depth = across - face
        inside = (depth > 0) & (depth < GOLD_RADIUS_UM)
        thickness[inside] = 2 * np.sqrt(GOLD_RADIUS_UM**2 - depth[inside] ** 2)
        return np.exp((-thickness / attenuation_length_um).astype(np.float32))

    return sample(transmission, size, subpixels)


# ---------------------------------------------------------------- stencil


FONT_SAMPLES = 16  # the letters' own edges are anti-aliased


def cas_stencil(size: int, subpixels: int, *, samples: float = FONT_SAMPLES) -> Map:
    """The letters CAS, open in opaque steel: 94 % of the field wide, at most 42 % high, centred.

    Set in DejaVu Sans Bold, as a stand-in for the paper's stencil (Fig. 2a).

    Parameters
    ----------
    size, subpixels : int
        Mask pixels per side and sub-pixels per mask pixel.
    samples : float, optional
        Points per mask pixel and side at which the letters are drawn, at least; 16 by default.
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


# ---------------------------------------------------------------- bars


BARS = 3  # in a group, as long as the group is wide
LINE_PAIRS_UM = (80.0, 40.0, 20.0)
FIELD_UM = 640.0


def resolution_bars(
    size: int, subpixels: int, *, line_pairs_um: tuple[float, ...] = LINE_PAIRS_UM, field_um: float = FIELD_UM
) -> Map:
    """Groups of three opaque bars in an open field, upright in the upper row and lying in the lower one.

    A bar is half a line pair wide. The groups stand side by side, their outer bars' edges apart by
    equal gaps.

    Parameters
    ----------
    size, subpixels : int
        Mask pixels per side and sub-pixels per mask pixel.
    line_pairs_um : tuple of float, optional
        Period of each group, a line and a space (um); 80, 40 and 20 by default.
    field_um : float, optional
        Width of the field (um); 640 by default.
    """
    widths = [(BARS - 0.5) * period for period in line_pairs_um]
    rest = field_um - sum(widths)
    if not line_pairs_um or min(line_pairs_um) <= 0 or rest <= 0 or max(widths) > field_um / 2:
        raise ConfigError(
            f"line pairs of {', '.join(f'{p:g}' for p in line_pairs_um)} um: groups of {BARS} bars are to fit "
            f"into a field of {field_um:g} um, none wider than half of it"
        )
    gap = rest / (len(widths) + 1)
    lefts = np.cumsum([gap, *(width + gap for width in widths[:-1])]) - field_um / 2

    def transmission(x: Positions, y: Positions) -> NDArray[np.floating]:
        x, y = np.broadcast_arrays(x * field_um, y * field_um)
        opaque = np.zeros(x.shape, dtype=bool)
        for left, width, period in zip(lefts, widths, line_pairs_um, strict=True):
            for centre, upright in ((-field_um / 4, True), (field_um / 4, False)):
                across, down = x - left, y - centre + width / 2
                in_group = (across >= 0) & (across < width) & (down >= 0) & (down < width)
                opaque |= in_group & ((across if upright else down) % period < period / 2)
        return (~opaque).astype(np.float32)

    return sample(transmission, size, subpixels)
