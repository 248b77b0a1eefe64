"""pyproximal primal-dual (Chambolle-Pock) with isotropic total variation."""

from __future__ import annotations

import numpy as np
import pylops
import pyproximal
from _shared import Image
from pylops_tv import operator

PACKAGE = "pyproximal"
NAME = "pyproximal primal-dual TV"
ITERATIONS, STEP = 200, 10.0
WEIGHT = 0.1  # of sigma of an orthonormal coefficient
SETTINGS = f"{ITERATIONS} iterations, exact proximal step of the data term, weight {WEIGHT} sigma"
TUNED = "weight and step, on the truths"


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    transform = operator(index.tobytes(), size)
    data = pyproximal.Orthogonal(pyproximal.L2(b=coefficients / size), transform, partial=True)
    variation = pyproximal.L21(ndim=2, sigma=WEIGHT * sigma / size)
    gradient = pylops.Gradient((size, size), edge=False, kind="forward", dtype="float64")
    image = pyproximal.optimization.primaldual.PrimalDual(
        data, variation, gradient, x0=np.zeros(size * size), tau=STEP, mu=1 / (8 * STEP), niter=ITERATIONS
    )
    return image.reshape(size, size)
