"""From a measurement to what the network is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..measurement import Measurement
from .common_error import without_common_error
from .model_error import ErrorSizes, mask_knowledge, with_model_error
from .network_input import NetworkInput, normalised

_DOUBT = {"none": 1.0, "reference": 0.5, "exact": 0.0}


def network_input(measurement: Measurement, sizes: ErrorSizes | None = None) -> tuple[NetworkInput, dict[str, Any]]:
    """The network's input, its common error taken off and its sigma as the data support it; and what was found.

    Parameters
    ----------
    measurement : Measurement
    sizes : ErrorSizes, optional
        Where other steps have found, or will look for, the error size of this measurement.
    """
    cleaned, common = without_common_error(measurement)
    size, _ = (sizes or ErrorSizes()).of(cleaned)
    sized = with_model_error(cleaned, size)
    return input_of(sized), {
        "common_offset": common.constant,
        "edge_error": common.edges,
        "sigma": size.sigma,
        "model_sigma": size.model_sigma,
        "sigma_origin": size.origin,
    }


def input_of(measurement: Measurement) -> NetworkInput:
    """The measurement as it stands, a batch of one."""
    size = measurement.size
    grids = np.zeros((3, size * size), dtype=np.float32)
    index = measurement.pattern_index
    grids[0, index], grids[1, index] = measurement.coefficient / size, 1
    grids[2, index] = (measurement.sigma / size) ** 2
    coefficient, measured, variance = torch.from_numpy(grids).reshape(3, 1, 1, size, size)
    doubted = torch.tensor([_DOUBT[mask_knowledge(measurement)]])
    return normalised(coefficient, measured, variance, masks_doubted=doubted)
