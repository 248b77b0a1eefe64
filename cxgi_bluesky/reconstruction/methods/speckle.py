"""Second-order correlation with any patterns, for instance the speckle of sandpaper recorded with a camera.

There is no fast transform and the patterns may not fit into memory: they are read in chunks, from an
array, a memory map or an HDF5 dataset alike. The forms are those of `correlation`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ...analysis.metrics import cnr
from ...errors import MeasurementError, check_choice
from ...masks.speckle_set import Patterns
from ...measurement.speckle import SpeckleMeasurement
from ..result import Reconstruction
from .linear import Form

Array = NDArray[np.float64]
CHUNK_BYTES = 32 * 2**20


def speckle_correlation(measurement: SpeckleMeasurement, *, form: Form = "GI") -> Array:
    """Correlation of buckets with recorded patterns, shape (rows, columns).

    Sums run over the patterns by index, so that the order of measurement cannot change a bit of them.

    Parameters
    ----------
    measurement : SpeckleMeasurement
    form : {"GI", "DGI", "NGI"}, optional
        DGI and NGI take the light R of a pattern from its sum over the field; "GI" by default.

    Raises
    ------
    CxgiError
        For an unknown form, patterns that are no numbers, or one without light (DGI, NGI).
    """
    check_choice("form", form, get_args(Form), kind=MeasurementError)
    order = np.argsort(measurement.pattern_index)
    index = measurement.pattern_index[order]
    weight = _weights(measurement.bucket[order], measurement.patterns, index, form)
    image = np.zeros(measurement.patterns.shape[1:])
    for rows, chunk in _chunks(measurement.patterns, index):
        image += np.tensordot(weight[rows], chunk, axes=1)
    return image


def _weights(bucket: Array, patterns: Patterns, index: NDArray[np.int64], form: Form) -> Array:
    """Factor of each pattern in the sum; their mean is 0 (GI, NGI), or that of what R does not explain."""
    if form == "GI":
        return (bucket - bucket.mean()) / len(bucket)
    light = np.concatenate([_light(chunk, index[rows]) for rows, chunk in _chunks(patterns, index)])
    if form == "DGI":
        return (bucket - bucket.mean() / light.mean() * light) / len(bucket)
    return (bucket / light - (bucket / light).mean()) / len(bucket)


def _chunks(patterns: Patterns, index: NDArray[np.int64]) -> Iterator[tuple[slice, Array]]:
    """Patterns of some indices in that order, a few at a time, as float64."""
    rows, columns = patterns.shape[1:]
    step = max(1, CHUNK_BYTES // (8 * rows * columns))
    for start in range(0, len(index), step):
        part = index[start : start + step]
        chunk = np.asarray(patterns[part], dtype=np.float64)
        finite = np.isfinite(chunk).all(axis=(1, 2))
        if not finite.all():
            raise MeasurementError(f"pattern {part[~finite][0]} has pixels that are no numbers: record it again")
        yield slice(start, start + len(part)), chunk


def _light(chunk: Array, index: NDArray[np.int64]) -> Array:
    """Light R of each pattern, its sum over the field."""
    light = chunk.sum(axis=(1, 2))
    if (light <= 0).any():
        raise MeasurementError(f"pattern {index[light <= 0][0]} has no light ({light.min():g}): DGI and NGI need it")
    return np.asarray(light)


def reconstruct_speckles(measurement: SpeckleMeasurement, *, method: str, form: Form = "GI") -> Reconstruction:
    """Make an image of a speckle measurement by correlation, the one method there is for it.

    Parameters
    ----------
    measurement : SpeckleMeasurement
    method : str
        Name that the reconstruction is to carry.
    form : {"GI", "DGI", "NGI"}, optional
        As for `speckle_correlation`; "GI" by default.

    Raises
    ------
    CxgiError
        As `speckle_correlation`.
    """
    started = time.perf_counter()
    image = speckle_correlation(measurement, form=form)
    return Reconstruction(
        image=image,
        scale="relative",
        method=method,
        parameters={"form": form},
        seconds=time.perf_counter() - started,
        exposures=len(measurement),
        source=measurement.source,
    )


def cnr_curve(
    measurement: SpeckleMeasurement, truth: NDArray[Any], counts: Sequence[int], *, form: Form = "GI"
) -> list[tuple[int, float]]:
    """CNR (eq. 1) of the correlation after the first m exposures, for each m, in one pass over the patterns.

    Parameters
    ----------
    measurement : SpeckleMeasurement
    truth : ndarray, shape (rows, columns)
        True transmission.
    counts : sequence of int
        Numbers of exposures, each from 2 to M.
    form : {"GI", "DGI", "NGI"}, optional
        "GI" by default.

    Returns
    -------
    list of (int, float)
        By rising m.

    Raises
    ------
    CxgiError
        For an impossible count or form, or a pattern without light (DGI, NGI).
    """
    check_choice("form", form, get_args(Form), kind=MeasurementError)
    stops = sorted({int(m) for m in counts})
    if not stops or stops[0] < 2 or stops[-1] > len(measurement):
        raise MeasurementError(
            f"counts {stops[:1]}..{stops[-1:]} of {len(measurement)} exposures: give 2..{len(measurement)}"
        )
    sums = _Sums(measurement.patterns.shape[1:], form)
    curve: list[tuple[int, float]] = []
    for start, end in pairwise([0, *stops]):
        bucket, index = measurement.bucket[start:end], measurement.pattern_index[start:end]
        for rows, chunk in _chunks(measurement.patterns, index):
            sums.add(bucket[rows], chunk, index[rows])
        curve.append((end, cnr(sums.image(), truth)))
    return curve


class _Sums:
    """Running sums from which the three forms follow; the first pattern and bucket are taken off against rounding."""

    def __init__(self, shape: tuple[int, ...], form: Form) -> None:
        self._form = form
        self._count, self._bucket, self._light = 0, 0.0, 0.0
        self._pattern, self._with_bucket, self._with_light = (np.zeros(shape) for _ in range(3))
        self._first: tuple[float, Array] | None = None

    def add(self, bucket: Array, patterns: Array, index: NDArray[np.int64]) -> None:
        """Take some exposures.

        Parameters
        ----------
        bucket : ndarray, shape (exposures,)
            In any unit.
        patterns : ndarray, shape (exposures, rows, columns)
            Intensity of their patterns, in any unit.
        index : ndarray of int64, shape (exposures,)
            Pattern indices, for messages.
        """
        light = np.zeros(len(bucket)) if self._form == "GI" else _light(patterns, index)
        signal = bucket / light if self._form == "NGI" else bucket
        if self._first is None:
            self._first = (float(signal[0]) if self._form != "DGI" else 0.0), patterns[0].copy()
        signal, deviation = signal - self._first[0], patterns - self._first[1]
        self._count += len(signal)
        self._bucket += float(signal.sum())
        self._light += float(light.sum())
        self._pattern += deviation.sum(axis=0)
        self._with_bucket += np.tensordot(signal, deviation, axes=1)
        if self._form == "DGI":
            self._with_light += np.tensordot(light, deviation, axes=1)

    def image(self) -> Array:
        """The correlation so far."""
        if self._form == "DGI":  # sum (b - B/R r) is 0: no mean of the patterns to take off
            return (self._with_bucket - self._bucket / self._light * self._with_light) / self._count
        return (self._with_bucket - self._bucket / self._count * self._pattern) / self._count
