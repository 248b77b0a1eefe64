"""BucketTable: what a file of buckets holds, whatever its format."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import CxgiError, FileFormatError, MeasurementError, check_choice
from ...masks.orders import ORDERS, SEEDED
from ...masks.pattern_set import ChosenSet, check_index
from ...masks.transform import MAX_SIZE, check_size
from ..coefficients import Array, Coding, check_finite, check_t0

if TYPE_CHECKING:
    from ..exposures import Exposures

FORMAT_VERSION = 1
VERSION_KEY = "cxgi_buckets"
COLUMNS = ("pattern_index", "bucket", "sigma", "bucket_complement")
ATTRS = ("size", "coding", "d_r", "dark", "order", "seed", "unit", "source")
MAX_TEXT = 10_000  # characters: an HDF5 attribute holds 64 kB
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, eq=False)
class BucketTable:
    """Buckets, one row per pattern, and what is known of them; what is None is not known.

    Attributes
    ----------
    pattern_index : ndarray of int64, shape (M,)
        Which pattern gave each bucket, in any order, each once.
    bucket : ndarray of float64, shape (M,)
        Detector signals, in `unit`.
    sigma : ndarray of float64, shape (M,), optional
        One standard deviation of each bucket (and of its complement), in `unit`.
    bucket_complement : ndarray of float64, shape (M,), optional
        Signals behind the negative masks, in `unit`.
    size : int, optional
        Pixels per side n.
    coding : {"binary", "signed", "complementary"}, optional
    d_r : float, optional
        Modulation depth ratio of the masks, T0 = 1 - d_r.
    dark : float, optional
        Detector signal without beam that is still in the buckets, in `unit`.
    order : str, optional
        The order from which the patterns were picked, one of `ORDERS`.
    seed : int, optional
        Seed of that order.
    unit : str, optional
        Unit of the buckets, such as "pA".
    source : str, optional
        Where the buckets came from, for people; white space is made single, lines are kept.

    Raises
    ------
    CxgiError
        If columns differ in length, hold anything but finite numbers, an index is repeated or
        unknown, or an attribute is impossible or contradicts another.
    """

    pattern_index: NDArray[np.int64]
    bucket: Array
    sigma: Array | None = None
    bucket_complement: Array | None = None
    size: int | None = None
    coding: Coding | None = None
    d_r: float | None = None
    dark: float | None = None
    order: str | None = None
    seed: int | None = None
    unit: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name, checked in (
            ("size", _whole),
            ("coding", one_line),
            ("d_r", _number),
            ("dark", _number),
            ("order", one_line),
            ("seed", _whole),
            ("unit", one_line),
            ("source", _lines),
        ):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked(name, getattr(self, name)))
        self._check_attrs()
        index = _check_index(self.pattern_index, self.size)
        object.__setattr__(self, "pattern_index", index)
        for name in COLUMNS[1:]:
            if getattr(self, name) is not None or name == "bucket":
                object.__setattr__(self, name, _check_values(name, getattr(self, name), index))
        if self.sigma is not None and (self.sigma < 0).any():
            raise FileFormatError(f"sigma {self.sigma[self.sigma < 0][0]} is negative: give standard deviations")

    def _check_attrs(self) -> None:
        if self.size is not None:
            check_size(self.size)
        if self.coding is not None:
            check_choice("coding", self.coding, get_args(Coding), kind=FileFormatError)
        if self.coding == "complementary" and self.bucket_complement is None:
            raise FileFormatError("coding 'complementary' needs a bucket_complement for each bucket")
        if self.d_r is not None:
            check_t0(self.d_r)
        if self.dark is not None and not math.isfinite(self.dark):
            raise FileFormatError(f"dark {self.dark} is not finite: give the signal without beam, or leave it out")
        if self.order is not None:
            check_choice("order", self.order, ORDERS, kind=FileFormatError, more=", or leave it out")
        if self.seed is not None and self.order not in SEEDED:
            raise FileFormatError(f"seed {self.seed} with order {self.order!r}: only {' and '.join(SEEDED)} take one")
        if self.seed is not None and not 0 <= self.seed <= _MAX_SEED:
            raise FileFormatError(f"seed {self.seed} is outside 0..{_MAX_SEED}")

    @classmethod
    def from_run(cls, run: Any) -> Self:
        """Calibrated buckets of a run of the catalog (anything with ``documents()``), without other runs."""
        from ..exposures import Exposures

        return cls.from_exposures(Exposures.from_documents(run.documents()))

    @classmethod
    def from_exposures(
        cls, exposures: Exposures, *, reference: Exposures | None = None, dark: Exposures | None = None
    ) -> Self:
        """Calibrated buckets of a run: those that its image is made from.

        Dark, I0, drift and mask errors are corrected, exposures that cannot be trusted and validation patterns left
        out; the bucket of pattern_index 0 is the mean of all exposures of the open tile. The incident intensity has
        no place in a table: an image of it is relative.

        Parameters
        ----------
        exposures : Exposures
            Of the image, of Hadamard masks.
        reference, dark : Exposures, optional
            As in `Measurement.from_exposures`.

        Raises
        ------
        CxgiError
            For a speckle run, for a board that is mounted back to front, which a table cannot say, and as
            `calibrated_buckets`.
        """
        from ..reference import calibrated_buckets

        uid = exposures.start["uid"]
        if exposures.metadata.basis != "hadamard":
            raise MeasurementError(f"run {uid} is one of speckle patterns: a table of buckets is for Hadamard masks")
        if exposures.metadata.board is not None and exposures.board.mirrored:
            raise MeasurementError(
                f"run {uid}: its board is mounted back to front, which a table of buckets cannot say, and an image of "
                "it would be turned over: export nexus, which holds the whole run"
            )
        b = calibrated_buckets(exposures, reference=reference, dark=dark)
        kept = ~np.isin(b.pattern_index, [0, *b.validation.tolist()])
        opened, opened_sigma = b.open_bucket or (math.nan, math.nan)
        patterns = exposures.pattern_set
        whole = None if isinstance(patterns, ChosenSet) else patterns
        corrected = b.source.get("reference_uids", [])
        return cls(
            np.append(0, b.pattern_index[kept]),
            np.append(opened, b.bucket[kept]),
            np.append(opened_sigma, b.sigma[kept]) if b.has_sigma else None,
            size=patterns.size,
            coding="binary",
            d_r=exposures.board.d_r,
            order=None if whole is None else whole.order,
            seed=None if whole is None else whole.seed,
            unit=exposures.bucket_unit,
            source=f"run {', '.join(exposures.uids)}; dark {b.source['dark_subtracted']:g} subtracted"
            + (f"; corrected by reference scan {', '.join(corrected)}" if corrected else ""),
        )

    def __len__(self) -> int:
        return len(self.pattern_index)

    @property
    def fraction(self) -> float | None:
        """Sampling fraction M / N, if the size is known."""
        return None if self.size is None else len(self) / self.size**2

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns that there are, by name."""
        return {name: getattr(self, name) for name in COLUMNS if getattr(self, name) is not None}

    def attrs(self) -> dict[str, Any]:
        """What is known beside the columns, by name."""
        return {name: getattr(self, name) for name in ATTRS if getattr(self, name) is not None}

    def with_attrs(self, **attrs: Any) -> BucketTable:
        """The table with what the caller knows of it; None: not known.

        `d_r` and `dark` replace those of the table, the others must agree with it.

        Raises
        ------
        CxgiError
            If the caller contradicts the table; the message names both.
        """
        given = {name: value for name, value in attrs.items() if value is not None}
        for name in given.keys() - {"d_r", "dark"}:
            said = getattr(self, name)
            if said is not None and said != given[name]:
                raise FileFormatError(
                    f"{name} {given[name]!r} was given, but the file says {said!r}: leave it out, or correct the file"
                )
        return replace(self, **given)


def make_table(path: Path, columns: dict[str, Any], attrs: dict[str, Any]) -> BucketTable:
    """The table of a file, whose name goes into every complaint; unknown attributes are left out.

    Parameters
    ----------
    path : Path
        The file.
    columns : dict of array_like, shape (M,)
        By the names in `COLUMNS`.
    words : dict
        Single values by the names in `ATTRS`.
    """
    with naming(path):
        return BucketTable(**columns, **{name: attrs[name] for name in ATTRS if name in attrs})


def check_version(path: Path, value: Any) -> None:
    """Raise `CxgiError` for a file of another version of the format.

    Parameters
    ----------
    path : Path
        The file, for messages.
    value : int, str or array of one value
        Its value of `VERSION_KEY`.
    """
    with naming(path):
        version = _whole(VERSION_KEY, value)
        if version != FORMAT_VERSION:
            raise FileFormatError(
                f"{VERSION_KEY} is {version}, this release reads version {FORMAT_VERSION}: "
                "use the release that wrote it, or have the file written anew"
            )


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the name of the file before whatever is wrong with it."""
    try:
        yield
    except CxgiError as error:
        raise FileFormatError(f"{path}: {error}") from error


# ---------------------------------------------------------------- columns


def numeric(name: str, values: ArrayLike) -> NDArray[Any]:
    """Integers or floats, any shape, else `CxgiError`: no text, no objects, no complex numbers.

    Parameters
    ----------
    name : str
        For messages.
    values : array_like, any shape
        Kept in their type and shape.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise FileFormatError(f"{name} is no array of numbers ({error})") from error
    if array.dtype.kind not in "iuf":
        raise FileFormatError(f"{name} holds {array.dtype}, not numbers: write it as float64 (pattern_index as int64)")
    return array


def _column(name: str, values: ArrayLike) -> NDArray[Any]:
    """A new array of shape (M,); (M, 1) and (1, M) mean the same."""
    array = numeric(name, values)
    if array.ndim == 0 or max(array.shape) != array.size:
        raise FileFormatError(f"{name} has shape {array.shape}: give one number per pattern, shape (M,)")
    return array.reshape(-1)


def _check_values(name: str, values: ArrayLike, index: NDArray[np.int64]) -> Array:
    column = _column(name, values).astype(np.float64)
    if column.shape != index.shape:
        raise FileFormatError(f"{name} has {len(column)} values for {len(index)} patterns: give one each")
    check_finite(column, index, name)
    column.setflags(write=False)
    return column


def _check_index(values: ArrayLike, size: int | None) -> NDArray[np.int64]:
    column = _column("pattern_index", values)
    odd = ~((np.floor(column) == column) & (np.abs(column.astype(np.float64)) < 2**53))
    if odd.any():
        raise FileFormatError(f"pattern_index {column[odd][0]} is no whole number: give the row of the Hadamard matrix")
    index = column.astype(np.int64)
    if size is None and (index < 0).any():
        raise FileFormatError(f"pattern_index {index[index < 0][0]} is negative: patterns are numbered from 0")
    index = check_index(index, MAX_SIZE if size is None else size)
    index.setflags(write=False)
    return index


# ---------------------------------------------------------------- attributes


def _alone(name: str, value: Any) -> Any:
    """A single value, also out of an array of one (as NPZ and HDF5 give them)."""
    array = np.asarray(value)
    if array.size != 1:
        raise FileFormatError(f"{name} has {array.size} values: give one")
    return array.reshape(-1)[0].item() if isinstance(value, np.ndarray | np.generic) else value


def _whole(name: str, value: Any) -> int:
    value = _alone(name, value)
    try:
        if isinstance(value, str | bytes):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return operator.index(value)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{name} {value!r} is no whole number") from error


def _number(name: str, value: Any) -> float:
    value = _alone(name, value)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{name} {value!r} is no number") from error


def one_line(name: str, value: Any) -> str | None:
    """One line of text with single spaces; without any, the word is not said.

    Parameters
    ----------
    name : str
        For messages.
    value : str, bytes or array of one text
        UTF-8, up to `MAX_TEXT` characters.

    Returns
    -------
    str or None
        None for an empty text.
    """
    return " ".join((_lines(name, value) or "").split()) or None


def _lines(name: str, value: Any) -> str | None:
    value = _alone(name, value)
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if not isinstance(text, str) or "\0" in text:
            raise FileFormatError(f"{name} {value!r} is no text")
        text.encode()
    except UnicodeError as error:
        raise FileFormatError(f"{name} {value!r} is no UTF-8 text") from error
    text = "\n".join(" ".join(line.split()) for line in text.splitlines()).strip()
    if len(text) > MAX_TEXT:
        raise FileFormatError(f"{name} has {len(text)} characters: give at most {MAX_TEXT}")
    return text or None
