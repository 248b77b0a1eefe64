"""Uncertainty of each pixel, one standard deviation.

Two questions are answered. *noise*: how far do the errors of the buckets move the pixel (detector noise, and
errors of the masks where the data show them)? *error*: how far is it from the truth? The linear methods
answer the first in closed form; their error lies mostly in the patterns that were not measured, of which
they say nothing. For `tv` both are drawn: pictures are made again with fresh noise (noise), or with fresh
noise and without an eighth of the patterns (error), and their scatter is taken (`resample`); the scatter of
the second kind is brought to the scale of true errors by `calibration`. The network was trained to say its error.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import MeasurementError
from ..measurement.measurement import Measurement
from .methods.linear import check_choice
from .registry import METHODS, Kind, find_method

Array = NDArray[np.float64]


def uncertainty(
    measurement: Measurement,
    *,
    method: str,
    kind: Kind = "noise",
    seed: int = 0,
    **options: Any,
) -> Array:
    """One standard deviation of each pixel, shape (n, n), in the unit of the picture.

    Parameters
    ----------
    measurement : Measurement
    method : {"inverse", "correlation", "tv", "ch-mwcnn"}
    kind : {"noise", "error"}, optional
        "error" is known for tv and ch-mwcnn, "noise", the default, for all but ch-mwcnn.
    seed : int, optional
        Of the draws; 0 by default.
    **options
        Of the method, as far as the uncertainty depends on them.

    Raises
    ------
    CxgiError
        For a method or kind without an uncertainty.
    """
    check_choice("kind", kind, Kind)
    chosen = find_method(method)
    if chosen.uncertainty is None or kind not in chosen.kinds:
        known = {one: ", ".join(m.name for m in METHODS.values() if one in m.kinds) for one in get_args(Kind)}
        raise MeasurementError(
            f"method {method!r} has no uncertainty of kind {kind!r}: noise is known for {known['noise']}, error for "
            f"{known['error']}"
        )
    return chosen.uncertainty(measurement, kind, seed, options)
