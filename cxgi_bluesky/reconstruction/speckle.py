"""Second-order correlation with any patterns, for instance the speckle of sandpaper recorded with a camera.

There is no fast transform and the patterns may not fit into memory: they are read in chunks, from an
array, a memory map or an HDF5 dataset alike. The forms are those of `correlation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CxgiError
from .correlation import Form, check_choice

Array = NDArray[np.float64]
CHUNK_BYTES = 32 * 2**20


class Patterns(Protocol):
    """M patterns of (rows, columns) pixels; an ndarray, a memory map and an HDF5 dataset are such."""

    shape: tuple[int, ...]

    def __getitem__(self, key: Any) -> Any: ...


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
            raise CxgiError(f"patterns of shape {patterns.shape}: give a stack (M, rows, columns) of images")
        self.form = form
        self._patterns = patterns
        self._bucket = np.full(patterns.shape[0], math.nan)

    def __len__(self) -> int:
        return int(np.isfinite(self._bucket).sum())

    def update(self, pattern_index: int, bucket: float) -> None:
        """Take the bucket of one pattern.

        Raises
        ------
        CxgiError
            If the bucket is not finite, or there is no such pattern.
        """
        if not 0 <= pattern_index < len(self._bucket):
            raise CxgiError(f"pattern_index {pattern_index} is outside 0..{len(self._bucket) - 1} of the patterns")
        if not math.isfinite(bucket):
            raise CxgiError(f"bucket of pattern_index {pattern_index} is {bucket}: leave that exposure out")
        self._bucket[pattern_index] = bucket

    def image(self) -> Array:
        """The correlation so far, shape (rows, columns); zeros before the second exposure."""
        measured = np.flatnonzero(np.isfinite(self._bucket))
        image = np.zeros(self._patterns.shape[1:])
        if len(measured) < 2:
            return image
        bucket = self._weights(self._bucket[measured], measured)
        for rows, chunk in self._chunks(measured):
            image += np.tensordot(bucket[rows], chunk, axes=1)
        return image

    def _weights(self, bucket: Array, measured: NDArray[np.int64]) -> Array:
        """Factor of each pattern in the sum; their mean is 0 (GI, NGI), or that of what R does not explain."""
        if self.form == "GI":
            return (bucket - bucket.mean()) / len(bucket)
        light = np.concatenate([chunk.sum(axis=(1, 2)) for _, chunk in self._chunks(measured)])
        if (light <= 0).any():
            raise CxgiError(f"pattern {measured[light <= 0][0]} has no light ({light.min():g}): DGI and NGI need it")
        if self.form == "DGI":
            return (bucket - bucket.mean() / light.mean() * light) / len(bucket)
        return (bucket / light - (bucket / light).mean()) / len(bucket)

    def _chunks(self, measured: NDArray[np.int64]) -> Iterator[tuple[slice, Array]]:
        """Measured patterns in order, a few at a time, as float64."""
        rows, columns = self._patterns.shape[1:]
        step = max(1, CHUNK_BYTES // (8 * rows * columns))
        for start in range(0, len(measured), step):
            index = measured[start : start + step]
            chunk = np.asarray(self._patterns[index], dtype=np.float64)
            finite = np.isfinite(chunk).all(axis=(1, 2))
            if not finite.all():
                raise CxgiError(f"pattern {index[~finite][0]} has pixels that are no numbers: record it again")
            yield slice(start, start + len(index)), chunk


def speckle_correlation(patterns: Patterns, pattern_index: ArrayLike, bucket: ArrayLike, *, form: Form = "GI") -> Array:
    """Correlation of buckets with patterns, shape (rows, columns); a repeated index: the last one wins.

    Raises
    ------
    CxgiError
        As `SpeckleCorrelation`, or when the two lists differ in length.
    """
    index, buckets = np.asarray(pattern_index, dtype=np.int64).reshape(-1), np.asarray(bucket, float).reshape(-1)
    if index.shape != buckets.shape:
        raise CxgiError(f"{len(buckets)} buckets for {len(index)} pattern indices: give one each")
    correlator = SpeckleCorrelation(patterns, form=form)
    for k, b in zip(index.tolist(), buckets.tolist(), strict=True):
        correlator.update(k, b)
    return correlator.image()
