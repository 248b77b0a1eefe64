"""spyrit PinvNet without a denoiser: the pseudo-inverse of split Hadamard measurements."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from _shared import Image, sequency
from spyrit.core.meas import HadamSplit2d
from spyrit.core.prep import Unsplit
from spyrit.core.recon import PinvNet

PACKAGE = "spyrit"
NAME = "spyrit PinvNet"
SETTINGS = "fast pseudo-inverse, no denoiser"
TUNED = "nothing to tune"


def operator(index: Image, size: int) -> HadamSplit2d:
    """spyrit's operator for exactly these patterns.

    Its `order` is a significance, the highest first, over (row, column) sequency; spyrit's own
    `define_order` returns ranks, the lowest first: passed as it is, it picks the worst patterns.
    """
    s = sequency(size)
    significance = torch.zeros(size, size)
    significance[s[index // size], s[index % size]] = torch.arange(len(index), 0, -1, dtype=torch.float32)
    return HadamSplit2d(size, len(index), order=significance, reshape_output=True)


@lru_cache(maxsize=16)
def _network(index: bytes, size: int) -> PinvNet:
    made = operator(np.frombuffer(index, dtype=np.int64), size)
    return PinvNet(made, Unsplit(), use_fast_pinv=True, reshape_output=True)


def reconstruct(coefficients: Image, index: Image, sigma: float, size: int) -> Image:
    network = _network(index.tobytes(), size)
    m = torch.from_numpy(coefficients.astype(np.float32))
    split = torch.stack([(m[0] + m) / 2, (m[0] - m) / 2], -1).reshape(1, 1, -1)  # pattern and its negative
    with torch.no_grad():
        return network.reconstruct(split)[0, 0].numpy()
