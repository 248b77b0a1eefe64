"""Which coarse patterns a scan has left out although it took finer ones: what such a picture cannot tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..masks.orders import sequency

_TAKEN = 0.75  # of the patterns of a sequency: drawn orders never take so many before every coarser one is met
_MIN_SHARE = 1 / 16  # of the sequencies: fewer that are missing duplicate nothing that could be seen


def sampling_gaps(pattern_index: NDArray[np.int64], size: int) -> tuple[str, ...]:
    """One sentence for rows, one for columns, where whole sequencies below a finer one were never measured.

    A set that lacks every sequency of one parity, as the first half of the natural order does, cannot tell an object
    from its copy beside it.

    Parameters
    ----------
    pattern_index : ndarray of int, shape (M,)
        Which patterns were measured.
    size : int
        Pixels per side n.
    """
    measured = np.zeros(size * size, dtype=bool)
    measured[pattern_index] = True
    grid = np.zeros((size, size), dtype=bool)
    s = sequency(size)
    grid[np.ix_(s, s)] = measured.reshape(size, size)
    found = {"row": _missing(grid), "column": _missing(grid.T)}
    return tuple(
        f"{missing} of the {size} {name} sequencies are not measured at all below the finest measured one: the picture "
        "may show things twice"
        for name, missing in found.items()
        if missing
    )


def _missing(grid: NDArray[np.bool_]) -> int:
    """Rows that are empty although a later one was taken, 0 if they are too few to matter."""
    share = grid.mean(axis=1)
    taken = np.flatnonzero(share >= _TAKEN)
    empty = int(np.count_nonzero(share[: taken[-1]] == 0)) if len(taken) else 0
    return empty if empty >= _MIN_SHARE * len(grid) else 0
