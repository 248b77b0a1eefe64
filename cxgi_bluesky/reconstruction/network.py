"""The network of CH-MWCNN: a compressed Hadamard set inside a multi-level wavelet CNN.

The paper gives the idea but not the layers. Ours: signed coefficients, one gain each, adjoint
transform, then a few unrolled passes of a U-Net whose pooling is the wavelet transform and whose
un-pooling is its inverse (MWCNN, Liu et al. 2018). After each pass the measured coefficients are
pulled back towards their measured values with weight a / (a + sigma^2), where a is learned.
Everything works on images of zero mean and unit measured standard deviation, so the network is
blind to the unit of the buckets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..errors import CxgiError
from ..patterns import hadamard_matrix, sequency
from .wavelets import dwt2, idwt2

LEVELS = 3
CONDITIONS = 3  # noise level, sampling fraction, level of zero intensity: one constant map each


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; stored beside the weights."""

    wavelet: str = "haar"
    widths: tuple[int, int, int] = (32, 48, 64)
    passes: int = 4

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> NetworkConfig:
        """Rebuild from `to_dict`."""
        try:
            first, second, third = words["widths"]
            return cls(words["wavelet"], (first, second, third), words["passes"])
        except (KeyError, TypeError, ValueError) as error:
            raise CxgiError(f"network configuration {words!r} is incomplete ({error})") from error


def orthonormal_hadamard(images: Tensor) -> Tensor:
    """2-D Walsh-Hadamard transform scaled to be orthonormal, (..., n, n); its own inverse."""
    size = images.shape[-1]
    matrix = torch.tensor(hadamard_matrix(size), dtype=images.dtype, device=images.device)
    with torch.autocast("cpu", enabled=False):
        return matrix @ images @ matrix / size


class Normalised(NamedTuple):
    """Coefficients of the image (x - mean) / deviation, and what is needed to undo that."""

    coefficients: Tensor
    variance: Tensor
    mean: Tensor
    deviation: Tensor


def normalise(coefficients: Tensor, measured: Tensor, variance: Tensor) -> Normalised:
    """Shift and scale by what was measured, so that the unit of the buckets does not matter.

    Parameters
    ----------
    coefficients, measured, variance : Tensor, shape (b, 1, n, n)
        Orthonormal coefficients (k = 0 measured), 1 or 0, and their variance.
    """
    size = coefficients.shape[-1]
    alternating = coefficients * measured
    mean = alternating[..., :1, :1] / size
    alternating[..., 0, 0] = 0
    deviation = alternating.square().sum(dim=(2, 3), keepdim=True).sqrt() / size
    deviation = deviation.clamp(min=torch.finfo(deviation.dtype).tiny ** 0.5)
    return Normalised(alternating / deviation, variance / deviation**2, mean, deviation)


def _convolution(inside: int, outside: int) -> nn.Conv2d:
    layer = nn.Conv2d(inside, outside, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _block(*widths: int, last_activation: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [_convolution(inside, outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*(layers if last_activation else layers[:-1]))


class WaveletUNet(nn.Module):
    """One pass: a residual U-Net over three wavelet levels, (b, 2 + CONDITIONS, n, n) to (b, 1, n, n)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        w1, w2, w3 = config.widths
        self.wavelet = config.wavelet
        self.down1 = _block(4 * 2 + CONDITIONS, w1, w1)
        self.down2 = _block(4 * w1, w2, w2)
        self.bottom = _block(4 * w2, w3, w3, w3, 4 * w2, last_activation=False)
        self.up2 = _block(w2, w2, 4 * w1, last_activation=False)
        self.up1 = _block(w1, w1, 4, last_activation=False)
        for head in (self.bottom[-1], self.up2[-1], self.up1[-1]):
            nn.init.normal_(
                cast(nn.Conv2d, head).weight, std=1e-3
            )  # start near the identity: an untrained pass changes little

    def forward(self, images: Tensor, conditions: Tensor) -> Tensor:
        """What to add to the first channel; `conditions` has shape (b, CONDITIONS)."""
        constants = conditions[:, :, None, None].expand(-1, -1, images.shape[-2] // 2, images.shape[-1] // 2)
        level1 = self.down1(torch.cat([dwt2(images, self.wavelet), constants], dim=1))
        level2 = self.down2(dwt2(level1, self.wavelet))
        bottom = self.bottom(dwt2(level2, self.wavelet))
        level2 = level2 + idwt2(bottom, self.wavelet)
        level1 = level1 + idwt2(self.up2(level2), self.wavelet)
        return idwt2(self.up1(level1), self.wavelet)


class CompressedHadamard(nn.Module):
    """First layer: the compressed pattern set, a gain per coefficient, and the adjoint transform.

    The gain P / (P + sigma^2) is a Wiener filter; the expected power P of a coefficient falls
    with its sequency (u, v) as a power law whose four numbers are learned, so that one set of
    weights serves every size and every choice of patterns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.law = nn.Parameter(torch.tensor([4.0, 1.5, 0.5]))  # log P = law . (1, -log(u+1)(v+1), -log(u+v+1))

    def forward(self, coefficients: Tensor, measured: Tensor, variance: Tensor) -> Tensor:
        """Orthonormal coefficients to a first image, (b, 1, n, n)."""
        size = coefficients.shape[-1]
        s = torch.as_tensor(sequency(size), dtype=coefficients.dtype)
        product = torch.log1p(s)[:, None] + torch.log1p(s)[None, :]
        total = torch.log1p(s[:, None] + s[None, :])
        power = torch.exp(self.law[0] - self.law[1] * product - self.law[2] * total)
        return orthonormal_hadamard(measured * coefficients * power / (power + variance))


class CHMWCNN(nn.Module):
    """Compressed Hadamard set, then unrolled wavelet U-Nets with data consistency between them."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.first = CompressedHadamard()
        self.passes = nn.ModuleList(WaveletUNet(self.config) for _ in range(self.config.passes))
        self.log_trust = nn.Parameter(torch.zeros(self.config.passes))

    def forward(self, coefficients: Tensor, measured: Tensor, variance: Tensor, zero_level: Tensor) -> Tensor:
        """Normalised measurements to the normalised image, (b, 1, n, n).

        Parameters
        ----------
        coefficients : Tensor, shape (b, 1, n, n)
            Orthonormal coefficients of the normalised image, anything where not measured.
        measured : Tensor, shape (b, 1, n, n)
            1 where a coefficient was measured, else 0.
        variance : Tensor, shape (b, 1, n, n)
            Variance of each coefficient, same unit squared.
        zero_level : Tensor, shape (b,)
            Mean over standard deviation of the image before it was normalised: where zero lies.
        """
        start = self.first(coefficients, measured, variance)
        noise = torch.sqrt((variance * measured).sum(dim=(1, 2, 3)) / measured.sum(dim=(1, 2, 3)))
        fraction = measured.mean(dim=(1, 2, 3))
        conditions = torch.stack([noise.clamp(max=4), fraction, zero_level.clamp(-8, 8) / 4], dim=1)
        image = start
        for unet, log_trust in zip(self.passes, self.log_trust, strict=True):
            image = image + unet(torch.cat([image, start], dim=1), conditions)
            trust = torch.exp(log_trust)
            weight = measured * trust / (trust + variance)
            image = image + orthonormal_hadamard(weight * (coefficients - orthonormal_hadamard(image)))
        return image
