"""Discrete wavelet transform in torch with PyWavelets' filters.

For a periodised signal of even length n and an orthogonal wavelet the transform is one
orthogonal n x n matrix W (n is the side of the image, at most a few hundred). PyWavelets
builds W; torch multiplies by it, so that the inverse is the transpose and exact.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pywt
import torch
from torch import Tensor

from ..errors import CxgiError


@lru_cache(maxsize=64)
def wavelet_matrix(length: int, wavelet: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Orthogonal analysis matrix, shape (length, length): low-pass rows first, then high-pass rows.

    Raises
    ------
    CxgiError
        If the length is odd or the wavelet is unknown or not orthogonal.
    """
    if length % 2:
        raise CxgiError(f"length {length} is odd: a wavelet level halves it")
    try:
        filters = pywt.Wavelet(wavelet)
    except ValueError as error:
        raise CxgiError(f"wavelet {wavelet!r} is unknown to PyWavelets: try 'haar' or 'db2'") from error
    if not filters.orthogonal:
        raise CxgiError(f"wavelet {wavelet!r} is not orthogonal: try 'haar', 'db2' or 'sym4'")
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
    """
    if wavelet == "haar":
        return _haar(images)
    matrix = wavelet_matrix(images.shape[-1], wavelet, _exact(images).dtype)
    with torch.autocast("cpu", enabled=False):
        bands = matrix @ _exact(images) @ matrix.T
    half = images.shape[-1] // 2
    low, high = bands[..., :half, :], bands[..., half:, :]
    return torch.cat([low[..., :half], high[..., :half], low[..., half:], high[..., half:]], dim=1)


def idwt2(bands: Tensor, wavelet: str = "haar") -> Tensor:
    """Inverse of `dwt2`, (b, 4c, n/2, n/2) to (b, c, n, n)."""
    approximation, horizontal, vertical, diagonal = bands.chunk(4, dim=1)
    if wavelet == "haar":
        return _inverse_haar(approximation, horizontal, vertical, diagonal)
    low = torch.cat([approximation, vertical], dim=-1)
    high = torch.cat([horizontal, diagonal], dim=-1)
    joined = _exact(torch.cat([low, high], dim=-2))
    matrix = wavelet_matrix(joined.shape[-1], wavelet, joined.dtype)
    with torch.autocast("cpu", enabled=False):
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
