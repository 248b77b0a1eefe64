"""Where an edge or a gap is, roughly: scans over angles and positions that fits start from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError
from .roi import Box, Region, Values, check_image

ANGLES = np.deg2rad(np.arange(0, 180, 7.5))


@dataclass(frozen=True)
class Split:
    """A straight line that parts a region into two levels; the normal points to the brighter one."""

    normal: float
    offset: float
    low: float
    high: float
    significance: float


def best_split(region: Region) -> Split:
    """The line for which two levels explain most of the values (least squares), on a grid of angles."""

    def power(angle: float) -> float:
        return float(_scan(region.values[None], region.distance(angle))[0][0])

    angle = max(ANGLES.tolist(), key=power)
    offset = float(_scan(region.values[None], region.distance(angle))[2][0])
    left, right, noise = _levels(region, angle, offset)
    before = int((region.distance(angle) < offset).sum())
    counts = max(before, 1), max(len(region.values) - before, 1)
    error = noise * math.sqrt(1 / counts[0] + 1 / counts[1])
    significance = abs(left - right) / error if error > 0 else math.inf
    if right < left:
        return Split(angle + math.pi, -offset, right, left, significance)
    return Split(angle, offset, left, right, significance)


def _levels(region: Region, angle: float, offset: float) -> tuple[float, float, float]:
    before = region.distance(angle) < offset
    left, right = float(region.values[before].mean()), float(region.values[~before].mean())
    residual = region.values - np.where(before, left, right)
    return left, right, float(residual.std())


def _scan(windows: Values, distance: Values) -> tuple[Values, Values, Values]:
    """The best split along `distance` of windows (k, n) of one geometry: power explained, step, position."""
    order = np.argsort(distance, kind="stable")
    sorted_distance = distance[order]
    n = len(order)
    margin = max(3, n // 10)
    cuts = np.arange(margin, n - margin + 1)
    cuts = cuts[np.diff(sorted_distance)[cuts - 1] > 1e-9]
    sums = np.cumsum(windows[:, order], axis=1)
    left = sums[:, cuts - 1] / cuts
    right = (sums[:, -1:] - sums[:, cuts - 1]) / (n - cuts)
    explained = (right - left) ** 2 * cuts * (n - cuts) / n
    best = np.argmax(explained, axis=1)
    chosen = np.arange(len(windows)), best
    middle = (sorted_distance[cuts - 1] + sorted_distance[cuts]) / 2
    return explained[chosen], (right - left)[chosen], middle[best]


@dataclass(frozen=True)
class GapGuess:
    """A strip of another level between two shoulders; `height` is signed."""

    normal: float
    offset: float
    width: float
    left: float
    right: float
    height: float
    score: float


SHOULDER = 3  # bins on each side that a gap is held against


def best_gap(region: Region, direction: float, *, free: bool = True) -> GapGuess:
    """The strip across `direction` that stands out most of both its sides.

    Parameters
    ----------
    region : Region
        Pixels of the strip and of both its sides.
    direction : float
        Across the strip (rad), as `Region.distance` takes it.
    free : bool, optional
        Whether the strip may be turned from it by up to 40 degrees; True by default.
    """
    angles = direction + (np.deg2rad(np.arange(-40, 41, 5)) if free else np.zeros(1))
    guesses = []
    for angle in angles:
        distance = region.distance(angle)
        widest = int(distance.max() - distance.min()) - 4
        guesses.append(_strongest_strip(region.values[None], angle, distance, 1.0, widest)[0])
    best = max(guesses, key=lambda guess: guess.score)
    if not best.score > 0:
        raise MeasurementError("no gap along the line: no part of it stands out of both its sides")
    return best


def _strongest_strip(windows: Values, angle: float, distance: Values, bin_px: float, widest: int) -> list[GapGuess]:
    """For each window (k, n) of one geometry, the strip of up to `widest` bins that stands out most."""
    bin_of = np.rint((distance - distance.min()) / bin_px).astype(int)
    count = np.bincount(bin_of)
    profile = np.stack([np.bincount(bin_of, window) for window in windows]) / count
    noise = np.sqrt(np.maximum(((windows - profile[:, bin_of]) ** 2).mean(axis=1), 0))
    span = np.ptp(windows, axis=1)
    best: list[GapGuess] = [GapGuess(angle, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)] * len(windows)
    bins = profile.shape[1]
    sums = np.pad(np.cumsum(profile, axis=1), ((0, 0), (1, 0)))
    pixels = np.pad(np.cumsum(count), (1, 0))
    for width in range(1, min(max(1, widest), bins - 4) + 1):
        first = np.arange(2, bins - width - 1)
        after = first + width

        def mean(start: NDArray[np.int64], end: NDArray[np.int64]) -> Values:
            return (sums[:, end] - sums[:, start]) / (end - start)

        left, right = mean(np.maximum(first - SHOULDER, 0), first), mean(after, np.minimum(after + SHOULDER, bins))
        height = mean(first, after) - (left + right) / 2
        standing = np.maximum(np.abs(height) - np.abs(left - right) / 2, 0)
        error = np.hypot(noise[:, None] / np.sqrt(pixels[after] - pixels[first]), 0.05 * span[:, None])
        score = np.divide(standing, error, out=np.zeros_like(standing), where=error > 0) * math.sqrt(
            width / (width + 0.5)
        )
        for k, i in enumerate(np.argmax(score, axis=1)):
            if score[k, i] > best[k].score:
                middle_px = distance.min() + (first[i] + (width - 1) / 2) * bin_px
                levels = float(left[k, i]), float(right[k, i]), float(height[k, i])
                best[k] = GapGuess(angle, middle_px, width * bin_px, *levels, float(score[k, i]))
    return best


def narrow_gaps(image: NDArray[Any], count: int = 6) -> Iterator[tuple[Box, float, float]]:
    """Lines across the strongest gaps of an image, best first, each with a width and its direction.

    Parameters
    ----------
    image : array, shape (rows, columns)
        Finite, 8 x 8 or more, in any unit.
    count : int, optional
        Gaps at most; 6 by default.

    Yields
    ------
    line : (row0, col0, row1, col1)
        From shoulder to shoulder (px).
    width : float
        Of the strip along the line, to average over (px).
    direction : float
        Across the gap (rad).
    """
    image = check_image(image)
    if np.ptp(image) == 0:
        raise MeasurementError("the image is flat: it has no gap")
    side = min(max(16, min(image.shape) // 4), *image.shape)
    bin_px = max(1.0, side / 20)
    corners, windows = _windows(image, side, max(1, side // 5))
    rows, cols = np.mgrid[:side, :side] - (side - 1) / 2
    contrast = float(np.ptp(image))
    found = []
    round_window = np.hypot(rows, cols).ravel() <= side / 2
    for angle in ANGLES:
        distance = (cols * math.cos(angle) + rows * math.sin(angle)).ravel()[round_window]
        for corner, guess in zip(
            corners, _strongest_strip(windows[:, round_window], angle, distance, bin_px, 5), strict=True
        ):
            found.append((guess.score * abs(guess.height) / contrast, corner, guess))
    found.sort(key=lambda entry: -entry[0])
    for _, corner, guess in found[:count]:
        yield _line_across(image, corner + (side - 1) / 2, guess, side), 0.7 * side, guess.normal


def _line_across(image: Values, centre: Values, guess: GapGuess, side: int) -> Box:
    """From shoulder to shoulder through the middle of the gap, cut at the image's border."""
    step = np.array([math.sin(guess.normal), math.cos(guess.normal)])
    middle = centre + guess.offset * step
    half = guess.width / 2 + max(4.0, guess.width)
    border = np.array(image.shape) - 1
    ends = [np.clip(middle + sign * half * step, 0, border) for sign in (-1, 1)]
    return (*ends[0], *ends[1])


def straight_edges(image: NDArray[Any], count: int = 6) -> Iterator[Box]:
    """Boxes with the strongest straight edges of an image, best first.

    A box is a fifth of the image wide, 12 pixels at least. Its score is the step between the two levels
    times the share of the box's variance that they explain. Large images are searched on block means.

    Parameters
    ----------
    image : array, shape (rows, columns)
        Finite, 8 x 8 or more, in any unit.
    count : int, optional
        Boxes at most; 6 by default.

    Yields
    ------
    (row0, row1, col0, col1)
        Whole pixels, row1 and col1 excluded.
    """
    image = check_image(image)
    if np.ptp(image) == 0:
        raise MeasurementError("the image is flat: it has no edge")
    factor = max(1, min(image.shape) // 5 // 12)
    image = _block_mean(image, factor)
    side = min(max(12, min(image.shape) // 5), *image.shape)
    corners, windows = _windows(image, side, max(1, side // 6))
    rows, cols = np.mgrid[:side, :side] - (side - 1) / 2
    total = windows.var(axis=1) * windows.shape[1]
    score = np.zeros(len(windows))
    for angle in ANGLES:
        explained, step, bin_of = _scan(windows, (cols * math.cos(angle) + rows * math.sin(angle)).ravel())
        central = np.abs(bin_of) < side / 4
        share = np.divide(explained, total, out=np.zeros_like(total), where=total > 0)
        score = np.maximum(score, np.abs(step) * share * central)
    for best in np.argsort(-score, kind="stable")[:count]:
        row, col = (factor * int(corner) for corner in corners[best])
        yield row, row + factor * side, col, col + factor * side


def _block_mean(image: Values, factor: int) -> Values:
    rows, cols = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: rows * factor, : cols * factor]
    return whole.reshape(rows, factor, cols, factor).mean(axis=(1, 3))


def _windows(image: Values, side: int, stride: int) -> tuple[NDArray[np.int64], Values]:
    """Corners (k, 2) and pixels (k, side * side) of overlapping square windows."""
    rows = np.unique(np.append(np.arange(0, image.shape[0] - side, stride), image.shape[0] - side))
    cols = np.unique(np.append(np.arange(0, image.shape[1] - side, stride), image.shape[1] - side))
    view = np.lib.stride_tricks.sliding_window_view(image, (side, side))[np.ix_(rows, cols)]
    corners = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    return corners, view.reshape(-1, side * side)
