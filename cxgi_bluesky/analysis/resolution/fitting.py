"""Least squares on the pixels of a region, with uncertainties that know of correlated noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .roi import Region, Values

PASSES = 3  # fits with a prior: each weighs it by the noise that the last one left
LAG = 2  # pixels: how far the residual's correlation is followed

Model = Callable[[Values], Values]


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters (p,), their covariance (p, p), the residual of each pixel (n,) and its rms."""

    parameters: Values
    covariance: Values
    residual: Values
    noise: float
    bounds: tuple[Values, Values]

    def sigma_of(self, quantity: Callable[[Values], Values]) -> Values:
        """One standard deviation of quantities derived from the parameters.

        Their slopes are taken over one standard deviation to each side, so that a quantity which
        happens to stand still at the fitted value is not called certain.
        """
        slope = _slopes(quantity, self.parameters, self.bounds, 2 * np.sqrt(np.diag(self.covariance)))
        return np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", slope, self.covariance, slope), 0))


def fit_pixels(
    model: Model,
    region: Region,
    start: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    *,
    prior: tuple[Sequence[float], Sequence[float]] | None = None,
    sensitive: Sequence[float] | None = None,
) -> Fit:
    """Fit a model of the pixels' values.

    The covariance is the usual one, s^2 (J^T J)^-1 with s^2 the residual's variance; where
    neighbouring residuals are alike (images from few patterns, smoothed images) it is enlarged by the
    sandwich (J^T J)^-1 J^T C J (J^T J)^-1, C being the residual's own autocovariance up to 2 pixels
    (the idea of Newey and West 1987, in two dimensions).

    Parameters
    ----------
    model : callable
        Takes the parameters, shape (p,), and gives the values of the pixels, shape (n,).
    region : Region
        The n pixels.
    start, lower, upper : sequence of float, length p
        First guess of the parameters, and their bounds.
    prior : (sequence of float, sequence of float), optional
        Mean and standard deviation of each parameter that are known beforehand (infinite: nothing is known); they
        count as one more observation, weighed against the noise of the pixels.
    sensitive : sequence of float, length p, optional
        The slopes are taken where each parameter is at least this large; a blur far below the pixel changes
        nothing at all, which must not pass for certainty.
    """
    low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    point = np.clip(start, low + 1e-9, high - 1e-9)
    if prior is None:
        point = _least_squares(model, region, point, (low, high))
        known = np.zeros(len(point))
    else:
        means, known = np.asarray(prior[0], dtype=float), 1 / np.asarray(prior[1], dtype=float)
        for _ in range(PASSES):
            noise = float(np.sqrt(np.mean((region.values - model(point)) ** 2)))
            point = _least_squares(model, region, point, (low, high), means, known * noise)
    residual = region.values - model(point)
    variance = float(np.sum(residual**2)) / max(1, len(residual) - len(point))
    sensed = point if sensitive is None else np.maximum(point, sensitive)
    slopes = _slopes(model, sensed, (low, high), 2e-4 * np.maximum(np.abs(sensed), 0.1))
    covariance = _covariance(slopes, region, residual, variance, np.diag(known**2))
    return Fit(point, covariance, residual, float(np.sqrt(variance)), (low, high))


def _least_squares(
    model: Model,
    region: Region,
    point: Values,
    bounds: tuple[Values, Values],
    means: Values | float = 0.0,
    weights: Values | None = None,
) -> Values:
    from scipy.optimize import least_squares

    def error(p: Values) -> Values:
        misfit = model(p) - region.values
        return misfit if weights is None else np.append(misfit, weights * (p - means))

    options = {"bounds": bounds, "x_scale": "jac", "xtol": 1e-7, "ftol": 1e-8, "diff_step": 1e-5}
    found: Values = least_squares(error, np.clip(point, bounds[0] + 1e-9, bounds[1] - 1e-9), **options).x
    return found


def _slopes(function: Model, point: Values, bounds: tuple[Values, Values], steps: Values) -> Values:
    """Jacobian (n, p) by differences over these steps, moved to one side at a bound."""
    columns = []
    for i, step in enumerate(steps):
        above, below = point.copy(), point.copy()
        above[i] = min(point[i] + step / 2, bounds[1][i])
        below[i] = max(point[i] - step / 2, bounds[0][i])
        change = function(above) - function(below)
        columns.append(change / (above[i] - below[i]) if above[i] > below[i] else 0 * change)
    return np.stack(columns, axis=1)


def _covariance(jacobian: Values, region: Region, residual: Values, variance: float, known: Values) -> Values:
    inverse = np.asarray(np.linalg.pinv(jacobian.T @ jacobian + variance * known), dtype=np.float64)
    white = variance * inverse
    middle = _estimate_information(jacobian, region, residual, variance) + variance**2 * known
    seen = np.diag(inverse @ middle @ inverse)
    expected = np.diag(white)
    growth = np.ones(len(expected))
    np.divide(seen, expected, out=growth, where=expected > 0)
    growth = np.sqrt(np.maximum(growth, 1))
    return white * np.outer(growth, growth)


def _estimate_information(jacobian: Values, region: Region, residual: Values, variance: float) -> Values:
    """J^T C J with the residual's autocovariance, tapered linearly to 0 beyond LAG pixels."""
    slopes, errors = region.to_map(jacobian), region.to_map(residual)
    there = region.to_map(np.ones(len(residual)))
    total = variance * jacobian.T @ jacobian
    for down in range(LAG + 1):
        for right in range(-LAG, LAG + 1):
            if (down, right) <= (0, 0):
                continue
            first, second = _shift(down, right)
            pairs = float(np.sum(there[first] * there[second]))
            if pairs < 1:
                continue
            likeness = float(np.sum(errors[first] * errors[second])) / pairs
            taper = (1 - down / (LAG + 1)) * (1 - abs(right) / (LAG + 1))
            product = np.tensordot(slopes[first], slopes[second], axes=((0, 1), (0, 1)))
            total = total + taper * likeness * (product + product.T)
    return total


def _shift(down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Two views of a map such that the second lies (down, right) pixels from the first."""
    first = slice(max(-right, 0), -right if right > 0 else None)
    second = slice(max(right, 0), right if right < 0 else None)
    return (slice(None, -down or None), first), (slice(down, None), second)
