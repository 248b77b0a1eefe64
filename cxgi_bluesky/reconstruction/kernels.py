"""The inner loops of the total-variation solvers, compiled by numba on first use.

At 64 x 64 an array operation of numpy costs more in its call than in its work, and an iteration needs
thirty of them: compiled, it is one pass. All arrays are float32; the caller's arrays are changed in
place. Compiled code is cached on disk and lets other threads run.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .kernel_transform import Array, compiled, transform_rows, transpose


@compiled
def subtract_adjoint_gradient(out: Array, dual: Array, factor: np.float32) -> None:
    """out -= factor * D^T dual, D the forward differences down the rows (0) and along the columns (1).

    The dual of a difference that would leave the picture (last row of 0, last column of 1) must be 0.
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


@compiled
def step_to_data(
    moved: Array, coefficient: Array, pull: Array, rho: np.float32, image: Array, ahead: Array, turned: Array
) -> float:
    """Proximal step of the data term from `moved`; over-relaxes `image`, sets `ahead` = 2 moved - image.

    `coefficient` and `pull` are transposed, `turned` is room to work. Returns the sum of the squared change.
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


@compiled
def step_of_sign(sign: Array, ahead: Array, sigma: np.float32, rho: np.float32) -> None:
    """Over-relaxed dual step of the constraint that no pixel is negative."""
    dual, x = sign.reshape(-1), ahead.reshape(-1)
    for i in range(dual.size):
        a = min(dual[i] + sigma * x[i], np.float32(0))
        dual[i] += rho * (a - dual[i])


# Differences in one row of memory, with zeros where they would leave the picture: `down` [size + k] is that from pixel
# k to the one below, `along` [1 + k] that to the one on its right. The backward difference of a pixel is then the
# forward one `size` or 1 places earlier, and no loop has a special case.


@compiled
def _differences(image: Array, down: Array, along: Array) -> None:
    size, total = image.shape[0], image.size
    x, below, right = image.reshape(-1), down[size:], along[1:]
    for k in range(total - size):
        below[k] = x[k + size] - x[k]
    for k in range(total - 1):
        right[k] = x[k + 1] - x[k]
    _clear_borders(size, down, along)


@compiled
def _clear_borders(size: int, down: Array, along: Array) -> None:
    zero = np.float32(0)
    down[:size], down[size * size :] = zero, zero
    for i in range(size + 1):
        along[i * size] = zero


@compiled
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


@compiled
def _set_sum(out: Array, one: Array, other: Array) -> None:
    for k in range(out.size):
        out[k] = one[k] + other[k]


@compiled
def _add_sum(out: Array, one: Array, other: Array) -> None:
    for k in range(out.size):
        out[k] += one[k] + other[k]


@compiled
def _step_from_duals(image: Array, sign: Array, tau: np.float32, down: Array, along: Array, moved: Array) -> None:
    """moved = image - tau (D^T dual + sign)."""
    size, total = image.shape[0], image.size
    x, y, s, below, right = image.reshape(-1), moved.reshape(-1), sign.reshape(-1), down[size:], along[1:]
    for k in range(total):
        y[k] = x[k] + tau * (below[k] - down[k] + right[k] - along[k] - s[k])


@compiled
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


@compiled
def _step_of_pair(
    p: Array, q: Array, down: Array, along: Array, w: np.float32, sigma: np.float32, rho: np.float32
) -> None:
    for k in range(p.size):
        a, b = p[k] + sigma * down[k], q[k] + sigma * along[k]
        shrink = w / max(np.float32(math.sqrt(a * a + b * b)), w)
        p[k] += rho * (a * shrink - p[k])
        q[k] += rho * (b * shrink - q[k])


@compiled
def _step_of_single(p: Array, differences: Array, w: np.float32, sigma: np.float32, rho: np.float32) -> None:
    for k in range(p.size):
        a = min(max(p[k] + sigma * differences[k], -w), w)
        p[k] += rho * (a - p[k])


@compiled
def _subtract(out: Array, factor: np.float32, other: Array) -> None:
    for k in range(out.size):
        out[k] -= factor * other[k]


@compiled
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
    iterations, change
        Stops after so many, or when the image changes by less than `change` (rms).
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


@compiled
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

    One pair of differences favours edges of one diagonal; the four together favour none. `dual` has
    shape (4, 2, n, n): down or up with right or left.
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


@lru_cache(maxsize=2)
def compile_kernels(method: str) -> None:
    """Run the loop of a method once on next to nothing: compiled now (a few seconds), or read from the cache."""
    small, pair = np.ones((2, 2), np.float32), np.zeros((2, 2, 2), np.float32)
    if method == "tv":
        quad = np.zeros((4, 2, 2, 2), np.float32)
        symmetric_primal_dual(small, small, 1.0, 1.0, 1.5, True, 1, 0.0, small.copy(), quad, np.zeros_like(small))
        primal_dual(small, small, 1.0, 1.0, 1.5, True, True, 1, 0.0, small.copy(), pair, np.zeros_like(small))
    else:
        from .tval3_kernel import augmented_lagrangian

        state = (small.copy(), pair, np.zeros_like(small))
        augmented_lagrangian(small, small, (1.0, 1.0), (1.0, 1.0), True, True, 1, (1e-3, 1e-3), *state)
