"""From exposures across the edges of fiducials to the alignment of the board, with uncertainties.

A profile gives the centre of an open square along one axis, from exposures across its two edges. Behind an aperture
the light falls on both sides linearly to that of the metal. Only the lower halves of the two
flanks are exposed: there the noise is least for the same slope, and neither rounded corners nor a turned board bend the
line. The model is symmetric, background + slope * max(0, half - |x - centre|), so that over-etching, the penumbra and a
board that is turned by a degree change `half` and leave the centre where it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import MeasurementError
from ...masks.board import Alignment, MaskBoard
from ...measurement.normalization import smooth_sigma

Array = NDArray[np.float64]

MIN_POINTS = 3  # on each flank
FLANK = (0.1, 0.45)  # how far inside, as a share of the flank
OUTSIDE = 0.12  # how far outside, likewise
PROFILE_PARAMETERS = 4
SIMILARITY_PARAMETERS = 4
_MIN_STEP = 8.0  # of the slope in its sigma


@dataclass(frozen=True, eq=False)
class EdgeFit:
    """Fit of a profile across an open square.

    Attributes
    ----------
    centre_um, sigma_um : float
        Where its middle is, and one standard deviation of it by the readings' own noise.
    width_um : float
        Of the square and the aperture together, half of each: where the light ends on both sides.
    chi_square : float
        NaN where the noise is not known; then sigma comes from the scatter.
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

    position, readings, given = (np.asarray(v, dtype=np.float64) for v in (position_um, value, sigma))
    usable = np.isfinite(position) & np.isfinite(readings)
    position, readings, given = position[usable], readings[usable], given[usable]
    if len(position) < 2 * MIN_POINTS + 2:
        raise MeasurementError(f"{len(position)} usable readings of an edge profile: {2 * MIN_POINTS + 2} are needed")
    noise = smooth_sigma(readings, np.where(given > 0, given, np.nan)) if (given > 0).any() else None
    middle, outer = float(np.mean(position)), (board.tile_um + board.aperture_um) / 2
    flank = min(board.tile_um, board.aperture_um)

    def law(x: Array, centre: float, half: float, slope: float, background: float) -> Array:
        return background + slope * np.maximum(0.0, half - np.abs(x - centre))

    # Lengths in flanks, the centre counted from one flank away: steps of the fit are relative, a 0 would not move.
    along, begin = (position - middle) / flank + 1, (1.0, outer / flank, float(np.ptp(readings)), float(readings.min()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # an infinite covariance is checked below
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
        degrees_of_freedom=len(position) - PROFILE_PARAMETERS,
    )


# ---------------------------------------------------------------- similarity


@dataclass(frozen=True, eq=False)
class Similarity:
    """A fitted similarity of one handedness.

    Attributes
    ----------
    found : ndarray, shape (4,)
        x0, y0 (mm), a and b.
    mirrored : bool
    covariance : ndarray, shape (4, 4)
        Of those.
    residual_mm : ndarray, shape (n, 2)
        Measured minus fitted.
    chi_square : float
    """

    found: Array
    mirrored: bool
    covariance: Array
    residual_mm: Array
    chi_square: float

    @property
    def alignment(self) -> Alignment:
        """The same as an `Alignment`; `CxgiError` for a scale that is not near 1."""
        x0, y0, a, b = self.found.tolist()
        return Alignment(x0, y0, math.degrees(math.atan2(b, a)), math.hypot(a, b), self.mirrored)

    def sigma_at_mm(self, board_mm: Array) -> Array:
        """One standard deviation of the stage positions of points (n, 2), both axes together; shape (n,)."""
        jacobian = _design(np.atleast_2d(board_mm), self.mirrored)
        variance = np.einsum("nij,jk,nik->n", jacobian, self.covariance, jacobian)
        return np.sqrt(variance)


def fit_similarity(board_mm: Array, stage_mm: Array, sigma_mm: Array, *, mirrored: bool) -> Similarity:
    """Weighted least squares for one handedness.

    Parameters
    ----------
    board_mm, stage_mm, sigma_mm : ndarray, shape (n, 2)
        Two or more points apart in board coordinates, where they are on the stage, and one standard deviation of that.
    mirrored : bool
        Whether the board is assumed to be mounted back to front.
    """
    design = _design(board_mm, mirrored).reshape(-1, SIMILARITY_PARAMETERS) / sigma_mm.reshape(-1, 1)
    wanted = (stage_mm / sigma_mm).reshape(-1)
    found = np.linalg.lstsq(design, wanted, rcond=None)[0]
    residual = (wanted - design @ found).reshape(-1, 2)
    covariance = np.linalg.inv(design.T @ design).astype(np.float64)
    return Similarity(found.astype(np.float64), mirrored, covariance, residual * sigma_mm, float(np.sum(residual**2)))


def _design(board_mm: Array, mirrored: bool) -> Array:
    """Derivatives of (x, y) by (x0, y0, a, b), shape (n, 2, 4)."""
    across, down = board_mm[:, 0] * (-1 if mirrored else 1), board_mm[:, 1]
    one, zero = np.ones(len(board_mm)), np.zeros(len(board_mm))
    return np.stack([np.stack([one, zero, across, -down], axis=1), np.stack([zero, one, down, across], axis=1)], axis=1)


# ---------------------------------------------------------------- fit


@dataclass(frozen=True, eq=False)
class Visit:
    """The two edge profiles of one fiducial.

    Attributes
    ----------
    landmark : int
        Number of the fiducial in the board.
    x, y : EdgeFit
        Along each axis of the stage.
    """

    landmark: int
    x: EdgeFit
    y: EdgeFit

    @property
    def centre_um(self) -> tuple[float, float]:
        """Stage position of its centre."""
        return self.x.centre_um, self.y.centre_um


@dataclass(frozen=True, eq=False)
class AlignmentFit:
    """Alignment of a board, fitted to the centres of its fiducials.

    Attributes
    ----------
    board : MaskBoard
        As in its file.
    alignment : Alignment
        As fitted.
    x0_sigma_um, y0_sigma_um, rotation_sigma_deg, scale_sigma : float
        One standard deviation of each number; they are not independent, see `tile_sigma_um`.
    tile_sigma_um : float
        One standard deviation (both axes together) of the position of the tile that is known worst.
    visits : tuple of Visit
    residual_um : ndarray, shape (visits, 2)
        Measured minus fitted centres.
    chi_square : float
        Of the centres, by the noise of the readings.
    degrees_of_freedom : int
    noise_factor : float
        By how much the sigmas have been enlarged because readings or centres scatter more than by their noise.
    mirror_margin : float
        Chi-square of the other handedness over this one's; where both are distinguished it is thousands.
    exposures : int
    uid : str
        Of the run.
    """

    board: MaskBoard
    alignment: Alignment
    x0_sigma_um: float
    y0_sigma_um: float
    rotation_sigma_deg: float
    scale_sigma: float
    tile_sigma_um: float
    visits: tuple[Visit, ...]
    residual_um: Array
    chi_square: float
    degrees_of_freedom: int
    noise_factor: float
    mirror_margin: float
    exposures: int = 0
    uid: str = ""

    @cached_property
    def aligned_board(self) -> MaskBoard:
        """The board with the fitted alignment: ``stage.board = fit.aligned_board``."""
        return replace(self.board, alignment=self.alignment)

    @property
    def revisit_um(self) -> tuple[float, float] | None:
        """How far the first fiducial had moved when it was visited again; None if it was not."""
        again = [v for v in self.visits[1:] if v.landmark == self.visits[0].landmark]
        if not again:
            return None
        (x0, y0), (x1, y1) = self.visits[0].centre_um, again[-1].centre_um
        return x1 - x0, y1 - y0

    def __str__(self) -> str:
        a = self.alignment
        rms = math.sqrt(float(np.mean(self.residual_um**2)))
        return (
            f"tile 0 at x {a.x0_mm:.4f}, y {a.y0_mm:.4f} mm (+- {self.x0_sigma_um:.1f}, {self.y0_sigma_um:.1f} um), "
            f"rotation {a.rotation_deg:.4f} +- {self.rotation_sigma_deg:.4f} deg, "
            f"scale {a.scale:.6f} +- {self.scale_sigma:.6f}, {'back to front' if a.mirrored else 'not mirrored'}; "
            f"worst tile +- {self.tile_sigma_um:.2f} um, centres {rms:.2f} um rms from the fit"
        )


def fit_alignment(board: MaskBoard, visits: Sequence[Visit], *, exposures: int = 0, uid: str = "") -> AlignmentFit:
    """Fit the alignment to the centres of fiducials; the handedness that fits is taken.

    Parameters
    ----------
    board : MaskBoard
        As in its file; its own alignment does not matter.
    visits : sequence of Visit
        Of three or more fiducials that do not lie on a line.
    exposures : int, optional
        How many the run took, for the record; 0 by default.
    uid : str, optional
        Of the run, for the record; empty by default.

    Raises
    ------
    CxgiError
        If fewer fiducials were measured, or the centres fit neither handedness.
    """
    if len({visit.landmark for visit in visits}) < 3:
        raise MeasurementError(
            f"{len(visits)} measured centres: three fiducials or more are needed, repeat the alignment"
        )
    fits = {mirrored: similarity_of(board, visits, mirrored=mirrored) for mirrored in (False, True)}
    good, other = sorted(fits.values(), key=lambda fit: fit.chi_square)
    profiles = [edges for visit in visits for edges in (visit.x, visit.y)]
    freedom = 2 * len(visits) - SIMILARITY_PARAMETERS
    factor = max(1.0, _scatter(profiles), math.sqrt(good.chi_square / freedom))
    worst_um = float(np.hypot(*(good.residual_mm.T * 1000)).max())
    if worst_um > board.tile_um / 4:
        raise MeasurementError(
            f"the centres of the fiducials lie up to {worst_um:.0f} um from any alignment of board {board.name!r}: "
            "is this the board on the stage, and does the stage keep its steps?"
        )
    sigma = factor * np.sqrt(np.diag(good.covariance))
    a = good.alignment
    return AlignmentFit(
        board=board,
        alignment=a,
        x0_sigma_um=1000 * float(sigma[0]),
        y0_sigma_um=1000 * float(sigma[1]),
        rotation_sigma_deg=math.degrees(float(sigma[3]) / a.scale),  # a and b have the same variance: the fit is
        scale_sigma=float(sigma[2]),  # alike in all directions
        tile_sigma_um=1000 * factor * float(good.sigma_at_mm(_corners_mm(board)).max()),
        visits=tuple(visits),
        residual_um=good.residual_mm * 1000,
        chi_square=good.chi_square,
        degrees_of_freedom=freedom,
        noise_factor=factor,
        mirror_margin=other.chi_square / max(good.chi_square, 1e-12),
        exposures=exposures,
        uid=uid,
    )


def similarity_of(board: MaskBoard, visits: Sequence[Visit], *, mirrored: bool) -> Similarity:
    """The similarity of one handedness through the centres of two fiducials or more.

    Parameters
    ----------
    board : MaskBoard
        Gives the cells of the fiducials; its own alignment does not matter.
    visits : sequence of Visit
        Edge profiles of the fiducials.
    mirrored : bool
        Whether the board is assumed to be mounted back to front.
    """
    board_mm = np.array([board.on_board_mm(board.fiducials[visit.landmark]) for visit in visits])
    centre = np.array([visit.centre_um for visit in visits]) / 1000
    sigma = np.array([(visit.x.sigma_um, visit.y.sigma_um) for visit in visits]) / 1000
    return fit_similarity(board_mm, centre, sigma, mirrored=mirrored)


def _scatter(profiles: Sequence[EdgeFit]) -> float:
    """How much more the readings scatter than by their own noise, over all profiles."""
    given = [p for p in profiles if math.isfinite(p.chi_square)]
    freedom = sum(p.degrees_of_freedom for p in given)
    return math.sqrt(sum(p.chi_square for p in given) / freedom) if freedom else 1.0


def _corners_mm(board: MaskBoard) -> Array:
    rows = -(-board.pattern_count // board.columns)
    corners = [(row, column) for row in (0, rows - 1) for column in (0, board.columns - 1)]
    return np.array([board.on_board_mm(corner) for corner in corners])
