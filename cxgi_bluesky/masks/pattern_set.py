"""Hadamard patterns: one pattern, and the set of those that are measured.

The one identity of a pattern is its ``pattern_index`` k, row k of the natural (Sylvester)
Hadamard matrix of order N = n * n, reshaped (n, n) row-major. Because
``hadamard(n * n) == kron(hadamard(n), hadamard(n))``, coefficient k = i * n + j belongs at
position (i, j) of an (n, n) array, and the N x N matrix is never needed.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError
from .orders import DEFAULT_ORDER, ORDERS, ranking, sequency
from .pattern_map import render_html, render_png
from .transform import MAX_SIZE, check_size, hadamard_matrix, walsh_hadamard_2d

__all__ = [
    "CHOSEN",
    "DEFAULT_ORDER",
    "MAX_SIZE",
    "ORDERS",
    "ChosenSet",
    "PatternSet",
    "check_index",
    "check_size",
    "coefficients",
    "count_for_fraction",
    "hadamard_matrix",
    "hadamard_set",
    "pattern",
    "ranking",
    "sequency",
    "walsh_hadamard_2d",
]


def whole_number(name: str, value: Any) -> Any:
    """The number as Python's own int (numpy's would not go into JSON); None stays None.

    Parameters
    ----------
    name : str
        For the message.
    value : int or None

    Raises
    ------
    CxgiError
        If it is no whole number.
    """
    try:
        return value if value is None else operator.index(value)
    except TypeError as error:
        raise ConfigError(f"{name} {value!r} of a pattern set is no whole number") from error


def count_for_fraction(size: int, fraction: float) -> int:
    """Number of patterns M for a sampling fraction M / N (always of N, at least 1).

    Parameters
    ----------
    size : int
        Pixels per side n; N = n * n.
    fraction : float
        Above 0, up to 1.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction {fraction!r} is outside 0 < fraction <= 1")
    return max(1, round(fraction * check_size(size) ** 2))


# ---------------------------------------------------------------- the pattern set


@dataclass(frozen=True)
class PatternSet:
    """Which patterns are measured: immutable, hashable, rebuilt from these few values.

    Parameters
    ----------
    size : int
        Pixels per side n; N = n * n patterns make full sampling.
    count : int
        Number of patterns M, taken from the front of the order; k = 0 is always among them.
    order : str
        One of `ORDERS`.
    seed : int, optional
        Seed of the random order.

    Raises
    ------
    CxgiError
        For an impossible size, count, order or seed.
    """

    size: int
    count: int
    order: str = DEFAULT_ORDER
    seed: int | None = None
    basis: str = "hadamard"

    def __post_init__(self) -> None:
        if self.basis != "hadamard":
            raise ConfigError(f"basis {self.basis!r} is unknown: only 'hadamard' is built in")
        for name in ("size", "count", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        ranking(self.order, self.size, self.seed)
        if not 1 <= self.count <= self.size**2:
            raise ConfigError(f"count {self.count} is outside 1..{self.size**2} for size {self.size}")

    def __repr__(self) -> str:
        return f"PatternSet({self.describe()})"

    def describe(self) -> str:
        """Describe it in a line: how many of which patterns, in which order."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        of = f"{self.count} of {self.size**2} patterns ({self.fraction:.1%}) of {self.size} x {self.size}"
        return f"{of}, {self.order}{seed}"

    def _repr_png_(self) -> bytes:
        """Show the map of the patterns, where a console can show pictures."""
        return render_png(self)

    def _repr_html_(self) -> str:
        """Show the map of the patterns in a notebook."""
        return render_html(self)

    @classmethod
    def from_fraction(
        cls, size: int, fraction: float, order: str = DEFAULT_ORDER, seed: int | None = None
    ) -> PatternSet:
        """The pattern set whose count is `fraction` of N.

        Parameters
        ----------
        size : int
            Pixels per side n; N = n * n.
        fraction : float
            Sampling fraction M / N, above 0, up to 1.
        order : str, optional
            One of `ORDERS`; `DEFAULT_ORDER` (zig-zag) by default.
        seed : int, optional
            For seeded orders, which need one.
        """
        return cls(size, count_for_fraction(size, fraction), order, seed)

    @property
    def fraction(self) -> float:
        """Sampling fraction M / N."""
        return self.count / self.size**2

    @cached_property
    def pattern_index(self) -> NDArray[np.int64]:
        """The M pattern indices in order of importance, shape (M,), read-only."""
        return ranking(self.order, self.size, self.seed)[: self.count]

    def pattern(self, pattern_index: int) -> NDArray[np.int8]:
        """Pattern H_k, shape (n, n), +1 = open, -1 = metal.

        Raises
        ------
        CxgiError
            If the index is outside 0..N-1.
        """
        return pattern(self.size, pattern_index)

    @cached_property
    def sha256(self) -> str:
        """Digest of the parameters and of the indices they stand for."""
        digest = hashlib.sha256(json.dumps(self._parameters(), sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.pattern_index, dtype="<i8").tobytes())
        return digest.hexdigest()

    def _parameters(self) -> dict[str, Any]:
        return {
            "basis": self.basis,
            "size": self.size,
            "order": self.order,
            "seed": self.seed,
            "count": self.count,
        }

    def to_dict(self) -> dict[str, Any]:
        """The parameters and their digest, as written into the start document of a run."""
        return {**self._parameters(), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PatternSet:
        """Rebuild a set from `to_dict`; a digest that does not match is an error."""
        try:
            made = cls(data["size"], data["count"], data["order"], data.get("seed"), data["basis"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"pattern set {data!r} lacks basis, size, order or count ({error})") from error
        if data.get("sha256", made.sha256) != made.sha256:
            raise ConfigError(
                f"pattern set {made} does not rebuild the patterns it names "
                f"(sha256 {data['sha256'][:12]}, here {made.sha256[:12]}): use the release that wrote it"
            )
        return made

    def to_json(self) -> str:
        """JSON text of `to_dict`."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> PatternSet:
        """Rebuild a set from `to_json`."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise ConfigError(f"pattern set text is not JSON ({error})") from error


def coefficients(image: ArrayLike, pattern_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """s_k = sum over pixels of H_k * image for some patterns, shape (M,).

    Parameters
    ----------
    image : array_like, shape (n, n)
        Transmission, or in any unit; n a power of two.
    pattern_index : ndarray of int64, shape (M,)
        Which patterns, each in 0..N-1.
    """
    transformed: NDArray[np.float64] = walsh_hadamard_2d(np.asarray(image, dtype=np.float64))
    return transformed.ravel()[pattern_index]


def check_index(pattern_index: ArrayLike, size: int) -> NDArray[np.int64]:
    """Pattern indices as int64, each inside 0..N-1 and present once, else `CxgiError`.

    Parameters
    ----------
    pattern_index : array_like of int, shape (M,)
        At least one.
    size : int
        Pixels per side n; N = n * n.

    Returns
    -------
    ndarray of int64, shape (M,)
        A copy.
    """
    total = check_size(size) ** 2
    index = np.array(pattern_index, dtype=np.int64).reshape(-1)
    if not len(index):
        raise ConfigError("no pattern was measured: nothing to reconstruct from")
    check_distinct(index, total, f"for size {size}: is the size right?")
    return index


def check_distinct(index: NDArray[np.int64], total: int, where: str) -> None:
    """Raise `CxgiError` unless each pattern index is inside 0..total-1 and there once.

    Parameters
    ----------
    index : ndarray of int64, shape (M,)
        Pattern indices.
    total : int
        How many patterns there are.
    where : str
        Of which patterns, for the message.
    """
    outside = index[(index < 0) | (index >= total)]
    if len(outside):
        raise ConfigError(f"pattern_index {outside[0]} is outside 0..{total - 1} {where}")
    values, counts = np.unique(index, return_counts=True)
    if (counts > 1).any():
        raise ConfigError(
            f"pattern_index {values[counts > 1][0]} is given {counts.max()} times: keep one bucket per pattern"
        )


def pattern(size: int, pattern_index: int) -> NDArray[np.int8]:
    """Pattern H_k of a size, shape (n, n): ``hadamard(n * n)[k].reshape(n, n)`` without that matrix.

    Parameters
    ----------
    size : int
        Pixels per side n.
    pattern_index : int
        k in 0..N-1, N = n * n.

    Returns
    -------
    ndarray of int8, shape (n, n)
        +1 = open, -1 = metal.
    """
    row, column = divmod(int(pattern_index), check_size(size))
    if not 0 <= row < size:
        raise ConfigError(f"pattern_index {pattern_index} is outside 0..{size**2 - 1} for size {size}")
    line = hadamard_matrix(size)
    return np.multiply.outer(line[row], line[column])


CHOSEN = "chosen"  # the order of such a set


@dataclass(frozen=True)
class ChosenSet:
    """How the patterns of a scan are chosen; which ones they are is known from its events alone.

    Parameters
    ----------
    start : PatternSet
        Measured first, whatever the object.
    count : int
        Patterns in all, at most; more than the start set has.
    rule : str
        Name of the rule that chooses the others (`reconstruction.planning.choose.RULES`).
    batch : int
        Patterns that are chosen at a time.
    seed : int
        Of the rule's draws.

    Raises
    ------
    CxgiError
        For impossible numbers.
    """

    start: PatternSet
    count: int
    rule: str
    batch: int
    seed: int = 0
    basis: str = "hadamard"
    order: str = CHOSEN

    def __post_init__(self) -> None:
        for name in ("count", "batch", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if not self.start.count < self.count <= self.size**2:
            raise ConfigError(
                f"count {self.count} of chosen patterns is outside {self.start.count + 1}..{self.size**2}: the start "
                f"set has {self.start.count} of {self.size**2}"
            )
        if self.batch < 1 or self.seed < 0:
            raise ConfigError(f"batch {self.batch}, seed {self.seed}: give 1 or more, and 0 or more")

    def __repr__(self) -> str:
        chosen = f"then batches of {self.batch} that rule {self.rule!r} chooses"
        most = f"at most {self.count} of {self.size**2} patterns of {self.size} x {self.size}"
        return f"ChosenSet({most}: the first {self.start.count} of {self.start.order}, {chosen})"

    @property
    def size(self) -> int:
        """Pixels per side n."""
        return self.start.size

    @property
    def fraction(self) -> float:
        """Sampling fraction M / N, at most."""
        return self.count / self.size**2

    @property
    def pattern_index(self) -> NDArray[np.int64]:
        """The patterns that are known before the scan: those of the start set."""
        return self.start.pattern_index

    @property
    def sha256(self) -> str:
        """Digest of the parameters, the start set's patterns among them."""
        return hashlib.sha256(json.dumps(self._parameters(), sort_keys=True).encode()).hexdigest()

    def _parameters(self) -> dict[str, Any]:
        return {
            "basis": self.basis,
            "size": self.size,
            "order": self.order,
            "seed": self.seed,
            "count": self.count,
            "rule": self.rule,
            "batch": self.batch,
            "start": self.start.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The parameters and their digest, as written into the start document of a run."""
        return {**self._parameters(), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChosenSet:
        """Rebuild a set from `to_dict`; a digest that does not match is an error."""
        try:
            start = PatternSet.from_dict(data["start"])
            made = cls(start, data["count"], str(data["rule"]), data["batch"], data["seed"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"pattern set {data!r} lacks start, count, rule, batch or seed ({error})") from error
        if data.get("sha256", made.sha256) != made.sha256:
            raise ConfigError(f"pattern set {made} is not the one that was stored: use the release that wrote it")
        return made


def hadamard_set(data: Mapping[str, Any]) -> PatternSet | ChosenSet:
    """The Hadamard patterns that a start document names: a fixed set, or how they were chosen.

    Parameters
    ----------
    data : mapping
        ``cxgi.pattern_set``.

    Raises
    ------
    CxgiError
        If it is malformed.
    """
    return ChosenSet.from_dict(data) if data.get("order") == CHOSEN else PatternSet.from_dict(dict(data))
