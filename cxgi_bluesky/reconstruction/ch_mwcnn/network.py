"""The network of CH-MWCNN: a compressed Hadamard set inside a multi-level wavelet CNN.

The paper gives the idea but not the layers. Ours: signed coefficients, one gain each, adjoint
transform; and a few unrolled passes of a U-Net whose pooling is the wavelet transform and whose
un-pooling is its inverse (MWCNN, Liu et al. 2018), whose initial image is one by total variation and
see that and the adjoint's image all along. Before and after each pass the measured coefficients are
pulled back towards their measured values with weight a / (a + sigma^2), where a is learned; what the
masks' errors have in common is found from the residuals. One more, smaller U-Net estimates how far each
pixel may be off. Everything works on images of zero mean and unit measured standard deviation, so the
network is blind to the unit of the buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import FileFormatError
from .inputs import NetworkInput, initial_images
from .layers import CPU, OCTAVES, CompressedHadamard, DataConsistency, dwt2, idwt2, sampling_summary

POSITION_MAPS = 4  # maps of where a pixel lies in the squares of half and quarter the field


def _draw_weights(distribution: Callable[..., Tensor], weight: Tensor, **options: Any) -> None:
    """Draw weights, unless they are on device "meta" and hold none: torch would import its compiler, seconds."""
    if not weight.is_meta:
        distribution(weight, **options)


class _Convolution(nn.Conv2d):
    """Like its base, which on device "meta" takes most of its time for weights that it cannot draw."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


def _convolution(inside: int, outside: int) -> nn.Conv2d:
    layer = _Convolution(inside, outside, 3, padding=1)
    _draw_weights(nn.init.kaiming_normal_, layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        _draw_weights(nn.init.zeros_, layer.bias)
    return layer


def _block(*widths: int, last_activation: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [_convolution(inside, outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*(layers if last_activation else layers[:-1]))


@lru_cache(maxsize=16)
def position_maps(size: int, device: torch.device = CPU) -> Tensor:
    """Distance to the nearest border of the squares of n/2 and n/4 pixels, down and across, (1, PLACES, n, n), -1..1.

    The patterns jump at these borders, so the errors of a compressed set are strongest there; convolutions do not
    know where they are.

    Parameters
    ----------
    size : int
        Pixels per side n.
    device : torch.device, optional
        Where they are wanted; the CPU by default.
    """
    with torch.inference_mode(False):
        axis = (torch.arange(size, dtype=torch.float32) + 0.5) / size
        waves = [1 - 4 * ((axis * parts) % 1 - 0.5).abs() for parts in (2, 4)]
        down, across = ([w[:, None].expand(size, size) for w in waves], [w[None, :].expand(size, size) for w in waves])
        return torch.stack([*down, *across])[None].contiguous().to(device)


class _Residual(nn.Module):
    """Two convolutions whose result is added to what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(_convolution(width, width), nn.ReLU(inplace=True), _convolution(width, width))
        _draw_weights(nn.init.normal_, cast(nn.Conv2d, self.convolutions[-1]).weight, std=1e-3)

    def forward(self, features: Tensor) -> Tensor:
        return features + cast(Tensor, self.convolutions(features))


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
    blocks : int, optional
        Residual blocks beside the other convolutions, down and up at each level and at the bottom; 0 by default.
    memory : int, optional
        Features of the first level that an earlier pass hands on; 0 by default.
    """

    def __init__(
        self,
        wavelet: str,
        widths: tuple[int, int, int],
        *,
        channels: int,
        constants: int,
        conditions: int,
        blocks: int = 0,
        memory: int = 0,
    ) -> None:
        super().__init__()
        w1, w2, w3 = self.widths = widths
        self.wavelet, self.memory = wavelet, memory
        self.down1 = _block(4 * channels + constants + POSITION_MAPS + memory, w1, w1)
        self.down2 = _block(4 * w1, w2, w2)
        self.bottom = _block(4 * w2, w3, w3, w3, 4 * w2, last_activation=False)
        self.up2 = _block(w2, w2, 4 * w1, last_activation=False)
        self.up1 = _block(w1, w1, 4, last_activation=False)
        for number in range(blocks):
            for layers, width, position in (
                (self.down1, w1, len(self.down1)),
                (self.down2, w2, len(self.down2)),
                (self.bottom, w3, len(self.bottom) - 1),
                (self.up2, w2, number),
                (self.up1, w1, number),
            ):
                layers.insert(position, _Residual(width))
        self.modulation = nn.Linear(conditions, 2 * sum(widths))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        for head in (self.bottom[-1], self.up2[-1], self.up1[-1]):
            # start near the identity: an untrained pass changes little
            _draw_weights(nn.init.normal_, cast(nn.Conv2d, head).weight, std=1e-3)

    def forward(
        self, images: Tensor, constants: Tensor, conditions: Tensor, remembered: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What to add to an image, (b, 1, n, n), and the features of the first level, (b, w1, n / 2, n / 2).

        Parameters
        ----------
        images : Tensor, shape (b, channels, n, n)
            Images that go in; n a multiple of 8.
        constants : Tensor, shape (b, constants)
            Numbers that go in as constant maps.
        conditions : Tensor, shape (b, conditions)
            What moves and scales the features of each level.
        remembered : Tensor, shape (b, memory, n / 2, n / 2), optional
            What an earlier pass handed on; by default, for the first one, zeros.
        """
        half = images.shape[-1] // 2
        maps = constants[:, :, None, None].expand(-1, -1, half, half)
        positions = position_maps(half, images.device).expand(len(images), -1, -1, -1)
        first, second, third = self.modulation(conditions)[:, :, None, None].split([2 * w for w in self.widths], dim=1)
        given = torch.cat([dwt2(images, self.wavelet), maps, positions], dim=1)
        if self.memory:
            empty = given.new_zeros((len(images), self.memory, half, half))
            given = torch.cat([given, empty if remembered is None else remembered.to(given.dtype)], dim=1)
        level1 = self._stage(self.down1, self._as_weights(given), first)
        level2 = self._stage(self.down2, self._as_weights(dwt2(level1, self.wavelet)), second)
        bottom = self._stage(self.bottom, self._as_weights(dwt2(level2, self.wavelet)), third)
        level2 = self._as_weights(level2 + idwt2(bottom, self.wavelet))
        level1 = self._as_weights(level1 + idwt2(self.up2(level2), self.wavelet))
        return idwt2(self.up1(level1), self.wavelet), level1

    def for_running(self) -> None:
        """Convolutions as they run fastest from now on; in bfloat16, good enough for what is added to an image, where
        the processor has it.
        """
        precision = torch.bfloat16 if processor_has_bfloat16() else torch.float32
        for block in (self.down1, self.down2, self.bottom, self.up2, self.up1):
            for parameter in block.parameters():
                kept = torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
                parameter.data = parameter.data.to(precision, memory_format=kept)

    def _as_weights(self, features: Tensor) -> Tensor:
        """In the precision and the order of memory of the convolutions' weights."""
        weight = cast(nn.Conv2d, self.down1[0]).weight
        kept = torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else torch.preserve_format
        return features.to(weight.dtype, memory_format=kept)

    @staticmethod
    def _stage(layers: nn.Sequential, features: Tensor, modulation: Tensor) -> Tensor:
        """The block, its first layer's features scaled and moved by the conditions."""
        scale, shift = modulation.to(features.dtype).chunk(2, dim=1)
        first, *others = layers  # a slice would build a new module each time
        features = first(features) * (1 + scale) + shift
        for layer in others:
            features = layer(features)
        return features


# ---------------------------------------------------------------- network


CONSTANTS = 3  # noise level, sampling fraction, level of zero intensity
CONDITIONS = CONSTANTS + 2 + OCTAVES**2
MAX_WIDTH, MAX_PASSES = 4096, 64  # more is a slip of whoever wrote it
MAX_NOISE = 4.0  # of what the network is given, in standard deviations of the image


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; stored beside the weights.

    Attributes
    ----------
    wavelet : str
    widths : (int, int, int)
        Of the three levels of a pass.
    passes : int
        Passes with weights of their own.
    repeats : int
        How often the passes are gone through.
    blocks : int
        Residual blocks of each level of a pass.
    memory : bool
        Whether a pass hands the features of its first level on to the next.
    sigma_widths : (int, int, int)
        As `widths`, of the U-Net of the uncertainty.
    """

    wavelet: str = "haar"
    widths: tuple[int, int, int] = (32, 48, 64)
    passes: int = 3
    sigma_widths: tuple[int, int, int] = (16, 24, 32)
    repeats: int = 1
    blocks: int = 0
    memory: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Rebuild from `to_dict`.

        Raises
        ------
        CxgiError
            If a value is missing, unknown, of another kind or absurdly large.
        """
        try:
            unknown = set(values) - {f.name for f in fields(cls)}
            if unknown:
                raise ValueError(f"{min(map(str, unknown))} is unknown")
            widths, sigma_widths = (_three(values[name]) for name in ("widths", "sigma_widths"))
            return cls(
                _text(values["wavelet"]),
                widths,
                _whole(values["passes"], MAX_PASSES),
                sigma_widths,
                _whole(values.get("repeats", 1), MAX_PASSES),
                _whole(values.get("blocks", 0), MAX_PASSES, least=0),
                bool(values.get("memory", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"network configuration {values!r} is incomplete or wrong ({error})") from error


def _three(widths: Any) -> tuple[int, int, int]:
    first, second, third = (_whole(width, MAX_WIDTH) for width in widths)
    return first, second, third


def _whole(value: Any, most: int, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")
    return value


def _text(value: Any) -> str:
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
        memory = c.widths[0] if c.memory else 0
        self.passes = nn.ModuleList(
            WaveletUNet(c.wavelet, c.widths, **inputs, blocks=c.blocks, memory=memory) for _ in range(c.passes)
        )
        self.consistency = nn.ModuleList(DataConsistency() for _ in range(c.passes * c.repeats + 1))
        # its name, like those of the others, is a key of the weights file
        self.doubt = WaveletUNet(c.wavelet, c.sigma_widths, **inputs)

    def forward(
        self, given: NetworkInput, initial: Tensor | None = None, *, with_sigma: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Normalised measurements to the normalised image and, if asked for, log sigma, each (b, 1, n, n).

        Parameters
        ----------
        given : NetworkInput
            The normalised measurements.
        initial : Tensor, shape (b, 1, n, n), optional
            Images of `initial_images`, if they are known already; by default they are made here.
        with_sigma : bool, optional
            Whether log sigma is asked for; False by default, and None is given in its place.
        """
        initial = initial_images(given) if initial is None else initial
        start = self.first(given)
        constants, conditions = _conditions_of(given)
        correction = self.consistency[0](initial, given)
        image = initial + correction
        remembered = None
        for unet, consistency in zip([*self.passes] * self.config.repeats, self.consistency[1:], strict=True):
            seen = torch.cat([image, start, correction, initial], dim=1)
            added, remembered = unet(seen, constants, conditions, remembered)
            image = image + added.float()
            correction = consistency(image, given)
            image = image + correction
        if not with_sigma:
            return image, None
        seen = torch.cat([image, start, correction, initial], dim=1)
        # detached: the image must not bend to its own uncertainty
        return image, self.doubt(seen.detach(), constants, conditions)[0].float() - 1

    def for_running(self) -> CHMWCNN:
        """Itself, not trained any more, its convolutions as they run fastest."""
        for unet in (*self.passes, self.doubt):
            cast(WaveletUNet, unet).for_running()
        return self.eval().requires_grad_(False)

    def in_its_unit(self, given: NetworkInput, initial: Tensor | None = None) -> Tensor:
        """The image in the unit of the measurement, (b, 1, n, n).

        Parameters
        ----------
        given : NetworkInput
            The normalised measurements.
        initial : Tensor, shape (b, 1, n, n), optional
            As for `forward`.
        """
        image, _ = self(given, initial)
        return cast(Tensor, image * given.deviation + given.mean)


def noise_level(given: NetworkInput) -> Tensor:
    """Rms sigma of the measured coefficients in standard deviations of the image, shape (b,)."""
    m = given.measured
    return torch.sqrt((given.variance * m).sum(dim=(1, 2, 3)) / m.sum(dim=(1, 2, 3)))


def processor_has_bfloat16() -> bool:
    """Whether products of bfloat16 are an instruction; where they are emulated they take longer than others."""
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # there is no public question
    return asked is not None and bool(asked())


def _conditions_of(given: NetworkInput) -> tuple[Tensor, Tensor]:
    """What every pass is given beside the images: noise, fraction, zero level; and masks and sampling in detail."""
    m, noise = given.measured, noise_level(given)
    constants = torch.stack(
        [noise.clamp(max=MAX_NOISE), m.mean(dim=(1, 2, 3)), given.zero_level.clamp(-8, 8) / 4], dim=1
    )
    more = torch.stack([torch.log10(noise.clamp(1e-3, MAX_NOISE)), given.mask_uncertainty], dim=1)
    return constants, torch.cat([constants, more, sampling_summary(m)], dim=1)
