"""What an order asks of the mask maker and of the stage: edges, smallest features, travel.

Fine tiles etch badly: corners round off and lines of one pixel may merge, so that few edges and large
features are worth something. Travel is that of a board on which the tiles lie in rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.masks.board import MaskBoard
from cxgi_bluesky.masks.orders import sequency_grid
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import hadamard_matrix


@lru_cache(maxsize=8)
def smallest_run(size: int) -> NDArray[np.int64]:
    """Shortest run of equal signs in each row of ``hadamard(size)``, shape (size,), in pixels."""
    runs = []
    for row in hadamard_matrix(size):
        edges = np.flatnonzero(np.diff(row)) + 1
        runs.append(int(np.diff(np.concatenate([[0], edges, [size]])).min()))
    return np.array(runs)


def demands(patterns: PatternSet, board: MaskBoard) -> dict[str, Any]:
    """Edges, features and travel of a pattern set.

    Returns
    -------
    dict
        ``edges``: mean length of the edges in a tile, in sides of the tile; ``one_pixel``: share of the
        tiles with features of one pixel; ``feature_px``: median of the tiles' smallest feature;
        ``travel_mm``: way of the stage from tile to tile along both paths of `hadamard_scan`.
    """
    u, v = sequency_grid(patterns.size)
    index = patterns.pattern_index
    run = smallest_run(patterns.size)
    feature = np.minimum(run[index // patterns.size], run[index % patterns.size])
    return {
        "edges": float(np.mean((u + v)[index])),
        "one_pixel": float(np.mean(feature == 1)),
        "feature_px": float(np.median(feature)),
        "travel_mm": {path: board.travel_mm(board.tiles_along(patterns, path)) for path in ("order", "snake")},
    }
