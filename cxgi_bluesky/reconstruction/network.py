"""The network of CH-MWCNN: a compressed Hadamard set inside a multi-level wavelet CNN.

The paper gives the idea but not the layers. Ours: signed coefficients, one gain each, adjoint
transform; and a few unrolled passes of a U-Net whose pooling is the wavelet transform and whose
un-pooling is its inverse (MWCNN, Liu et al. 2018), which begin with a picture by total variation and
see that and the adjoint's picture all along. Before and after each pass the measured coefficients are
pulled back towards their measured values with weight a / (a + sigma^2), where a is learned; what the
masks' errors have in common is told from the residuals. One more, smaller U-Net says how far each
pixel may be off. Everything works on images of zero mean and unit measured standard deviation, so the
network is blind to the unit of the buckets.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import CxgiError
from .hadamard_layers import OCTAVES, CompressedHadamard, DataConsistency, sampling_summary
from .network_input import NetworkInput
from .trial_picture import trial_pictures
from .unet import WaveletUNet

CONSTANTS = 3  # noise level, sampling fraction, level of zero intensity
CONDITIONS = CONSTANTS + 2 + OCTAVES**2
LARGEST_WIDTH, MOST_PASSES = 4096, 64  # more is a slip of whoever wrote it
LARGEST_NOISE = 4.0  # of what the network is told, in standard deviations of the image


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; stored beside the weights."""

    wavelet: str = "haar"
    widths: tuple[int, int, int] = (32, 48, 64)
    passes: int = 3
    sigma_widths: tuple[int, int, int] = (16, 24, 32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> NetworkConfig:
        """Rebuild from `to_dict`.

        Raises
        ------
        CxgiError
            If a value is missing, unknown, of another kind or absurdly large.
        """
        try:
            unknown = set(words) - {f.name for f in fields(cls)}
            if unknown:
                raise ValueError(f"{min(map(str, unknown))} is unknown")
            widths, sigma_widths = (_three(words[name]) for name in ("widths", "sigma_widths"))
            return cls(_word(words["wavelet"]), widths, _whole(words["passes"], MOST_PASSES), sigma_widths)
        except (KeyError, TypeError, ValueError) as error:
            raise CxgiError(f"network configuration {words!r} is incomplete or wrong ({error})") from error


def _three(widths: Any) -> tuple[int, int, int]:
    first, second, third = (_whole(width, LARGEST_WIDTH) for width in widths)
    return first, second, third


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{value!r} is no whole number from 1 to {most}")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no word")
    return value


class CHMWCNN(nn.Module):
    """Compressed Hadamard set, then unrolled wavelet U-Nets with data consistency between them."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or NetworkConfig()
        inputs = {"channels": 4, "constants": CONSTANTS, "conditions": CONDITIONS}
        self.first = CompressedHadamard()
        self.passes = nn.ModuleList(WaveletUNet(c.wavelet, c.widths, **inputs) for _ in range(c.passes))
        self.consistency = nn.ModuleList(DataConsistency() for _ in range(c.passes + 1))
        self.doubt = WaveletUNet(c.wavelet, c.sigma_widths, **inputs)

    def forward(
        self, given: NetworkInput, trial: Tensor | None = None, *, with_sigma: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Normalised measurements to the normalised image and, if asked for, log sigma, each (b, 1, n, n).

        `trial` are the pictures of `trial_pictures`, if they are known already.
        """
        trial = trial_pictures(given) if trial is None else trial
        start = self.first(given)
        constants, conditions = _told(given)
        correction = self.consistency[0](trial, given)
        image = trial + correction
        for unet, consistency in zip(self.passes, self.consistency[1:], strict=True):
            seen = torch.cat([image, start, correction, trial], dim=1)
            image = image + unet(seen, constants, conditions).float()
            correction = consistency(image, given)
            image = image + correction
        if not with_sigma:
            return image, None
        seen = torch.cat([image, start, correction, trial], dim=1)
        # detached: the picture must not bend to its own doubt
        return image, self.doubt(seen.detach(), constants, conditions).float() - 1

    def for_running(self) -> CHMWCNN:
        """A copy that is not trained any more: its convolutions in half precision where the processor has it."""
        copied = copy.deepcopy(self).eval().requires_grad_(False)
        if processor_has_bfloat16():
            for unet in (*copied.passes, copied.doubt):
                cast(WaveletUNet, unet).in_half_precision()
        return copied

    def in_its_unit(self, given: NetworkInput, trial: Tensor | None = None) -> Tensor:
        """The image in the unit of the measurement, (b, 1, n, n)."""
        image, _ = self(given, trial)
        return cast(Tensor, image * given.deviation + given.mean)


def noise_level(given: NetworkInput) -> Tensor:
    """Rms sigma of the measured coefficients in standard deviations of the image, shape (b,)."""
    m = given.measured
    return torch.sqrt((given.variance * m).sum(dim=(1, 2, 3)) / m.sum(dim=(1, 2, 3)))


def processor_has_bfloat16() -> bool:
    """Whether products of bfloat16 are an instruction; where they are emulated they take longer than others."""
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # there is no public question
    return asked is not None and bool(asked())


def _told(given: NetworkInput) -> tuple[Tensor, Tensor]:
    """What every pass is told beside the images: noise, fraction, zero level; and masks and sampling in detail."""
    m, noise = given.measured, noise_level(given)
    constants = torch.stack(
        [noise.clamp(max=LARGEST_NOISE), m.mean(dim=(1, 2, 3)), given.zero_level.clamp(-8, 8) / 4], dim=1
    )
    more = torch.stack([torch.log10(noise.clamp(1e-3, LARGEST_NOISE)), given.masks_doubted], dim=1)
    return constants, torch.cat([constants, more, sampling_summary(m)], dim=1)
