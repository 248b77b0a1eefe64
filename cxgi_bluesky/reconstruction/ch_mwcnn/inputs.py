"""What the network is given: coefficients of an image of zero mean and unit deviation, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """Measurements of a batch of b images, sizes n x n.

    Attributes
    ----------
    coefficients : Tensor, shape (b, 1, n, n)
        Orthonormal coefficients of the normalised image, 0 where not measured and at k = 0.
    measured : Tensor, shape (b, 1, n, n)
        1 where a coefficient was measured, else 0.
    variance : Tensor, shape (b, 1, n, n)
        Variance of each coefficient, same unit squared; noise and model error.
    zero_level : Tensor, shape (b,)
        Mean over deviation of the image before it was normalised: where zero lies.
    masks_doubted : Tensor, shape (b,)
        How far the masks' errors must be told from the data (`MaskErrorFit`): 1 where one mask was used per bucket
        and nothing is known of it, 0.5 after a reference scan, else 0.
    mean, deviation : Tensor, shape (b, 1, 1, 1)
        Image in the unit of the measurement = normalised image * deviation + mean.
    """

    coefficients: Tensor
    measured: Tensor
    variance: Tensor
    zero_level: Tensor
    mask_uncertainty: Tensor
    mean: Tensor
    deviation: Tensor

    def part(self, rows: slice) -> NetworkInput:
        """Some images of the batch."""
        return NetworkInput(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def normalize(
    coefficients: Tensor,
    measured: Tensor,
    variance: Tensor,
    *,
    mask_uncertainty: Tensor | None = None,
) -> NetworkInput:
    """Shift and scale by what was measured, so that the unit of the buckets does not matter.

    Parameters
    ----------
    coefficients, measured, variance : Tensor, shape (b, 1, n, n)
        Orthonormal coefficients (k = 0 measured), 1 or 0, and their variance.
    masks_doubted : Tensor, shape (b,), optional
        By default 0.
    """
    size = coefficients.shape[-1]
    alternating = coefficients * measured
    mean = alternating[..., :1, :1] / size
    alternating[..., 0, 0] = 0
    deviation = alternating.square().sum(dim=(2, 3), keepdim=True).sqrt() / size
    deviation = deviation.clamp(min=torch.finfo(deviation.dtype).tiny ** 0.5)
    return NetworkInput(
        coefficients=alternating / deviation,
        measured=measured,
        variance=variance / deviation**2,
        zero_level=(mean / deviation)[:, 0, 0, 0],
        mask_uncertainty=torch.zeros(len(coefficients)) if mask_uncertainty is None else mask_uncertainty,
        mean=mean,
        deviation=deviation,
    )


def join(inputs: Sequence[NetworkInput]) -> NetworkInput:
    """One batch of several measurements of the same size."""
    names = [f.name for f in fields(NetworkInput)]
    return NetworkInput(**{name: torch.cat([getattr(given, name) for given in inputs]) for name in names})
