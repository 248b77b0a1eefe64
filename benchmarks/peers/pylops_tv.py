"""pylops split Bregman with the two first differences (anisotropic total variation)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pylops
from _shared import Image, hadamard, on_grid

PACKAGE = "pylops"
NAME = "pylops split Bregman TV"
OUTER, INNER, SOLVER = 40, 1, 10
MU, WEIGHT = 1.0, 3.0  # WEIGHT of sigma of an orthonormal coefficient
SETTINGS = f"{OUTER} x {INNER} iterations, {SOLVER} of LSQR, mu {MU}, weight {WEIGHT} sigma"
TUNED = "weight, mu and iterations, on the truths"


@lru_cache(maxsize=16)
def operator(index: bytes, size: int) -> pylops.LinearOperator:
    """Orthonormal coefficients of the measured patterns."""
    rows, matrix = np.frombuffer(index, dtype=np.int64), hadamard(size) / np.sqrt(size)

    def forward(image: Image) -> Image:
        return (matrix @ image.reshape(size, size) @ matrix).ravel()[rows]

    def adjoint(values: Image) -> Image:
        return (matrix @ on_grid(values, rows, size) @ matrix).ravel()

    return pylops.FunctionOperator(forward, adjoint, len(rows), size * size)


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    differences = [pylops.FirstDerivative((size, size), axis=axis, kind="forward", edge=False) for axis in (0, 1)]
    image = pylops.optimization.sparsity.splitbregman(
        operator(index.tobytes(), size),
        coefficients / size,
        differences,
        niter_outer=OUTER,
        niter_inner=INNER,
        mu=MU,
        epsRL1s=[WEIGHT * sigma / size] * 2,
        tol=1e-4,
        tau=1.0,
        iter_lim=SOLVER,
    )[0]
    return image.reshape(size, size)
