"""The inner loops of the total-variation solvers, compiled by numba on first use.

At 64 x 64 an array operation of numpy costs more in its call than in its work, and an iteration needs
thirty of them: compiled, it is one pass. All arrays are float32; the caller's arrays are changed in
place. Compiled code is cached on disk and lets other threads run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}, "nogil": True}  # NaN stays NaN


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, cached on disk; where no folder for that can be written, anew in each process."""
    try:
        return nb.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return nb.njit(**_OPTIONS)(function)


@compiled
def walsh_hadamard(values: Array) -> None:
    """Unnormalised transform of N values in natural order, N a power of two, in place."""
    total = values.size
    span = 1
    while span < min(8, total):
        for start in range(0, total, 2 * span):
            for i in range(start, start + span):
                a, b = values[i], values[i + span]
                values[i], values[i + span] = a + b, a - b
        span *= 2
    while span < total:  # two stages in one pass over the memory where there are two left
        if 4 * span <= total:
            for start in range(0, total, 4 * span):
                a, b = values[start : start + span], values[start + span : start + 2 * span]
                c, d = values[start + 2 * span : start + 3 * span], values[start + 3 * span : start + 4 * span]
                for i in range(span):
                    p, q, r, s = a[i] + b[i], a[i] - b[i], c[i] + d[i], c[i] - d[i]
                    a[i], b[i], c[i], d[i] = p + r, q + s, p - r, q - s
            span *= 4
        else:
            a, b = values[:span], values[span:]
            for i in range(span):
                p, q = a[i], b[i]
                a[i], b[i] = p + q, p - q
            span *= 2


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
def step_to_data(moved: Array, coefficient: Array, pull: Array, rho: float, image: Array, ahead: Array) -> float:
    """Proximal step of the data term from `moved`; over-relaxes `image`, sets `ahead` = 2 moved - image.

    Returns the sum of the squared change.
    """
    size = image.shape[0]
    scale, total = np.float32(1 / size), np.float32(0)
    ahead[:] = moved
    walsh_hadamard(ahead.reshape(-1))
    for i in range(size):
        for j in range(size):
            ahead[i, j] = pull[i, j] * (coefficient[i, j] - ahead[i, j] * scale)
    walsh_hadamard(ahead.reshape(-1))
    for i in range(size):
        for j in range(size):
            moved[i, j] += ahead[i, j] * scale
            difference = moved[i, j] - image[i, j]
            total += difference * difference
            ahead[i, j] = moved[i, j] + difference
            image[i, j] += rho * difference
    return float(total)


@compiled
def step_of_sign(sign: Array, ahead: Array, sigma: float, rho: float) -> None:
    """Over-relaxed dual step of the constraint that no pixel is negative."""
    size = sign.shape[0]
    for i in range(size):
        for j in range(size):
            a = min(sign[i, j] + sigma * ahead[i, j], np.float32(0))
            sign[i, j] += rho * (a - sign[i, j])


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
    w, tau, rho, zero = np.float32(weight), np.float32(step), np.float32(relaxation), np.float32(0)
    sigma = np.float32(1 / ((9 if nonnegative else 8) * step))  # step * sigma * |K|^2 <= 1
    moved, work = np.empty_like(image), np.empty_like(image)
    down, along = dual[0], dual[1]
    last = size - 1
    for done in range(1, iterations + 1):
        # the image: gradient of the duals, then the proximal step of the data term
        moved[:] = image
        subtract_adjoint_gradient(moved, dual, tau)
        if nonnegative:
            for i in range(size):
                for j in range(size):
                    moved[i, j] -= tau * sign[i, j]
        total = step_to_data(moved, coefficient, pull, rho, image, work)
        # the duals: forward differences of the image ahead, then their proximal step
        for i in range(size):
            for j in range(size):
                a = down[i, j] + (sigma * (work[i + 1, j] - work[i, j]) if i < last else zero)
                b = along[i, j] + (sigma * (work[i, j + 1] - work[i, j]) if j < last else zero)
                if isotropic:
                    shrink = w / max(math.sqrt(a * a + b * b), w)
                    a, b = a * shrink, b * shrink
                else:
                    a, b = min(max(a, -w), w), min(max(b, -w), w)
                down[i, j] += rho * (a - down[i, j])
                along[i, j] += rho * (b - along[i, j])
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
    shape (4, 2, n, n): down or up with right or left. Differences carry a border of zeros, so that
    the inner loops have no special case.
    """
    size = image.shape[0]
    w, tau, rho, zero = np.float32(weight / 4), np.float32(step), np.float32(relaxation), np.float32(0)
    sigma = np.float32(1 / ((33 if nonnegative else 32) * step))
    moved, work = np.empty_like(image), np.empty_like(image)
    down, along = np.zeros((size + 1, size), np.float32), np.zeros((size, size + 1), np.float32)
    for done in range(1, iterations + 1):
        down[:], along[:] = zero, zero  # the duals that meet in each difference
        for i in range(size):
            for j in range(size):
                down[i + 1, j] += dual[0, 0, i, j] + dual[1, 0, i, j]
                down[i, j] += dual[2, 0, i, j] + dual[3, 0, i, j]
                along[i, j + 1] += dual[0, 1, i, j] + dual[2, 1, i, j]
                along[i, j] += dual[1, 1, i, j] + dual[3, 1, i, j]
        for i in range(size):
            for j in range(size):
                moved[i, j] = image[i, j] + tau * (
                    down[i + 1, j] - down[i, j] + along[i, j + 1] - along[i, j] - sign[i, j]
                )
        total = step_to_data(moved, coefficient, pull, rho, image, work)
        for i in range(size - 1):
            for j in range(size):
                down[i + 1, j] = work[i + 1, j] - work[i, j]
        for i in range(size):
            for j in range(size - 1):
                along[i, j + 1] = work[i, j + 1] - work[i, j]
        down[0], down[size], along[:, 0], along[:, size] = zero, zero, zero, zero
        for pair in range(4):
            row, column = 1 - pair // 2, 1 - pair % 2  # the forward difference lies behind its pixel
            for i in range(size):
                for j in range(size):
                    a = dual[pair, 0, i, j] + sigma * down[i + row, j]
                    b = dual[pair, 1, i, j] + sigma * along[i, j + column]
                    shrink = w / max(np.sqrt(a * a + b * b), w)
                    dual[pair, 0, i, j] += rho * (a * shrink - dual[pair, 0, i, j])
                    dual[pair, 1, i, j] += rho * (b * shrink - dual[pair, 1, i, j])
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
