"""Etched boards for training: drawn by the simulated etching at 4 sub-pixels, averaged onto mask pixels, cached.

A board is kept as its signed masks W_k as they hang in the beam, each displaced by the stage's error
(`tile_maps.TileMaps.to_signed_masks`: s_k = sum_xy W_k * object).
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._files.atomic_write import explain_write_error, whole_file
from ..errors import ConfigError
from ..masks.orders import ranking
from ..masks.transform import hadamard_matrix
from ..simulation.board.drawing import DRAWING_VERSION, Design, draw_tile
from ..simulation.board.etching import Defects
from .config import BoardRanges

T = TypeVar("T")
R = TypeVar("R")

SUBPIXELS = 4
_POOL_VERSION = 2
_WORTH_PROCESSES = 20.0  # s
_PIXELS_PER_S = 1e5  # of masks, drawn in one process
_SPREADS = ("offset_rms", "offset_field")


@dataclass(frozen=True, eq=False)
class DrawnBoard:
    """Masks of one board.

    Attributes
    ----------
    pattern_index : Tensor of int64, shape (M,)
    masks : Tensor of float16, shape (M, n * n)
        W_k, each displaced by the stage's error.
    d_r : float
    """

    pattern_index: Tensor
    masks: Tensor
    d_r: float

    def to(self, device: torch.device) -> DrawnBoard:
        """The same on another device."""
        return DrawnBoard(self.pattern_index.to(device), self.masks.to(device), self.d_r)

    @property
    def size(self) -> int:
        """Mask pixels per side."""
        return round(self.masks.shape[1] ** 0.5)

    @property
    def open_part(self) -> float:
        """(1 + T0) / (1 - T0): what an even mask lets through, in signed coefficients."""
        return (2 - self.d_r) / self.d_r

    @cached_property
    def of_even_field(self) -> Tensor:
        """Orthonormal coefficients that a field of 1 has behind the masks as they hang, shape (M,)."""
        return self.masks.float().mean(dim=1) * self.size

    def on_grid(self, values: Tensor) -> Tensor:
        """(b, M) to (b, 1, n, n), 0 where the board has no tile."""
        grid = values.new_zeros((len(values), self.size**2))
        return grid.index_copy(1, self.pattern_index, values).reshape(-1, 1, self.size, self.size)


def board_pool(
    count: int,
    size: int,
    patterns: int,
    ranges: BoardRanges,
    seed: int,
    folder: Path,
    report: Callable[[str], None] = lambda text: None,
) -> list[DrawnBoard]:
    """Read `count` boards from `folder`, or draw and store them there.

    A board of 64 x 64 with 1536 patterns takes a minute; all cores draw.

    Parameters
    ----------
    count : int
        Boards.
    size : int
        Mask pixels per side n.
    patterns : int
        Tiles M that are drawn of each board.
    ranges : BoardRanges
        From which to which size each defect is drawn (mask pixels).
    seed : int
        Of the first board; each further one counts up.
    folder : Path
        Cache.
    note : callable, optional
        Takes a line of text about the progress (default: none).

    Raises
    ------
    CxgiError
        If a stored board cannot be read, or the folder not be written.
    """
    paths = {seed + number: _path(size, patterns, ranges, seed + number, folder) for number in range(count)}
    missing = [one for one, path in paths.items() if not path.exists()]
    draw, seconds = partial(draw_board, size, patterns, ranges), len(missing) * patterns * size**2 / _PIXELS_PER_S
    for number, (one, board) in enumerate(zip(missing, in_processes(draw, missing, seconds), strict=True)):
        report(f"board {number + 1} of {len(missing)}, {size} x {size}, {patterns} tiles -> {paths[one]}")
        _write(paths[one], board)
    return [_read(path) for path in paths.values()]


def in_processes(draw: Callable[[T], R], seeds: Sequence[T], seconds: float) -> Iterator[R]:
    """What `draw` makes of each seed, in order; on all cores where it is worth starting them.

    Parameters
    ----------
    draw : callable
        Can be sent to another process.
    seeds : sequence
        One for each call.
    seconds : float
        About how long all of them take in one process.

    Raises
    ------
    CxgiError
        If a process ends, as it does when a script without ``if __name__ == "__main__"`` starts them.
    """
    number = min(len(seeds), os.cpu_count() or 1)
    if number < 2 or seconds < _WORTH_PROCESSES:
        yield from map(draw, seeds)
        return
    try:
        with ProcessPoolExecutor(number, mp_context=get_context("spawn")) as processes:
            yield from processes.map(draw, seeds)
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process that draws for the training ended: is there enough memory, and does the script that starts the "
            'training do so below if __name__ == "__main__"?'
        ) from error


def _path(size: int, patterns: int, ranges: BoardRanges, seed: int, folder: Path) -> Path:
    content = [_POOL_VERSION, DRAWING_VERSION, size, patterns, asdict(ranges), seed]
    return folder / f"board-{size}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}.npz"


def _write(path: Path, board: DrawnBoard) -> None:
    with explain_write_error(f"board {path}", "name another folder as cache"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            np.savez(part, index=board.pattern_index.numpy(), masks=board.masks.numpy(), d_r=board.d_r)


def _read(path: Path) -> DrawnBoard:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return DrawnBoard(torch.from_numpy(file["index"]), torch.from_numpy(file["masks"]), float(file["d_r"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"board {path} cannot be read ({error}): remove it, and it is drawn anew") from error


def draw_board(size: int, patterns: int, ranges: BoardRanges, seed: int) -> DrawnBoard:
    """Draw a board with random defects: of its tiles those that some order asks for early.

    Parameters
    ----------
    size : int
        Mask pixels per side n.
    patterns : int
        Tiles M that are drawn.
    ranges : BoardRanges
        From which to which size each defect is drawn (mask pixels).
    seed : int
        Of defects, stage errors and choice of tiles.
    """
    rng = np.random.default_rng([seed, size])
    drawn = {name: _draw(rng, limits, logarithmic=name in _SPREADS) for name, limits in asdict(ranges).items()}
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
    matrix = hadamard_matrix(size)
    for row, k in enumerate(index):
        design = Design(tuple(matrix[k // size].tolist()), tuple(matrix[k % size].tolist()), 1.0, t0)
        if k == 0:
            masks[row] = 1
            continue
        tile = draw_tile(design, defects, int(k) + 1, SUBPIXELS)
        shift = rng.normal(size=2) * drawn["stage_rms"] * SUBPIXELS
        masks[row] = ((2 * _on_pixels(_displace(tile, shift), size) - (1 + t0)) / (1 - t0)).ravel()
    return DrawnBoard(torch.from_numpy(index), torch.from_numpy(masks), drawn["d_r"])


def _draw(rng: np.random.Generator, limits: tuple[float, float], *, logarithmic: bool) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))) if logarithmic else rng.uniform(*limits))


def _early_patterns(size: int, count: int, seed: int) -> NDArray[np.int64]:
    """The first of zig-zag and cake-cutting, two thirds of `count` of each, filled up with a learned-density draw."""
    for first in range(2 * count // 3, 0, -1):
        known = np.union1d(ranking("zig-zag", size)[:first], ranking("cake-cutting", size)[:first])
        if len(known) <= count:
            break
    drawn = ranking("learned-density", size, seed)
    others = drawn[~np.isin(drawn, known)]
    return np.concatenate([known, others])[:count].astype(np.int64)


def _on_pixels(fine: NDArray[Any], size: int) -> NDArray[Any]:
    averaged: NDArray[Any] = fine.reshape(size, SUBPIXELS, size, SUBPIXELS).mean(axis=(1, 3), dtype=np.float32)
    return averaged


def _displace(fine: NDArray[Any], shift: NDArray[np.float64]) -> NDArray[Any]:
    """Moved by a part of a sub-pixel or more, linearly interpolated; what enters at the rim is the rim."""
    for axis, distance in enumerate(shift):
        whole = int(np.floor(distance))
        part = np.float32(distance - whole)
        positions = np.arange(fine.shape[axis])
        one, next_one = (np.clip(positions - whole - more, 0, len(positions) - 1) for more in (0, 1))
        fine = (1 - part) * fine.take(one, axis) + part * fine.take(next_one, axis)
    return fine
