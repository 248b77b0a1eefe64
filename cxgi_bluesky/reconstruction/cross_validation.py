"""How far to trust an image without a truth: predict patterns that it was not made from.

Some of the measured patterns are held back, the image is made from the others, and what it
predicts for those held back is compared with what was measured. A image of a real object
predicts much of their power; an image made of wrong data, or of little else than noise, predicts
nothing. The linear methods set to 0 whatever was not measured, so they can predict nothing: their
data are judged by the image that `tv` makes of them.

Validation patterns (outside the pattern set) judge what an image shows beyond the measured patterns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..masks.pattern_set import coefficients
from ..measurement.measurement import Measurement
from .api import estimate_uncertainty, reconstruct, reconstruct_many
from .error_model.common_mode import MASK_LEVEL, CommonError, detect_modulation_error
from .error_model.noise import MIN_PATTERNS, PreparedMeasurement
from .planning.quality import with_psnr
from .registry import TV, find_method
from .residual_lines import check_enough_patterns, residual_lines
from .result import Reconstruction
from .scaling import back_from_unit, in_unit, options_in_unit, unit_of

Array = NDArray[np.float64]

MIN_EXPLAINED = 0.05
MAX_CHANCE = 0.005  # of predicting so well by luck
MIN_HELD_OUT = 32  # fewer show nothing for certain
CLEARLY_EXPLAINED = 0.3  # less is asked for again: of 240 shuffled scans one had the luck, twice in a row none
_SHUFFLES = 999


def cross_validate(
    measurement: Measurement,
    *,
    method: str,
    patterns: int = 64,
    seed: int = 0,
    image: NDArray[Any] | None = None,
    designed: PreparedMeasurement | None = None,
    **options: Any,
) -> dict[str, Any] | None:
    """Score of a method on this measurement, or of its data where the method predicts nothing.

    Parameters
    ----------
    measurement : Measurement
    method : str
    patterns : int, optional
        How many are held back, 64 by default, drawn at random (k = 0 never): at once, or an eighth of all in each of
        two disjoint draws. Where they are predicted, but not clearly, others are drawn as well.
    seed : int, optional
        Of the draw; 0 by default.
    image : ndarray, shape (n, n), optional
        What the method makes of the whole measurement, if that is known already (validation patterns need it).
    designed : PreparedMeasurement, optional
        Of measured masks, the measurement as if they were the design, if that is known already.
    **options
        For the method.

    Returns
    -------
    dict or None
        What `score_prediction` says of the held-back patterns (of those that are explained less, where others were
        drawn as well), ``predictor`` (the method that predicted),
        ``model_sigma`` (errors of the coefficients beyond their own sigma), ``outside`` (what
        `score_prediction` says of the validation patterns, None without any) and ``supported``: whether
        the held-back patterns are predicted better than by luck, None if they are too few to tell.
        None for fewer than 64 patterns.
    """
    if len(measurement) < MIN_PATTERNS:
        return None
    if measurement.mirrored:  # all that follows is as the board sees it
        image = None if image is None else measurement.to_beam_view(image)
        measurement = replace(measurement, mirrored=False)
    predictor = method
    if not find_method(method).predicts_unmeasured:
        predictor, options, image = TV.name, {}, None
    prepared, common = PreparedMeasurement.from_measurement(measurement), CommonError()
    if measurement.masks is None:
        designed, common = prepared.without_common_error(options.get("mask_level", MASK_LEVEL))
        measurement = designed
    noise = (designed or _with_designed_masks(prepared)).noise

    def score_draws(draws: list[NDArray[np.int64]]) -> dict[str, Any]:
        pairs = [_predict_held_out(measurement, held, predictor, options) for held in draws]
        predicted, measured = (np.concatenate(values) for values in zip(*pairs, strict=True))
        return score_prediction(predicted, measured, noise.sigma, seed)

    first, others = _draws(measurement, patterns, seed)
    inside = score_draws(first)
    if _is_predicted(inside) and inside["explained"] < CLEARLY_EXPLAINED:
        inside = min(inside, score_draws(others), key=lambda found: found["explained"])
    outside = None
    if measurement.validation is not None:
        if image is None:
            image = reconstruct(measurement, method=predictor, **options).image
        beyond = measurement.validation
        predicted = coefficients(image, beyond.index)
        measured = beyond.value - common.at_patterns(beyond.index, measurement.size)
        if prepared.source.get("coding") == "binary":  # by how much the source drifted from its open bucket
            measured = measured - np.mean(measured - predicted)
        outside = score_prediction(predicted, measured, noise.sigma, seed)
    return {
        **inside,
        "predictor": predictor,
        "model_sigma": noise.model_sigma,
        "outside": outside,
        "supported": _is_predicted(inside) if inside["patterns"] >= MIN_HELD_OUT else None,
    }


def _level(measurement: Measurement, expected: Array, kept: NDArray[np.int64]) -> float:
    """The constant that b_0 adds to the coefficients beside measured masks, by the patterns that were kept."""
    if measurement.masks is None or measurement.sigma_common == 0:
        return 0.0
    others = kept[measurement.pattern_index[kept] != 0]
    return float(np.mean((measurement.coefficient - expected)[others])) if len(others) else 0.0


def _predict_held_out(
    measurement: Measurement, held: NDArray[np.int64], predictor: str, options: dict[str, Any]
) -> tuple[Array, Array]:
    """Coefficients held back: as an image of all others predicts them, and as measured."""
    kept = np.delete(np.arange(len(measurement)), held)
    expected = measurement.predict(reconstruct(measurement.rows(kept), method=predictor, **options).image)
    return expected[held] + _level(measurement, expected, kept), measurement.coefficient[held]


def _is_predicted(found: dict[str, Any]) -> bool:
    """Better than by luck."""
    return bool(found["explained"] > MIN_EXPLAINED and found["chance"] <= MAX_CHANCE)


def _draws(
    measurement: Measurement, patterns: int, seed: int
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Rows to hold back, and others: once, if an eighth of all is enough, else in two disjoint draws of an eighth."""
    candidates = np.flatnonzero(measurement.pattern_index != 0)
    shuffled = np.random.default_rng(seed).permutation(candidates)
    eighth = len(measurement) // 8
    length, draws = (patterns, 1) if patterns <= eighth else (min(eighth, -(-patterns // 2)), 2)
    rows = [shuffled[i * length : (i + 1) * length] for i in range(2 * draws)]
    return rows[:draws], rows[draws:]


def score_prediction(predicted: Array, measured: Array, sigma: float, seed: int) -> dict[str, Any]:
    """What an image predicts for some patterns against what was measured.

    Parameters
    ----------
    predicted, measured : ndarray, shape (patterns,)
        Coefficients s_k, in the unit of the measurement.
    sigma : float
        One standard deviation of a coefficient, noise and model error together; 0 if nothing is known of it.
    seed : int
        Of the shuffles.

    Returns
    -------
    dict
        ``patterns``; ``explained``, the share of their power that was predicted (1 = all, 0 = no
        better than nothing, negative = worse); ``chance``, the share of shuffles of the measured
        values that fit the prediction as well (a permutation test); ``residual_in_sigma``, rms
        of the difference over noise and model error (1 = all that could be predicted, None
        without sigma).
    """
    power, error = float(np.mean(measured**2)), float(np.mean((predicted - measured) ** 2))
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(measured, (_SHUFFLES, 1)), axis=1)
    as_good = int(np.count_nonzero(np.mean((predicted - shuffled) ** 2, axis=1) <= error * (1 + 1e-9)))
    return {
        "patterns": len(measured),
        "explained": 1 - error / power if power > 0 else 0.0,
        "chance": (1 + as_good) / (1 + _SHUFFLES),
        "residual_in_sigma": math.sqrt(error) / sigma if sigma > 0 else None,
    }


def reconstruct_and_check(
    measurement: Measurement, *, method: str, details: bool = False, residual: bool = False, **options: Any
) -> Reconstruction:
    """`reconstruct` with the score under ``quality["held_out"]`` and, if asked for, with its uncertainty too.

    ``quality["light_error"]`` is the error of a d_r or dark level that the data contradict (`detect_modulation_error`),
    else None.

    ``quality["residual_lines"]`` has what `residual_lines` finds, if asked for.

    ``quality["psnr_db"]`` is what its validation patterns say of its PSNR, with the bounds ``"psnr_low_db"`` and
    ``"psnr_high_db"`` of 68 %, where they were drawn with known probabilities (`planning.quality.estimate_psnr`).

    None of these is part of its `seconds`. The uncertainty is that of the error for tv and ch-mwcnn, of the noise for
    the linear methods; tval3 has none.

    Parameters
    ----------
    measurement : Measurement
    method : {"inverse", "correlation", "tval3", "tv", "ch-mwcnn"}
    details : bool, optional
        Whether the uncertainty of each pixel is found; False by default.
    residual : bool, optional
        Whether lines and points that the image has lost are looked for; False by default.
    **options
        For the method.

    Raises
    ------
    CxgiError
        As `reconstruct` and, where lines are looked for, as `residual_lines`.
    """
    if residual:
        check_enough_patterns(measurement)  # before work is spent on the image
        result = reconstruct_and_check(measurement, method=method, details=details, **options)
        lines = [{**asdict(line), "ends": list(line.ends)} for line in residual_lines(measurement, result.image)]
        return replace(result, quality={**result.quality, "residual_lines": lines})
    unit = unit_of(measurement)
    if unit != 1:
        scaled = options_in_unit(options, unit)
        made = reconstruct_and_check(in_unit(measurement, unit), method=method, details=details, **scaled)
        return back_from_unit(made, unit)
    prepared = PreparedMeasurement.from_measurement(replace(measurement, mirrored=False))
    image = reconstruct(prepared, method=method, **options)
    return _check_image(measurement, prepared, image, details=details, **options)


def reconstruct_and_check_many(
    measurements: Sequence[Measurement], *, method: str, details: bool = False, residual: bool = False, **options: Any
) -> list[Reconstruction]:
    """`reconstruct_and_check` for each of many measurements; the network makes the images of one size together.

    Each image is that of `reconstruct_and_check`, but for rounding where they are made together.

    Parameters
    ----------
    measurements : sequence of Measurement
    method, details, residual, **options
        As for `reconstruct_and_check`.

    Raises
    ------
    CxgiError
        As `reconstruct_and_check`.
    """
    together = len(measurements) > 1 and find_method(method).run_many is not None and not residual
    if not together or any(unit_of(one) != 1 for one in measurements):
        checks = {"details": details, "residual": residual}
        return [reconstruct_and_check(one, method=method, **checks, **options) for one in measurements]
    prepared = [PreparedMeasurement.from_measurement(replace(one, mirrored=False)) for one in measurements]
    images = reconstruct_many(prepared, method=method, **options)
    return [
        _check_image(one, ready, image, details=details, **options)
        for one, ready, image in zip(measurements, prepared, images, strict=True)
    ]


def _check_image(
    measurement: Measurement, prepared: PreparedMeasurement, result: Reconstruction, *, details: bool, **options: Any
) -> Reconstruction:
    """Score an image of a prepared measurement, and turn it into the beam's view of the measurement."""
    designed, chosen = _with_designed_masks(prepared), find_method(result.method)
    result = with_psnr(result, prepared)
    cold = {name: value for name, value in options.items() if name != "warm"}
    score = cross_validate(prepared, method=chosen.name, image=result.image, designed=designed, **cold)
    result = replace(result, image=measurement.to_beam_view(result.image))
    checks = {
        "unmeasured_share": result.unmeasured_share,
        "held_out": score,
        "light_error": detect_modulation_error(measurement),
    }
    result = replace(result, quality={**result.quality, **checks})
    kind = chosen.best_kind(options)
    if not details or kind is None:
        return result
    sigma = estimate_uncertainty(designed, method=chosen.name, kind=kind, **options)
    return replace(result, uncertainty=measurement.to_beam_view(sigma), uncertainty_kind=kind)


def _with_designed_masks(measurement: PreparedMeasurement) -> PreparedMeasurement:
    """The measurement as if its masks were the design, where their maps can take their error off."""
    if measurement.masks is None:
        return measurement
    from .methods.measured_masks import without_mask_error

    return PreparedMeasurement.from_measurement(without_mask_error(measurement))
