"""What several adapters and both runners use; numpy alone, for both environments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Image = np.ndarray
Reconstruct = Callable[[Image, Image, float, int], Image]


class Case(NamedTuple):
    """One measurement: signed coefficients of the patterns `index` (natural Hadamard), and their sigma."""

    coefficients: Image
    index: Image
    sigma: float
    size: int


def hadamard(size: int) -> Image:
    """Natural (Sylvester) Hadamard matrix."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def sequency(size: int) -> Image:
    """Sign changes of each row of the natural Hadamard matrix: its place in Walsh (sequency) order."""
    return np.count_nonzero(np.diff(hadamard(size), axis=1), axis=1)


def on_grid(values: Any, index: Image, size: int) -> Image:
    """Values at their places (i, j), pattern k = i * size + j; 0 elsewhere."""
    grid = np.zeros(size * size)
    grid[index] = values
    return grid.reshape(size, size)


def timed_images(reconstruct: Reconstruct, cases: list[Case]) -> Iterator[tuple[Image, float]]:
    """Image and milliseconds of each case; a pattern set's first case is run once before, to warm up.

    What depends on the patterns alone (operators, covariances) is thus made outside the time.
    """
    warm = set()
    for case in cases:
        if case.index.tobytes() not in warm:
            warm.add(case.index.tobytes())
            reconstruct(*case)
        started = time.perf_counter()
        image = reconstruct(*case)
        yield np.asarray(image, dtype=np.float64), (time.perf_counter() - started) * 1e3
