"""A resolution target: groups of opaque bars with their period in um."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError
from .grid import Map, Places, sampled

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
    line_pairs_um : tuple of float
        Period of each group (a line and a space).
    field_um : float
        Width of the field.
    """
    widths = [(BARS - 0.5) * period for period in line_pairs_um]
    rest = field_um - sum(widths)
    if not line_pairs_um or min(line_pairs_um) <= 0 or rest <= 0 or max(widths) > field_um / 2:
        raise CxgiError(
            f"line pairs of {', '.join(f'{p:g}' for p in line_pairs_um)} um: groups of {BARS} bars are to fit "
            f"into a field of {field_um:g} um, none wider than half of it"
        )
    gap = rest / (len(widths) + 1)
    lefts = np.cumsum([gap, *(width + gap for width in widths[:-1])]) - field_um / 2

    def transmission(x: Places, y: Places) -> NDArray[np.floating]:
        x, y = np.broadcast_arrays(x * field_um, y * field_um)
        opaque = np.zeros(x.shape, dtype=bool)
        for left, width, period in zip(lefts, widths, line_pairs_um, strict=True):
            for centre, upright in ((-field_um / 4, True), (field_um / 4, False)):
                across, down = x - left, y - centre + width / 2
                in_group = (across >= 0) & (across < width) & (down >= 0) & (down < width)
                opaque |= in_group & ((across if upright else down) % period < period / 2)
        return (~opaque).astype(np.float32)

    return sampled(transmission, size, subpixels)
