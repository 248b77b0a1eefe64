"""What a training has shown to the network, in the terms in which a measurement is held against it."""

from __future__ import annotations

from typing import Any

import torch

from ..reconstruction.ch_mwcnn.training_domain import noise_share
from .data import TrainingData

_BATCHES = 60
_BEYOND = 0.002  # share of the training on either side that is called beyond it
_ALL_NOISE = 0.95  # sigma may be told too large, so that it seems to be more than all


def known_range(data: TrainingData) -> dict[str, Any]:
    """Block ``known`` of the model card (`reconstruction.training_range`)."""
    config = data.config
    batches = [data.batch(config.all_steps + number).given for number in range(_BATCHES)]
    noise, level = (
        torch.cat(values) for values in zip(*((noise_share(b), b.zero_level) for b in batches), strict=True)
    )
    return {
        "sizes": sorted(config.sizes),
        "shortest": config.sampling.shortest,
        "noise_share": min(_ALL_NOISE, _limits(noise)[1]),
        "zero_level": _limits(level),
        "etched_masks": bool(data.boards),
    }


def _limits(values: torch.Tensor) -> list[float]:
    return [round(float(torch.quantile(values, share)), 4) for share in (_BEYOND, 1 - _BEYOND)]
