"""The scale of the network's uncertainty, image by image: what held-back patterns show that the network cannot know.

How large an image's errors are depends on its object, most of which was never measured. The network guesses it from
one look at the data. More can be asked of them: without an eighth of the patterns, how far do the images miss those,
and how much do they change? A law of four logarithms, fitted at the end of the training
(`training.losses`), turns the answer into a factor of the whole image's sigma; which pixels are most
uncertain stays with the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import MeasurementError
from ..error_model.noise import MIN_PATTERNS
from .inputs import NetworkInput, finite_level, initial_images, join, normalize
from .layers import orthonormal_hadamard
from .network import CHMWCNN, noise_level

_DRAWS = 6
_SHARE = 8  # one of so many patterns is held back
_LOW = 0.3  # quantile of the changes: few pixels at edges do not speak for the whole
_MIN_LENGTH = 1e-3  # of sigma: a length that vanishes says no more than one that is so small


@dataclass(frozen=True)
class SigmaLaw:
    """ln factor = constant + sum of coefficient * evidence, kept between `least` and `most`."""

    constant: float
    residual: float
    change: float
    contrast: float
    noise: float
    least: float
    most: float

    def to_dict(self) -> dict[str, float]:
        """For the model card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> SigmaLaw:
        """From a model card.

        Raises
        ------
        CxgiError
            If a number is missing or is none.
        """
        try:
            law = cls(**{name: float(value) for name, value in values.items()})
        except (AttributeError, TypeError, ValueError) as error:
            raise MeasurementError(f"sigma_law {values!r} of the weights' card is no law of sigma ({error})") from error
        if not all(np.isfinite(value) for value in asdict(law).values()):
            raise MeasurementError(f"sigma_law {values!r} of the weights' card has numbers that are not finite")
        return law

    def log_factors(self, found: Tensor) -> Tensor:
        """Of `evidence`, (..., 4) to (...)."""
        slopes = found.new_tensor([self.residual, self.change, self.contrast, self.noise])
        return (self.constant + found @ slopes).clamp(self.least, self.most)


def evidence(network: CHMWCNN, given: NetworkInput, initial: Tensor, image: Tensor, log_sigma: Tensor) -> Tensor:
    """Logarithms of four lengths in rms sigmas of each image, (b, 4).

    Residual: rms miss of the patterns held back. Change: what 30 % of the pixels of the images without them stay
    below, each in its own sigma. Contrast: standard deviation of the image. Noise: sigma of a coefficient.

    Parameters
    ----------
    network : CHMWCNN
    given : NetworkInput
        Measurements of b images.
    initial, image, log_sigma : Tensor, shape (b, 1, n, n)
        Of all that was measured, normalised.
    """
    sigma = torch.exp(log_sigma)
    whole = sigma.square().mean(dim=(1, 2, 3)).sqrt()
    held = torch.stack([_draw_masks(one) for one in given.measured], dim=1)  # (draws, b, 1, n, n)
    level = finite_level(given)[:, None, None, None]
    kept = join([_without(given, one) for one in held])
    starts = initial_images(kept, (initial + level).repeat(_DRAWS, 1, 1, 1))
    images = network.in_its_unit(kept, starts).unflatten(0, (_DRAWS, -1)) - level
    missed = held * (orthonormal_hadamard(images) - given.coefficients)
    residual = (missed.square().sum(dim=(0, 2, 3, 4)) / held.sum(dim=(0, 2, 3, 4))).sqrt()
    changes = ((images - image).abs() / sigma).transpose(0, 1).flatten(1)
    change = torch.quantile(changes, _LOW, dim=1)
    contrast = image.std(dim=(1, 2, 3))
    lengths = torch.stack([residual / whole, change, contrast / whole, noise_level(given) / whole], dim=1)
    return torch.log(lengths.clamp(min=_MIN_LENGTH))


def enough_patterns(given: NetworkInput) -> Tensor:
    """Which images have enough to hold some back, (b,)."""
    return given.measured.sum(dim=(1, 2, 3)) >= MIN_PATTERNS


def log_sigma_to_scale(
    law: SigmaLaw | None, network: CHMWCNN, given: NetworkInput, initial: Tensor, image: Tensor, log_sigma: Tensor
) -> Tensor:
    """log sigma with the scale that the law gives it; as it is without a law, or of too few patterns.

    Parameters
    ----------
    law : SigmaLaw or None
    network : CHMWCNN
    given : NetworkInput
        A batch of b measurements.
    initial : Tensor, shape (b, 1, n, n)
        Images of `initial_images`, normalised.
    image, log_sigma : Tensor, shape (b, 1, n, n)
        What the network made of them, normalised.

    Returns
    -------
    Tensor, shape (b, 1, n, n)
    """
    if law is None:
        return log_sigma
    scaled = log_sigma.clone()
    rows = torch.nonzero(enough_patterns(given))[:, 0]
    if len(rows):
        found = evidence(network, given.part(rows), initial[rows], image[rows], log_sigma[rows])
        scaled[rows] += law.log_factors(found)[:, None, None, None]
    return scaled


def _draw_masks(measured: Tensor) -> Tensor:
    """Masks of an eighth of the patterns (never k = 0), (draws, 1, n, n); the same ones for the same scan."""
    candidates = np.flatnonzero(measured.cpu().numpy().ravel())[1:]  # (1, n, n)
    rng, count = np.random.default_rng(0), max(1, len(candidates) // _SHARE)
    held = np.zeros((_DRAWS, measured.numel()), np.float32)
    for row in held:
        row[rng.choice(candidates, count, replace=False)] = 1
    return torch.from_numpy(held).reshape(_DRAWS, *measured.shape).to(measured.device)


def _without(given: NetworkInput, held: Tensor) -> NetworkInput:
    """The measurement without some patterns, in the normalised unit of the whole."""
    coefficients = given.coefficients.clone()
    coefficients[..., 0, 0] = finite_level(given)[:, None] * coefficients.shape[-1]
    kept = given.measured * (1 - held)
    return normalize(coefficients, kept, given.variance, mask_uncertainty=given.mask_uncertainty)
