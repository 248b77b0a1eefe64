"""The primal-dual iteration of total variation for a batch of images on their device: `kernels` in torch.

Each image has its own weight and stops at its own tolerance, so that every one of them is what the loops of `kernels`
give, up to rounding. On a graphics card the iterations are compiled and recorded once per shape, then replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...masks.transform import hadamard_matrix
from .primal_dual import (
    INITIAL_WEIGHT_IN_SIGMA,
    LAW,
    MIN_STEEPNESS,
    MIN_VARIANCE,
    MIN_WEIGHT,
    RELAXATION,
    STEP,
    WEIGHT_RANGE,
    Norm,
)

_BLOCK = 10  # iterations that are recorded together, after which it is asked whether all have stopped


@dataclass(frozen=True, eq=False)
class BatchedProblem:
    """Problems of b images, each of which has a standard deviation of about 1.

    Attributes
    ----------
    coefficient : Tensor, shape (b, n, n)
        Orthonormal coefficients, 0 where not measured.
    importance : Tensor, shape (b, n, n)
        Weight of each coefficient in the data term, 1 in the mean of the variances; 0 where not measured.
    """

    coefficient: Tensor
    importance: Tensor

    def solve(
        self, weight: Tensor, norm: Norm, *, start: Tensor | None = None, iterations: int, tolerance: float
    ) -> Tensor:
        """Images without negative pixels, shape (b, n, n).

        Parameters
        ----------
        weight : Tensor, shape (b,)
            Weight of the total variation for orthonormal coefficients, in the unit of the image.
        norm : {"symmetric", "isotropic"}
            Length of the gradient.
        start : Tensor, shape (b, n, n), optional
            Images to begin with; by default the zero-filled inverses.
        iterations : int
            At most so many, in tens.
        tolerance : float
            An image stops when it changes by less (rms) in an iteration.
        """
        weight = weight.clamp(min=MIN_WEIGHT)[:, None, None]
        step = STEP / weight
        pull = step * self.importance / (1 + step * self.importance)
        batch, size = self.coefficient.shape[0], self.coefficient.shape[-1]
        hadamard = _hadamard(size, self.coefficient.device)
        image = hadamard @ self.coefficient @ hadamard if start is None else start
        state = _State(
            image=image.clone(),
            dual=image.new_zeros((8 if norm == "symmetric" else 2, batch, size, size)),
            sign=torch.zeros_like(image),
            active=image.new_ones((batch, 1, 1)),
            done=image.new_zeros(()),
            coefficient=self.coefficient.clone(),
            pull=pull,
            weight=weight,
            step=step,
            change=torch.full_like(weight, tolerance),
        )
        iterate = _symmetric if norm == "symmetric" else _isotropic
        on_card = image.device.type == "cuda"
        for _ in range(0, iterations, _BLOCK):
            state = _replay(state, norm, hadamard) if on_card else _repeat(iterate, state, hadamard)
            if not bool(state.active.any()):
                break
        return state.image.clone()  # what was recorded keeps its own for the next problem


@dataclass(frozen=True, eq=False)
class _State:
    """An iteration's tensors; `weight`, `step`, `change` and `active` of shape (b, 1, 1)."""

    image: Tensor
    dual: Tensor
    sign: Tensor
    active: Tensor  # 1 until the image has stopped
    done: Tensor  # iterations
    coefficient: Tensor
    pull: Tensor
    weight: Tensor
    step: Tensor
    change: Tensor

    def tensors(self) -> list[Tensor]:
        return [getattr(self, f.name) for f in fields(self)]


def _repeat(iterate: Callable[[_State, Tensor], _State], state: _State, hadamard: Tensor) -> _State:
    for _ in range(_BLOCK):
        state = iterate(state, hadamard)
    return state


def _step_of_image(state: _State, divergence: Tensor, hadamard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The image after its step, the one ahead, and which images go on."""
    moved = state.image + state.step * (divergence - state.sign)
    missing = state.pull * (state.coefficient - hadamard @ moved @ hadamard)
    moved = moved + hadamard @ missing @ hadamard
    difference = moved - state.image
    change = difference.square().mean(dim=(1, 2), keepdim=True).sqrt()
    stopped = (change <= state.change) & (state.done > 2)  # from zero duals the first step goes nowhere
    image = state.image + RELAXATION * state.active * difference
    return image, moved + difference, state.active * (~stopped).float()


def _after(state: _State, image: Tensor, ahead: Tensor, dual: Tensor, sigma: Tensor, active: Tensor) -> _State:
    """With the step of the constraint that no pixel is negative."""
    sign = torch.clamp(state.sign + sigma * ahead, max=0)
    sign = state.sign + RELAXATION * state.active * (sign - state.sign)
    return _State(
        image, dual, sign, active, state.done + 1, state.coefficient, state.pull, state.weight, state.step, state.change
    )


def _differences(ahead: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences with a zero before the first and after the last: (b, n + 1, n) and (b, n, n + 1)."""
    return pad(ahead.diff(dim=1), (0, 0, 1, 1)), pad(ahead.diff(dim=2), (1, 1))


def _shrunk(p: Tensor, q: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    factor = weight / torch.maximum(torch.sqrt(p * p + q * q), weight)
    return p * factor, q * factor


def _isotropic(state: _State, hadamard: Tensor) -> _State:
    p, q = state.dual
    above, left = pad(p, (0, 0, 1, 0)), pad(q, (1, 0))
    image, ahead, active = _step_of_image(state, above.diff(dim=1) + left.diff(dim=2), hadamard)
    down, along = _differences(ahead)
    sigma, moving = 1 / (9 * state.step), RELAXATION * state.active
    a, b = _shrunk(p + sigma * down[:, 1:], q + sigma * along[:, :, 1:], state.weight)
    dual = torch.stack([p + moving * (a - p), q + moving * (b - q)])
    return _after(state, image, ahead, dual, sigma, active)


def _symmetric(state: _State, hadamard: Tensor) -> _State:
    """The mean of four isotropic variations: down or up (first) with right or left."""
    pairs = state.dual.unflatten(0, (4, 2))
    rows, columns = pairs[:, 0], pairs[:, 1]
    down = pad(rows[0] + rows[1], (0, 0, 1, 0)) + pad(rows[2] + rows[3], (0, 0, 0, 1))
    along = pad(columns[0] + columns[2], (1, 0)) + pad(columns[1] + columns[3], (0, 1))
    image, ahead, active = _step_of_image(state, down.diff(dim=1) + along.diff(dim=2), hadamard)
    down, along = _differences(ahead)
    below, above, right, left = down[:, 1:], down[:, :-1], along[:, :, 1:], along[:, :, :-1]
    sigma, moving = 1 / (33 * state.step), RELAXATION * state.active
    p = rows + sigma * torch.stack([below, below, above, above])
    q = columns + sigma * torch.stack([right, left, right, left])
    p, q = _shrunk(p, q, state.weight / 4)
    dual = torch.stack([rows + moving * (p - rows), columns + moving * (q - columns)], dim=1).flatten(0, 1)
    return _after(state, image, ahead, dual, sigma, active)


# ---------------------------------------------------------------- on a graphics card


class _Recording:
    """A block of iterations, recorded for tensors that stay where they are."""

    def __init__(self, like: _State, norm: Norm, hadamard: Tensor) -> None:
        iterate = _compile_iteration(norm)
        self.state = _State(*(tensor.clone() for tensor in like.tensors()))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            _repeat(iterate, self.state, hadamard)  # compiles; what is recorded must have run before
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._keep(_repeat(iterate, self.state, hadamard))

    def _keep(self, state: _State) -> None:
        for kept, new in zip(self.state.tensors(), state.tensors(), strict=True):
            if kept is not new:
                kept.copy_(new)

    def replay(self, state: _State) -> _State:
        self._keep(state)
        self.graph.replay()
        return self.state


_RECORDINGS: dict[tuple[torch.Size, Norm, torch.device], _Recording] = {}


@cache
def _compile_iteration(norm: Norm) -> Callable[[_State, Tensor], _State]:
    compiled: Callable[[_State, Tensor], _State]
    compiled = torch.compile(_symmetric if norm == "symmetric" else _isotropic, dynamic=True)
    return compiled


def _replay(state: _State, norm: Norm, hadamard: Tensor) -> _State:
    key = (state.image.shape, norm, state.image.device)
    if key not in _RECORDINGS:
        _RECORDINGS[key] = _Recording(state, norm, hadamard)
    return _RECORDINGS[key].replay(state)


@lru_cache(maxsize=16)
def _hadamard(size: int, device: torch.device) -> Tensor:
    """Orthonormal, (n, n)."""
    return torch.tensor(hadamard_matrix(size), dtype=torch.float32, device=device) / size**0.5


# ---------------------------------------------------------------- the weight


def batched_importance(measured: Tensor, variance: Tensor) -> Tensor:
    """`primal_dual.importance_of` for a batch, (b, n, n).

    Parameters
    ----------
    measured : Tensor, shape (b, n, n)
        1 or 0.
    variance : Tensor, shape (b, n, n)
        Of each coefficient; any number where not measured.
    """
    mean = (variance * measured).sum(dim=(1, 2), keepdim=True) / measured.sum(dim=(1, 2), keepdim=True)
    relative = mean / torch.maximum(variance, MIN_VARIANCE * mean).clamp(min=torch.finfo(mean.dtype).tiny)
    return torch.where(mean > 0, measured * relative, measured)


def batched_weight(sigma: Tensor, image: Tensor, measured: Tensor) -> Tensor:
    """`primal_dual.weight_by_law` for images with a standard deviation of 1, shape (b,).

    Parameters
    ----------
    sigma : Tensor, shape (b,)
        One standard deviation of a coefficient.
    image : Tensor, shape (b, n, n)
        Made with `INITIAL_WEIGHT_IN_SIGMA`.
    measured : Tensor, shape (b, n, n)
        1 or 0.
    """
    count = measured.sum(dim=(1, 2))
    rms = image.shape[-1] / (count - 1).clamp(min=1).sqrt()  # as the sum of their squares is n^2
    down, along = pad(image.diff(dim=1), (0, 0, 0, 1)), pad(image.diff(dim=2), (0, 1))
    gradient = torch.hypot(down, along).mean(dim=(1, 2))
    steepness = (gradient / sigma).clamp(min=MIN_STEEPNESS)
    a, b, c, d = LAW
    fraction = count / measured[0].numel()
    in_sigma = torch.exp(a + b * torch.log(steepness) + c * torch.log(sigma / rms) + d * torch.log(fraction))
    return torch.where(sigma > 0, in_sigma.clamp(*WEIGHT_RANGE), INITIAL_WEIGHT_IN_SIGMA) * sigma
