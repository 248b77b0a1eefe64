"""From a measurement to what the network is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...measurement.measurement import Measurement
from ..error_model.noise import MaskKnowledge, PreparedMeasurement, mask_knowledge, with_model_error
from .initial_image import initial_images
from .inputs import NetworkInput, normalize

DOUBT: dict[MaskKnowledge, float] = {"none": 1.0, "reference": 0.5, "exact": 0.0}  # NetworkInput.masks_doubted


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the network runs on.

    Attributes
    ----------
    given : NetworkInput
        A batch of one; common error taken off, sigma as the data support it.
    trial : Tensor, shape (1, 1, n, n)
        Of `initial_images`, or another one.
    found : dict
        What was found on the way, to be told with the picture.
    """

    given: NetworkInput
    trial: Tensor
    found: dict[str, Any]


def prepare(measurement: Measurement, begin: NDArray[Any] | None = None) -> Prepared:
    """Prepare a measurement for the network.

    Parameters
    ----------
    measurement : Measurement
    begin : ndarray, shape (n, n), optional
        The picture to begin with, if there is a better one than `initial_images` makes of the coefficients.
    """
    prepared, common = PreparedMeasurement.from_measurement(measurement).without_common_error()
    noise = prepared.noise
    given = input_of(with_model_error(prepared, noise))
    if begin is not None:
        trial = (torch.from_numpy(begin).float()[None, None] - given.mean) / given.deviation
    else:
        trial = initial_images(
            given, None if noise.initial_image is None else torch.from_numpy(noise.initial_image)[None, None]
        )
    found = {
        "common_offset": common.constant,
        "edge_error": common.edges,
        "sigma": noise.sigma,
        "model_sigma": noise.model_sigma,
        "sigma_origin": noise.origin,
    }
    return Prepared(given, trial, found)


def input_of(measurement: Measurement) -> NetworkInput:
    """The measurement as it stands, a batch of one."""
    size = measurement.size
    grids = np.zeros((3, size * size), dtype=np.float32)
    index = measurement.pattern_index
    grids[0, index], grids[1, index] = measurement.coefficient / size, 1
    grids[2, index] = (measurement.sigma / size) ** 2
    coefficient, measured, variance = torch.from_numpy(grids).reshape(3, 1, 1, size, size)
    doubted = torch.tensor([DOUBT[mask_knowledge(measurement)]])
    return normalize(coefficient, measured, variance, mask_uncertainty=doubted)
