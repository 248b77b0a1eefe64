"""Etched boards for training: drawn by the twin's etching model at 4 sub-pixels, averaged onto mask pixels, cached.

A board is kept as its signed masks W_k (`tile_maps.TileMaps.signed`: s_k = sum_xy W_k * object), twice: as they hang
in the beam, each displaced by the stage's error, and as a camera would record them, in their place.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..orders import ranking
from ..patterns import hadamard_matrix
from ..simulation.drawing import DRAWING_VERSION, Design, draw_tile
from ..simulation.etching import Defects

Masks = NDArray[np.float16]

SUBPIXELS = 4
_POOL_VERSION = 2
_SPREADS = ("offset_rms", "offset_field")


@dataclass(frozen=True)
class BoardRanges:
    """From which to which size each defect is drawn, in mask pixels; spreads evenly in their logarithm.

    The twin's copper and gold boards lie inside: corners 0.27 and 0.2, walls 0.1 and 0.2, over-etching 0.07 and 0
    with a spread of 0.023 and 0.08 from tile to tile and 0.033 and 0.08 over a tile, stage 0.033 and 0.05.
    """

    corner: tuple[float, float] = (0.05, 0.35)
    side_wall: tuple[float, float] = (0.1, 0.3)
    offset: tuple[float, float] = (-0.08, 0.12)
    offset_rms: tuple[float, float] = (0.008, 0.1)
    offset_field: tuple[float, float] = (0.01, 0.1)
    thickness_rms: tuple[float, float] = (0.0, 0.04)
    stage_rms: tuple[float, float] = (0.0, 0.08)
    d_r: tuple[float, float] = (0.7, 0.97)


@dataclass(frozen=True, eq=False)
class DrawnBoard:
    """Masks of one board.

    Attributes
    ----------
    pattern_index : ndarray of int, shape (M,)
    masks, recorded : ndarray of float16, shape (M, n * n)
        W_k as they hang in the beam, and in their place.
    d_r : float
    """

    pattern_index: NDArray[np.int64]
    masks: Masks
    recorded: Masks
    d_r: float

    @property
    def size(self) -> int:
        """Mask pixels per side."""
        return round(self.masks.shape[1] ** 0.5)


def board_pool(count: int, size: int, patterns: int, ranges: BoardRanges, seed: int, folder: Path) -> list[DrawnBoard]:
    """`count` boards, read from `folder` or drawn and kept there (half a minute each at 64 x 64 with 1536 patterns)."""
    return [_board(size, patterns, ranges, seed + number, folder) for number in range(count)]


def _board(size: int, patterns: int, ranges: BoardRanges, seed: int, folder: Path) -> DrawnBoard:
    words = [_POOL_VERSION, DRAWING_VERSION, size, patterns, asdict(ranges), seed]
    path = folder / f"board-{size}-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        board = draw_board(size, patterns, ranges, seed)
        folder.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new.npz")
        np.savez(new, index=board.pattern_index, masks=board.masks, recorded=board.recorded, d_r=board.d_r)
        new.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return DrawnBoard(file["index"], file["masks"], file["recorded"], float(file["d_r"]))


def draw_board(size: int, patterns: int, ranges: BoardRanges, seed: int) -> DrawnBoard:
    """One board with random defects, and of its tiles those that some order asks for early."""
    rng = np.random.default_rng([seed, size])
    drawn = {name: _drawn(rng, limits, logarithmic=name in _SPREADS) for name, limits in asdict(ranges).items()}
    defects = Defects(
        corner_um=drawn["corner"],
        side_wall_um=drawn["side_wall"],
        offset_um=drawn["offset"],
        offset_rms_um=drawn["offset_rms"],
        offset_field_um=drawn["offset_field"],
        thickness_rms=drawn["thickness_rms"],
        seed=seed,
    )
    index = _early_patterns(size, patterns, seed)
    t0 = 1 - drawn["d_r"]
    masks = np.empty((len(index), size * size), np.float16)
    recorded = np.empty_like(masks)
    matrix = hadamard_matrix(size)
    for row, k in enumerate(index):
        design = Design(tuple(matrix[k // size].tolist()), tuple(matrix[k % size].tolist()), 1.0, t0)
        if k == 0:
            masks[row] = recorded[row] = 1
            continue
        tile = draw_tile(design, defects, int(k) + 1, SUBPIXELS)
        shift = rng.normal(size=2) * drawn["stage_rms"] * SUBPIXELS
        for kept, fine in ((masks, _displaced(tile, shift)), (recorded, tile)):
            kept[row] = ((2 * _on_pixels(fine, size) - (1 + t0)) / (1 - t0)).ravel()
    return DrawnBoard(index, masks, recorded, drawn["d_r"])


def _drawn(rng: np.random.Generator, limits: tuple[float, float], *, logarithmic: bool) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))) if logarithmic else rng.uniform(*limits))


def _early_patterns(size: int, count: int, seed: int) -> NDArray[np.int64]:
    """The first of zig-zag and cake-cutting, two thirds of `count` of each, filled up with a learned-density draw."""
    first = 2 * count // 3
    known = np.union1d(ranking("zig-zag", size)[:first], ranking("cake-cutting", size)[:first])
    drawn = ranking("learned-density", size, seed)
    others = drawn[~np.isin(drawn, known)]
    return np.concatenate([known, others])[:count].astype(np.int64)


def _on_pixels(fine: NDArray[Any], size: int) -> NDArray[Any]:
    averaged: NDArray[Any] = fine.reshape(size, SUBPIXELS, size, SUBPIXELS).mean(axis=(1, 3), dtype=np.float32)
    return averaged


def _displaced(fine: NDArray[Any], shift: NDArray[np.float64]) -> NDArray[Any]:
    """Moved by a part of a sub-pixel or more, linearly interpolated; what enters at the rim is the rim."""
    for axis, distance in enumerate(shift):
        whole = int(np.floor(distance))
        part = np.float32(distance - whole)
        places = np.arange(fine.shape[axis])
        one, next_one = (np.clip(places - whole - more, 0, len(places) - 1) for more in (0, 1))
        fine = (1 - part) * fine.take(one, axis) + part * fine.take(next_one, axis)
    return fine
