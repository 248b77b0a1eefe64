"""Pictures by total variation, for the network to begin with: the weight that the data ask for, loosely converged.

Where an object has few edges total variation is hard to beat, and most of such a picture is made already by the step
that judges the coefficients' errors.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..solvers.primal_dual import Norm, Problem, WarmStart, importance_of
from ..solvers.regularization import TRIAL_WEIGHT_IN_SIGMA, mean_gradient, weight_by_law
from .inputs import NetworkInput

Image = NDArray[np.float32]

_ITERATIONS, _TOLERANCE = 100, 1e-3
_MAX_LEVEL = 1e3


def finite_level(given: NetworkInput) -> Tensor:
    """The zero level of each image, shape (b,); that of a flat image is infinite."""
    return given.zero_level.clamp(-_MAX_LEVEL, _MAX_LEVEL)


def initial_images(given: NetworkInput, starts: Tensor | None = None) -> Tensor:
    """A picture of each measurement, nowhere darker than zero intensity, normalised; (b, 1, n, n).

    Parameters
    ----------
    given : NetworkInput
    starts : Tensor, shape (b, 1, n, n), optional
        Pictures made with a weight of `TRIAL_WEIGHT_IN_SIGMA`, in the unit of the measurement; else they are made here.
    """
    size = given.coefficients.shape[-1]
    pictures = torch.empty_like(given.coefficients)
    for number, level in enumerate(finite_level(given).tolist()):
        coefficient = given.coefficients[number, 0].numpy().copy()
        coefficient[0, 0] = level * size
        start = None
        if starts is not None:
            start = (starts[number, 0] / given.deviation[number, 0]).numpy().copy()
        measured = given.measured[number, 0].numpy() > 0
        picture = _picture(coefficient, measured, given.variance[number, 0].numpy(), start)
        pictures[number, 0] = torch.from_numpy(picture) - level
    return pictures


def _picture(coefficient: Image, measured: NDArray[np.bool_], variance: Image, start: Image | None) -> Image:
    """Of coefficients whose image has a standard deviation of 1."""
    importance = importance_of(measured, variance)
    sigma = float(np.sqrt(variance[measured].mean()))
    if start is None:
        start = _solution(coefficient, importance, "isotropic", TRIAL_WEIGHT_IN_SIGMA * sigma, None)
    count = int(measured.sum())
    rms = len(coefficient) / np.sqrt(max(count - 1, 1))  # as the sum of their squares is n^2
    weight = weight_by_law(sigma, rms, mean_gradient(start), count / measured.size)
    picture = _solution(coefficient, importance, "symmetric", weight, start)
    return np.maximum(picture, np.float32(0))  # the last step may overshoot a little


def _solution(coefficient: Image, importance: Image, norm: Norm, weight: float, start: Image | None) -> Image:
    warm = WarmStart(image=start)
    problem = Problem(coefficient, importance, 1.0, norm, True)
    problem.solve(weight, warm, iterations=_ITERATIONS, tolerance=_TOLERANCE)
    assert warm.image is not None
    return warm.image
