"""SpeckleMeasurement: calibrated buckets and the recorded patterns they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeasurementError
from ..masks.pattern_set import check_distinct
from ..masks.speckle_set import BASIS, Patterns, SpeckleSet
from .exposures import Exposures
from .normalization import describe_source
from .reference import dark_level

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpeckleMeasurement:
    """Buckets of one image behind random speckle, calibrated as those of Hadamard masks are.

    Attributes
    ----------
    patterns : Patterns
        Recorded patterns, shape (>= M, rows, columns); a `SpeckleSet` or any stack of images.
    pattern_index : ndarray of int, shape (M,)
        Their rows in `patterns`, in the order of measurement, each once.
    bucket : ndarray, shape (M,)
        Dark subtracted, divided by I0 and by the drift of the open exposures (pA).
    sigma : ndarray, shape (M,), optional
        One standard deviation of each bucket.
    source : dict
        Where the measurement came from.
    """

    patterns: Patterns
    pattern_index: NDArray[np.int64]
    bucket: Array
    sigma: Array | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.patterns.shape)
        if len(shape) != 3 or 0 in shape:
            raise MeasurementError(f"patterns of shape {shape}: give a stack (M, rows, columns) of images")
        index, bucket = np.array(self.pattern_index, dtype=np.int64), np.array(self.bucket, dtype=np.float64)
        if index.ndim != 1 or index.shape != bucket.shape:
            raise MeasurementError(f"{bucket.shape} buckets for {index.shape} pattern indices: give one each")
        if len(index) < 2:
            raise MeasurementError(f"{len(index)} exposures: a correlation needs at least 2")
        check_distinct(index, shape[0], "of the recorded patterns")
        if not np.isfinite(bucket).all():
            raise MeasurementError(
                f"bucket of pattern_index {index[~np.isfinite(bucket)][0]} is no number: leave it out"
            )
        for name, column in (("pattern_index", index), ("bucket", bucket)):
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.pattern_index)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.patterns.shape[1:]))
        return f"SpeckleMeasurement({len(self)} recorded patterns of {shape}{describe_source(self.source)})"

    def first(self, count: int) -> SpeckleMeasurement:
        """The first exposures alone, in the order of measurement."""
        if not 2 <= count <= len(self):
            raise MeasurementError(f"first {count} of {len(self)} exposures: give 2..{len(self)}")
        sigma = None if self.sigma is None else self.sigma[:count]
        return replace(self, pattern_index=self.pattern_index[:count], bucket=self.bucket[:count], sigma=sigma)

    @classmethod
    def from_exposures(
        cls, exposures: Exposures, speckles: SpeckleSet, *, dark: Exposures | None = None
    ) -> SpeckleMeasurement:
        """What a run has measured so far, with the patterns that it names.

        Parameters
        ----------
        exposures : Exposures
            Of the image.
        speckles : SpeckleSet
            The recorded patterns.
        dark : Exposures, optional
            Of a dark scan with the same detector, for runs without dark readings of their own.

        Raises
        ------
        CxgiError
            If the run was made with other patterns or with masks, or has too few exposures; for a dark scan of
            another detector or without a reading.
        """
        recorded = exposures.metadata.pattern_set or {}
        if recorded.get("basis") != BASIS:
            raise MeasurementError(f"run {exposures.start['uid']} is no speckle run: reconstruct its Measurement")
        if recorded["sha256"] != speckles.sha256:
            raise MeasurementError(
                f"run {exposures.start['uid']} was made with patterns of sha256 {recorded['sha256'][:12]}, those of "
                f"{speckles.path.name} have {speckles.sha256[:12]}: give the recording of that run"
            )
        b = exposures.buckets(dark=dark_level(exposures.metadata, dark))
        kept = slice(0, len(b) - len(b.validation))  # validation comes last
        sigma = b.sigma[kept] if b.has_sigma else None
        used = speckles.first(recorded["count"])
        source = {**b.source, "speckles": used.to_dict(), "sigma_origin": b.sigma_origin}
        return cls(used, b.pattern_index[kept], b.bucket[kept], sigma, source)

    @classmethod
    def from_documents(
        cls, documents: Iterable[tuple[str, Mapping[str, Any]]], speckles: SpeckleSet
    ) -> SpeckleMeasurement:
        """From the documents of one speckle run, finished or not.

        Parameters
        ----------
        documents : iterable of (str, mapping)
            Name and content of each, from the start document on.
        speckles : SpeckleSet
            The recorded patterns.
        """
        return cls.from_exposures(Exposures.from_documents(documents), speckles)

    @classmethod
    def from_run(cls, run: Any, speckles: SpeckleSet) -> SpeckleMeasurement:
        """From a run of the catalog.

        Parameters
        ----------
        run : run of the catalog
            Anything with a method ``documents()``.
        speckles : SpeckleSet
            The recorded patterns.
        """
        return cls.from_documents(run.documents(), speckles)
