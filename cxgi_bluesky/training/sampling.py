"""Which patterns a simulated scan has measured, and in which order: every order that people use, and mixtures."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..masks.orders import ranking, sequency_grid
from .config import MIN_PATTERNS, SamplingConfig

_ORDERS = ("cake-cutting", "zig-zag", "russian-dolls")
_UNORDERED_SHARE = 0.05  # of the scans: natural order or plainly random
_JITTERED_SHARE = 0.5
_JITTER = (0.015, 0.3)  # of the key's range; zig-zag's and learned density lie at about 0.07 to 0.12
_KEPT = 1 / 64  # of all patterns, which variable density takes for certain half the time


class Selection(NamedTuple):
    """Patterns of a batch of scans.

    Attributes
    ----------
    measured : Tensor, shape (b, 1, n, n)
        1 or 0.
    rank : Tensor of int64, shape (b, 1, n, n)
        Place in the scan; beyond all measured ones where not measured.
    """

    measured: Tensor
    rank: Tensor


def random_fractions(generator: torch.Generator, batch: int, size: int, config: SamplingConfig) -> Tensor:
    """Sampling fractions, shape (batch,).

    Parameters
    ----------
    generator : torch.Generator
    batch : int
        Scans.
    size : int
        Pixels per side n: a fraction of 1 is n * n patterns.
    config : SamplingConfig
    """
    low, high = (math.log(f) for f in config.fraction)
    fraction = torch.exp(low + (high - low) * torch.rand(batch, generator=generator))
    luck = torch.rand(batch, generator=generator)
    fraction = torch.where(luck < config.usual_share, torch.full_like(fraction, config.usual), fraction)
    whole = (luck >= config.usual_share) & (luck < config.usual_share + config.whole_share)
    fraction = torch.where(whole, torch.ones_like(fraction), fraction)
    shortest = min(math.log(config.shortest / size**2), low)
    short = torch.exp(shortest + (low - shortest) * torch.rand(batch, generator=generator))
    return torch.where(luck > 1 - config.short_share, short, fraction)


def random_selection(
    generator: torch.Generator, size: int, fraction: Tensor, available: Tensor | None = None
) -> Selection:
    """Random but sensible choices of patterns.

    Each scan ranks the patterns by a mixture of the keys of cake-cutting, zig-zag and russian dolls, half of them with
    jitter (variable density), so that the network meets no single order only.

    Parameters
    ----------
    generator : torch.Generator
    size : int
    fraction : Tensor, shape (b,)
    available : Tensor of int64, shape (M,), optional
        Patterns that can be measured, k = 0 among them; by default all. k = 0 is always measured.
    """
    batch, keys = len(fraction), _keys(size)
    if available is not None:
        keys = keys[:, available]
    key = _mixture(generator, batch) @ keys
    jitter = _jitter(generator, batch)
    uniform = torch.rand(key.shape, generator=generator, dtype=torch.float64)
    certain = torch.rand(batch, generator=generator) < 0.5
    unordered = torch.rand(batch, generator=generator)
    kept = int(size * size * _KEPT)
    for row, order in enumerate(key):
        if unordered[row] < _UNORDERED_SHARE / 2:
            order.copy_(torch.arange(len(order)))
        elif unordered[row] < _UNORDERED_SHARE:
            order.copy_(uniform[row])
        elif jitter[row] > 0:
            first = order.kthvalue(kept).values if certain[row] and 0 < kept < len(order) else -math.inf
            luck = order - jitter[row] * torch.log(-torch.log(uniform[row].clamp(1e-300, 1 - 1e-16)))
            order.copy_(torch.where(order <= first, order - 10, luck))
    key[:, 0 if available is None else int((available == 0).nonzero())] = -math.inf
    return _first_of(key, fraction, size, available)


def _mixture(generator: torch.Generator, batch: int) -> Tensor:
    """Share of each order in the key of each scan, half of them of one order alone, (b, 3)."""
    mixture = torch.rand(batch, 3, generator=generator) ** 2 * torch.tensor([1.0, 1.0, 0.3])
    pure = torch.multinomial(torch.tensor([0.45, 0.45, 0.1]), batch, True, generator=generator)
    alone = torch.nn.functional.one_hot(pure, 3).float()
    mixture = torch.where(torch.rand(batch, 1, generator=generator) < 0.5, alone, mixture).double()
    return mixture / mixture.sum(dim=1, keepdim=True)


def _jitter(generator: torch.Generator, batch: int) -> Tensor:
    low, high = (math.log(j) for j in _JITTER)
    jitter = torch.exp(low + (high - low) * torch.rand(batch, generator=generator))
    return jitter * (torch.rand(batch, generator=generator) < _JITTERED_SHARE)


def _first_of(key: Tensor, fraction: Tensor, size: int, available: Tensor | None) -> Selection:
    """The patterns of the lowest keys; numpy sorts several times as fast, and no two keys are equal."""
    batch, most = key.shape
    count = (fraction * size * size).round().clamp(min=MIN_PATTERNS, max=most).long()
    order = torch.from_numpy(np.argsort(key.numpy(), axis=1))
    if available is not None:
        order = available[order]
    place = torch.arange(most).expand(batch, -1)
    rank = torch.full((batch, size * size), size * size - 1).scatter_(1, order, place)
    measured = torch.zeros(batch, size * size).scatter_(1, order, (place < count[:, None]).float())
    shape = (batch, 1, size, size)
    return Selection(measured.reshape(shape), rank.reshape(shape))


@lru_cache(maxsize=8)
def _keys(size: int) -> Tensor:
    """Keys of cake-cutting, zig-zag and russian dolls, 0..1, shape (3, N), float64.

    Ties are broken by each order's own rule, in steps too small to matter in a mixture.
    """
    u, v = sequency_grid(size)
    product, total = np.log1p(u) + np.log1p(v), np.log1p(u + v)
    level = np.ceil(np.log2(np.maximum(u, v) + 1)) + 0.1 * product / product.max()
    keys = np.stack([key / key.max() for key in (product, total, level)])
    for key, name in zip(keys, _ORDERS, strict=True):
        ranked = ranking(name, size)
        key[ranked] = np.maximum.accumulate(key[ranked]) + np.linspace(0, 1e-9, len(ranked))
    return torch.from_numpy(keys)
