"""What is made small in training, and what is reported of it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..reconstruction.network import CHMWCNN
from .measuring import Batch

COVERED = 0.6827  # of the pixels within one sigma
_BEST_MSE = 1e-4  # 40 dB: better than that is not striven for
_LEAST_ERROR = 1e-3  # of the log in the loss of the uncertainty, in standard deviations of the image


def picture_losses(network: CHMWCNN, batch: Batch) -> Tensor:
    """log10 of each image's mean square error, shape (b,): like PSNR, so that all kinds of objects count alike."""
    image, _ = network(batch.given)
    g = batch.given
    mse = (image * g.deviation + g.mean - batch.truth).square().mean(dim=(1, 2, 3))
    return torch.log10(mse + _BEST_MSE)


def doubt_losses(network: CHMWCNN, batch: Batch) -> Tensor:
    """Pinball loss of log sigma, shape (b,): least where 68 % of the pixels' errors lie within sigma."""
    log_error, log_sigma = _errors(network, batch)
    above = log_error - log_sigma
    return torch.maximum(COVERED * above, (COVERED - 1) * above).mean(dim=(1, 2, 3))


def psnr_db(network: CHMWCNN, batches: list[Batch]) -> float:
    """Mean PSNR (dB, range 1) of pictures cut to 0..1."""
    with torch.inference_mode():
        errors = [(network.in_its_unit(b.given).clamp(0, 1) - b.truth).square().mean(dim=(1, 2, 3)) for b in batches]
    return float((-10 * torch.log10(torch.cat(errors).clamp(min=1e-8))).mean())


def coverage(network: CHMWCNN, batches: list[Batch]) -> tuple[float, float]:
    """Share of pixels within one sigma, and share of images for which that is 60 to 75 %."""
    with torch.inference_mode():
        pairs = [_errors(network, b) for b in batches]
    inside = torch.cat([(error < sigma).float().mean(dim=(1, 2, 3)) for error, sigma in pairs])
    return float(inside.mean()), float(((inside >= 0.6) & (inside <= 0.75)).float().mean())


def _errors(network: CHMWCNN, batch: Batch) -> tuple[Tensor, Tensor]:
    """log of the error and of its sigma, in standard deviations of the image."""
    image, log_sigma = network(batch.given, with_sigma=True)
    assert log_sigma is not None
    error = ((batch.truth - batch.given.mean) / batch.given.deviation - image).abs().detach()
    return torch.log(error + _LEAST_ERROR), log_sigma
