"""Second-order correlation with any patterns, for instance the speckle of sandpaper recorded with a camera.

There is no fast transform and the patterns may not fit into memory: they are read in chunks, from an
array, a memory map or an HDF5 dataset alike. The forms are those of `correlation`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...analysis.metrics import cnr
from ...errors import MeasurementError
from ...masks.speckle_set import Patterns
from ...measurement.speckle import SpeckleMeasurement
from ..result import Reconstruction
from .linear import Form, check_choice

Array = NDArray[np.float64]
CHUNK_BYTES = 32 * 2**20


class SpeckleCorrelation:
    """Correlation of buckets with the patterns of an asset, by pattern_index; a repeated index replaces.

    Parameters
    ----------
    patterns : array-like, shape (M, rows, columns)
        Intensity of each pattern, in any unit; pattern_index is its row.
    form : {"GI", "DGI", "NGI"}
        DGI and NGI take the light R of a pattern from its sum over the field.

    Raises
    ------
    CxgiError
        If the patterns are no stack of images, or the form is unknown.
    """

    def __init__(self, patterns: Patterns, *, form: Form = "GI") -> None:
        check_choice("form", form, Form)
        if len(patterns.shape) != 3 or 0 in patterns.shape:
            raise MeasurementError(f"patterns of shape {patterns.shape}: give a stack (M, rows, columns) of images")
        self.form = form
        self._patterns = patterns
        self._bucket = np.full(patterns.shape[0], math.nan)

    def __len__(self) -> int:
        return int(np.isfinite(self._bucket).sum())

    def update(self, pattern_index: int, bucket: float) -> None:
        """Take the bucket of one pattern.

        Parameters
        ----------
        pattern_index : int
            Its row in the patterns, 0..M - 1.
        bucket : float
            In any unit.

        Raises
        ------
        CxgiError
            If the bucket is not finite, or there is no such pattern.
        """
        if not 0 <= pattern_index < len(self._bucket):
            raise MeasurementError(
                f"pattern_index {pattern_index} is outside 0..{len(self._bucket) - 1} of the patterns"
            )
        if not math.isfinite(bucket):
            raise MeasurementError(f"bucket of pattern_index {pattern_index} is {bucket}: leave that exposure out")
        self._bucket[pattern_index] = bucket

    def image(self) -> Array:
        """The correlation so far, shape (rows, columns); zeros before the second exposure."""
        measured = np.flatnonzero(np.isfinite(self._bucket))
        image = np.zeros(self._patterns.shape[1:])
        if len(measured) < 2:
            return image
        bucket = self._weights(self._bucket[measured], measured)
        for rows, chunk in _chunks(self._patterns, measured):
            image += np.tensordot(bucket[rows], chunk, axes=1)
        return image

    def _weights(self, bucket: Array, measured: NDArray[np.int64]) -> Array:
        """Factor of each pattern in the sum; their mean is 0 (GI, NGI), or that of what R does not explain."""
        if self.form == "GI":
            return (bucket - bucket.mean()) / len(bucket)
        light = np.concatenate([chunk.sum(axis=(1, 2)) for _, chunk in _chunks(self._patterns, measured)])
        if (light <= 0).any():
            raise MeasurementError(
                f"pattern {measured[light <= 0][0]} has no light ({light.min():g}): DGI and NGI need it"
            )
        if self.form == "DGI":
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


def speckle_correlation(patterns: Patterns, pattern_index: ArrayLike, bucket: ArrayLike, *, form: Form = "GI") -> Array:
    """Correlation of buckets with patterns, shape (rows, columns); a repeated index: the last one wins.

    Parameters
    ----------
    patterns : array-like, shape (M, rows, columns)
        Intensity of each pattern, in any unit.
    pattern_index : array-like of int, shape (exposures,)
        Row of each exposure's pattern.
    bucket : array-like, shape (exposures,)
        In any unit.
    form : {"GI", "DGI", "NGI"}, optional
        As for `SpeckleCorrelation`; "GI" by default.

    Raises
    ------
    CxgiError
        As `SpeckleCorrelation`, or when the two lists differ in length.
    """
    index, buckets = np.asarray(pattern_index, dtype=np.int64).reshape(-1), np.asarray(bucket, float).reshape(-1)
    if index.shape != buckets.shape:
        raise MeasurementError(f"{len(buckets)} buckets for {len(index)} pattern indices: give one each")
    correlator = SpeckleCorrelation(patterns, form=form)
    for k, b in zip(index.tolist(), buckets.tolist(), strict=True):
        correlator.update(k, b)
    return correlator.image()


def reconstruct_speckles(measurement: SpeckleMeasurement, *, method: str, form: Form = "GI") -> Reconstruction:
    """Make an image of a speckle measurement by correlation, the one method there is for it.

    Parameters
    ----------
    measurement : SpeckleMeasurement
    method : str
        Name that the reconstruction is to carry.
    form : {"GI", "DGI", "NGI"}, optional
        As for `SpeckleCorrelation`; "GI" by default.

    Raises
    ------
    CxgiError
        For an unknown form, or patterns that are no numbers.
    """
    started = time.perf_counter()
    image = speckle_correlation(measurement.patterns, measurement.pattern_index, measurement.bucket, form=form)
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
    check_choice("form", form, Form)
    stops = sorted({int(m) for m in counts})
    if not stops or stops[0] < 2 or stops[-1] > len(measurement):
        raise MeasurementError(
            f"counts {stops[:1]}..{stops[-1:]} of {len(measurement)} exposures: give 2..{len(measurement)}"
        )
    sums = _Sums(measurement.patterns.shape[1:], form)
    curve: list[tuple[int, float]] = []
    for start, end in pairwise([0, *stops]):
        bucket = measurement.bucket[start:end]
        for rows, chunk in _chunks(measurement.patterns, measurement.pattern_index[start:end]):
            sums.add(bucket[rows], chunk)
        curve.append((end, cnr(sums.image(), truth)))
    return curve


class _Sums:
    """Running sums from which the three forms follow; the first pattern and bucket are taken off against rounding."""

    def __init__(self, shape: tuple[int, ...], form: Form) -> None:
        self._form = form
        self._count, self._bucket, self._light = 0, 0.0, 0.0
        self._pattern, self._with_bucket, self._with_light = (np.zeros(shape) for _ in range(3))
        self._first: tuple[float, Array] | None = None

    def add(self, bucket: Array, patterns: Array) -> None:
        """Take some exposures.

        Parameters
        ----------
        bucket : ndarray, shape (exposures,)
            In any unit.
        patterns : ndarray, shape (exposures, rows, columns)
            Intensity of their patterns, in any unit.
        """
        light = np.zeros(len(bucket)) if self._form == "GI" else patterns.sum(axis=(1, 2))
        if self._form != "GI" and (light <= 0).any():
            raise MeasurementError(f"a pattern has no light ({light.min():g}): DGI and NGI need it")
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
