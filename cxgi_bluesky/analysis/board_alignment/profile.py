"""Centre of an open square along one axis, from exposures across its two edges.

Behind an aperture the light falls on both sides linearly to that of the metal. Only the lower halves of the two
flanks are exposed: there the noise is least for the same slope, and neither rounded corners nor a turned plate bend the
line. The model is symmetric, background + slope * max(0, half - |x - centre|), so that over-etching, the penumbra and a
plate that is turned by a degree change `half` and leave the centre where it is.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import MeasurementError
from ...masks.board import MaskBoard
from ...measurement.normalization import smooth_sigma

Array = NDArray[np.float64]

MIN_POINTS = 3  # on each flank
FLANK = (0.1, 0.45)  # how far inside, as a share of the flank
OUTSIDE = 0.12  # how far outside, likewise
_PARAMETERS = 4
_MIN_STEP = 8.0  # of the slope in its sigma


@dataclass(frozen=True, eq=False)
class EdgeFit:
    """What a profile across an open square says.

    Attributes
    ----------
    centre_um, sigma_um : float
        Where its middle is, and one standard deviation of it by the readings' own noise.
    width_um : float
        Of the square and the aperture together, half of each: where the light ends on both sides.
    chi_square : float
        NaN where nothing told the noise; then sigma comes from the scatter.
    degrees_of_freedom : int
    """

    centre_um: float
    sigma_um: float
    width_um: float
    chi_square: float
    degrees_of_freedom: int


def profile_offsets_um(board: MaskBoard, points: int) -> Array:
    """Offsets from the centre at which a profile is exposed: two outside, then `points` on each flank, in turn.

    Sides alternate, so that a drift of the source does not look like an offset.

    Parameters
    ----------
    board : MaskBoard
        For the sizes of tile and aperture.
    points : int
        Exposures on each flank.

    Returns
    -------
    ndarray, shape (2 * points + 2,)
        Along the axis of the profile (um).
    """
    outer, flank = (board.tile_um + board.aperture_um) / 2, min(board.tile_um, board.aperture_um)
    distances = outer - flank * np.array([-OUTSIDE, *np.linspace(*FLANK, points)])
    return np.stack([distances, -distances], axis=1).ravel()


def fit_edges(position_um: ArrayLike, value: ArrayLike, sigma: ArrayLike, *, board: MaskBoard) -> EdgeFit:
    """Fit centre, half-width, slope and background to a profile.

    Parameters
    ----------
    position_um : array, shape (n,)
        Stage position along the profile's axis.
    value, sigma : array, shape (n,)
        Readings (any unit) and one standard deviation of each, NaN where it is not known. Readings that are NaN are
        left out.
    board : MaskBoard
        For the sizes to begin with.

    Raises
    ------
    CxgiError
        For too few readings, or readings that are no open square between metal.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    position, readings, told = (np.asarray(v, dtype=np.float64) for v in (position_um, value, sigma))
    usable = np.isfinite(position) & np.isfinite(readings)
    position, readings, told = position[usable], readings[usable], told[usable]
    if len(position) < 2 * MIN_POINTS + 2:
        raise MeasurementError(f"{len(position)} usable readings of an edge profile: {2 * MIN_POINTS + 2} are needed")
    noise = smooth_sigma(readings, np.where(told > 0, told, np.nan)) if (told > 0).any() else None
    middle, outer = float(np.mean(position)), (board.tile_um + board.aperture_um) / 2
    flank = min(board.tile_um, board.aperture_um)

    def law(x: Array, centre: float, half: float, slope: float, background: float) -> Array:
        return background + slope * np.maximum(0.0, half - np.abs(x - centre))

    # Lengths in flanks, the centre counted from one flank away: steps of the fit are relative, a 0 would not move.
    along, begin = (position - middle) / flank + 1, (1.0, outer / flank, float(np.ptp(readings)), float(readings.min()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # an infinite covariance is judged below
            found, covariance = curve_fit(law, along, readings, begin, noise, noise is not None)
    except (RuntimeError, ValueError) as error:
        raise MeasurementError(f"no open square can be fitted to the edge profile ({error})") from error
    errors = np.sqrt(np.diag(covariance))
    if not (np.isfinite(errors).all() and found[2] > _MIN_STEP * errors[2] and abs(found[0] - 1) < 0.5):
        raise MeasurementError(
            f"the edge profile from {position.min() / 1000:.3f} to {position.max() / 1000:.3f} mm shows no open square "
            f"between metal (readings {readings.min():.4g} to {readings.max():.4g})"
        )
    residual = readings - law(along, *found)
    chi_square = math.nan if noise is None else float(np.sum((residual / noise) ** 2))
    return EdgeFit(
        centre_um=middle + flank * float(found[0] - 1),
        sigma_um=flank * float(errors[0]),
        width_um=2 * flank * float(found[1]),
        chi_square=chi_square,
        degrees_of_freedom=len(position) - _PARAMETERS,
    )
