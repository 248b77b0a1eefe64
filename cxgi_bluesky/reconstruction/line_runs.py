"""Straight lines over the ground of an image: every line is cut into runs that lie on dark or on bright ground alone.

A line is one pixel wide; a row (or column, for lines nearer to the horizontal) that it crosses has two pixels of it, by
linear interpolation. Lines lie half a pixel apart, and their angles so close that the ends of two neighbours
are half a pixel apart too: 1 degree at 64 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MIN_LENGTH = 8.0  # px; what is shorter is a point
_STEP_PX = 0.5
_ANGLES = 90 / 64  # for 90 degrees, times the pixels per side
_SAMPLES = 100_000  # of lines that are made at once


@dataclass(frozen=True, eq=False)
class LineRuns:
    """Runs of some lines.

    Attributes
    ----------
    weights : sparse array, shape (R, N)
        Share of each pixel in each of the R runs; N = n * n, row-major.
    bright : ndarray of bool, shape (R,)
        Whether a run lies on bright ground.
    ends : ndarray, shape (R, 4)
        (row0, col0, row1, col1) of the first and the last of its pixels.
    angle_deg : ndarray, shape (R,)
        0 upright, 90 lying; above -90, up to 90.
    """

    weights: csr_array
    bright: NDArray[np.bool_]
    ends: NDArray[np.float64]
    angle_deg: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bright)

    def take(self, rows: NDArray[np.int64]) -> LineRuns:
        """Take some of the runs."""
        return LineRuns(self.weights[rows], self.bright[rows], self.ends[rows], self.angle_deg[rows])


def join_runs(parts: Sequence[LineRuns]) -> LineRuns:
    """All runs of some parts."""
    from scipy.sparse import csr_array, vstack

    return LineRuns(
        csr_array(vstack([part.weights for part in parts], format="csr")),
        np.concatenate([part.bright for part in parts]),
        np.concatenate([part.ends for part in parts]),
        np.concatenate([part.angle_deg for part in parts]),
    )


def line_runs(bright: NDArray[np.bool_]) -> Iterator[LineRuns]:
    """Cut all lines through a field into runs of one ground, at least `MIN_LENGTH` long; some lines at a time.

    Parameters
    ----------
    bright : ndarray of bool, shape (n, n)
        Where the ground is bright.
    """
    size = len(bright)
    half = max(1, round(_ANGLES * size / 2))
    slopes = np.tan(np.linspace(-math.pi / 4, math.pi / 4, 2 * half, endpoint=False)).astype(np.float32)
    lines = 2 * math.ceil(size * math.sqrt(2) / (2 * _STEP_PX)) + 1
    at_once = max(1, _SAMPLES // (lines * size))
    for lying in (False, True):
        for first in range(0, len(slopes), at_once):
            yield _cut(bright, slopes[first : first + at_once], lines, lying)


def _cut(bright: NDArray[np.bool_], slopes: NDArray[np.float32], lines: int, lying: bool) -> LineRuns:
    """Runs of lines of some slopes: columns per row, or if they are lying rows per column."""
    from scipy.sparse import csr_array

    size, stretch = len(bright), np.sqrt(1 + slopes**2)
    step, ahead = (1, size) if lying else (size, 1)  # in the flat field: along the line's axis and across it
    kinds = bright.ravel().view(np.int8)
    middle = np.float32((size - 1) / 2)
    along = np.arange(size, dtype=np.int32)
    offset = middle + np.float32(_STEP_PX) * stretch[:, None] * (np.arange(lines, dtype=np.float32) - lines // 2)
    across = offset[..., None] + slopes[:, None, None] * (along - middle)  # slope, line, place along
    nearest = np.rint(across).astype(np.int32)
    inside = (nearest >= 0) & (nearest < size)
    kind = np.where(inside, kinds[(along * step + ahead * nearest).clip(0, size * size - 1)], np.int8(-1))
    changes = np.ones(kind.shape, dtype=bool)
    np.not_equal(kind[..., 1:], kind[..., :-1], out=changes[..., 1:])
    starts = np.flatnonzero(changes)
    counts = np.diff(starts, append=kind.size)
    slope = starts // (lines * size)
    kept = (kind.ravel()[starts] >= 0) & (counts * stretch[slope] >= MIN_LENGTH)
    starts, counts, slope = starts[kept], counts[kept], slope[kept]
    ends = np.cumsum(counts)
    sample = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
    position, kind = across.ravel()[sample], kind.ravel()
    left = np.floor(position)
    share = position - left
    pixel = (sample % size).astype(np.int32) * step + left.astype(np.int32) * ahead
    indices, values = np.empty((len(sample), 2), np.int32), np.empty((len(sample), 2), np.float32)
    for side, weight in enumerate((1 - share, share)):
        column = left + side
        neighbour = (pixel + side * ahead).clip(0, size * size - 1)
        same = (kinds[neighbour] == kind[sample]) & (column >= 0) & (column < size)
        indices[:, side], values[:, side] = neighbour, weight * same
    weights = csr_array(
        (values.ravel(), indices.ravel(), np.append(0, 2 * ends).astype(np.int32)), shape=(len(starts), size * size)
    )
    last = starts + counts - 1
    rows = np.stack([starts % size, across.ravel()[starts], last % size, across.ravel()[last]], axis=1)
    angle = np.degrees(np.arctan(slopes[slope].astype(np.float64)))
    if lying:
        return LineRuns(weights, kind[starts] > 0, rows[:, [1, 0, 3, 2]], np.where(angle > 0, angle - 90, angle + 90))
    return LineRuns(weights, kind[starts] > 0, rows, 0 - angle)
