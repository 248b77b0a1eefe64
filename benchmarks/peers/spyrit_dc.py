"""spyrit DCNet without a denoiser: missing coefficients completed from a covariance."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from _shared import Image, hadamard, sequency
from spyrit.core.recon import DCNet
from spyrit_pinv import operator

PACKAGE = "spyrit"
NAME = "spyrit DCNet, own covariance"
SETTINGS = "second moments of 4000 random training objects (its own covariance is fetched from a server), no denoiser"
TUNED = "nothing to tune; sigma given"
TRAINING: Path | None = None  # an .npz with `objects` (count, n, n), 0..255; set by the runner


class GivenNoise(torch.nn.Module):
    """Pre-processing for coefficients that are signed already and have a known variance."""

    variance = 0.0

    def forward(self, m: torch.Tensor) -> torch.Tensor:
        return m

    def sigma(self, m: torch.Tensor) -> torch.Tensor:
        return torch.full_like(m, self.variance)


@lru_cache(maxsize=1)
def _moments(size: int) -> torch.Tensor:
    """Second moments of all coefficients, about zero, in sequency order, shape (N, N)."""
    with np.load(TRAINING, allow_pickle=False) as file:
        objects = file["objects"].astype(np.float32) / 255
    walsh = hadamard(size)[np.argsort(sequency(size))].astype(np.float32)
    coefficients = torch.from_numpy((walsh @ objects @ walsh.T).reshape(len(objects), -1))
    return coefficients.T @ coefficients / len(objects)


@lru_cache(maxsize=16)
def _network(index: bytes, size: int) -> DCNet:
    return DCNet(operator(np.frombuffer(index, dtype=np.int64), size), GivenNoise(), _moments(size))


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    network = _network(index.tobytes(), size)
    network.prep.variance = sigma**2
    m = torch.from_numpy(coefficients.astype(np.float32))[None, None]
    with torch.no_grad():
        return network.reconstruct(m).reshape(size, size).numpy()
