"""Reconstruction: from a `Measurement` to an image, by one of several methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from .error_model.common_mode import without_common_part
from .methods import linear as correlation
from .methods.linear import EventByEventCorrelation
from .result import Reconstruction
from .scaling import back_from_unit, in_unit, options_in_unit, unit_of

__all__ = ["METHODS", "EventByEventCorrelation", "Reconstruction", "default_method", "reconstruct", "reconstruct_many"]

Method = Callable[..., tuple[NDArray[Any], dict[str, Any]]]


def _tv(measurement: Measurement, **options: Any) -> tuple[NDArray[Any], dict[str, Any]]:
    from .methods.tv import tv

    return tv(measurement, **options)


def _tval3(measurement: Measurement, **options: Any) -> tuple[NDArray[Any], dict[str, Any]]:
    from .methods.tval3 import tval3

    return tval3(measurement, **options)


def _ch_mwcnn(measurement: Measurement, **options: Any) -> tuple[NDArray[Any], dict[str, Any]]:
    from .ch_mwcnn.predict import ch_mwcnn  # torch is imported only when the network runs

    return ch_mwcnn(measurement, **options)


METHODS: dict[str, Method] = {
    "inverse": correlation.inverse,
    "correlation": correlation.correlation,
    "tval3": _tval3,
    "tv": _tv,
    "ch-mwcnn": _ch_mwcnn,
}
_COVARIANCE = ("correlation",)  # methods whose image is never a transmission


def reconstruct(measurement: Measurement | SpeckleMeasurement, *, method: str = "tv", **options: Any) -> Reconstruction:
    """Make an image of a measurement.

    Parameters
    ----------
    measurement : Measurement or SpeckleMeasurement
        Behind speckle, "correlation" is the one method.
    method : {"inverse", "correlation", "tval3", "tv", "ch-mwcnn"}
    **options
        Passed to the method, see the functions of that name.

    Raises
    ------
    CxgiError
        For an unknown method or option, or a size that the network's weights do not know.
    """
    check_method(method)
    if isinstance(measurement, SpeckleMeasurement):
        from .methods.speckle import reconstruct_speckles

        with _unknown_options_named(method):
            return reconstruct_speckles(measurement, method=method, **options)
    unit = unit_of(measurement)
    if unit != 1:
        made = reconstruct(in_unit(measurement, unit), method=method, **options_in_unit(options, unit))
        return back_from_unit(made, unit)
    _prepare(method, options)
    started = time.perf_counter()
    with _unknown_options_named(method):
        if measurement.masks is None:
            image, parameters = METHODS[method](measurement, **options)
        else:
            from .methods.measured_masks import reconstruct_with_masks

            image, parameters = reconstruct_with_masks(measurement, method, **options)
    return _finished(measurement, method, image, parameters, time.perf_counter() - started)


def reconstruct_many(
    measurements: Sequence[Measurement], *, method: str = "ch-mwcnn", **options: Any
) -> list[Reconstruction]:
    """Make an image of each of many measurements; the network takes those of the same size together.

    Each picture is that of `reconstruct` but for rounding. Behind measured masks, and by the other methods, they are
    made one after another. `seconds` of pictures that were made together is the mean.

    Parameters
    ----------
    measurements : sequence of Measurement
    method, **options
        As for `reconstruct`.

    Raises
    ------
    CxgiError
        As `reconstruct`.
    """
    check_method(method)
    if method != "ch-mwcnn" or any(one.masks is not None or unit_of(one) != 1 for one in measurements):
        return [reconstruct(measurement, method=method, **options) for measurement in measurements]
    from .ch_mwcnn.predict import ch_mwcnn_many

    _prepare(method, options)
    started = time.perf_counter()
    with _unknown_options_named(method):
        made = ch_mwcnn_many(measurements, **options)
    seconds = (time.perf_counter() - started) / max(1, len(made))
    return [
        _finished(measurement, method, image, parameters, seconds)
        for measurement, (image, parameters) in zip(measurements, made, strict=True)
    ]


def _finished(
    measurement: Measurement, method: str, image: NDArray[Any], parameters: dict[str, Any], seconds: float
) -> Reconstruction:
    scale = "relative" if method in _COVARIANCE else measurement.scale
    quality = {} if method in _COVARIANCE else {"data_misfit": data_misfit(image, measurement)}
    return Reconstruction(
        image=measurement.seen_by_beam(image),
        scale=scale,
        method=method,
        parameters=parameters,
        seconds=seconds,
        exposures=len(measurement),
        quality=quality,
        source=measurement.source,
        pattern_index=measurement.pattern_index,
    )


@contextmanager
def _unknown_options_named(method: str) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise CxgiError(f"method {method!r} does not take these options: {error}") from error


def _prepare(method: str, options: dict[str, Any]) -> None:
    """Read weights and compile loops: no part of the time reported."""
    if method == "ch-mwcnn":
        from .ch_mwcnn.weights import load_network

        load_network(options.get("weights"))
    if method in ("tv", "tval3", "ch-mwcnn"):
        from .solvers.kernels import compile_kernels

        compile_kernels("tval3" if method == "tval3" else "tv")


def default_method(basis: str) -> str:
    """The method that is used where none is named."""
    return "correlation" if basis == "speckle" else "tv"


def check_method(method: str) -> None:
    """Raise `CxgiError` if the method is unknown."""
    if method not in METHODS:
        raise CxgiError(f"method {method!r} is unknown: choose one of {', '.join(METHODS)}")


def data_misfit(image: NDArray[Any], measurement: Measurement) -> float | None:
    """Rms difference of predicted and measured coefficients in units of sigma; None without sigma.

    Well above 1: the picture contradicts its data. About 1 or below says only that the method could
    fit them, which a flexible method can do with wrong data too.
    """
    residual = measurement.coefficient - measurement.predicted(image)
    variance = float(np.mean(measurement.sigma**2))
    if variance == 0:
        return None
    residual = without_common_part(residual, measurement)  # it is no fault of the picture
    return float(np.sqrt(np.mean(residual**2) / variance))
