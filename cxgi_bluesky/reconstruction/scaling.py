"""Measurements in units whose squares single precision cannot hold, as numbers that it can.

The factor is a power of two, so that no digit changes; measurements of ordinary numbers are left as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..measurement.measurement import Measurement
from .result import Reconstruction

_ORDINARY = (1e-13, 1e15)  # largest coefficient over N, mostly the image's mean: what varies is a good deal smaller
_OF_THE_UNIT = ("weight", "sigma", "model_sigma", "common_offset", "edge_error")  # parameters that the unit scales
_GIVEN = ("weight", "initial", "begin")  # options that it scales


def unit_of(measurement: Measurement) -> float:
    """By what the coefficients are to be divided; 1 where they are ordinary numbers."""
    largest = float(np.max(np.abs(measurement.coefficient))) / measurement.size**2
    if largest == 0 or _ORDINARY[0] <= largest <= _ORDINARY[1]:
        return 1.0
    return 2.0 ** round(math.log2(largest))


def in_unit(measurement: Measurement, unit: float) -> Measurement:
    """The measurement divided by `unit`.

    Parameters
    ----------
    measurement : Measurement
    unit : float
        As `unit_of` gives it.
    """
    beyond = measurement.validation
    return replace(
        measurement,
        coefficient=measurement.coefficient / unit,
        sigma=measurement.sigma / unit,
        sigma_common=measurement.sigma_common / unit,
        validation=None if beyond is None else beyond.rescale(1 / unit),
    )


def options_in_unit(options: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """Options of a method for the measurement that was divided.

    Parameters
    ----------
    options : mapping
        For the measurement as it was.
    unit : float
        By what it was divided.
    """
    return {
        name: value / unit if name in _GIVEN and value is not None else value
        for name, value in options.items()
        if name != "warm"  # it belongs to the numbers before
    }


def back_from_unit(result: Reconstruction, unit: float) -> Reconstruction:
    """The image of a measurement that was divided, in the measurement's own unit.

    Parameters
    ----------
    result : Reconstruction
        Of the measurement that was divided.
    unit : float
        By what it was divided.
    """
    quality, score = dict(result.quality), result.quality.get("held_out")
    if score is not None:
        quality["held_out"] = {**score, "model_sigma": score["model_sigma"] * unit}
    return replace(
        result,
        image=np.asarray(result.image, dtype=np.float64) * unit,
        parameters={
            name: value * unit if name in _OF_THE_UNIT and value is not None else value
            for name, value in result.parameters.items()
        },
        quality=quality,
        uncertainty=None if result.uncertainty is None else np.asarray(result.uncertainty, np.float64) * unit,
    )
