"""Lines and points that an image has lost although its data hold them: a search of the residual.

A method that smooths takes a line as thin as a pixel for noise where no single coefficient shows it, although all of
them together do. So every line is correlated with the residual of the measured coefficients, r = y - H image: with g
the coefficients of the line,

    z = g . r / (|g| sigma).

What the masks' errors have in common (a constant, u + v, and the same weighted with the image), the scale of the image
and the levels of its dark and bright ground are projected out of g and r before. sigma is the rms of r, so that errors
nobody reported count too, or the measurement's own where that is larger: a flexible image fits part of the noise.
Behind masks that are not known exactly errors grow with the edges of a pattern (`error_shares`); how much of the
residual does so is found from the residual, and g and r are divided by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..analysis.metrics import image_levels
from ..errors import MeasurementError
from ..masks.orders import sequency_grid
from ..masks.pattern_set import coefficients
from ..masks.transform import hadamard_matrix, walsh_hadamard_2d
from ..measurement.measurement import Measurement
from .error_model.noise import MIN_PATTERNS, error_shares, mask_knowledge
from .line_runs import MIN_LENGTH, LineRuns, join_runs, line_runs

Array = NDArray[np.float64]
Kind = Literal["bright line", "dark line", "bright point", "dark point"]

MIN_Z = 4.5
_MAX_FOUND = 5
_ROUNDING = 1e-5  # of the rms of the coefficients
_PROBES = 24  # then |g| of a line is known to 15 %, enough to choose the candidates
_CANDIDATE_Z = 0.67  # of the smallest z that is claimed, by such norms
_FAINTEST = 0.2  # of the brightest that is possible: every method that smooths leaves fainter ones
_SIGMAS = 2.0  # by which a line's brightness may exceed what is possible: noise adds to it
_ALIKE_PX = 3.0  # nearer to one found before there is what is left of a line that lies between two of ours
_MAX_CANDIDATES = 1000
_AT_ONCE = 100
_REWEIGHTED = 10
_MIN_VARIANCE = 0.01  # of a coefficient, over the mean
_MIN_SHARE = 0.1  # of |g|^2 after the projection: less says more of what was projected out than of the line
_KINDS: dict[tuple[bool, bool], Kind] = {
    (False, False): "bright line",
    (True, False): "dark line",
    (False, True): "bright point",
    (True, True): "dark point",
}  # on bright ground, a point


@dataclass(frozen=True)
class ResidualLine:
    """A line or a point that the data hold and the image lacks.

    Attributes
    ----------
    kind : {"bright line", "dark line", "bright point", "dark point"}
        Bright ones lie on dark ground, dark ones on bright ground.
    ends : (float, float, float, float)
        (row0, col0, row1, col1): where the ground that the line crosses begins and ends, in pixels from 0, as the image
        is stored. Of a point both are the same.
    angle_deg : float or None
        Tilt of the line: 0 upright, 90 lying; above -90, up to 90. None for a point.
    brightness : float
        What the image lacks along it, mean over its length, in the unit of an image of the measurement; negative for
        dark ones. At least a fifth of the image's range, and no more than there can be: the range, or a transmission
        of 1, and two sigma.
    z : float
        In sigma of the residual.
    chance : float
        Of Gaussian noise giving such a z for any of the lines and points that were looked at: an upper bound
        (Bonferroni), 0..1.
    """

    kind: Kind
    ends: tuple[float, float, float, float]
    angle_deg: float | None
    brightness: float
    z: float
    chance: float


def residual_lines(measurement: Measurement, image: NDArray[Any], *, min_z: float = MIN_Z) -> tuple[ResidualLine, ...]:
    """Search what an image leaves of its data for lines and points, the strongest first, five at most.

    Lines are one pixel wide and straight, at every angle, half a pixel apart, and as long as the dark or bright ground
    (Otsu's classes) that they cross. After each find its part of the residual is taken off, and the rest is searched;
    what lies within 3 pixels of it all along is taken for the same.

    Validation patterns are not looked at: the image was not fitted to them, so that all it lacks, and not noise
    alone, would be in their share of the residual.

    Parameters
    ----------
    measurement : Measurement
        That the image was made from, by any method; at least 64 patterns.
    image : ndarray, shape (n, n)
        As `Reconstruction.image`.
    min_z : float, optional
        Smallest z that is claimed (sigma of the residual); 4.5 by default, above 0.

    Returns
    -------
    tuple of ResidualLine
        Empty where nothing was found, or where the image fits its data to rounding, as the inverse does.

    Raises
    ------
    CxgiError
        For fewer than 64 patterns, an image of another shape, or one that is flat or not finite.
    """
    check_enough_patterns(measurement)
    image = np.asarray(image, dtype=np.float64)
    if image.shape != (measurement.size, measurement.size) or not np.isfinite(image).all():
        raise MeasurementError(
            f"the image, of shape {image.shape}, is not finite or not of {measurement.size} x {measurement.size} "
            "pixels: give the one that was made from this measurement"
        )
    residual = _Residual.from_measurement(measurement, measurement.to_beam_view(image))
    if residual is None:
        return ()
    found = sorted(_strongest(residual, min_z), key=lambda line: -line.z)
    return tuple(_in_beam_view(line, measurement.size) if measurement.mirrored else line for line in found)


def check_enough_patterns(measurement: Measurement) -> None:
    """Raise `CxgiError` unless lines can be looked for."""
    if len(measurement) < MIN_PATTERNS:
        raise MeasurementError(
            f"{len(measurement)} patterns are too few to search their residual for lines: measure at least "
            f"{MIN_PATTERNS}"
        )


def _in_beam_view(line: ResidualLine, size: int) -> ResidualLine:
    row0, col0, row1, col1 = line.ends
    angle = line.angle_deg if line.angle_deg is None or line.angle_deg == 90 else -line.angle_deg
    return replace(line, ends=(row0, size - 1 - col0, row1, size - 1 - col1), angle_deg=angle)


# ---------------------------------------------------------------- the residual


@dataclass(frozen=True, eq=False)
class _Residual:
    """The residual of the patterns k > 0, without what is projected out.

    Attributes
    ----------
    index : ndarray of int, shape (M,)
        The patterns.
    weight : ndarray, shape (M,)
        By which coefficients are multiplied, so that the errors of all are alike; its inverse square has a mean of 1.
    values : ndarray, shape (M,)
        Weighted, in units of `sigma`.
    sigma : float
        In the unit of the coefficients: rms over the degrees of freedom, or the measurement's own where that is larger.
    floor : float
        The measurement's own over `sigma`, 0 if it was estimated from the coefficients themselves.
    basis : ndarray, shape (M, q)
        Orthonormal; spans what was projected out.
    bright : ndarray of bool, shape (n, n)
        Where the image's ground is bright.
    brightest : float
        The most that a line can differ from its ground, in the unit of the image: its range, or a transmission of 1.
    """

    index: NDArray[np.int64]
    weight: Array
    values: Array
    sigma: float
    floor: float
    basis: Array
    bright: NDArray[np.bool_]
    brightest: float

    @classmethod
    def from_measurement(cls, measurement: Measurement, image: Array) -> _Residual | None:
        """Of an image as the board sees it; None where no more than rounding is left."""
        others = measurement.pattern_index != 0
        index = measurement.pattern_index[others]
        bright = _ground(image > image_levels(image).threshold)
        measured, predicted = measurement.coefficient[others], measurement.predict(image)[others]
        columns = np.column_stack([predicted, _projected_out(image, bright, index)])
        weight = np.ones(len(index))
        left, basis = _project_out(measured, columns)
        if not np.mean(left**2) > _ROUNDING**2 * np.mean(measured**2):
            return None
        shares = error_shares(measurement.size, mask_knowledge(measurement)).ravel()[index]
        if np.ptp(shares) > 0:
            variance = _fit_variance(left, shares)
            weight = np.sqrt(np.mean(variance) / variance)
            left, basis = _project_out(measured * weight, columns * weight[:, None])
        sigma = math.sqrt(float(left @ left) / (len(left) - basis.shape[1]))
        known = not measurement.sigma_is_guessed
        own = math.sqrt(float(np.mean((measurement.sigma[others] * weight) ** 2))) if known else 0.0
        sigma = max(sigma, own)
        power = float(predicted @ predicted)
        # more than 1 where the image is smoothed, or a covariance
        scale = max(1.0, float(measured @ predicted) / power) if power > 0 else 1.0
        brightest = max(scale * float(np.ptp(image)), 1.0 if measurement.scale == "transmission" else 0.0)
        return cls(index, weight, left / sigma, sigma, own / sigma, basis, bright, brightest)

    @property
    def freedom(self) -> int:
        """Degrees of freedom."""
        return len(self.index) - self.basis.shape[1]

    def project(self, rows: Array) -> Array:
        """Weighted coefficients, shape (R, M), without what is projected out."""
        projected: Array = rows - (rows @ self.basis) @ self.basis.T
        return projected

    def transform(self, images: NDArray[np.float32]) -> Array:
        """Weighted coefficients of some images: (R, n, n) to (R, M)."""
        rows: Array = walsh_hadamard_2d(images).reshape(len(images), -1)[:, self.index] * self.weight
        return rows

    def transform_back(self, rows: Array) -> Array:
        """The adjoint of `transform`: (R, M) to (R, n, n)."""
        grid = np.zeros((len(rows), self.bright.size))
        grid[:, self.index] = rows * self.weight
        images: Array = walsh_hadamard_2d(grid.reshape(-1, *self.bright.shape))
        return images


def _ground(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The two grounds without specks: what is smaller than a line belongs to the ground around it."""
    from scipy.ndimage import label

    for wanted in (True, False):
        number, _ = label(bright == wanted)
        small = np.bincount(number.ravel()) < MIN_LENGTH
        small[0] = False
        bright = np.where(small[number], not wanted, bright)
    return bright


def _projected_out(image: Array, bright: NDArray[np.bool_], index: NDArray[np.int64]) -> Array:
    """What is projected out beside the image itself, shape (M, 4): see the module."""
    size = len(image)
    step = np.abs(np.diff(hadamard_matrix(size, "<f8"), axis=1)) / 2
    touching = np.pad(step, ((0, 0), (0, 1))) + np.pad(step, ((0, 0), (1, 0)))  # edges of each pattern beside a pixel
    behind = (touching @ image.mean(axis=1))[:, None] + (touching @ image.mean(axis=0))[None, :]
    u, v = sequency_grid(size)
    return np.stack(
        [
            np.ones(len(index)),
            (u + v)[index].astype(np.float64),
            behind.ravel()[index],
            coefficients(bright, index),
        ],
        axis=1,
    )


def _project_out(values: Array, columns: Array) -> tuple[Array, Array]:
    """Values, shape (M,), without their part in the span of some columns, and an orthonormal basis of it."""
    length = np.linalg.norm(columns, axis=0)
    vectors, singular, _ = np.linalg.svd(columns[:, length > 0] / length[length > 0], full_matrices=False)
    basis: Array = vectors[:, singular > 1e-6]
    return values - basis @ (basis.T @ values), basis


def _fit_variance(residual: Array, shares: Array) -> Array:
    """The variance a + b * shares of the residual, a and b at least 0: least squares, weighted by itself."""
    from scipy.optimize import nnls

    power = residual**2 / np.mean(residual**2)
    laws, variance = np.column_stack([np.ones(len(shares)), shares / np.mean(shares)]), np.ones(len(shares))
    for _ in range(_REWEIGHTED):
        found, _ = nnls(laws / variance[:, None], power / variance)
        variance = np.maximum(laws @ found, _MIN_VARIANCE)
    return variance


# ---------------------------------------------------------------- lines and points


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The C lines and points with the largest z, and their coefficients.

    Attributes
    ----------
    bright : ndarray of bool, shape (C,)
        Whether they lie on bright ground, so that they are dark themselves.
    ends, angle_deg : ndarray, shapes (C, 4) and (C,)
        As `LineRuns` has them; the angle of a point is NaN.
    templates : ndarray, shape (C, M)
        Coefficients of each at brightness 1, or -1 where it is dark, without what is projected out.
    looked_at : int
        How many lines and points they were chosen from.
    size : int
        Pixels per side n.
    """

    bright: NDArray[np.bool_]
    ends: Array
    angle_deg: Array
    templates: NDArray[np.float32]
    looked_at: int
    size: int


def _points(bright: NDArray[np.bool_]) -> LineRuns:
    """Every pixel alone."""
    from scipy.sparse import csr_array, eye_array

    position = np.indices(bright.shape).reshape(2, -1).T.astype(np.float64)
    pixels = csr_array(eye_array(bright.size, dtype=np.float32, format="csr"))
    return LineRuns(pixels, bright.ravel(), np.hstack([position, position]), np.full(bright.size, np.nan))


def _choose(residual: _Residual, min_z: float) -> _Candidates:
    """Look at all lines and points.

    |P H w| follows from probes, the same for all w: its square is the variance of w . (H^T P noise)
    (Hutchinson 1990). That is exact enough to choose by.
    """
    noise = np.random.default_rng(0).normal(size=(_PROBES, len(residual.index)))
    fields = residual.transform_back(np.vstack([residual.values, residual.project(noise)]))
    fields = np.ascontiguousarray(fields.reshape(len(fields), -1).T, dtype=np.float32)
    chosen: list[tuple[NDArray[np.float32], LineRuns]] = []
    looked_at = 0
    for runs in chain(line_runs(residual.bright), [_points(residual.bright)]):
        seen = runs.weights @ fields
        norm = np.sqrt(np.mean(seen[:, 1:] ** 2, axis=1))
        z = np.where(runs.bright, -1, 1) * seen[:, 0] / np.maximum(norm, np.finfo(np.float32).tiny)
        brightest = residual.brightest * norm / residual.sigma  # in its z
        visible = brightest > _CANDIDATE_Z * (min_z - _SIGMAS)
        kept = np.flatnonzero(visible & (z > _CANDIDATE_Z * np.maximum(min_z, _FAINTEST * brightest)))
        chosen.append((z[kept], runs.take(kept)))
        looked_at += int(np.count_nonzero(visible))
    z = np.concatenate([z for z, _ in chosen])
    runs = join_runs([runs for _, runs in chosen]).take(np.argsort(-z, kind="stable")[:_MAX_CANDIDATES])
    templates = np.empty((len(runs), len(residual.index)), dtype=np.float32)
    kept = np.zeros(len(runs), dtype=bool)
    for first in range(0, len(runs), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        images = runs.weights[rows].toarray().reshape(-1, *residual.bright.shape)
        whole = residual.transform(images)
        templates[rows] = np.where(runs.bright[rows], -1, 1)[:, None] * residual.project(whole)
        kept[rows] = np.sum(templates[rows] ** 2, axis=1) > _MIN_SHARE * np.sum(whole**2, axis=1)
    runs = runs.take(np.flatnonzero(kept))
    return _Candidates(runs.bright, runs.ends, runs.angle_deg, templates[kept], looked_at, len(residual.bright))


def _strongest(residual: _Residual, min_z: float) -> Iterator[ResidualLine]:
    """The candidate with the largest z; then that of the residual without it and of those unlike it, and so on.

    One that is too faint, or brighter than a line can be, is taken off as well, but not reported.
    """
    candidates = _choose(residual, min_z)
    templates, left, freedom = candidates.templates, residual.values, residual.freedom
    others = np.ones(len(templates), dtype=bool)
    for _ in range(min(_MAX_FOUND, len(templates))):
        sigma = max(math.sqrt(float(left @ left) / freedom), residual.floor)
        norm = np.sqrt(np.maximum(np.sum(templates**2, axis=1), np.finfo(np.float32).tiny))
        z = templates @ left / (norm * sigma)
        best = int(np.argmax(np.where(others, z, 0)))
        if not (others[best] and z[best] >= min_z):
            return
        unit = templates[best] / norm[best]
        brightest = residual.brightest * norm[best] / (residual.sigma * sigma)
        if _FAINTEST * brightest <= z[best] <= brightest + _SIGMAS:
            yield _describe(candidates, best, float(z[best]), freedom, float(unit @ left / norm[best]) * residual.sigma)
        others &= _distance(candidates.ends, best) > _ALIKE_PX
        left, freedom = left - unit * (unit @ left), freedom - 1
        templates = templates - np.outer(templates @ unit, unit)


def _distance(ends: Array, row: int) -> Array:
    """How far the farther end of each line is from one of them (px), prolonged; shape (C,)."""
    start, stop = ends[row, :2], ends[row, 2:]
    length = float(np.hypot(*(stop - start)))
    away = ends.reshape(-1, 2, 2) - start
    if length == 0:
        return np.max(np.hypot(away[..., 0], away[..., 1]), axis=1)
    along = (stop - start) / length
    across: Array = np.max(np.abs(away[..., 0] * along[1] - away[..., 1] * along[0]), axis=1)
    return across


def _describe(candidates: _Candidates, row: int, z: float, freedom: int, brightness: float) -> ResidualLine:
    dark, angle = bool(candidates.bright[row]), float(candidates.angle_deg[row])
    row0, col0, row1, col1 = (round(float(end), 1) for end in candidates.ends[row].clip(0, candidates.size - 1))
    return ResidualLine(
        kind=_KINDS[dark, math.isnan(angle)],
        ends=(row0, col0, row1, col1),
        angle_deg=None if math.isnan(angle) else round(angle, 1),
        brightness=-brightness if dark else brightness,
        z=z,
        chance=min(1.0, candidates.looked_at * _chance_of_one(z, freedom)),
    )


def _chance_of_one(z: float, freedom: int) -> float:
    """Of Gaussian noise giving such a z for one line: sigma is from the same residual, so that Student's t decides."""
    from scipy.special import stdtr

    rest = freedom - z * z
    return float(stdtr(freedom - 1, -z * math.sqrt((freedom - 1) / rest))) if rest > 0 else 0.0
