"""Losses of the training, and the law that scales the sigma of each image, fitted at its end."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ..reconstruction.ch_mwcnn.inputs import initial_images
from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.ch_mwcnn.sigma_calibration import SigmaLaw, enough_patterns, evidence
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


# ---------------------------------------------------------------- scale of sigma


_MIN_IMAGES = 20  # per coefficient a handful; below it there is no law
_OUTLYING = 0.15  # residuals of the logarithm beyond it count by their size only
_ROUNDS = 30
_RIDGE = 3.0  # images
_RANGE = (0.01, 0.99)  # quantiles of the fit's factors, which none may leave


def fit_law(network: CHMWCNN, batches: Iterable[Batch]) -> SigmaLaw | None:
    """Fit the law to images of the training's kind; None if too few of them have enough patterns.

    Wanted of each image is the factor with which 68 % of its pixels' errors lie within one sigma; the law goes through
    their middle (Huber's loss: single images may be far off).

    Parameters
    ----------
    network : CHMWCNN
    batches : iterable of Batch
        Simulated measurements with their truth.
    """
    found, wanted = [], []
    with torch.inference_mode():
        for batch in batches:
            initial = initial_images(batch.given)
            image, log_sigma = network(batch.given, initial, with_sigma=True)
            assert log_sigma is not None
            rows = torch.nonzero(enough_patterns(batch.given))[:, 0]
            if len(rows):
                of_rows = batch.given.part(rows), initial[rows], image[rows], log_sigma[rows]
                found.append(evidence(network, *of_rows).cpu())
                above = errors_in_log(image[rows], batch.part(rows)) - log_sigma[rows]
                wanted.append(torch.quantile(above.flatten(1), COVERED, dim=1).cpu())
    known, factor = torch.cat([torch.empty(0, 4), *found]).double(), torch.cat([torch.empty(0), *wanted]).double()
    if len(known) < _MIN_IMAGES:
        return None
    middle, spread = known.mean(dim=0), known.std(dim=0).clamp(min=1e-6)
    columns = torch.cat([torch.ones(len(known), 1).double(), (known - middle) / spread], dim=1)
    solution = _robust_fit(columns, factor)
    slopes = solution[1:] / spread
    reached = torch.quantile(columns @ solution, torch.tensor(_RANGE).double())
    constant = float(solution[0] - slopes @ middle)
    least, most = reached.tolist()
    return SigmaLaw(*(round(value, 4) for value in (constant, *slopes.tolist(), least, most)))


def _robust_fit(columns: Tensor, wanted: Tensor) -> Tensor:
    """Huber's regression, by weights that follow the residuals."""
    ridge = torch.eye(columns.shape[1]).double() * _RIDGE
    ridge[0, 0] = 0
    weight = torch.ones_like(wanted)
    solution = torch.zeros(columns.shape[1]).double()
    for _ in range(_ROUNDS):
        weighed = columns * weight[:, None]
        solution = torch.linalg.solve(weighed.T @ columns + ridge, weighed.T @ wanted)
        residual = (wanted - columns @ solution).abs()
        weight = (_OUTLYING / residual.clamp(min=1e-9)).clamp(max=1.0)
    if not math.isfinite(float(solution.sum())):
        raise ArithmeticError("the fit of sigma's law is not finite")
    return solution
