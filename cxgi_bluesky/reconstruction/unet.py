"""The U-Net of MWCNN (Liu et al. 2018): pooling by the wavelet transform, un-pooling by its inverse."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from .wavelets import dwt2, idwt2

PLACES = 4  # maps that tell where a pixel lies in the squares of half and quarter the field


def _draw_weights(distribution: Callable[..., Tensor], weight: Tensor, **words: Any) -> None:
    """Draw weights, unless they are on device "meta" and hold none: torch would import its compiler, seconds."""
    if not weight.is_meta:
        distribution(weight, **words)


def _convolution(inside: int, outside: int) -> nn.Conv2d:
    layer = nn.Conv2d(inside, outside, 3, padding=1)
    _draw_weights(nn.init.kaiming_normal_, layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _block(*widths: int, last_activation: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [_convolution(inside, outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*(layers if last_activation else layers[:-1]))


@lru_cache(maxsize=8)
def place_maps(size: int) -> Tensor:
    """Distance to the nearest border of the squares of n/2 and n/4 pixels, down and across, (1, PLACES, n, n), -1..1.

    The patterns jump at these borders, so the errors of a compressed set are strongest there; convolutions do not
    know where they are.
    """
    with torch.inference_mode(False):
        axis = (torch.arange(size, dtype=torch.float32) + 0.5) / size
        waves = [1 - 4 * ((axis * parts) % 1 - 0.5).abs() for parts in (2, 4)]
        down, across = ([w[:, None].expand(size, size) for w in waves], [w[None, :].expand(size, size) for w in waves])
        return torch.stack([*down, *across])[None].contiguous()


class WaveletUNet(nn.Module):
    """A residual U-Net over three wavelet levels, (b, channels, n, n) to (b, 1, n, n).

    Parameters
    ----------
    wavelet : str
    widths : (int, int, int)
        Of the three levels.
    channels : int
        Images that go in.
    constants : int
        Numbers that go in beside them, as constant maps.
    conditions : int
        Length of the vector that moves and scales the features of each level.
    """

    def __init__(
        self, wavelet: str, widths: tuple[int, int, int], *, channels: int, constants: int, conditions: int
    ) -> None:
        super().__init__()
        w1, w2, w3 = self.widths = widths
        self.wavelet = wavelet
        self.down1 = _block(4 * channels + constants + PLACES, w1, w1)
        self.down2 = _block(4 * w1, w2, w2)
        self.bottom = _block(4 * w2, w3, w3, w3, 4 * w2, last_activation=False)
        self.up2 = _block(w2, w2, 4 * w1, last_activation=False)
        self.up1 = _block(w1, w1, 4, last_activation=False)
        self.modulation = nn.Linear(conditions, 2 * sum(widths))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        for head in (self.bottom[-1], self.up2[-1], self.up1[-1]):
            # start near the identity: an untrained pass changes little
            _draw_weights(nn.init.normal_, cast(nn.Conv2d, head).weight, std=1e-3)

    def forward(self, images: Tensor, constants: Tensor, conditions: Tensor) -> Tensor:
        """What to add to an image; constants (b, constants), conditions (b, conditions)."""
        half = images.shape[-1] // 2
        maps = constants[:, :, None, None].expand(-1, -1, half, half)
        places = place_maps(half).expand(len(images), -1, -1, -1)
        precision = cast(nn.Conv2d, self.down1[0]).weight.dtype
        modulation = self.modulation(conditions)[:, :, None, None].to(precision)
        first, second, third = modulation.split([2 * w for w in self.widths], dim=1)
        given = torch.cat([dwt2(images, self.wavelet), maps, places], dim=1)
        level1 = self._stage(self.down1, given.to(precision), first)
        level2 = self._stage(self.down2, dwt2(level1, self.wavelet).to(precision), second)
        bottom = self._stage(self.bottom, dwt2(level2, self.wavelet).to(precision), third)
        level2 = (level2 + idwt2(bottom, self.wavelet)).to(precision)  # transforms by a matrix give single precision
        level1 = (level1 + idwt2(self.up2(level2), self.wavelet)).to(precision)
        return idwt2(self.up1(level1), self.wavelet)

    def in_half_precision(self) -> None:
        """Convolutions in bfloat16 from now on: good enough for what is added to an image, and for running only."""
        for block in (self.down1, self.down2, self.bottom, self.up2, self.up1):
            for parameter in block.parameters():
                kept = torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
                parameter.data = parameter.data.to(torch.bfloat16, memory_format=kept)

    @staticmethod
    def _stage(layers: nn.Sequential, features: Tensor, modulation: Tensor) -> Tensor:
        """The block, its first layer's features scaled and moved by the conditions."""
        scale, shift = modulation.chunk(2, dim=1)
        first, *others = layers  # a slice would build a new module each time
        features = first(features) * (1 + scale) + shift
        for layer in others:
            features = layer(features)
        return features
