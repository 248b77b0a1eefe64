"""Reconstruction: from a `Measurement` to an image and its uncertainty, by one of several methods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, MeasurementError, check_choice
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from .error_model.common_mode import without_common_part
from .registry import CH_MWCNN, CORRELATION, METHODS, Kind, Method, default_method, find_method
from .result import Reconstruction
from .scaling import back_from_unit, in_unit, options_in_unit, unit_of


def reconstruct(
    measurement: Measurement | SpeckleMeasurement, *, method: str | None = None, **options: Any
) -> Reconstruction:
    """Make an image of a measurement.

    Parameters
    ----------
    measurement : Measurement or SpeckleMeasurement
        Behind speckle, "correlation" is the only method.
    method : {"inverse", "correlation", "tval3", "tv", "ch-mwcnn"}, optional
        "tv" by default, "correlation" behind speckle.
    **options
        Passed to the method, see the functions of that name.

    Raises
    ------
    CxgiError
        For an unknown method or option, or a size that the network's weights were not trained for.
    """
    method = method or default_method("speckle" if isinstance(measurement, SpeckleMeasurement) else "hadamard")
    chosen = find_method(method)
    if isinstance(measurement, SpeckleMeasurement):
        from .methods.speckle import reconstruct_speckles

        if chosen is not CORRELATION:
            raise ConfigError(
                f"method {method!r} is for Hadamard masks: a speckle run is reconstructed by {CORRELATION.name!r}"
            )
        with _name_unknown_options(method):
            return reconstruct_speckles(measurement, method=method, **options)
    unit = unit_of(measurement)
    if unit != 1:
        made = reconstruct(in_unit(measurement, unit), method=method, **options_in_unit(options, unit))
        return back_from_unit(made, unit)
    chosen.warm_up(options)
    started = time.perf_counter()
    with _name_unknown_options(method):
        if measurement.masks is None:
            image, parameters = chosen.run(measurement, **options)
        else:
            image, parameters = _run_with_masks(chosen, measurement, **options)
    return _finish(measurement, chosen, image, parameters, time.perf_counter() - started)


def reconstruct_many(
    measurements: Sequence[Measurement], *, method: str = CH_MWCNN.name, **options: Any
) -> list[Reconstruction]:
    """Make an image of each of many measurements; the network takes those of the same size together.

    Each image is that of `reconstruct` but for rounding. Behind measured masks, and by the other methods, they are
    made one after another. `seconds` of images that were made together is the mean.

    Parameters
    ----------
    measurements : sequence of Measurement
    method : {"inverse", "correlation", "tval3", "tv", "ch-mwcnn"}, optional
        "ch-mwcnn" by default.
    **options
        As for `reconstruct`.

    Raises
    ------
    CxgiError
        As `reconstruct`.
    """
    chosen = find_method(method)
    if chosen.run_many is None or any(one.masks is not None or unit_of(one) != 1 for one in measurements):
        return [reconstruct(measurement, method=method, **options) for measurement in measurements]
    chosen.warm_up(options)
    started = time.perf_counter()
    with _name_unknown_options(method):
        made = chosen.run_many(measurements, **options)
    seconds = (time.perf_counter() - started) / max(1, len(made))
    return [
        _finish(measurement, chosen, image, parameters, seconds)
        for measurement, (image, parameters) in zip(measurements, made, strict=True)
    ]


def _run_with_masks(method: Method, measurement: Measurement, **options: Any) -> tuple[NDArray[Any], dict[str, Any]]:
    """Run the method with measured masks; drop `warm` and `mask_level`, which do not apply."""
    for unused in ("warm", "mask_level"):
        options.pop(unused, None)
    image, parameters = method.run_with_masks(measurement, **options)
    return image, {**parameters, "masks": "measured"}


def _finish(
    measurement: Measurement, method: Method, image: NDArray[Any], parameters: dict[str, Any], seconds: float
) -> Reconstruction:
    scale = "relative" if method.is_covariance else measurement.scale
    quality = {} if method.is_covariance else {"data_misfit": data_misfit(image, measurement)}
    return Reconstruction(
        image=measurement.to_beam_view(image),
        scale=scale,
        method=method.name,
        parameters=parameters,
        seconds=seconds,
        exposures=len(measurement),
        quality=quality,
        source=measurement.source,
        pattern_index=measurement.pattern_index,
    )


@contextmanager
def _name_unknown_options(method: str) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise ConfigError(f"method {method!r} does not take these options: {error}") from error


def data_misfit(image: NDArray[Any], measurement: Measurement) -> float | None:
    """Rms difference of predicted and measured coefficients in units of sigma; None without sigma.

    Well above 1: the image contradicts its data. About 1 or below says only that the method could
    fit them, which a flexible method can do with wrong data too.

    Parameters
    ----------
    image : ndarray, shape (n, n)
        As the board sees it, in the unit of the measurement.
    measurement : Measurement
    """
    residual = measurement.coefficient - measurement.predict(image)
    variance = float(np.mean(measurement.sigma**2))
    if variance == 0:
        return None
    residual = without_common_part(residual, measurement)  # an error common to all coefficients is not the image's
    return float(np.sqrt(np.mean(residual**2) / variance))


def estimate_uncertainty(
    measurement: Measurement,
    *,
    method: str,
    kind: Kind = "noise",
    seed: int = 0,
    **options: Any,
) -> NDArray[np.float64]:
    """Estimate one standard deviation of each pixel, shape (n, n), in the unit of the image.

    Two questions are answered. *noise*: how far do the errors of the buckets move the pixel (detector noise, and
    errors of the masks where the data show them)? *error*: how far is it from the truth? The linear methods
    answer the first in closed form; their error lies mostly in the patterns that were not measured, of which
    they say nothing. For `tv` both are drawn: images are made again with fresh noise (noise), or with fresh
    noise and without an eighth of the patterns (error), and their scatter is taken (`resample`); the scatter of
    the second kind is brought to the scale of true errors by `calibration`. The network was trained to say its error.

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
    check_choice("kind", kind, get_args(Kind), kind=MeasurementError)
    chosen = find_method(method)
    if chosen.uncertainty is None or kind not in chosen.kinds:
        known = {one: ", ".join(m.name for m in METHODS.values() if one in m.kinds) for one in get_args(Kind)}
        raise MeasurementError(
            f"method {method!r} has no uncertainty of kind {kind!r}: noise is known for {known['noise']}, error for "
            f"{known['error']}"
        )
    return chosen.uncertainty(measurement, kind, seed, options)
