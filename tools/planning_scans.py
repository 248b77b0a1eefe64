"""Scans from which the planner's table is made and checked: one object, one noise, one kind of masks each.

Buckets are simulated as shares of the open beam, the source steady: sums of the design's patterns, or of etched tiles
as they hang in the beam, with normal noise. What follows is the package's own: reference correction, reduction,
network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.orders import SEEDED, ranking
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.normalization import Buckets
from cxgi_bluesky.measurement.reference import with_reference
from cxgi_bluesky.reconstruction.planning.budget import ORDER_SEED, open_exposures
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.objects.rendering import block_mean

Image = NDArray[Any]
BOARDS = {32: "cu32", 64: "au64"}  # whose etching is known to the simulation
T0 = {32: 0.25, 64: 0.17, 128: 0.17}
MEAN_TRANSMISSION = 0.5  # of random objects: a reference scan without the object has twice the light


def pattern_set(size: int, count: int, order: str) -> PatternSet:
    """The patterns that the planner's call names."""
    return PatternSet(size, count, order, ORDER_SEED if order in SEEDED else None)


# ---------------------------------------------------------------- masks


@dataclass(frozen=True, eq=False)
class Tiles:
    """What the tiles of an etched board pass, twice: each visit of the stage has its own error.

    Attributes
    ----------
    row : ndarray of int64, shape (N,)
        Row of each pattern_index in the maps; -1 where it was not drawn.
    image, reference : ndarray of float16, shape (K, n * n)
        Transmission in the image's scan and in the reference scan.
    """

    row: NDArray[np.int64]
    image: Image
    reference: Image


def etched_tiles(size: int, orders: Sequence[str], count: int, seed: int) -> Tiles:
    """Draw the tiles that the first patterns of some orders need.

    Parameters
    ----------
    size : int
        32 (copper) or 64 (gold).
    orders : sequence of str
    count : int
        Patterns of each order.
    seed : int
        Of the board.
    """
    board = load_board(BOARDS[size])
    parameters = simulation_parameters(board, etched=True)
    assert isinstance(parameters.defects, Defects)
    parameters = replace(parameters, defects=replace(parameters.defects, seed=seed))
    cells = size * parameters.subpixels
    line = BeamlineSimulation(board, np.ones((cells, cells), np.float32), parameters, seed=seed)
    needed = np.unique(np.concatenate([pattern_set(size, count, order).pattern_index for order in orders]))
    rng = np.random.default_rng([seed, size])

    def photograph(k: int) -> Image:
        """Visit the tile as the stage does, with its error."""
        x, y = np.array(board.position_mm(board.tile_of(k))) + parameters.stage_rms_um / 1000 * rng.normal(size=2)
        return block_mean(line.mask_map(float(x), float(y)), parameters.subpixels).ravel().astype(np.float16)

    row = np.full(size**2, -1)
    row[needed] = np.arange(len(needed))
    visits = np.array([[photograph(int(k)) for _ in range(2)] for k in needed])
    return Tiles(row, visits[:, 0], visits[:, 1])


# ---------------------------------------------------------------- a measurement


def measure(
    truth: Image,
    patterns: PatternSet,
    noise_db: float,
    masks: str,
    rng: np.random.Generator,
    tiles: Tiles | None = None,
    *,
    validation: Sequence[int] = (),
) -> Measurement:
    """Measure an object once.

    Parameters
    ----------
    truth : ndarray, shape (n, n)
        Transmission, 0..1.
    patterns : PatternSet
    noise_db : float
        -20 log10 of a coefficient's sigma as a share of the open beam.
    masks : {"perfect", "none", "reference"}
    rng : numpy.random.Generator
    tiles : Tiles, optional
        For etched masks.
    validation : sequence of int, optional
        Patterns to measure beside those of the set; no image is made from them.
    """
    size, index = patterns.size, np.concatenate([patterns.pattern_index, np.asarray(validation, dtype=np.int64)])
    t0, light = T0[size], float(truth.mean())
    sigma = 10 ** (-noise_db / 20) * (1 - t0) / 2
    if tiles is None:
        passed = ((1 + t0) * light + (1 - t0) * coefficients(truth, index) / size**2) / 2
    else:
        passed = tiles.image[tiles.row[index]].astype(np.float32) @ truth.ravel() / size**2
    open_sigma = sigma * math.sqrt(2 / (1 + t0) / open_exposures(len(index)))
    measured = _buckets(index, passed + sigma * rng.normal(size=len(index)), sigma)
    measured = replace(measured, open_bucket=(light + open_sigma * rng.normal(), open_sigma), incident=1.0)
    if masks == "reference":
        assert tiles is not None
        bright = sigma / math.sqrt(MEAN_TRANSMISSION)
        passed = tiles.reference[tiles.row[index]].astype(np.float32).mean(axis=1)
        measured = with_reference(measured, _buckets(index, passed + bright * rng.normal(size=len(index)), bright))
    made = Measurement.from_buckets(
        size,
        measured.pattern_index,
        measured.bucket,
        coding="binary",
        sigma=measured.sigma,
        d_r=1 - t0,
        open_bucket=measured.open_bucket,
        incident=measured.incident,
        validation=validation,
    )
    if masks != "reference":
        return made
    return replace(made, pattern_error=measured.source["mask_error"] * (1 + t0) / (1 - t0))


def _buckets(index: NDArray[np.int64], bucket: Image, sigma: float) -> Buckets:
    source: dict[str, Any] = {"raw_uids": [], "left_out": [], "left_out_because": {}}
    return Buckets(index, bucket, np.full(len(index), sigma), np.zeros(len(index)), source=source)


def ideal_psnr_db(truth: Image, order: str, counts: Sequence[int], noise_db: Sequence[float]) -> Image:
    """PSNR (dB) if each measured coefficient were shrunk by its true power, shape (counts, noise levels).

    No method reaches it, but it says of each object how hard it is.

    Parameters
    ----------
    truth : ndarray, shape (n, n)
    order : str
    counts : sequence of int
        Patterns.
    noise_db : sequence of float
        As in `measure`.
    """
    size = len(truth)
    power = (walsh_hadamard_2d(truth.astype(np.float64)).ravel() / size**2) ** 2
    power = power[ranking(order, size, ORDER_SEED if order in SEEDED else None)][1:]
    variance = 10 ** (-np.asarray(noise_db)[:, None] / 10)
    gained = np.cumsum(power - power * variance / (power + variance), axis=1)
    left = power.sum() - gained[:, np.asarray(counts) - 2]
    image: Image = -10 * np.log10(left.T + 1e-12)
    return image


# ---------------------------------------------------------------- lines

_SUBPIXELS, _OPAQUE = 4, 0.05
SEGMENTS, SHOWN_SEGMENTS = 8, 6  # as benchmarks.paper.gold_gap
_SIGNIFICANT, _MIN_AMPLITUDE = 3.0, 0.1
_FAR_PX = 10.0
_SHIFTS_PX = (-9.0, -7.0, -5.0, 5.0, 7.0, 9.0)


@dataclass(frozen=True, eq=False)
class LineObject:
    """A dark body with one bright gap through it, in an open field.

    Attributes
    ----------
    truth : ndarray, shape (n, n)
        Transmission, 0..1.
    across, along : ndarray, shape (n, n)
        Coordinates of each pixel from the middle of the gap (px); across it, and along it in units of its half length.
    width_px : float
    """

    truth: Image
    across: Image
    along: Image
    width_px: float


def line_object(rng: np.random.Generator, size: int, width_px: float) -> LineObject:
    """Draw a gap of some width, at any angle and position, through a dark body."""
    angle, middle = rng.uniform(0, math.pi), rng.uniform(-0.1, 0.1, size=2) * size
    half_across, half_along = (max(12.0, rng.uniform(0.3, 0.42) * size) for _ in range(2))
    level = rng.uniform(0, _OPAQUE)
    shift = rng.uniform(-1.5, 1.5)  # of the body against its gap

    def place(cells: int) -> tuple[Image, Image]:
        centred = (np.arange(cells) + 0.5) / cells * size - size / 2
        y, x = np.meshgrid(centred - middle[0], centred - middle[1], indexing="ij")
        return math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x

    across, along = place(size * _SUBPIXELS)
    dark = (np.abs(across - shift) < half_across) & (np.abs(along) < half_along) & (np.abs(across) > width_px / 2)
    fine = np.where(dark, level, 1.0)
    truth = fine.reshape(size, _SUBPIXELS, size, _SUBPIXELS).mean(axis=(1, 3)).astype(np.float32)
    across, along = place(size)
    return LineObject(truth, across, along / (half_along - 2), width_px)


def shows_line(image: Image, drawn: LineObject) -> bool:
    """Whether the gap shows along its length: in six of its eight pieces, above 3 sigma and a tenth of the contrast."""
    near = drawn.width_px / 2 + 1.5
    inside = np.abs(drawn.along) < 1
    dark = inside & (np.abs(drawn.across) > near) & (np.abs(drawn.across) < _FAR_PX)
    contrast = float(image[drawn.truth > 0.99].mean() - image[dark].mean())
    if not contrast > 0:
        return False
    piece = np.floor((drawn.along + 1) / 2 * SEGMENTS)
    pieces = [inside & (piece == i) & (np.abs(drawn.across) < _FAR_PX) for i in range(SEGMENTS)]
    pieces = [one for one in pieces if (one & dark).sum() > 2 * len(_SHIFTS_PX)]  # others lie outside the field
    found = np.array([_amplitudes(image[one] / contrast, drawn.across[one], near, drawn.width_px) for one in pieces])
    sigma = float(np.sqrt(np.mean(found[:, 1:] ** 2)))
    shown = int((found[:, 0] > max(_SIGNIFICANT * sigma, _MIN_AMPLITUDE)).sum())
    return shown >= SHOWN_SEGMENTS / SEGMENTS * len(pieces)


def _amplitudes(values: Image, across: Image, near: float, width_px: float) -> Image:
    """Amplitude of the gap at its place, then beside it, over a ground that is a straight line across."""
    dark = np.abs(across) > near
    slope, level = np.polyfit(across[dark], values[dark].astype(np.float64), 1)
    rest = values - (slope * across + level)
    found = []
    for shift in (0.0, *_SHIFTS_PX):
        shape = np.clip((width_px + 1) / 2 - np.abs(across - shift), 0, min(1.0, width_px))
        power = float(shape @ shape)
        found.append(float(shape @ rest) / power if power > 0 else 0.0)
    return np.array(found)
