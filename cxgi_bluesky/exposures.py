"""From documents to a Measurement, the same way live, from the catalog and from a journal.

Every document goes through `Exposures`; the last exposure of an index wins, so that a rewound
or repeated exposure replaces the earlier one. Reduction happens when an image is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import CxgiError
from .measurement import Array, Measurement
from .patterns import PatternSet

SCHEMA = 1
STREAMS = ("primary", "open", "dark", "incident")


@dataclass(frozen=True)
class Exposure:
    """One stored exposure: bucket and sigma in pA, I0 in its own unit, time in s since the epoch."""

    bucket: float
    sigma: float
    i0: float
    time: float


class Exposures:
    """What a run has measured so far; feed it documents, ask it for a `Measurement`.

    Storing an event costs microseconds. Raises `CxgiError` for a run that is not a mask scan.
    """

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.streams: dict[str, dict[int, Exposure]] = {name: {} for name in STREAMS}
        self._stream_of: dict[str, str] = {}
        self._fields: dict[str, str] = {}

    @classmethod
    def from_documents(cls, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> Exposures:
        """Collect all documents of one run."""
        exposures = cls()
        for name, document in documents:
            exposures(name, document)
        return exposures

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of any kind."""
        if name == "start":
            self._begin(document)
        elif name == "descriptor":
            self._stream_of[document["uid"]] = document.get("name", "primary")
        elif name == "event":
            stream = self._stream_of[document["descriptor"]]
            self._store(stream, document["seq_num"], document["data"], document["time"])
        elif name == "event_page":
            stream = self._stream_of[document["descriptor"]]
            for row, (seq_num, time) in enumerate(zip(document["seq_num"], document["time"], strict=True)):
                self._store(stream, seq_num, {key: column[row] for key, column in document["data"].items()}, time)

    def _begin(self, start: Mapping[str, Any]) -> None:
        words = start.get("cxgi")
        if not isinstance(words, Mapping) or "pattern_set" not in words:
            raise CxgiError(f"run {start.get('uid')} is no mask scan: its start document has no cxgi.pattern_set")
        if words.get("schema") != SCHEMA:
            raise CxgiError(
                f"run {start.get('uid')} has event schema {words.get('schema')!r}, this release reads {SCHEMA}"
            )
        self.__init__()  # type: ignore[misc]
        self.start = dict(start)
        self._fields = {name: key for name, key in words["fields"].items() if key is not None}

    def _store(self, stream: str, seq_num: int, data: Mapping[str, Any], time: float) -> None:
        if stream not in self.streams:
            return
        # A rewound plan repeats seq_num, so it identifies an exposure of a reference tile.
        key = data[self._fields["pattern_index"]] if stream == "primary" else seq_num
        i0 = self._fields.get("i0")
        self.streams[stream][int(key)] = Exposure(
            _number(data[self._fields["bucket"]]),
            _number(data[self._fields["sigma"]]),
            _number(data[i0]) if i0 else 1.0,
            time,
        )

    def snapshot(self) -> Exposures:
        """A copy that later documents do not change (for another thread)."""
        copy = Exposures()
        copy.start, copy._fields = self.start, self._fields
        copy.streams = {name: dict(stream) for name, stream in self.streams.items()}
        return copy

    # ------------------------------------------------------------ what was measured

    def __len__(self) -> int:
        return len(self.streams["primary"])

    @property
    def pattern_set(self) -> PatternSet:
        """The set that the run was asked to measure."""
        return PatternSet.from_dict(self.start["cxgi"]["pattern_set"])

    @property
    def reference_exposures(self) -> int:
        """Exposures of reference tiles (all open, object in or out)."""
        return len(self.streams["open"]) + len(self.streams["incident"])

    def measurement(self) -> Measurement:
        """Reduce what was measured so far.

        Dark is subtracted; buckets are divided by I0 / <I0> and by the slow drift of the open
        exposures; b_0 is the weighted mean of the open exposures and pattern_index 0.

        Raises
        ------
        CxgiError
            Before the first usable exposure, or when there is no all-open exposure at all.
        """
        words = self.start.get("cxgi")
        if words is None:
            raise CxgiError("no start document has been seen: feed the documents of a run from its beginning")
        dark = _mean(self.streams["dark"].values())[0] if self.streams["dark"] else 0.0
        i0 = _mean_i0(exposure for stream in STREAMS[:2] for exposure in self.streams[stream].values())
        opened = _table(self.streams["open"], dark, i0)
        rows = _table(self.streams["primary"], dark, i0)
        left_out = sorted(set(self.streams["primary"]) - set(rows.index.tolist()))
        drift = Drift.from_open(opened)
        bucket = rows.bucket / drift(rows.time)
        sigma = smooth_sigma(bucket, rows.sigma)
        incident = (
            _mean(_table(self.streams["incident"], dark, i0).exposures())[0] if self.streams["incident"] else None
        )
        return Measurement.from_buckets(
            words["pattern_set"]["size"],
            rows.index,
            bucket,
            coding="binary",
            sigma=sigma,
            d_r=words["board"]["d_r"],
            open_bucket=_open_bucket(rows, bucket, sigma, opened, drift),
            incident=incident,
            source={
                "raw_uids": [self.start["uid"]],
                "left_out": left_out,
                "dark_subtracted": dark,
                "drift_rms": drift.rms,
            },
        )


# ---------------------------------------------------------------- tables of exposures


@dataclass(frozen=True)
class Table:
    """Exposures of one stream as columns, unusable ones (NaN) left out."""

    index: np.ndarray[Any, np.dtype[np.int64]]
    bucket: Array
    sigma: Array
    time: Array

    def exposures(self) -> list[Exposure]:
        """The rows, I0 already divided out."""
        return [Exposure(b, s, 1.0, t) for b, s, t in zip(self.bucket, self.sigma, self.time, strict=True)]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _mean_i0(exposures: Iterable[Exposure]) -> float:
    readings = [e.i0 for e in exposures if math.isfinite(e.i0) and e.i0 > 0]
    return float(np.mean(readings)) if readings else 1.0


def _table(stream: Mapping[int, Exposure], dark: float, mean_i0: float) -> Table:
    index, rows = [], []
    for key, exposure in stream.items():
        intensity = exposure.i0 / mean_i0
        bucket, sigma = (exposure.bucket - dark) / intensity if intensity > 0 else math.nan, exposure.sigma
        if math.isfinite(bucket) and math.isfinite(sigma):
            index.append(key)
            rows.append((bucket, sigma / intensity, exposure.time))
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Table(np.array(index, dtype=np.int64), *columns)


def _mean(exposures: Iterable[Exposure]) -> tuple[float, float]:
    """Mean bucket and its standard error, NaN left out."""
    rows = [e for e in exposures if math.isfinite(e.bucket)]
    if not rows:
        return math.nan, math.nan
    return float(np.mean([e.bucket for e in rows])), math.sqrt(sum(e.sigma**2 for e in rows)) / len(rows)


def smooth_sigma(bucket: Array, sigma: Array) -> Array:
    """Sigma of each bucket from the noise law var = a * bucket + b fitted to all of them.

    The few readings inside one exposure give its sigma to 20 % or worse; all together they give
    the shot and electrometer noise well. Falls back to the mean variance when the law is unphysical.
    """
    if len(bucket) < 8:
        return np.full_like(sigma, math.sqrt(float(np.mean(sigma**2)))) if len(sigma) else sigma
    variance = sigma**2
    slope, offset = np.polyfit(bucket, variance, 1) if np.ptp(bucket) > 0 else (0.0, variance.mean())
    law = slope * bucket + offset
    if slope < 0 or law.min() <= 0:
        law = np.full_like(bucket, variance.mean())
    return np.sqrt(law)


def _open_bucket(rows: Table, bucket: Array, sigma: Array, opened: Table, drift: Drift) -> tuple[float, float] | None:
    """b_0 and its sigma from the open exposures and from pattern_index 0."""
    values, variances = list(opened.bucket / drift(opened.time)), list(opened.sigma**2)
    at_zero = np.flatnonzero(rows.index == 0)
    values += list(bucket[at_zero])
    variances += list(sigma[at_zero] ** 2)
    if not values:
        return None
    # Equal weights: the sigma of a single exposure is itself too uncertain to weight by.
    return float(np.mean(values)), math.sqrt(sum(variances)) / len(values)


@dataclass(frozen=True)
class Drift:
    """Relative source intensity over time, from repeated open exposures.

    A single open exposure is noisier than a typical drift, so the deviations are shrunk by the
    share of their variance that the noise does not explain: no drift seen, none corrected.
    """

    time: Array
    relative: Array

    @property
    def rms(self) -> float:
        """Root mean square of the correction."""
        return float(np.std(self.relative)) if len(self.relative) else 0.0

    @classmethod
    def from_open(cls, opened: Table) -> Drift:
        """Drift seen by the exposures of the open tile; none with fewer than four of them."""
        if len(opened.bucket) < 4 or opened.bucket.mean() <= 0:
            return cls(np.empty(0), np.empty(0))
        order = np.argsort(opened.time)
        bucket = opened.bucket[order]
        deviation = bucket / bucket.mean() - 1
        noise = float(np.mean(opened.sigma**2)) / bucket.mean() ** 2
        variance = float(np.var(deviation, ddof=1))
        shrink = max(0.0, 1 - noise / variance) if variance > 0 else 0.0
        return cls(opened.time[order], 1 + shrink * deviation)

    def __call__(self, time: Array) -> Array:
        """Relative intensity at some times, 1 where none is known."""
        if not len(self.time):
            return np.ones_like(time)
        return np.interp(time, self.time, self.relative)
