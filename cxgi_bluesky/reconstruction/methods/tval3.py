"""TVAL3: total variation with the data fitted exactly, after C. Li's thesis (Rice University, 2009).

    min_u  sum |D u|   subject to  A u = b  (and u >= 0)

by the augmented Lagrangian L = sum |w| - sigma.(D u - w) + beta/2 |D u - w|^2 - delta.(A u - b)
+ mu/2 |A u - b|^2: w by shrinking, u by one Barzilai-Borwein step with a non-monotone Armijo search,
then the multipliers sigma and delta; mu and beta double up to their last values. As it fits the noise
too, `tv` is the better choice for noisy data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, check_choice
from ...masks.transform import walsh_hadamard_2d
from ...measurement.measurement import Measurement
from ..error_model.common_mode import without_common_error

Norm = Literal["isotropic", "anisotropic"]

MU, BETA = 2.0**8, 2.0**5  # Li's defaults, for b with a range of 1
_CONTINUATION = 2.0**4  # the first mu and beta are smaller by this factor
_INNER_TOLERANCE = 1e-3
Image = NDArray[np.float32]


@dataclass(eq=False)
class MultiplierStart:
    """Where an earlier solution of nearly the same problem ended; `tval3` starts there and leaves its own end.

    Both multipliers are pure numbers, so that they hold whatever range the coefficients are scaled to.

    Attributes
    ----------
    image : ndarray, shape (n, n), or None
        In the unit of the image.
    gradient : ndarray, shape (2, n, n), or None
        Multiplier sigma.
    data : ndarray, shape (n, n), or None
        Multiplier delta, 0 where not measured.
    """

    image: Image | None = None
    gradient: Image | None = None
    data: Image | None = None


def tval3(
    measurement: Measurement,
    *,
    mu: float = MU,
    beta: float = BETA,
    norm: Norm = "isotropic",
    nonnegative: bool = True,
    iterations: int = 400,
    tolerance: float = 1e-6,
    warm: MultiplierStart | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """TVAL3 reconstruction.

    Parameters
    ----------
    measurement : Measurement
    mu, beta : float, optional
        Last penalties of data and gradient, for coefficients scaled to a range of 1; 256 and 32 by default.
    norm : {"isotropic", "anisotropic"}, optional
        Length of the gradient: Euclidean (the default), or the sum over both directions.
    nonnegative : bool, optional
        No transmission is below 0 (the default).
    iterations : int, optional
        Image steps at most; 400 by default.
    tolerance : float, optional
        Relative change of the image between two updates of the multipliers that ends the iteration; 1e-6 by default.
    warm : MultiplierStart, optional
        For a series of growing measurements, as in a running scan: the penalties then begin at their
        last values.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        All of them, image steps and updates done, what stopped them, and the `common_offset` and `edge_error`
        taken off (`common_mode`).

    Raises
    ------
    CxgiError
        If a penalty is not positive, or the norm unknown.
    """
    from ..solvers.kernels import augmented_lagrangian

    check_choice("norm", norm, get_args(Norm), kind=MeasurementError)
    for name, value in (("mu", mu), ("beta", beta)):
        if not (math.isfinite(value) and value > 0):
            raise MeasurementError(f"{name} {value} of TVAL3 is no positive number")
    measurement, common = without_common_error(measurement)
    size = measurement.size
    coefficient = measurement.coefficient_grid() / size
    extent = float(np.ptp(measurement.coefficient)) / size
    parameters = {
        "mu": mu,
        "beta": beta,
        "norm": norm,
        "nonnegative": nonnegative,
        "common_offset": common.constant,
        "edge_error": common.edges,
    }
    if extent == 0:  # one coefficient, or all of them 0
        flat = (walsh_hadamard_2d(coefficient) / size).astype(np.float32)
        return np.maximum(flat, 0) if nonnegative else flat, {
            **parameters,
            "iterations": 0,
            "updates": 0,
            "stopped_by": "flat",
        }
    data, measured = (coefficient / extent).astype(np.float32), measurement.sampling_grid().astype(np.float32)
    image, gradient, multiplier, first = _start(data, measured, extent, warm)
    steps, updates, change = augmented_lagrangian(
        data,
        measured,
        (mu * first, mu),
        (beta * first, beta),
        norm == "isotropic",
        nonnegative,
        iterations,
        (_INNER_TOLERANCE, tolerance),
        image,
        gradient,
        multiplier,
    )
    image *= np.float32(extent)
    if warm is not None:
        warm.image, warm.gradient, warm.data = image, gradient, multiplier
    return image.copy(), {
        **parameters,
        "iterations": steps,
        "updates": updates,
        "tolerance": tolerance,
        "stopped_by": "tolerance" if change < tolerance else "iterations",
    }


def _start(
    data: Image, measured: Image, extent: float, warm: MultiplierStart | None
) -> tuple[Image, Image, Image, float]:
    """Image and multipliers to start from, and the share of the last penalties to begin with."""
    if warm is not None and warm.image is not None and warm.image.shape == data.shape:
        assert warm.gradient is not None
        assert warm.data is not None
        image = warm.image / np.float32(extent)
        return image, warm.gradient.copy(), warm.data * measured, 1.0
    size = len(data)
    image = (walsh_hadamard_2d(data) / np.float32(size)).astype(np.float32)
    return image, np.zeros((2, size, size), np.float32), np.zeros((size, size), np.float32), 1 / _CONTINUATION
