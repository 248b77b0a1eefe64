"""What is made small in training."""

from __future__ import annotations

import torch
from torch import Tensor

from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.error_model.calibration import COVERED
from .measurements import Batch

_BEST_MSE = 1e-5  # 50 dB: better than that is not striven for
_MIN_ERROR = 1e-3  # of the log in the loss of the uncertainty, in standard deviations of the image


def image_losses(network: CHMWCNN, batch: Batch) -> Tensor:
    """log10 of each image's mean square error, shape (b,): like PSNR, so that all kinds of objects count alike.

    Parameters
    ----------
    network : CHMWCNN
    batch : Batch
        Of b images.
    """
    mse = (network.in_its_unit(batch.given) - batch.truth).square().mean(dim=(1, 2, 3))
    return torch.log10(mse + _BEST_MSE)


def uncertainty_losses(network: CHMWCNN, batch: Batch) -> Tensor:
    """Pinball loss of log sigma, shape (b,): least where 68 % of the pixels' errors lie within sigma.

    Parameters
    ----------
    network : CHMWCNN
    batch : Batch
        Of b images.
    """
    image, log_sigma = network(batch.given, with_sigma=True)
    assert log_sigma is not None
    above = errors_in_log(image, batch) - log_sigma
    return torch.maximum(COVERED * above, (COVERED - 1) * above).mean(dim=(1, 2, 3))


def errors_in_log(image: Tensor, batch: Batch) -> Tensor:
    """log of each pixel's error, in standard deviations of the image.

    Parameters
    ----------
    image : Tensor, shape (b, 1, n, n)
        Normalised, as the network gives it.
    batch : Batch
        Of these images.

    Returns
    -------
    Tensor, shape (b, 1, n, n)
        Without gradient.
    """
    error = ((batch.truth - batch.given.mean) / batch.given.deviation - image).abs().detach()
    return torch.log(error + _MIN_ERROR)
