"""deepinv proximal gradient descent with its total-variation prior."""

from __future__ import annotations

import torch
from _shared import Image
from deepinv.optim import PGD
from deepinv.optim.data_fidelity import L2
from deepinv.optim.prior import TVPrior
from deepinv_pinv import measured, physics

PACKAGE = "deepinv"
NAME = "deepinv PGD + TV"
ITERATIONS, INNER = 200, 20
WEIGHT = 1.0  # of sigma of an orthonormal coefficient
SETTINGS = f"{ITERATIONS} iterations, step 1, {INNER} warm-started inner iterations, weight {WEIGHT} sigma"
TUNED = "weight, on the truths"


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    solver = PGD(
        data_fidelity=L2(),
        prior=TVPrior(n_it_max=INNER),
        lambda_reg=WEIGHT * sigma / size,
        stepsize=1.0,
        max_iter=ITERATIONS,
        early_stop=False,
    )
    with torch.no_grad():
        return solver(measured(coefficients, index, size), physics(index.tobytes(), size))[0, 0].numpy()
