"""The inner loop of TVAL3, compiled by numba on first use; see `tval3` for the method and `kernels` for the why."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .kernel_transform import compiled, walsh_hadamard
from .kernels import subtract_adjoint_gradient

Array = NDArray[np.float32]

_ARMIJO = 1e-5
_SHORTER = 0.6  # of a step that was too long
_TRIALS = 5
_MEMORY = 0.9995  # of earlier values in the non-monotone search


@compiled
def _gradient(image: Array, out: Array) -> None:
    last = image.shape[0] - 1
    for i in range(last + 1):
        for j in range(last + 1):
            out[0, i, j] = image[i + 1, j] - image[i, j] if i < last else np.float32(0)
            out[1, i, j] = image[i, j + 1] - image[i, j] if j < last else np.float32(0)


@compiled
def _coefficients(image: Array, measured: Array, out: Array) -> None:
    """A image on the grid, 0 where not measured."""
    out[:] = image
    walsh_hadamard(out)
    scale = np.float32(1 / image.shape[0])
    for i in range(image.shape[0]):
        for j in range(image.shape[0]):
            out[i, j] *= scale * measured[i, j]


@compiled
def _shrink(gradient: Array, multiplier: Array, beta: np.float32, isotropic: bool, out: Array) -> None:
    """w = shrink(D u - multiplier / beta, 1 / beta)."""
    size, threshold = gradient.shape[1], np.float32(1) / beta
    for i in range(size):
        for j in range(size):
            a = gradient[0, i, j] - multiplier[0, i, j] / beta
            b = gradient[1, i, j] - multiplier[1, i, j] / beta
            if isotropic:
                length = math.sqrt(a * a + b * b)
                factor = np.float32(0) if length <= threshold else 1 - threshold / length
                out[0, i, j], out[1, i, j] = a * factor, b * factor
            else:
                out[0, i, j] = math.copysign(max(abs(a) - threshold, np.float32(0)), a)
                out[1, i, j] = math.copysign(max(abs(b) - threshold, np.float32(0)), b)


@compiled
def _value(gradient, w, multiplier, beta, residual_of, data, delta, mu):
    """The augmented Lagrangian without sum |w|, which does not depend on the image."""
    penalty, data_term = 0.0, 0.0
    size = gradient.shape[1]
    for i in range(size):
        for j in range(size):
            for k in range(2):
                difference = gradient[k, i, j] - w[k, i, j]
                penalty += difference * (0.5 * beta * difference - multiplier[k, i, j])
            residual = residual_of[i, j] - data[i, j]
            data_term += residual * (0.5 * mu * residual - delta[i, j])
    return penalty + data_term


@compiled
def _slope(gradient, w, multiplier, beta, coefficients, data, delta, mu, field, out):
    """Gradient of `_value` with respect to the image."""
    size = out.shape[0]
    for i in range(size):
        for j in range(size):
            out[i, j] = mu * (coefficients[i, j] - data[i, j]) - delta[i, j]
            for k in range(2):
                field[k, i, j] = beta * (gradient[k, i, j] - w[k, i, j]) - multiplier[k, i, j]
    walsh_hadamard(out)
    scale = np.float32(1 / size)
    for i in range(size):
        for j in range(size):
            out[i, j] *= scale
    subtract_adjoint_gradient(out, field, np.float32(-1))


@compiled
def augmented_lagrangian(
    data: Array,
    measured: Array,
    mu_range: tuple[float, float],
    beta_range: tuple[float, float],
    isotropic: bool,
    nonnegative: bool,
    iterations: int,
    tolerances: tuple[float, float],
    image: Array,
    multiplier: Array,
    delta: Array,
) -> tuple[int, int, float]:
    """Li's alternating minimisation; `image` and both multipliers are start and result.

    Parameters
    ----------
    data, measured : ndarray, shape (n, n)
        Scaled orthonormal coefficients; 1 where measured, 0 elsewhere.
    mu_range, beta_range : (float, float)
        First and last penalty of the continuation, doubled with each update of the multipliers.
    iterations : int
        Image steps in all, at most.
    tolerances : (float, float)
        Relative change of the image that ends an inner loop, and all.
    multiplier : ndarray, shape (2, n, n)
        sigma, of the gradient.
    delta : ndarray, shape (n, n)
        Of the data.

    Returns
    -------
    (int, int, float)
        Image steps, updates of the multipliers, and the last relative change between updates.
    """
    size = image.shape[0]
    mu, beta = np.float32(mu_range[0]), np.float32(beta_range[0])
    gradient, w = np.zeros((2, size, size), np.float32), np.zeros((2, size, size), np.float32)
    field, coefficients = np.zeros((2, size, size), np.float32), np.zeros((size, size), np.float32)
    slope, earlier_slope = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    trial, earlier = image.copy(), image.copy()
    outer_start = image.copy()
    _gradient(image, gradient)
    _coefficients(image, measured, coefficients)
    _shrink(gradient, multiplier, beta, isotropic, w)
    steps, updates, outer_change = 0, 0, np.inf
    while steps < iterations:
        fresh = True  # the first step of an inner loop has no earlier slope to compare with
        reference, weight_sum = 0.0, 1.0
        while steps < iterations:
            steps += 1
            _slope(gradient, w, multiplier, beta, coefficients, data, delta, mu, field, slope)
            squared = 0.0
            for i in range(size):
                for j in range(size):
                    squared += slope[i, j] * slope[i, j]
            if squared == 0:
                break
            safe = 1 / (mu + 8 * beta)  # always descends: not searched, as near the end rounding hides the descent
            step, attempts = safe, 1 if fresh else _TRIALS + 1
            if fresh:
                reference = _value(gradient, w, multiplier, beta, coefficients, data, delta, mu)
            else:
                numerator, denominator = 0.0, 0.0
                for i in range(size):
                    for j in range(size):
                        s, y = image[i, j] - earlier[i, j], slope[i, j] - earlier_slope[i, j]
                        numerator += s * s
                        denominator += s * y
                if denominator > 0:
                    step = numerator / denominator
            fresh = False
            earlier[:] = image
            earlier_slope[:] = slope
            value = 0.0
            for attempt in range(attempts):
                if attempt == _TRIALS:
                    step = safe
                for i in range(size):
                    for j in range(size):
                        moved = image[i, j] - np.float32(step) * slope[i, j]
                        trial[i, j] = max(moved, np.float32(0)) if nonnegative else moved
                _gradient(trial, gradient)
                _coefficients(trial, measured, coefficients)
                value = _value(gradient, w, multiplier, beta, coefficients, data, delta, mu)
                if value <= reference - _ARMIJO * step * squared:
                    break
                step *= _SHORTER
            image[:] = trial
            weight_next = _MEMORY * weight_sum + 1
            reference = (_MEMORY * weight_sum * reference + value) / weight_next
            weight_sum = weight_next
            _shrink(gradient, multiplier, beta, isotropic, w)
            if _relative_change(image, earlier) < tolerances[0]:
                break
        outer_change = _relative_change(image, outer_start)
        outer_start[:] = image
        updates += 1
        if outer_change < tolerances[1] and mu >= mu_range[1] and beta >= beta_range[1]:
            break
        for i in range(size):
            for j in range(size):
                for k in range(2):
                    multiplier[k, i, j] -= beta * (gradient[k, i, j] - w[k, i, j])
                delta[i, j] -= mu * (coefficients[i, j] - data[i, j])
        mu, beta = min(2 * mu, np.float32(mu_range[1])), min(2 * beta, np.float32(beta_range[1]))
        _shrink(gradient, multiplier, beta, isotropic, w)
    return steps, updates, outer_change


@compiled
def _relative_change(image: Array, earlier: Array) -> float:
    changed, power = 0.0, 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[0]):
            difference = image[i, j] - earlier[i, j]
            changed += difference * difference
            power += earlier[i, j] * earlier[i, j]
    return math.sqrt(changed / max(power, 1e-30))
