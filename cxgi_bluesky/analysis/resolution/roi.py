"""The part of an image that a measurement looks at: a box, or a strip along a line.

Pixel (i, j) is a unit square whose centre has the coordinates row = i, column = j.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError

Values = NDArray[np.float64]
Box = tuple[float, float, float, float]

MIN_PIXELS = 25


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of an image: integer rows and columns and their values, each of shape (n,)."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: Values

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the middle."""
        return float(self.rows.mean()), float(self.cols.mean())

    @property
    def is_flat(self) -> bool:
        """Whether all pixels are alike, but for rounding."""
        return bool(np.ptp(self.values) <= 1e-9 * max(1e-300, float(np.abs(self.values).max())))

    def distance(self, angle: float) -> Values:
        """Distance (px) of each pixel from the middle along the normal (cos, sin) = (column, row)."""
        row, col = self.centre
        return (self.cols - col) * math.cos(angle) + (self.rows - row) * math.sin(angle)

    def in_units(self, low: float, span: float) -> Region:
        """The same pixels with (values - low) / span: fits run on numbers near 1, whatever the image's unit.

        Parameters
        ----------
        low : float
            Value that becomes 0, in the image's unit.
        span : float
            Difference that becomes 1, in the image's unit.
        """
        return Region(self.rows, self.cols, (self.values - low) / span)

    def to_map(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the pixels, shape (n, ...), on their bounding rectangle; 0 where there is no pixel."""
        rows, cols = self.rows - self.rows.min(), self.cols - self.cols.min()
        out = np.zeros((rows.max() + 1, cols.max() + 1, *values.shape[1:]))
        out[rows, cols] = values
        return out

    def outline(self) -> Box:
        """Row and column ranges (first, last + 1) of the bounding rectangle."""
        return (
            int(self.rows.min()),
            int(self.rows.max()) + 1,
            int(self.cols.min()),
            int(self.cols.max()) + 1,
        )


def check_image(image: NDArray[Any]) -> Values:
    """The image as floats.

    Raises
    ------
    CxgiError
        If it is not two-dimensional, smaller than 8 x 8, or has values that are not finite.
    """
    image = np.asarray(image)
    if image.ndim != 2 or min(image.shape) < 8 or image.dtype.kind not in "fiub":
        raise MeasurementError(
            f"an array of shape {image.shape} and type {image.dtype} is no grey image: give two axes, 8 x 8 or more"
        )
    image = image.astype(np.float64)
    bad = int((~np.isfinite(image)).sum())
    if bad:
        raise MeasurementError(f"the image has {bad} values that are NaN or infinite: reconstruct it again or cut it")
    return image


def box_region(image: NDArray[Any], box: Box) -> Region:
    """Rows row0..row1 - 1 and columns col0..col1 - 1 of the image, as a slice counts.

    Parameters
    ----------
    image : array, shape (rows, columns)
        Finite, 8 x 8 or more, in any unit.
    box : (row0, row1, col0, col1)
        Whole pixels.

    Raises
    ------
    CxgiError
        If the box leaves the image, is not of whole numbers, or is smaller than 5 x 5.
    """
    image = check_image(image)
    if any(side != int(side) for side in box):
        raise MeasurementError(f"box {_text(box)}: give whole pixels")
    row0, row1, col0, col1 = (int(side) for side in box)
    if not (0 <= row0 < row1 <= image.shape[0] and 0 <= col0 < col1 <= image.shape[1]):
        raise MeasurementError(
            f"box rows {row0}..{row1}, columns {col0}..{col1} is not inside the image of {_by(image)} pixels: "
            "give ROW0,ROW1,COL0,COL1"
        )
    if row1 - row0 < 5 or col1 - col0 < 5:
        raise MeasurementError(
            f"box of {row1 - row0} x {col1 - col0} pixels is too small: 5 x 5 at least, 12 x 12 is better"
        )
    rows, cols = np.mgrid[row0:row1, col0:col1]
    return Region(rows.ravel(), cols.ravel(), image[row0:row1, col0:col1].ravel())


def line_region(image: NDArray[Any], line: Box, width: float) -> Region:
    """Pixels whose centres lie beside the segment row0,col0 - row1,col1, at most width/2 away from it.

    Nothing is interpolated, so that the strip is no smoother than the image.

    Parameters
    ----------
    image : array, shape (rows, columns)
        Finite, 8 x 8 or more, in any unit.
    line : (row0, col0, row1, col1)
        The two ends of the segment (px), which need not be whole.
    width : float
        Of the strip (px).

    Raises
    ------
    CxgiError
        If an end leaves the image, the width is not positive, or fewer than 5 pixels in length or
        25 in all are left.
    """
    image = check_image(image)
    row0, col0, row1, col1 = line
    for row, col in ((row0, col0), (row1, col1)):
        if not (0 <= row <= image.shape[0] - 1 and 0 <= col <= image.shape[1] - 1):
            raise MeasurementError(
                f"the end {row:g},{col:g} of the line is not inside the image of {_by(image)} pixels"
            )
    length = math.hypot(row1 - row0, col1 - col0)
    if length < 5:
        raise MeasurementError(
            f"line {_text(line)} is {length:.1f} pixels long: give ROW0,COL0,ROW1,COL1, 5 pixels or more"
        )
    if not width > 0:
        raise MeasurementError(f"width {width:g} of the strip: give a positive number of pixels")
    across, along = (row1 - row0) / length, (col1 - col0) / length
    rows, cols = np.mgrid[: image.shape[0], : image.shape[1]]
    forward = (rows - row0) * across + (cols - col0) * along
    sideways = (cols - col0) * across - (rows - row0) * along
    chosen = (forward >= -1e-9) & (forward <= length + 1e-9) & (np.abs(sideways) <= width / 2)
    if chosen.sum() < MIN_PIXELS:
        raise MeasurementError(
            f"the strip along {_text(line)}, {width:g} wide, has {int(chosen.sum())} pixels: "
            f"{MIN_PIXELS} are needed, make it wider or longer"
        )
    return Region(rows[chosen], cols[chosen], image[chosen])


def _text(numbers: Box) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _by(image: Values) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
