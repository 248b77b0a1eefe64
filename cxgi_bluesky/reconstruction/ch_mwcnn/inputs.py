"""What the network is given: coefficients of an image of zero mean and unit deviation, and an initial image.

The initial image is made by total variation: the weight that the data ask for, loosely converged. Where an object has
few edges total variation is hard to beat, and most of such an image is made already by the step that estimates the
coefficients' errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...measurement.measurement import Measurement
from ..error_model.noise import MaskKnowledge, PreparedMeasurement, mask_knowledge, with_model_error
from ..solvers.batched import BatchedProblem, batched_importance, batched_weight
from ..solvers.primal_dual import (
    INITIAL_WEIGHT_IN_SIGMA,
    Image,
    Norm,
    Problem,
    WarmStart,
    importance_of,
    mean_gradient,
    weight_by_law,
)

MASK_UNCERTAINTY: dict[MaskKnowledge, float] = {"none": 1.0, "reference": 0.5, "exact": 0.0}
_ITERATIONS, _TOLERANCE = 100, 1e-3
_MAX_LEVEL = 1e3


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """Measurements of a batch of b images, sizes n x n.

    Attributes
    ----------
    coefficients : Tensor, shape (b, 1, n, n)
        Orthonormal coefficients of the normalised image, 0 where not measured and at k = 0.
    measured : Tensor, shape (b, 1, n, n)
        1 where a coefficient was measured, else 0.
    variance : Tensor, shape (b, 1, n, n)
        Variance of each coefficient, same unit squared; noise and model error.
    zero_level : Tensor, shape (b,)
        Mean over deviation of the image before it was normalised: where zero lies.
    mask_uncertainty : Tensor, shape (b,)
        How far the masks' errors must be found from the data (`MaskErrorFit`): 1 where one mask was used per bucket
        and nothing is known of it, 0.5 after a reference scan, else 0.
    mean, deviation : Tensor, shape (b, 1, 1, 1)
        Image in the unit of the measurement = normalised image * deviation + mean.
    """

    coefficients: Tensor
    measured: Tensor
    variance: Tensor
    zero_level: Tensor
    mask_uncertainty: Tensor
    mean: Tensor
    deviation: Tensor

    def part(self, rows: slice | Tensor) -> NetworkInput:
        """Some images of the batch."""
        return NetworkInput(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def to(self, device: torch.device) -> NetworkInput:
        """The same on another device."""
        return NetworkInput(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def normalize(
    coefficients: Tensor,
    measured: Tensor,
    variance: Tensor,
    *,
    mask_uncertainty: Tensor | None = None,
) -> NetworkInput:
    """Shift and scale by what was measured, so that the unit of the buckets does not matter.

    Parameters
    ----------
    coefficients, measured, variance : Tensor, shape (b, 1, n, n)
        Orthonormal coefficients (k = 0 measured), 1 or 0, and their variance.
    mask_uncertainty : Tensor, shape (b,), optional
        By default 0.
    """
    size = coefficients.shape[-1]
    alternating = coefficients * measured
    mean = alternating[..., :1, :1] / size
    alternating[..., 0, 0] = 0
    deviation = alternating.square().sum(dim=(2, 3), keepdim=True).sqrt() / size
    deviation = deviation.clamp(min=torch.finfo(deviation.dtype).tiny ** 0.5)
    return NetworkInput(
        coefficients=alternating / deviation,
        measured=measured,
        variance=variance / deviation**2,
        zero_level=(mean / deviation)[:, 0, 0, 0],
        mask_uncertainty=coefficients.new_zeros(len(coefficients)) if mask_uncertainty is None else mask_uncertainty,
        mean=mean,
        deviation=deviation,
    )


def join(inputs: Sequence[NetworkInput]) -> NetworkInput:
    """One batch of several measurements of the same size."""
    names = [f.name for f in fields(NetworkInput)]
    return NetworkInput(**{name: torch.cat([getattr(given, name) for given in inputs]) for name in names})


def with_min_variance(given: NetworkInput, max_snr_db: float) -> NetworkInput:
    """The same, no coefficient told to be more certain than at a signal-to-noise ratio; k = 0 is left alone.

    Parameters
    ----------
    given : NetworkInput
    max_snr_db : float
        20 log10 of the rms of the measured coefficients without k = 0 over sigma.

    Returns
    -------
    NetworkInput
        The one given where nothing lies below.
    """
    power = given.coefficients.square().sum(dim=(1, 2, 3), keepdim=True)
    least = power / given.measured.sum(dim=(1, 2, 3), keepdim=True) * 10 ** (-max_snr_db / 10)
    least = least * given.measured
    least[..., 0, 0] = 0
    if not (given.variance < least).any():
        return given
    return replace(given, variance=torch.maximum(given.variance, least))


# ---------------------------------------------------------------- initial images


def finite_level(given: NetworkInput) -> Tensor:
    """The zero level of each image, shape (b,); that of a flat image is infinite."""
    return given.zero_level.clamp(-_MAX_LEVEL, _MAX_LEVEL)


def initial_images(given: NetworkInput, starts: Tensor | None = None) -> Tensor:
    """A image of each measurement, nowhere darker than zero intensity, normalised; (b, 1, n, n).

    Parameters
    ----------
    given : NetworkInput
    starts : Tensor, shape (b, 1, n, n), optional
        Images made with a weight of `INITIAL_WEIGHT_IN_SIGMA`, in the unit of the measurement; else they are made here.
    """
    if given.coefficients.device.type != "cpu":
        return _initial_images_at_once(given, starts)
    size = given.coefficients.shape[-1]
    images = torch.empty_like(given.coefficients)
    for number, level in enumerate(finite_level(given).tolist()):
        coefficient = given.coefficients[number, 0].numpy().copy()
        coefficient[0, 0] = level * size
        start = None
        if starts is not None:
            start = (starts[number, 0] / given.deviation[number, 0]).numpy().copy()
        measured = given.measured[number, 0].numpy() > 0
        image = _initial_image(coefficient, measured, given.variance[number, 0].numpy(), start)
        images[number, 0] = torch.from_numpy(image) - level
    return images


def _initial_images_at_once(given: NetworkInput, starts: Tensor | None) -> Tensor:
    """The same on the device of the measurements."""
    size, level = given.coefficients.shape[-1], finite_level(given)[:, None, None]
    coefficient, measured, variance = (v[:, 0].float() for v in (given.coefficients, given.measured, given.variance))
    coefficient = coefficient.clone()
    coefficient[:, :1, :1] = level * size
    problem = BatchedProblem(coefficient, batched_importance(measured, variance))
    sigma = ((variance * measured).sum(dim=(1, 2)) / measured.sum(dim=(1, 2))).sqrt()
    limits: dict[str, Any] = {"iterations": _ITERATIONS, "tolerance": _TOLERANCE}
    if starts is None:
        start = problem.solve(INITIAL_WEIGHT_IN_SIGMA * sigma, "isotropic", **limits)
    else:
        start = starts[:, 0] / given.deviation[:, 0]
    image = problem.solve(batched_weight(sigma, start, measured), "symmetric", start=start, **limits)
    return (image.clamp(min=0) - level)[:, None]


def _initial_image(coefficient: Image, measured: NDArray[np.bool_], variance: Image, start: Image | None) -> Image:
    """Of coefficients whose image has a standard deviation of 1."""
    importance = importance_of(measured, variance)
    sigma = float(np.sqrt(variance[measured].mean()))
    if start is None:
        start = _solution(coefficient, importance, "isotropic", INITIAL_WEIGHT_IN_SIGMA * sigma, None)
    count = int(measured.sum())
    rms = len(coefficient) / np.sqrt(max(count - 1, 1))  # as the sum of their squares is n^2
    weight = weight_by_law(sigma, rms, mean_gradient(start), count / measured.size)
    image = _solution(coefficient, importance, "symmetric", weight, start)
    return np.maximum(image, np.float32(0))  # the last step may overshoot a little


def _solution(coefficient: Image, importance: Image, norm: Norm, weight: float, start: Image | None) -> Image:
    warm = WarmStart(image=start)
    problem = Problem(coefficient, importance, 1.0, norm, True)
    problem.solve(weight, warm, iterations=_ITERATIONS, tolerance=_TOLERANCE)
    assert warm.image is not None
    return warm.image


# ---------------------------------------------------------------- from a measurement


@dataclass(frozen=True, eq=False)
class PreparedInput:
    """What the network runs on.

    Attributes
    ----------
    given : NetworkInput
        A batch of one; common error taken off, sigma as the data support it.
    initial : Tensor, shape (1, 1, n, n)
        Of `initial_images`, or another one.
    parameters : dict
        What was found on the way, to be reported with the image.
    """

    given: NetworkInput
    initial: Tensor
    parameters: dict[str, Any]


def prepare(
    measurement: Measurement, initial: NDArray[Any] | None = None, *, max_snr_db: float = math.inf
) -> PreparedInput:
    """Prepare a measurement for the network.

    Parameters
    ----------
    measurement : Measurement
    initial : ndarray, shape (n, n), optional
        In the unit of the measurement, if there is a better initial image than `initial_images` makes.
    max_snr_db : float, optional
        Highest signal-to-noise ratio that the network is told (`with_min_variance`); unlimited by default.
    """
    prepared, common = PreparedMeasurement.from_measurement(measurement).without_common_error()
    noise = prepared.noise
    as_measured = input_of(with_model_error(prepared, noise))
    given = with_min_variance(as_measured, max_snr_db)
    if initial is not None:
        start = (torch.from_numpy(initial).float()[None, None] - given.mean) / given.deviation
    else:
        start = initial_images(
            given, None if noise.initial_image is None else torch.from_numpy(noise.initial_image)[None, None]
        )
    parameters = {
        "common_offset": common.constant,
        "edge_error": common.edges,
        "sigma": noise.sigma,
        "model_sigma": noise.model_sigma,
        "sigma_origin": noise.origin,
    }
    if given is not as_measured:
        parameters["max_snr_db"] = max_snr_db
    return PreparedInput(given, start, parameters)


def input_of(measurement: Measurement) -> NetworkInput:
    """The measurement as it stands, a batch of one."""
    size = measurement.size
    grids = np.zeros((3, size * size), dtype=np.float32)
    index = measurement.pattern_index
    grids[0, index], grids[1, index] = measurement.coefficient / size, 1
    grids[2, index] = (measurement.sigma / size) ** 2
    coefficient, measured, variance = torch.from_numpy(grids).reshape(3, 1, 1, size, size)
    mask_uncertainty = torch.tensor([MASK_UNCERTAINTY[mask_knowledge(measurement)]])
    return normalize(coefficient, measured, variance, mask_uncertainty=mask_uncertainty)
