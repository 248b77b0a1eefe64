"""Fast Walsh-Hadamard transform of an image for the compiled solvers, and how they are compiled.

Butterflies between rows run along memory, those within a row do not: the rows are transformed, the image is
transposed, and its rows are transformed again. A solver that keeps its coefficients transposed saves the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Division by 0 as numpy does it: a check that raises keeps a loop from being vectorised, which is five times as slow.
# No flag lets NaN be taken for a number.
_OPTIONS: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
    "nogil": True,
}
_BLOCK = 8  # pixels per side that are transposed together: their rows stay in the cache


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, cached on disk; where no folder for that can be written, anew in each process."""
    try:
        return nb.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return nb.njit(**_OPTIONS)(function)


@compiled
def transform_rows(image: Array) -> None:
    """Unnormalised transform over the first axis, whose length is a power of two, in place."""
    rows, columns = image.shape
    span = 1
    while 4 * span <= rows:  # two stages in one pass over the memory
        for start in range(0, rows, 4 * span):
            for i in range(start, start + span):
                a, b, c, d = image[i], image[i + span], image[i + 2 * span], image[i + 3 * span]
                for j in range(columns):
                    p, q, r, s = a[j] + b[j], a[j] - b[j], c[j] + d[j], c[j] - d[j]
                    a[j], b[j], c[j], d[j] = p + r, q + s, p - r, q - s
        span *= 4
    if span < rows:
        for i in range(span):
            a, b = image[i], image[i + span]
            for j in range(columns):
                p, q = a[j], b[j]
                a[j], b[j] = p + q, p - q


@compiled
def transpose(image: Array, out: Array) -> None:
    """out = image^T; the side is a power of two."""
    size = image.shape[0]
    block = min(_BLOCK, size)
    for top in range(0, size, block):
        for left in range(0, size, block):
            for i in range(top, top + block):
                for j in range(left, left + block):
                    out[j, i] = image[i, j]


@compiled
def walsh_hadamard(image: Array) -> None:
    """Unnormalised 2-D transform in natural order, in place; the side is a power of two."""
    turned = np.empty_like(image)
    transform_rows(image)
    transpose(image, turned)
    transform_rows(turned)
    transpose(turned, image)
