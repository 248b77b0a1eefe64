"""The inner loops of the total-variation solvers, compiled by numba on first use.

At 64 x 64 an array operation of numpy costs more in its call than in its work, and an iteration needs
thirty of them: compiled, it is one pass. All arrays are float32; the caller's arrays are changed in
place. Compiled code is cached on disk and lets other threads run. All loops lie in one file, as
numba does not compile a loop anew when one that it calls changes in another file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Division by 0 as numpy does it: a check that raises keeps a loop from being vectorised, which is five times as slow.
# No flag lets NaN be taken for a number.
_OPTIONS: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
    "nogil": True,
}
_BLOCK = 8  # pixels per side that are transposed together: their rows stay in the cache


def compile_loop(function: Callable[..., Any]) -> Any:
    """Compile on first use, cached on disk; where no folder for that can be written, anew in each process."""
    try:
        return nb.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return nb.njit(**_OPTIONS)(function)


@compile_loop
def transform_rows(image: Array) -> None:
    """Unnormalised transform over the first axis, whose length is a power of two, in place."""
    rows, columns = image.shape
    span = 1
    while 4 * span <= rows:  # two stages in one pass over the memory
        for start in range(0, rows, 4 * span):
            for i in range(start, start + span):
                a, b, c, d = image[i], image[i + span], image[i + 2 * span], image[i + 3 * span]
                for j in range(columns):
                    p, q, r, s = a[j] + b[j], a[j] - b[j], c[j] + d[j], c[j] - d[j]
                    a[j], b[j], c[j], d[j] = p + r, q + s, p - r, q - s
        span *= 4
    if span < rows:
        for i in range(span):
            a, b = image[i], image[i + span]
            for j in range(columns):
                p, q = a[j], b[j]
                a[j], b[j] = p + q, p - q


@compile_loop
def transpose(image: Array, out: Array) -> None:
    """out = image^T; the side is a power of two.

    Parameters
    ----------
    image : ndarray of float32, shape (n, n)
    out : ndarray of float32, shape (n, n)
        Other memory than `image`.
    """
    size = image.shape[0]
    block = min(_BLOCK, size)
    for top in range(0, size, block):
        for left in range(0, size, block):
            for i in range(top, top + block):
                for j in range(left, left + block):
                    out[j, i] = image[i, j]


@compile_loop
def walsh_hadamard(image: Array) -> None:
    """Unnormalised 2-D transform in natural order, in place; the side is a power of two."""
    turned = np.empty_like(image)
    transform_rows(image)
    transpose(image, turned)
    transform_rows(turned)
    transpose(turned, image)


# ---------------------------------------------------------------- total variation


@compile_loop
def subtract_adjoint_gradient(out: Array, dual: Array, factor: np.float32) -> None:
    """out -= factor * D^T dual, D the forward differences down the rows (0) and along the columns (1).

    Parameters
    ----------
    out : ndarray of float32, shape (n, n)
        Changed in place.
    dual : ndarray of float32, shape (2, n, n)
        That of a difference which would leave the image (last row of 0, last column of 1) must be 0.
    factor : float32
    """
    size = out.shape[0]
    down, along = dual[0], dual[1]
    for i in range(size):
        for j in range(size):
            out[i, j] += factor * (down[i, j] + along[i, j])
        if i > 0:
            for j in range(size):
                out[i, j] -= factor * down[i - 1, j]
        for j in range(1, size):
            out[i, j] -= factor * along[i, j - 1]


@compile_loop
def step_to_data(
    moved: Array, coefficient: Array, pull: Array, rho: np.float32, image: Array, ahead: Array, turned: Array
) -> float:
    """Proximal step of the data term from `moved`; over-relaxes `image`, sets `ahead` = 2 moved - image.

    Parameters
    ----------
    moved : ndarray of float32, shape (n, n)
        Image to step from; in the end that after the step.
    coefficient : ndarray of float32, shape (n, n)
        Orthonormal coefficients, transposed.
    pull : ndarray of float32, shape (n, n)
        How far each of them is moved towards its measured value, 0..1, transposed.
    rho : float32
        Over-relaxation, 1..2.
    image : ndarray of float32, shape (n, n)
        The iteration's image, changed in place.
    ahead : ndarray of float32, shape (n, n)
        Set here.
    turned : ndarray of float32, shape (n, n)
        Room to work.

    Returns
    -------
    float
        Sum of the squared change.
    """
    scale, total = np.float32(1 / image.shape[0]), np.float32(0)
    ahead[:] = moved
    transform_rows(ahead)
    transpose(ahead, turned)
    transform_rows(turned)
    wanted, found, part = coefficient.reshape(-1), turned.reshape(-1), pull.reshape(-1)
    for i in range(found.size):
        found[i] = part[i] * (wanted[i] - found[i] * scale)
    transform_rows(turned)
    transpose(turned, ahead)
    transform_rows(ahead)
    new, x, step = moved.reshape(-1), image.reshape(-1), ahead.reshape(-1)
    for i in range(x.size):
        new[i] += step[i] * scale
        difference = new[i] - x[i]
        total += difference * difference
        step[i] = new[i] + difference
        x[i] += rho * difference
    return float(total)


@compile_loop
def step_of_sign(sign: Array, ahead: Array, sigma: np.float32, rho: np.float32) -> None:
    """Over-relaxed dual step of the constraint that no pixel is negative.

    Parameters
    ----------
    sign : ndarray of float32, shape (n, n)
        Dual of the constraint, changed in place.
    ahead : ndarray of float32, shape (n, n)
        Extrapolated image of `step_to_data`.
    sigma : float32
        Dual step.
    rho : float32
        Over-relaxation, 1..2.
    """
    dual, x = sign.reshape(-1), ahead.reshape(-1)
    for i in range(dual.size):
        a = min(dual[i] + sigma * x[i], np.float32(0))
        dual[i] += rho * (a - dual[i])


# Differences in one row of memory, with zeros where they would leave the image: `down` [size + k] is that from pixel
# k to the one below, `along` [1 + k] that to the one on its right. The backward difference of a pixel is then the
# forward one `size` or 1 places earlier, and no loop has a special case.


@compile_loop
def _differences(image: Array, down: Array, along: Array) -> None:
    size, total = image.shape[0], image.size
    x, below, right = image.reshape(-1), down[size:], along[1:]
    for k in range(total - size):
        below[k] = x[k + size] - x[k]
    for k in range(total - 1):
        right[k] = x[k + 1] - x[k]
    _clear_borders(size, down, along)


@compile_loop
def _clear_borders(size: int, down: Array, along: Array) -> None:
    zero = np.float32(0)
    down[:size], down[size * size :] = zero, zero
    for i in range(size + 1):
        along[i * size] = zero


@compile_loop
def _gather(dual: Array, down: Array, along: Array) -> None:
    """Sum of the four duals of each difference."""
    size = dual.shape[2]
    total, zero = size * size, np.float32(0)
    fields = dual.reshape(8, total)
    below, right = down[size:], along[1:]
    down[:size], along[0] = zero, zero
    _set_sum(below, fields[0], fields[2])
    _add_sum(down[:total], fields[4], fields[6])
    _set_sum(right, fields[1], fields[5])
    _add_sum(along[:total], fields[3], fields[7])


@compile_loop
def _set_sum(out: Array, one: Array, other: Array) -> None:
    for k in range(out.size):
        out[k] = one[k] + other[k]


@compile_loop
def _add_sum(out: Array, one: Array, other: Array) -> None:
    for k in range(out.size):
        out[k] += one[k] + other[k]


@compile_loop
def _step_from_duals(image: Array, sign: Array, tau: np.float32, down: Array, along: Array, moved: Array) -> None:
    """moved = image - tau (D^T dual + sign)."""
    size, total = image.shape[0], image.size
    x, y, s, below, right = image.reshape(-1), moved.reshape(-1), sign.reshape(-1), down[size:], along[1:]
    for k in range(total):
        y[k] = x[k] + tau * (below[k] - down[k] + right[k] - along[k] - s[k])


@compile_loop
def _step_of_duals(dual: Array, down: Array, along: Array, w: np.float32, sigma: np.float32, rho: np.float32) -> None:
    """Over-relaxed proximal step of each pair of differences: down or up with right or left."""
    size = dual.shape[2]
    total = size * size
    fields = dual.reshape(8, total)
    for pair in range(4):
        first, second = size * (1 - pair // 2), 1 - pair % 2  # the forward difference lies behind its pixel
        _step_of_pair(
            fields[2 * pair],
            fields[2 * pair + 1],
            down[first : first + total],
            along[second : second + total],
            w,
            sigma,
            rho,
        )


@compile_loop
def _step_of_pair(
    p: Array, q: Array, down: Array, along: Array, w: np.float32, sigma: np.float32, rho: np.float32
) -> None:
    for k in range(p.size):
        a, b = p[k] + sigma * down[k], q[k] + sigma * along[k]
        shrink = w / max(np.float32(math.sqrt(a * a + b * b)), w)
        p[k] += rho * (a * shrink - p[k])
        q[k] += rho * (b * shrink - q[k])


@compile_loop
def _step_of_single(p: Array, differences: Array, w: np.float32, sigma: np.float32, rho: np.float32) -> None:
    for k in range(p.size):
        a = min(max(p[k] + sigma * differences[k], -w), w)
        p[k] += rho * (a - p[k])


@compile_loop
def _subtract(out: Array, factor: np.float32, other: Array) -> None:
    for k in range(out.size):
        out[k] -= factor * other[k]


@compile_loop
def primal_dual(
    coefficient: Array,
    pull: Array,
    weight: float,
    step: float,
    relaxation: float,
    isotropic: bool,
    nonnegative: bool,
    iterations: int,
    change: float,
    image: Array,
    dual: Array,
    sign: Array,
) -> int:
    """Chambolle and Pock's iteration with over-relaxation for TV/L2; see `total_variation`.

    Parameters
    ----------
    coefficient, pull : ndarray, shape (n, n)
        Orthonormal coefficients, and how far the proximal step moves each of them towards its
        measured value, 0..1.
    weight, step, relaxation : float
        Weight of the total variation, primal step, over-relaxation in 1..2.
    isotropic : bool
        Euclidean length of the gradient, else the sum over both directions.
    nonnegative : bool
        No pixel is below 0.
    iterations : int
        At most so many.
    change : float
        Stops when the image changes by less (rms, in the unit of the image).
    image, dual, sign : ndarray, shapes (n, n), (2, n, n), (n, n)
        Start and result: image, dual of the gradient, dual of the sign constraint.

    Returns
    -------
    int
        Iterations done.
    """
    size = image.shape[0]
    w, tau, rho = np.float32(weight), np.float32(step), np.float32(relaxation)
    sigma = np.float32(1 / ((9 if nonnegative else 8) * step))  # step * sigma * |K|^2 <= 1
    moved, work, turned = np.empty_like(image), np.empty_like(image), np.empty_like(image)
    wanted, part = np.ascontiguousarray(coefficient.T), np.ascontiguousarray(pull.T)
    total_pixels = image.size
    fields = dual.reshape(2, total_pixels)
    down, along = np.zeros(size * (size + 1), np.float32), np.zeros(total_pixels + 1, np.float32)
    for done in range(1, iterations + 1):
        # the image: gradient of the duals, then the proximal step of the data term
        moved[:] = image
        subtract_adjoint_gradient(moved, dual, tau)
        if nonnegative:
            _subtract(moved.reshape(-1), tau, sign.reshape(-1))
        total = step_to_data(moved, wanted, part, rho, image, work, turned)
        # the duals: forward differences of the image ahead, then their proximal step
        _differences(work, down, along)
        if isotropic:
            _step_of_pair(fields[0], fields[1], down[size:], along[1:], w, sigma, rho)
        else:
            _step_of_single(fields[0], down[size:], w, sigma, rho)
            _step_of_single(fields[1], along[1:], w, sigma, rho)
        if nonnegative:
            step_of_sign(sign, work, sigma, rho)
        if done > 3 and math.sqrt(total) <= change * size:  # from zero duals the first step goes nowhere
            return done
    return iterations


@compile_loop
def symmetric_primal_dual(
    coefficient: Array,
    pull: Array,
    weight: float,
    step: float,
    relaxation: float,
    nonnegative: bool,
    iterations: int,
    change: float,
    image: Array,
    dual: Array,
    sign: Array,
) -> int:
    """`primal_dual` for the mean of the four isotropic variations that forward and backward differences make.

    One pair of differences favours edges of one diagonal; the four together favour none.

    Parameters
    ----------
    coefficient, pull : ndarray, shape (n, n)
        As for `primal_dual`.
    weight, step, relaxation : float
        As for `primal_dual`.
    nonnegative : bool
        No pixel is below 0.
    iterations : int
        At most so many.
    change : float
        As for `primal_dual`.
    image, dual, sign : ndarray, shapes (n, n), (4, 2, n, n), (n, n)
        Start and result; the dual is of down or up with right or left.

    Returns
    -------
    int
        Iterations done.
    """
    size = image.shape[0]
    w, tau, rho = np.float32(weight / 4), np.float32(step), np.float32(relaxation)
    sigma = np.float32(1 / ((33 if nonnegative else 32) * step))
    moved, work, turned = np.empty_like(image), np.empty_like(image), np.empty_like(image)
    wanted, part = np.ascontiguousarray(coefficient.T), np.ascontiguousarray(pull.T)
    down, along = np.zeros(size * (size + 1), np.float32), np.zeros(size * size + 1, np.float32)
    for done in range(1, iterations + 1):
        _gather(dual, down, along)
        _step_from_duals(image, sign, tau, down, along, moved)
        total = step_to_data(moved, wanted, part, rho, image, work, turned)
        _differences(work, down, along)
        _step_of_duals(dual, down, along, w, sigma, rho)
        if nonnegative:
            step_of_sign(sign, work, sigma, rho)
        if done > 3 and math.sqrt(total) <= change * size:
            return done
    return iterations


@cache
def compile_primal_dual() -> None:
    """Run the loops once on next to nothing: compiled now (a few seconds), or read from the cache."""
    small, pair, quad = np.ones((2, 2), np.float32), np.zeros((2, 2, 2), np.float32), np.zeros((4, 2, 2, 2), np.float32)
    symmetric_primal_dual(small, small, 1.0, 1.0, 1.5, True, 1, 0.0, small.copy(), quad, np.zeros_like(small))
    primal_dual(small, small, 1.0, 1.0, 1.5, True, True, 1, 0.0, small.copy(), pair, np.zeros_like(small))


# ---------------------------------------------------------------- TVAL3


_ARMIJO = 1e-5
_SHORTER = 0.6  # of a step that was too long
_TRIALS = 5
_MEMORY = 0.9995  # of earlier values in the non-monotone search


@compile_loop
def _gradient(image: Array, out: Array) -> None:
    last = image.shape[0] - 1
    for i in range(last + 1):
        for j in range(last + 1):
            out[0, i, j] = image[i + 1, j] - image[i, j] if i < last else np.float32(0)
            out[1, i, j] = image[i, j + 1] - image[i, j] if j < last else np.float32(0)


@compile_loop
def _coefficients(image: Array, measured: Array, out: Array) -> None:
    """A image on the grid, 0 where not measured."""
    out[:] = image
    walsh_hadamard(out)
    scale = np.float32(1 / image.shape[0])
    for i in range(image.shape[0]):
        for j in range(image.shape[0]):
            out[i, j] *= scale * measured[i, j]


@compile_loop
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


@compile_loop
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


@compile_loop
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


@compile_loop
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
    isotropic : bool
        Euclidean length of the gradient, else the sum over both directions.
    nonnegative : bool
        No pixel is below 0.
    iterations : int
        Image steps in all, at most.
    tolerances : (float, float)
        Relative change of the image that ends an inner loop, and all.
    image : ndarray, shape (n, n)
        Scaled as the coefficients are.
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
        first_step = True  # the first step of an inner loop has no earlier slope to compare with
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
            step, attempts = safe, 1 if first_step else _TRIALS + 1
            if first_step:
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
            first_step = False
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


@compile_loop
def _relative_change(image: Array, earlier: Array) -> float:
    changed, power = 0.0, 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[0]):
            difference = image[i, j] - earlier[i, j]
            changed += difference * difference
            power += earlier[i, j] * earlier[i, j]
    return math.sqrt(changed / max(power, 1e-30))


@cache
def compile_augmented_lagrangian() -> None:
    """As `compile_primal_dual`, the loops of TVAL3."""
    small, pair = np.ones((2, 2), np.float32), np.zeros((2, 2, 2), np.float32)
    state = (small.copy(), pair, np.zeros_like(small))
    augmented_lagrangian(small, small, (1.0, 1.0), (1.0, 1.0), True, True, 1, (1e-3, 1e-3), *state)
