"""Images of `tv` made again: of repeated scans, and of the scan at hand without some of its patterns.

What the first scatter by is noise. How the second scatter, and how far they miss the patterns that they
were not made from, tells of the rest of the error, as far as the data can tell (`calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...masks.pattern_set import coefficients
from ...measurement.measurement import Measurement
from ..solvers.primal_dual import Image, Norm, Problem, WarmStart, choose_weight
from .noise import PreparedMeasurement, draw_rows, with_model_error

DRAWS = 24
_REPEATS = 6  # enough for the size of the noise in the whole image
_ITERATIONS, _TOLERANCE = 100, 5e-4


@dataclass(frozen=True, eq=False)
class Resampled:
    """A image and others of the same object.

    Attributes
    ----------
    measurement : Measurement
        With its full sigma, model error included, and without the common offset.
    image : ndarray, shape (n, n)
        Of all that was measured.
    repeated : ndarray, shape (repeats, n, n)
        Of repeated scans of an object that looks like `image`.
    reduced : ndarray, shape (draws, n, n)
        With fresh noise on what was measured, each without an eighth of the patterns; no draws unless asked for.
    left_out : ndarray of int, shape (draws, m)
        pattern_index of those patterns.
    missed : ndarray, shape (draws, m)
        What the image predicts for them, less what was measured.
    """

    measurement: Measurement
    image: Image
    repeated: Image
    reduced: Image
    left_out: NDArray[np.int64]
    missed: NDArray[np.float64]


def resample(
    measurement: Measurement,
    *,
    leave_out: bool,
    seed: int = 0,
    draws: int = DRAWS,
    weight: float | None = None,
    norm: Norm = "symmetric",
    nonnegative: bool = True,
) -> Resampled:
    """Images made again: `draws` repeats, or with `leave_out` a few, and `draws` without an eighth of the patterns.

    Parameters
    ----------
    measurement : Measurement
    leave_out : bool
        Whether images without an eighth of the patterns are made.
    seed : int, optional
        Of the noise and of the draws; 0 by default.
    draws : int, optional
        How many, as above; 24 by default.
    weight : float, optional
        As for `tv`; by default that of the whole measurement is chosen for all images.
    norm : {"symmetric", "isotropic", "anisotropic"}, optional
        As for `tv`; "symmetric" by default.
    nonnegative : bool, optional
        As for `tv`; True by default.
    """
    prepared, _ = PreparedMeasurement.from_measurement(measurement).without_common_error()
    measurement = with_model_error(prepared, prepared.noise)
    chosen = choose_weight(measurement, prepared.noise.initial_image) if weight is None else weight
    base, rng = WarmStart(), np.random.default_rng(seed)

    def solve(rows: Measurement, warm: WarmStart, iterations: int = _ITERATIONS) -> Image:
        problem = Problem.from_measurement(rows, norm=norm, nonnegative=nonnegative)
        problem.solve(chosen, warm, iterations=iterations, tolerance=_TOLERANCE)
        assert warm.image is not None
        return warm.image

    def noisy(coefficient: NDArray[np.float64]) -> Measurement:
        return replace(measurement, coefficient=coefficient + measurement.sigma * rng.normal(size=len(measurement)))

    image = solve(measurement, base, 300)
    predicted = coefficients(image, measurement.pattern_index)
    repeats = [solve(noisy(predicted), base.copy()) for _ in range(_REPEATS if leave_out else draws)]
    reduced, left_out, missed = [], [], []
    for draw in range(draws if leave_out else 0):
        held = draw_rows(measurement, seed + draw)
        kept = np.delete(np.arange(len(measurement)), held)
        reduced.append(solve(noisy(measurement.coefficient).take(kept), base.copy()))
        left_out.append(measurement.pattern_index[held])
        missed.append(coefficients(reduced[-1], left_out[-1]) - measurement.coefficient[held])
    return Resampled(
        measurement, image, np.array(repeats), np.array(reduced), np.array(left_out, np.int64), np.array(missed)
    )
