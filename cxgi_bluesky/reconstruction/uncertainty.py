"""Uncertainty of each pixel, one standard deviation.

Two questions are answered. *noise*: how far do the errors of the buckets move the pixel (detector noise, and
errors of the masks where the data show them)? *error*: how far is it from the truth? The linear methods
answer the first in closed form; their error lies mostly in the patterns that were not measured, of which
they say nothing. For `tv` both are drawn: pictures are made again with fresh noise (noise), or with fresh
noise and without an eighth of the patterns (error), and their scatter is taken (`redrawn`); the scatter of
the second kind is brought to the scale of true errors by `error_law`. The network was trained to say its error.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..masks.transform import walsh_hadamard_2d
from ..measurement.measurement import Measurement
from .error_model.calibration import calibrated, scales, scatter
from .error_model.noise import ErrorSizes, with_model_error
from .error_model.resampling import redrawn
from .methods.linear import Weighting, check_choice, exposure_shares

Array = NDArray[np.float64]
Kind = Literal["noise", "error"]


def uncertainty(
    measurement: Measurement,
    *,
    method: str,
    kind: Kind = "noise",
    seed: int = 0,
    sizes: ErrorSizes | None = None,
    **options: Any,
) -> Array:
    """One standard deviation of each pixel, shape (n, n), in the unit of the picture.

    Parameters
    ----------
    measurement : Measurement
    method : {"inverse", "correlation", "tv", "ch-mwcnn"}
    kind : {"noise", "error"}
        "error" is known for tv and ch-mwcnn, "noise" for all but ch-mwcnn.
    seed : int
        Of the draws.
    sizes : ErrorSizes, optional
        Where other steps have found the error size of this measurement.
    **options
        Of the method, as far as the uncertainty depends on them.

    Raises
    ------
    CxgiError
        For a method or kind without an uncertainty.
    """
    check_choice("kind", kind, Kind)
    if method == "tv":
        known = {name: options[name] for name in ("weight", "norm", "nonnegative") if name in options}
        drawn = redrawn(measurement, leave_out=kind == "error", seed=seed, sizes=sizes, **known)
        if kind == "noise":
            return np.std(drawn.repeated, axis=0, ddof=1, dtype=np.float64)
        deviation = scatter(drawn)
        return calibrated(deviation, scales(drawn, deviation)) if deviation.any() else deviation
    if method == "ch-mwcnn" and kind == "error":
        from .ch_mwcnn.predict import ch_mwcnn_sigma

        return ch_mwcnn_sigma(measurement, weights=options.get("weights"), sizes=sizes)
    if kind == "error" or method not in ("inverse", "correlation"):
        raise CxgiError(
            f"method {method!r} has no uncertainty of kind {kind!r}: noise is known for inverse, correlation and tv, "
            "error for tv and ch-mwcnn"
        )
    measurement = with_model_error(measurement, (sizes or ErrorSizes()).of(measurement)[0])
    if method == "inverse":
        return inverse_noise(measurement)
    return correlation_noise(measurement, weighting=options.get("weighting", "equal"), form=options.get("form", "GI"))


def inverse_noise(measurement: Measurement) -> Array:
    """Noise of the zero-filled inverse: the same everywhere, but for the error of b_0 that all s_k share.

    var(x) = (sum_k sigma_k^2 + sigma_c^2 (sum_k>0 H_k(x))^2) / N^2.
    """
    size = measurement.size
    others = measurement.measured_grid().astype(np.float64)
    others[0, 0] = 0
    spot = walsh_hadamard_2d(others) * measurement.sigma_common
    return np.sqrt(float(np.sum(measurement.sigma**2)) + spot**2) / size**2


def correlation_noise(measurement: Measurement, *, weighting: Weighting = "equal", form: str = "GI") -> Array:
    """Noise of the second-order correlation.

    The image is sum_k a_k s_k with a_k = p_k (H_k - <H>) / 2, p_k the shares of the exposures, so
    var(x) = (1/4) (sum p^2 sigma^2 + <H>^2 sum p^2 sigma^2 - 2 <H> sum p^2 sigma^2 H_k(x)): two fast
    transforms. The error that b_0 gives to all s_k drops out with their mean. Pixel (0, 0) is the
    mean of three neighbours, whose noise is independent as far as few patterns tell them apart.
    """
    size = measurement.size
    share, square = np.zeros(size * size), np.zeros(size * size)
    others = measurement.pattern_index != 0
    index = measurement.pattern_index[others]
    if not len(index):
        return np.zeros((size, size))
    share[index] = exposure_shares(measurement.sigma[others], weighting)
    square[index] = (share[index] * measurement.sigma[others]) ** 2
    mean = walsh_hadamard_2d(share.reshape(size, size))
    variance = square.sum() * (1 + mean**2) - 2 * mean * walsh_hadamard_2d(square.reshape(size, size))
    variance = np.maximum(variance, 0) / 4
    variance[0, 0] = (variance[0, 1] + variance[1, 0] + variance[1, 1]) / 9
    return np.sqrt(variance) / (size * size / 2 if form == "NGI" else 1)
