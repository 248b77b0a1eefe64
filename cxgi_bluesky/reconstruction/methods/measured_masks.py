"""Images from masks as they are: every bucket is predicted with the measured map of its tile.

The signed masks W_k (`tile_maps`) take the place of H_k: s_k = sum_xy W_k x. They are no orthogonal set and have
no fast transform, but a change of basis gives them orthonormal rows: with A' the rows W_k / n, each divided by its
relative sigma, and A' A'^T = U L U^T,

    | A' x - c' |^2 = sum_m L_m (V_m x - d_m)^2,   V = L^-1/2 U^T A',  d = L^-1/2 U^T c'

so that the data term has the same proximal step as in `total_variation`. The error of b_0 that all s_k with k > 0
share is projected out: their mean is taken off the masks and off the coefficients. Methods that know only the
Hadamard patterns are given coefficients from which the masks' error, as an image by total variation shows it, was
taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, check_choice
from ...masks.pattern_set import coefficients
from ...measurement.measurement import Measurement
from ..error_model.common_mode import without_common_error
from ..error_model.noise import estimate_noise, with_model_error
from ..solvers.primal_dual import INITIAL_WEIGHT_IN_SIGMA, Image, choose_weight
from .linear import Form, Weighting, exposure_shares, fill_corner
from .tv import check_weight

Array = NDArray[np.float64]

_MIN_EIGENVALUE = 1e-6  # of the largest: below it two masks are the same mask
_MIN_WEIGHT = 1e-3
_STEP, _RELAXATION = 0.1, 1.8


@dataclass(frozen=True, eq=False)
class MaskSystem:
    """The data term in a basis of orthonormal rows.

    Attributes
    ----------
    rows : ndarray, shape (R, N)
        V, R <= M as far as the masks are independent.
    coefficient, importance : ndarray, shape (R,)
        d and L.
    """

    rows: Image
    coefficient: Image
    importance: Image

    @classmethod
    def from_measurement(cls, measurement: Measurement) -> MaskSystem:
        """The system of a measurement with masks; its sigma weighs the buckets."""
        size, masks, coefficient = measurement.size, masks_of(measurement), measurement.coefficient
        others = measurement.pattern_index != 0
        if measurement.sigma_common > 0 and others.sum() > 1:
            masks = masks - others[:, None, None] * masks[others].mean(axis=0)
            coefficient = coefficient - others * coefficient[others].mean()
        mean = float(np.mean(measurement.sigma**2))
        variance = np.maximum(measurement.sigma**2, 0.0025 * mean) / mean if mean > 0 else np.ones(len(measurement))
        rows = (masks.reshape(len(masks), -1) / (size * np.sqrt(variance))[:, None]).astype(np.float32)
        values = coefficient / (size * np.sqrt(variance))
        eigenvalue, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        kept = eigenvalue > _MIN_EIGENVALUE * eigenvalue[-1]
        turned = (vectors[:, kept] / np.sqrt(eigenvalue[kept])).T
        return cls(
            (turned.astype(np.float32) @ rows),
            (turned @ values).astype(np.float32),
            eigenvalue[kept].astype(np.float32),
        )


def masks_of(measurement: Measurement) -> Image:
    """Signed masks of a measurement that has some, shape (M, n, n)."""
    assert measurement.masks is not None
    return measurement.masks


def least_squares(measurement: Measurement) -> tuple[Image, dict[str, Any]]:
    """Weighted least squares, as far as the noise allows: directions are shrunk by L / (L + noise / signal)."""
    system = MaskSystem.from_measurement(measurement)
    noise = float(np.mean(measurement.sigma**2)) / measurement.size**2
    spread = system.coefficient * np.sqrt(system.importance)
    signal = max(float(np.mean(spread.astype(np.float64) ** 2)) - noise, 1e-6 * float(np.mean(spread**2)))
    ratio = noise / signal if signal > 0 else 0.0
    shrunk = system.coefficient * system.importance / (system.importance + ratio)
    image: Image = (shrunk @ system.rows).reshape(measurement.size, measurement.size)
    return image, {"noise_over_signal": ratio}


def mask_correlation(
    measurement: Measurement, *, form: Form = "DGI", weighting: Weighting = "equal"
) -> tuple[Array, dict[str, Any]]:
    """Second-order correlation with I the masks as they are, over the measured patterns except k = 0.

    GI is <B I> - <B><I>; DGI, <(B - <B>/<R> R) I> with R_k = sum_xy I_k, takes off the light that a mask passes
    more or less than the others. For the masks as designed the two are the same. Pixel (0, 0), open in nearly
    every mask, is filled from its neighbours as in `correlation`.

    Parameters
    ----------
    measurement : Measurement
        With its masks.
    form : {"GI", "DGI"}, optional
        "DGI" by default.
    weighting : {"equal", "sigma"}, optional
        All exposures alike (the default), or each by 1 / sigma^2.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        Both choices.

    Raises
    ------
    CxgiError
        For an unknown form or weighting; NGI is not there.
    """
    check_choice("form", form, get_args(Form), kind=MeasurementError)
    check_choice("weighting", weighting, get_args(Weighting), kind=MeasurementError)
    if form == "NGI":
        raise MeasurementError("form 'NGI' is not there for measured masks: take DGI")
    masks, others = masks_of(measurement), measurement.pattern_index != 0
    open_part = (2 - measurement.d_r) / measurement.d_r  # a mask is (D_r / 2) (W + open_part W_0)
    zero = int(np.flatnonzero(~others)[0])
    bucket = measurement.coefficient[others] + open_part * measurement.coefficient[zero]
    if not others.any():
        return np.zeros((measurement.size, measurement.size)), {"form": form, "weighting": weighting}
    share = exposure_shares(measurement.sigma[others], weighting)
    light = np.ones_like(bucket)
    if form == "DGI":
        light = masks[others].sum(axis=(1, 2)).astype(np.float64) + open_part * float(masks[zero].sum())
    excess = bucket - (share @ bucket) / (share @ light) * light
    image = np.tensordot((share * excess / 2).astype(np.float32), masks[others], axes=1).astype(np.float64)
    return fill_corner(image), {"form": form, "weighting": weighting}


def without_mask_error(measurement: Measurement) -> Measurement:
    """Coefficients of the Hadamard patterns: what the masks' error adds, by an initial image, is taken off."""
    system = MaskSystem.from_measurement(measurement)
    image = _solve(measurement, system, INITIAL_WEIGHT_IN_SIGMA * _pixel_sigma(measurement), True, None)[0]
    return _correct(measurement, image)


def mask_tv(
    measurement: Measurement,
    *,
    weight: float | None = None,
    norm: str = "symmetric",
    nonnegative: bool = True,
    iterations: int = 300,
    tolerance: float = 1e-4,
) -> tuple[Image, dict[str, Any]]:
    """`total_variation.tv` with the masks as they are.

    Parameters
    ----------
    measurement : Measurement
        With its masks.
    weight : float, optional
        As for `tv`; by default it follows from the noise, the model error and the image's own gradients.
    norm : {"symmetric"}, optional
        The only one.
    nonnegative : bool, optional
        No transmission is below 0 (the default).
    iterations : int, optional
        At most so many; 300 by default.
    tolerance : float, optional
        Stops when the image changes by less than this fraction of its deviation in an iteration; 1e-4 by default.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        Weight and where it came from, norm, iterations done and what stopped them.
    """
    if norm != "symmetric":
        raise MeasurementError(f"norm {norm!r} is not there for measured masks: take symmetric, or leave the maps out")
    check_weight(weight)
    system = MaskSystem.from_measurement(measurement)
    start, parameters = None, {"weight": weight, "weight_origin": "given"}
    if weight is None:
        start, _ = _solve(measurement, system, INITIAL_WEIGHT_IN_SIGMA * _pixel_sigma(measurement), nonnegative, None)
        corrected, _ = without_common_error(_correct(measurement, start))
        noise = estimate_noise(corrected, nonnegative=nonnegative)
        corrected = with_model_error(corrected, noise)
        weight = choose_weight(corrected, noise.initial_image)
        if not np.array_equal(corrected.sigma, measurement.sigma):  # only then do the buckets weigh otherwise
            measurement = replace(measurement, sigma=corrected.sigma)
            system = MaskSystem.from_measurement(measurement)
        parameters = {"weight": weight, "weight_origin": "noise, model error and gradients", "sigma": noise.sigma}
        parameters |= {"model_sigma": noise.model_sigma, "sigma_origin": noise.origin}
    image, done = _solve(measurement, system, weight, nonnegative, start, iterations=iterations, tolerance=tolerance)
    return image, {
        **parameters,
        "norm": norm,
        "nonnegative": nonnegative,
        "iterations": done,
        "stopped_by": "tolerance" if done < iterations else "iterations",
        "tolerance": tolerance,
    }


def mask_network(measurement: Measurement, **options: Any) -> tuple[Image, dict[str, Any]]:
    """`ch_mwcnn`, with the image of `mask_tv` as the initial one, from coefficients without the masks' error by it.

    Parameters
    ----------
    measurement : Measurement
        With its masks.
    **options
        weights of `ch_mwcnn`.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        As of `ch_mwcnn`.
    """
    from ..ch_mwcnn.predict import ch_mwcnn

    image, _ = mask_tv(measurement)
    return ch_mwcnn(_correct(measurement, image), initial=image, **options)


def _correct(measurement: Measurement, image: Image) -> Measurement:
    error = measurement.predict(image) - coefficients(image, measurement.pattern_index)
    return replace(measurement, coefficient=measurement.coefficient - error, masks=None)


def _pixel_sigma(measurement: Measurement) -> float:
    return float(np.sqrt(np.mean(measurement.sigma**2))) / measurement.size


def _solve(
    measurement: Measurement,
    system: MaskSystem,
    weight: float,
    nonnegative: bool,
    start: Image | None,
    *,
    iterations: int = 300,
    tolerance: float = 1e-4,
) -> tuple[Image, int]:
    """The primal-dual iteration of `total_variation.Problem` in the basis of the masks; image and iterations done."""
    size = measurement.size
    others = measurement.coefficient[measurement.pattern_index != 0] / size
    deviation = math.sqrt(float(np.sum(others**2))) / size
    projected = ((system.coefficient * system.importance) @ system.rows).reshape(size, size)
    image: Image = projected.astype(np.float32)
    if deviation == 0:
        return image, 0
    weight = max(weight, _MIN_WEIGHT * deviation)
    step = np.float32(_STEP * deviation / weight)
    dual_step = np.float32(1 / (33 * float(step)))
    pull = step * system.importance / (1 + step * system.importance)
    image = image if start is None else start
    dual, sign = np.zeros((4, 2, size, size), np.float32), np.zeros((size, size), np.float32)
    radius, rho = np.float32(weight / 4), np.float32(_RELAXATION)
    done = 0
    for done in range(1, iterations + 1):
        moved = image - step * (_adjoint(dual) + (sign if nonnegative else 0))
        moved += ((pull * (system.coefficient - system.rows @ moved.ravel())) @ system.rows).reshape(size, size)
        ahead = 2 * moved - image
        change = rho * (moved - image)
        image = image + change
        stepped = dual + dual_step * _gradients(ahead)
        stepped *= radius / np.maximum(np.hypot(stepped[:, :1], stepped[:, 1:]), radius)
        dual += rho * (stepped - dual)
        if nonnegative:
            sign += rho * (np.minimum(sign + dual_step * ahead, np.float32(0)) - sign)
        if done > 3 and float(np.sqrt(np.mean(change**2))) <= tolerance * deviation:
            break
    return (np.maximum(image, 0) if nonnegative else image), done


def _gradients(image: Image) -> Image:
    """Forward or backward differences down with those along, the four pairs, shape (4, 2, n, n)."""
    out = np.zeros((4, 2, *image.shape), np.float32)
    down, along = np.diff(image, axis=0), np.diff(image, axis=1)
    out[0, 0, :-1], out[1, 0, :-1], out[2, 0, 1:], out[3, 0, 1:] = down, down, down, down
    out[0, 1, :, :-1], out[2, 1, :, :-1], out[1, 1, :, 1:], out[3, 1, :, 1:] = along, along, along, along
    return out


def _adjoint(dual: Image) -> Image:
    """The adjoint of `_gradients`, shape (n, n)."""
    down = dual[0, 0, :-1] + dual[1, 0, :-1] + dual[2, 0, 1:] + dual[3, 0, 1:]
    along = dual[0, 1, :, :-1] + dual[2, 1, :, :-1] + dual[1, 1, :, 1:] + dual[3, 1, :, 1:]
    out = np.zeros(dual.shape[2:], np.float32)
    out[1:] += down
    out[:-1] -= down
    out[:, 1:] += along
    out[:, :-1] -= along
    return out
