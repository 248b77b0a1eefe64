"""Layers of the network that know the patterns: compressed set and gain, data consistency, masks' common error.

All of them work on orthonormal coefficients on the grid (i, j), k = i n + j, and none builds an N x N matrix.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pywt
import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...masks.orders import sequency
from ...masks.transform import hadamard_matrix
from .inputs import NetworkInput

CPU = torch.device("cpu")
OCTAVES = 5  # of sequency, from the finest down; the last holds all the rest


class _Tables(NamedTuple):
    """Constants of a size."""

    hadamard: Tensor  # (n, n), orthonormal
    log_product: Tensor  # log (u + 1)(v + 1), (n, n)
    log_total: Tensor  # log (u + v + 1), (n, n)
    edges: Tensor  # (u + v) / n, (n, n)
    crossings: Tensor  # (n, n): share of the step at x of pattern u in the edges that touch pixel x
    octave: Tensor  # (n, OCTAVES), rows: which octave a sequency lies in, each column summing to 1


@lru_cache(maxsize=16)
def tables(size: int, device: torch.device = CPU) -> _Tables:
    """Constants of a size, made once for a device.

    Parameters
    ----------
    size : int
        Pixels per side n.
    device : torch.device, optional
        Where they are kept; the processor by default.
    """
    if device != CPU:
        return _Tables(*(table.to(device) for table in tables(size)))
    with torch.inference_mode(False):
        matrix = torch.tensor(hadamard_matrix(size), dtype=torch.float32)
        s = torch.as_tensor(sequency(size), dtype=torch.float32)
        step = (matrix[:, 1:] != matrix[:, :-1]).float() / 2
        crossings = torch.nn.functional.pad(step, (0, 1)) + torch.nn.functional.pad(step, (1, 0))
        number = (OCTAVES - 1 - torch.floor(torch.log2(size / s.clamp(min=0.5)) - 1e-6)).clamp(min=0).long()
        octave = torch.nn.functional.one_hot(number, OCTAVES).float()
        return _Tables(
            matrix / size**0.5,
            torch.log1p(s)[:, None] + torch.log1p(s)[None, :],
            torch.log1p(s[:, None] + s[None, :]),
            (s[:, None] + s[None, :]) / size,
            crossings / size,
            octave / octave.sum(dim=0).clamp(min=1),
        )


def orthonormal_hadamard(images: Tensor) -> Tensor:
    """2-D Walsh-Hadamard transform scaled to be orthonormal, (..., n, n); its own inverse."""
    matrix = tables(images.shape[-1], images.device).hadamard.to(images.dtype)
    with torch.autocast(images.device.type, enabled=False):
        return matrix @ images @ matrix


class PowerLaw(nn.Module):
    """A positive number for each coefficient: log P = law . (1, -log(u+1)(v+1), -log(u+v+1)).

    Three learned numbers serve every size: the coefficients of an image that is sampled twice as finely are twice as
    large.
    """

    REFERENCE_SIZE = 64

    def __init__(self, start: tuple[float, float, float]) -> None:
        super().__init__()
        self.law = nn.Parameter(torch.tensor(start))

    def forward(self, size: int) -> Tensor:
        """Shape (n, n)."""
        t = tables(size, self.law.device)
        scale = (size / self.REFERENCE_SIZE) ** 2
        return scale * torch.exp(self.law[0] - self.law[1] * t.log_product - self.law[2] * t.log_total)


class CompressedHadamard(nn.Module):
    """First layer: the compressed pattern set, a gain per coefficient, and the adjoint transform.

    The gain P / (P + sigma^2) is a Wiener filter with the expected power P of a coefficient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.power = PowerLaw((4.0, 1.5, 0.5))

    def forward(self, given: NetworkInput) -> Tensor:
        """A first image, (b, 1, n, n)."""
        power = self.power(given.coefficients.shape[-1])
        return orthonormal_hadamard(given.measured * given.coefficients * power / (power + given.variance))


class MaskErrorFit(nn.Module):
    """What the residuals show of errors that masks have in common, by weighted least squares with a learned ridge.

    Three shapes for k > 0: a constant (b_0, or the mean of a reference scan); u + v, the light that over-etched edges
    let through on average; and the same weighed with the object: an edge at x lets through what lies behind it,
    so that the excess is a function of u, from the image's mean over each row, plus a function of v.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.zeros(3))

    def forward(self, residual: Tensor, image: Tensor, weight: Tensor, given: NetworkInput) -> Tensor:
        """The common part of the residuals, (b, 1, n, n), where masks are doubted, else 0.

        Parameters
        ----------
        residual : Tensor, shape (b, 1, n, n)
            Measured less predicted orthonormal coefficients of the normalised image, 0 where not measured.
        image : Tensor, shape (b, 1, n, n)
            Normalised image that they were predicted from.
        weight : Tensor, shape (b, 1, n, n)
            Weight of each coefficient in the fit, 0..1; 0 where not measured.
        given : NetworkInput
            The measurements.
        """
        t = tables(residual.shape[-1], residual.device)
        others = given.measured.clone()
        others[..., 0, 0] = 0
        down = (image.mean(dim=3) @ t.crossings.T)[..., :, None]
        across = (image.mean(dim=2) @ t.crossings.T)[..., None, :]
        shapes = torch.stack([others, others * t.edges, others * (down + across)], dim=-1).flatten(1, 3)
        share = (others * weight).flatten(1)
        share = share / share.sum(dim=1, keepdim=True).clamp(min=1e-9)
        length = (share[..., None] * shapes.square()).sum(dim=1, keepdim=True).sqrt()
        shapes = shapes / length.clamp(min=1e-6)
        noise = (share * given.variance.flatten(1)).sum(dim=1)
        ridge = torch.exp(self.log_ridge) * (noise[:, None] + 1e-4)
        weighed = shapes * share[..., None]
        normal = weighed.transpose(1, 2) @ shapes + torch.diag_embed(ridge)
        found = torch.linalg.solve(normal, weighed.transpose(1, 2) @ residual.flatten(1)[..., None])
        found = found * (given.mask_uncertainty > 0)[:, None, None]
        return (shapes @ found).reshape(residual.shape)


class DataConsistency(nn.Module):
    """Pull the measured coefficients of an image back towards what was measured, with weight a / (a + sigma^2)."""

    def __init__(self) -> None:
        super().__init__()
        self.trust = PowerLaw((0.0, 0.0, 0.0))
        self.mask_error = MaskErrorFit()

    def forward(self, image: Tensor, given: NetworkInput) -> Tensor:
        """What to add to the image, (b, 1, n, n).

        Parameters
        ----------
        image : Tensor, shape (b, 1, n, n)
            Normalised image.
        given : NetworkInput
            The measurements.
        """
        trust = self.trust(image.shape[-1])
        weight = given.measured * trust / (trust + given.variance)
        with torch.autocast(image.device.type, enabled=False):
            residual = given.measured * (given.coefficients - orthonormal_hadamard(image))
            if bool(given.mask_uncertainty.any()):
                residual = residual - self.mask_error(residual, image, weight, given)
            return orthonormal_hadamard(weight * residual)


def sampling_summary(measured: Tensor) -> Tensor:
    """Which share of the patterns of each octave of u and of v was measured, (b, 1, n, n) to (b, OCTAVES ** 2)."""
    octave = tables(measured.shape[-1], measured.device).octave
    return (octave.T @ measured[:, 0] @ octave).flatten(1)


# ---------------------------------------------------------------- wavelets


@lru_cache(maxsize=64)
def wavelet_matrix(length: int, wavelet: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Orthogonal analysis matrix, shape (length, length): low-pass rows first, then high-pass rows.

    Parameters
    ----------
    length : int
        Pixels per side, even.
    wavelet : str
        PyWavelets' name of an orthogonal wavelet, such as "haar" or "db2".
    dtype : torch.dtype, optional
        Of the matrix; single precision by default.

    Raises
    ------
    CxgiError
        If the wavelet is unknown or not orthogonal.
    """
    try:
        filters = pywt.Wavelet(wavelet)
    except ValueError as error:
        raise ConfigError(f"wavelet {wavelet!r} is unknown to PyWavelets: try 'haar' or 'db2'") from error
    if not filters.orthogonal:
        raise ConfigError(f"wavelet {wavelet!r} is not orthogonal: try 'haar', 'db2' or 'sym4'")
    analysis = np.concatenate(pywt.dwt(np.eye(length), filters, mode="periodization", axis=0))
    with torch.inference_mode(False):  # the matrix outlives this call and may serve a training later
        return torch.from_numpy(analysis).to(dtype)


def _exact(images: Tensor) -> Tensor:
    """Half precision is for convolutions only: transforms must stay invertible."""
    return images.float() if images.dtype in (torch.float16, torch.bfloat16) else images


def dwt2(images: Tensor, wavelet: str = "haar") -> Tensor:
    """One level of the 2-D transform, (b, c, n, n) to (b, 4c, n/2, n/2).

    The four sub-bands of a channel stand in four groups of c: approximation, horizontal,
    vertical and diagonal detail, in the order of ``pywt.dwt2(..., mode="periodization")``.

    Parameters
    ----------
    images : Tensor, shape (b, c, n, n)
        n even.
    wavelet : str, optional
        PyWavelets' name of an orthogonal wavelet; "haar" by default.
    """
    if wavelet == "haar":
        return _haar(images)
    matrix = wavelet_matrix(images.shape[-1], wavelet, _exact(images).dtype).to(images.device)
    with torch.autocast(images.device.type, enabled=False):
        bands = matrix @ _exact(images) @ matrix.T
    half = images.shape[-1] // 2
    low, high = bands[..., :half, :], bands[..., half:, :]
    return torch.cat([low[..., :half], high[..., :half], low[..., half:], high[..., half:]], dim=1)


def idwt2(bands: Tensor, wavelet: str = "haar") -> Tensor:
    """Inverse of `dwt2`, (b, 4c, n/2, n/2) to (b, c, n, n).

    Parameters
    ----------
    bands : Tensor, shape (b, 4c, n/2, n/2)
        Sub-bands in the order of `dwt2`.
    wavelet : str, optional
        As for `dwt2`; "haar" by default.
    """
    approximation, horizontal, vertical, diagonal = bands.chunk(4, dim=1)
    if wavelet == "haar":
        return _inverse_haar(approximation, horizontal, vertical, diagonal)
    low = torch.cat([approximation, vertical], dim=-1)
    high = torch.cat([horizontal, diagonal], dim=-1)
    joined = _exact(torch.cat([low, high], dim=-2))
    matrix = wavelet_matrix(joined.shape[-1], wavelet, joined.dtype).to(joined.device)
    with torch.autocast(joined.device.type, enabled=False):
        return matrix.T @ joined @ matrix


def _haar(images: Tensor) -> Tensor:
    """Sums and differences of neighbours: the matrix would be nearly empty."""
    if images.shape[-1] % 2:
        wavelet_matrix(images.shape[-1], "haar")  # says what is wrong
    top, bottom = images[..., ::2, :], images[..., 1::2, :]
    down, step = (top + bottom) / 2, (top - bottom) / 2
    return torch.cat(
        [
            part
            for rows in (torch.add, torch.sub)
            for part in (rows(down[..., ::2], down[..., 1::2]), rows(step[..., ::2], step[..., 1::2]))
        ],
        dim=1,
    )


def _inverse_haar(approximation: Tensor, horizontal: Tensor, vertical: Tensor, diagonal: Tensor) -> Tensor:
    left, right = approximation + vertical, approximation - vertical
    step_left, step_right = horizontal + diagonal, horizontal - diagonal
    top = torch.stack([left + step_left, right + step_right], dim=-1).flatten(-2)
    bottom = torch.stack([left - step_left, right - step_right], dim=-1).flatten(-2)
    return torch.stack([top, bottom], dim=-2).flatten(-3, -2) / 2
