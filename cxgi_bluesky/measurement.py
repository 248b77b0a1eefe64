"""Measurement: the one small value from which every image is made, wherever it came from.

It holds signed coefficients s_k = sum_xy H_k * image with their sigma. The three codings
(binary, signed, complementary) are reduced to it here; `exposures` builds one from the
documents of a run, `Measurement.from_csv` from a file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import CxgiError
from .patterns import PatternSet, check_size, checked_index, sequency

Coding = Literal["binary", "signed", "complementary"]
Scale = Literal["transmission", "relative"]
Array = NDArray[np.float64]

_MAD_TO_SIGMA = 1.4826  # median absolute deviation of a normal distribution to one sigma


@dataclass(frozen=True, eq=False)
class Measurement:
    """Signed Hadamard coefficients of one image.

    Attributes
    ----------
    size : int
        Pixels per side n.
    pattern_index : ndarray of int, shape (M,)
        Which patterns were measured, in the order of measurement, each once; k = 0 among them.
    coefficient : ndarray, shape (M,)
        s_k = sum over pixels of H_k * image.
    sigma : ndarray, shape (M,)
        One standard deviation of each coefficient, without `sigma_common`.
    sigma_common : float
        The share of sigma that all k > 0 have in common because the all-open bucket b_0 is
        subtracted from each (binary coding); it moves pixel (0, 0) only.
    sigma_origin : str
        Where sigma came from; begins with "estimated" when the data did not bring it.
    scale : {"transmission", "relative"}
        Whether the image is a transmission or only proportional to one.
    source : dict
        Where the measurement came from (file, run uids, coding, what was left out).
    """

    size: int
    pattern_index: NDArray[np.int64]
    coefficient: Array
    sigma: Array
    sigma_common: float = 0.0
    sigma_origin: str = "given"
    scale: Scale = "relative"
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_size(self.size)
        index = checked_index(self.pattern_index, self.size)
        if 0 not in index:
            raise CxgiError("pattern_index 0 (all open) was not measured: no image has a mean without it")
        for name in ("coefficient", "sigma"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != index.shape:
                raise CxgiError(f"{name} has shape {values.shape}, pattern_index {index.shape}: give one per pattern")
            check_finite(values, index, name)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        index.setflags(write=False)
        object.__setattr__(self, "pattern_index", index)

    def __len__(self) -> int:
        return len(self.pattern_index)

    @property
    def fraction(self) -> float:
        """Sampling fraction M / N."""
        return len(self) / self.size**2

    # ------------------------------------------------------------ views

    def _on_grid(self, values: ArrayLike, fill: float) -> Array:
        grid = np.full(self.size**2, fill)
        grid[self.pattern_index] = values
        return grid.reshape(self.size, self.size)

    def coefficient_grid(self) -> Array:
        """Coefficients at their places (i, j), k = i * n + j; 0 where not measured; shape (n, n)."""
        return self._on_grid(self.coefficient, 0.0)

    def measured_grid(self) -> NDArray[np.bool_]:
        """True where a coefficient was measured, shape (n, n)."""
        return self._on_grid(1.0, 0.0) > 0

    def sigma_grid(self) -> Array:
        """Sigma at each place, infinite where not measured, shape (n, n)."""
        return self._on_grid(self.sigma, math.inf)

    def subset(self, pattern_set: PatternSet) -> Measurement:
        """Only the patterns of a set, in its order.

        Raises
        ------
        CxgiError
            If the size differs or a pattern of the set was not measured.
        """
        if pattern_set.size != self.size:
            raise CxgiError(f"pattern set of size {pattern_set.size} for a measurement of size {self.size}")
        row = np.full(self.size**2, -1)
        row[self.pattern_index] = np.arange(len(self))
        rows = row[pattern_set.pattern_index]
        if (rows < 0).any():
            missing = pattern_set.pattern_index[rows < 0]
            raise CxgiError(
                f"too few patterns: {pattern_set.count} of order {pattern_set.order} asked for, {len(missing)} of them "
                f"not measured (first: pattern_index {missing[0]}): ask for a smaller fraction or another order"
            )
        return self._rows(rows)

    def first(self, count: int) -> Measurement:
        """What had been measured after the first `count` patterns (k = 0 is always kept)."""
        rows = np.arange(len(self))
        return self._rows(rows[(rows < count) | (self.pattern_index == 0)])

    def _rows(self, rows: NDArray[np.int64]) -> Measurement:
        part = replace(
            self,
            pattern_index=self.pattern_index[rows],
            coefficient=self.coefficient[rows],
            sigma=self.sigma[rows],
        )
        if not self.sigma_origin.startswith("estimated: high sequency"):
            return part
        sigma, origin = estimate_sigma(part.pattern_index, part.coefficient, part.size)
        return replace(part, sigma=sigma, sigma_origin=origin)

    # ------------------------------------------------------------ makers

    @classmethod
    def from_buckets(
        cls,
        size: int,
        pattern_index: ArrayLike,
        bucket: ArrayLike,
        *,
        coding: Coding,
        sigma: ArrayLike | None = None,
        bucket_complement: ArrayLike | None = None,
        d_r: float = 1.0,
        dark: float = 0.0,
        open_bucket: tuple[float, float] | None = None,
        incident: float | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> Measurement:
        """Reduce buckets to signed coefficients (the numbers' contract of the architecture).

        Parameters
        ----------
        size : int
            Pixels per side n.
        pattern_index, bucket, sigma, bucket_complement : array_like, shape (M,)
            One row per pattern; `sigma` is one standard deviation of the stored number(s).
        coding : {"binary", "signed", "complementary"}
            binary: b_k = sum of the 0/1 mask times the image (or its mean);
            signed: b_k = sum of H_k times the image; complementary: a mask and its negative.
        d_r : float
            Modulation depth ratio of the masks, T0 = 1 - d_r.
        dark : float
            Detector signal without beam, in the unit of the buckets (binary only).
        open_bucket : (float, float), optional
            All-open bucket b_0 and its sigma from exposures of their own (binary only).
        incident : float, optional
            All-open bucket with the object out (dark subtracted): gives the scale "transmission".

        Raises
        ------
        CxgiError
            For values that are not finite, unknown or repeated indices, or a missing k = 0.
        """
        index = checked_index(pattern_index, size)
        buckets = _column(bucket, index, "bucket")
        given = None if sigma is None else _column(sigma, index, "sigma")
        if given is not None and (given < 0).any():
            raise CxgiError(f"sigma {given[given < 0][0]} is negative: give standard deviations")
        transmission = _checked_t0(d_r)
        common = 0.0
        if coding == "signed":
            coefficient = buckets
        elif coding == "complementary":
            if bucket_complement is None:
                raise CxgiError("coding 'complementary' needs a bucket_complement for each bucket")
            coefficient = (buckets - _column(bucket_complement, index, "bucket_complement")) / (1 - transmission)
            given = None if given is None else math.sqrt(2) * given / (1 - transmission)
        elif coding == "binary":
            coefficient, given, common = _reduce_binary(index, buckets - dark, given, transmission, open_bucket)
        else:
            raise CxgiError(f"coding {coding!r} is unknown: choose one of {', '.join(get_args(Coding))}")
        origin = "given"
        if given is None:
            given, origin = estimate_sigma(index, coefficient, size)
        factor, scale = _scale_factor(incident, size)
        return cls(
            size,
            index,
            coefficient * factor,
            given * factor,
            common * factor,
            origin,
            scale,
            {"coding": coding, "d_r": d_r, "dark": dark, **(source or {})},
        )

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        size: int,
        coding: Coding,
        d_r: float = 1.0,
        dark: float = 0.0,
        open_bucket: tuple[float, float] | None = None,
    ) -> Measurement:
        """Read ``pattern_index,bucket[,sigma][,bucket_complement]``, one row per pattern.

        Raises
        ------
        CxgiError
            If the file cannot be read, a column is missing, a cell is no number, an index is
            repeated or unknown, or a bucket is NaN; the message names the line.
        """
        columns = _read_columns(Path(path))
        try:
            return cls.from_buckets(
                size,
                columns["pattern_index"],
                columns["bucket"],
                coding=coding,
                sigma=columns.get("sigma"),
                bucket_complement=columns.get("bucket_complement"),
                d_r=d_r,
                dark=dark,
                open_bucket=open_bucket,
                source={"file": str(path)},
            )
        except CxgiError as error:
            raise CxgiError(f"{path}: {error}") from error


# ---------------------------------------------------------------- reduction


def _reduce_binary(
    index: NDArray[np.int64],
    buckets: Array,
    sigma: Array | None,
    t0: float,
    open_bucket: tuple[float, float] | None,
) -> tuple[Array, Array | None, float]:
    """s_k = (2 b_k - (1 + T0) b_0) / (1 - T0) for k > 0 and s_0 = b_0; sigma likewise."""
    at_zero = np.flatnonzero(index == 0)
    if not len(at_zero) and open_bucket is None:
        raise CxgiError(
            "coding 'binary' needs the all-open bucket: pattern_index 0 is missing, and no open bucket given"
        )
    if open_bucket is not None and not np.isfinite(open_bucket).all():
        raise CxgiError(f"open bucket {open_bucket} is not finite: give the bucket and its sigma")
    opened = (
        open_bucket if open_bucket is not None else (buckets[at_zero[0]], sigma[at_zero[0]] if sigma is not None else 0)
    )
    b0, sigma0 = float(opened[0]), float(opened[1])
    others = index != 0
    coefficient = np.where(others, (2 * buckets - (1 + t0) * b0) / (1 - t0), b0)
    if sigma is None:
        return coefficient, None, (1 + t0) * sigma0 / (1 - t0)
    return coefficient, np.where(others, 2 * sigma / (1 - t0), sigma0), (1 + t0) * sigma0 / (1 - t0)


def _scale_factor(incident: float | None, size: int) -> tuple[float, Scale]:
    """Buckets that are means over the field become sums of transmissions: times N / incident."""
    if incident is None:
        return 1.0, "relative"
    if not (math.isfinite(incident) and incident > 0):
        raise CxgiError(f"incident intensity {incident} is not positive: check the object-out exposures")
    return size * size / incident, "transmission"


def estimate_sigma(index: NDArray[np.int64], coefficient: Array, size: int) -> tuple[Array, str]:
    """Sigma from the quarter of the measured coefficients with the highest sequency.

    Natural objects have little power there, so the median absolute value is an upper bound of
    the noise; the fewer fine patterns were measured, the looser the bound.
    """
    s = sequency(size) + 1
    fineness = (s[:, None] * s[None, :]).ravel()[index]
    others = index != 0
    if not others.any():
        return np.zeros_like(coefficient), "estimated: high sequency (one pattern only: 0)"
    finest = np.argsort(fineness[others], kind="stable")[-max(1, int(others.sum()) // 4) :]
    residual = coefficient[others][finest]
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(residual)))
    if sigma == 0:  # coarsely rounded buckets: more than half of them are exactly 0
        sigma = float(np.sqrt(np.mean(residual**2)))
    return np.full_like(coefficient, sigma), "estimated: high sequency"


# ---------------------------------------------------------------- checks


def _checked_t0(d_r: float) -> float:
    if not (math.isfinite(d_r) and 0 < d_r <= 1):
        raise CxgiError(f"d_r {d_r} is outside 0 < d_r <= 1: it is (D_max - D_min) / D_max of the masks")
    return 1.0 - d_r


def check_finite(values: Array, index: NDArray[np.int64], name: str) -> None:
    """Raise `CxgiError` naming the first pattern whose value is NaN or infinite."""
    bad = ~np.isfinite(values)
    if bad.any():
        raise CxgiError(
            f"{name} of pattern_index {index[bad][0]} is {values[bad][0]} ({bad.sum()} such): leave those exposures out"
        )


def _column(values: ArrayLike, index: NDArray[np.int64], name: str) -> Array:
    column = np.asarray(values, dtype=np.float64).reshape(-1)
    if column.shape != index.shape:
        raise CxgiError(f"{name} has {len(column)} values for {len(index)} patterns: give one each")
    check_finite(column, index, name)
    return column


# ---------------------------------------------------------------- CSV


def _read_columns(path: Path) -> dict[str, Array]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(line for line in stream if line.strip() and not line.startswith("#")))
    except (OSError, UnicodeDecodeError) as error:
        raise CxgiError(f"{path} cannot be read ({error})") from error
    if not rows:
        raise CxgiError(f"{path} is empty: expected the columns pattern_index,bucket")
    header = [name.strip() for name in rows[0]]
    missing = {"pattern_index", "bucket"} - set(header)
    if missing:
        raise CxgiError(f"{path} lacks the column {', '.join(sorted(missing))}: it has {', '.join(header)}")
    known = [name for name in ("pattern_index", "bucket", "sigma", "bucket_complement") if name in header]
    return {name: _numbers(path, rows[1:], header, name) for name in known}


def _numbers(path: Path, rows: Iterable[list[str]], header: list[str], name: str) -> Array:
    place, values = header.index(name), []
    for number, row in enumerate(rows, start=2):
        try:
            value = float(row[place])
            if name == "pattern_index" and value != int(value):
                raise ValueError("not a whole number")
        except (IndexError, ValueError, OverflowError) as error:
            cell = row[place] if place < len(row) else ""
            raise CxgiError(f"{path}, row {number}: {name} {cell!r} is no number ({error})") from error
        values.append(value)
    return np.array(values)
