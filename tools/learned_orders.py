"""Which patterns carry the power of objects: the table behind the orders ``learned`` and ``learned-density``.

    python -m tools.learned_orders OUT.npy --objects 3000 --seed 0

The pattern (u, v) of a small grid is that of a large one averaged over blocks, so that one table at
128 x 128 serves all smaller sizes: of an object drawn on fewer pixels the coefficients are the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import LEARNED_SIZE, sequency_grid
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object


def coefficient_variance(images: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Mean share of each pattern in the power of the images (their mean apart), by sequency (u, v).

    Parameters
    ----------
    images : iterable of ndarray, each of shape (n, n)
        Objects that resemble those to be measured. A flat one has no say.

    Returns
    -------
    ndarray, shape (n, n)
        Symmetric (an object is as likely as the same one turned), 0 at (0, 0).

    Raises
    ------
    CxgiError
        Without any image that is not flat.
    """
    total, count = None, 0
    for image in images:
        power = walsh_hadamard_2d(np.asarray(image, dtype=np.float64)) ** 2
        power[0, 0] = 0
        if power.sum() > 0:
            share = power / power.sum()
            total, count = share if total is None else total + share, count + 1
    if total is None:
        raise CxgiError("no image to learn an order from, or all of them are flat: give objects with some contrast")
    size = len(total)
    by_sequency = np.zeros((size, size))
    by_sequency[sequency_grid(size)] = total.ravel() / count
    return (by_sequency + by_sequency.T) / 2


def main() -> None:
    """Write the table of the training families as float16 logarithms to base 10."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--objects", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, families = np.random.default_rng(options.seed), list(FAMILIES)
    objects = (random_object(rng, LEARNED_SIZE, {families[i % len(families)]: 1.0}) for i in range(options.objects))
    table = coefficient_variance(objects)
    table[0, 0] = 1  # k = 0 comes first
    np.save(options.out, np.log10(np.maximum(table, 1e-12)).astype(np.float16), allow_pickle=False)


if __name__ == "__main__":
    main()
