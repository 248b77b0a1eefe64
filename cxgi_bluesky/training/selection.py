"""Which patterns a simulated scan has measured, and in which order: every order that people use, and mixtures."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..orders import sequency
from .config import SamplingConfig

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
        Place in the scan.
    """

    measured: Tensor
    rank: Tensor


def random_fractions(generator: torch.Generator, batch: int, size: int, config: SamplingConfig) -> Tensor:
    """Sampling fractions, shape (batch,)."""
    low, high = (math.log(f) for f in config.fraction)
    fraction = torch.exp(low + (high - low) * torch.rand(batch, generator=generator))
    luck = torch.rand(batch, generator=generator)
    fraction = torch.where(luck < config.usual_share, torch.full_like(fraction, config.usual), fraction)
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
    available : Tensor of bool, shape (n * n,), optional
        Patterns that can be measured; by default all. k = 0 is always measured.
    """
    batch = len(fraction)
    keys = _keys(size)
    mixture = torch.rand(batch, 3, generator=generator) ** 2 * torch.tensor([1.0, 1.0, 0.3])
    pure = torch.nn.functional.one_hot(
        torch.multinomial(torch.tensor([0.45, 0.45, 0.1]), batch, True, generator=generator), 3
    ).float()
    mixture = torch.where(torch.rand(batch, 1, generator=generator) < 0.5, pure, mixture)
    key = (mixture / mixture.sum(dim=1, keepdim=True)) @ keys.flatten(1)
    low, high = (math.log(j) for j in _JITTER)
    jitter = torch.exp(low + (high - low) * torch.rand(batch, 1, generator=generator))
    jitter = jitter * (torch.rand(batch, 1, generator=generator) < _JITTERED_SHARE)
    uniform = torch.rand(batch, size * size, generator=generator).clamp(1e-9, 1 - 1e-9)
    kept = key.argsort(dim=1).argsort(dim=1) < size * size * _KEPT
    kept &= torch.rand(batch, 1, generator=generator) < 0.5
    jittered = key + jitter * -torch.log(-torch.log(uniform))
    key = torch.where(kept & (jitter > 0), key - 10, jittered)
    unordered = torch.rand(batch, 1, generator=generator)
    natural = torch.arange(size * size, dtype=torch.float32).expand(batch, -1)
    key = torch.where(
        unordered < _UNORDERED_SHARE, torch.where(unordered < _UNORDERED_SHARE / 2, natural, uniform), key
    )
    most = size * size
    if available is not None:
        key = torch.where(available, key, math.inf)
        most = int(available.sum())
    key[:, 0] = -math.inf
    rank = key.argsort(dim=1).argsort(dim=1)
    count = (fraction * size * size).round().clamp(min=8, max=most)[:, None]
    shape = (batch, 1, size, size)
    return Selection((rank < count).float().reshape(shape), rank.reshape(shape))


def _keys(size: int) -> Tensor:
    """Keys of cake-cutting, zig-zag and russian dolls, 0..1, shape (3, n, n)."""
    s = torch.as_tensor(sequency(size), dtype=torch.float32)
    product = torch.log1p(s)[:, None] + torch.log1p(s)[None, :]
    total = torch.log1p(s[:, None] + s[None, :])
    larger = torch.log1p(torch.maximum(s[:, None], s[None, :])).ceil() + 0.1 * product / product.max()
    return torch.stack([key / key.max() for key in (product, total, larger)])
