"""Hadamard patterns: basis, orders, selection and the fast Walsh-Hadamard transform.

The one identity of a pattern is its ``pattern_index`` k, row k of the natural (Sylvester)
Hadamard matrix of order N = n * n, reshaped (n, n) row-major. Because
``hadamard(n * n) == kron(hadamard(n), hadamard(n))``, coefficient k = i * n + j belongs at
position (i, j) of an (n, n) array, and the N x N matrix is never needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import CxgiError

MAX_SIZE = 1024
_BLOCK_BITS = 6  # Hadamard factors of up to 64 x 64 keep BLAS busy and stay in cache


# ---------------------------------------------------------------- transform


def check_size(size: int) -> int:
    """Return `size` as an int if it is a power of two in 2..1024, else raise `CxgiError`."""
    if isinstance(size, bool) or int(size) != size or not 2 <= size <= MAX_SIZE or size & (size - 1):
        raise CxgiError(f"size {size!r} is not a power of two from 2 to {MAX_SIZE}: give 32, 64, ...")
    return int(size)


@lru_cache(maxsize=64)
def hadamard_matrix(order: int, dtype: str = "int8") -> NDArray[Any]:
    """Natural (Sylvester) Hadamard matrix, shape (order, order), entries +1 and -1, read-only."""
    matrix = np.ones((1, 1), dtype=dtype)
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    matrix.setflags(write=False)
    return matrix


def _factor_bits(bits: int) -> list[int]:
    """Split `bits` into near-equal parts of at most `_BLOCK_BITS`."""
    parts = -(-bits // _BLOCK_BITS)
    return [bits // parts + (i < bits % parts) for i in range(parts)]


def walsh_hadamard_2d(array: NDArray[Any]) -> NDArray[Any]:
    """Fast unnormalised 2-D Walsh-Hadamard transform over the last two axes.

    Equal to ``hadamard(n) @ array @ hadamard(n)``, and over the flattened axes to
    ``hadamard(n * n) @ array.ravel()``; applied twice it gives ``n * n * array``.
    Done as a product of small Kronecker factors: O(N log N) work, no N x N matrix.

    Parameters
    ----------
    array : ndarray, shape (..., n, n)
        n a power of two, 2..1024. Integers and booleans are promoted to int64 (exact);
        floating and complex types are kept.

    Returns
    -------
    ndarray, shape (..., n, n)

    Raises
    ------
    CxgiError
        If the last two axes are not equal or not a power of two.
    """
    array = np.asarray(array)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise CxgiError(f"array of shape {array.shape} is not (..., n, n): reshape the N coefficients")
    size = check_size(array.shape[-1])
    if array.dtype.kind in "iub":
        array = array.astype(np.int64)
    shape, total = array.shape, size * size
    batch = array.size // total
    done = 1
    for bits in _factor_bits(2 * (size.bit_length() - 1)):
        block = 1 << bits
        factor = hadamard_matrix(block, array.dtype.str)
        done *= block
        behind = total // done
        if behind == 1:  # the last factor: one large product instead of many narrow ones
            array = array.reshape(-1, block) @ factor
        else:
            array = factor @ array.reshape(batch * (done // block), block, behind)
    return array.reshape(shape)


# ---------------------------------------------------------------- sequency and orders


def sequency(size: int) -> NDArray[np.int64]:
    """Sign changes along each row of ``hadamard(size)``, shape (size,)."""
    return np.count_nonzero(np.diff(hadamard_matrix(check_size(size)), axis=1), axis=1).astype(np.int64)


def _sequency_grid(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequencies (u, v) of every pattern_index, two arrays of shape (N,)."""
    s = sequency(size)
    return np.repeat(s, size), np.tile(s, size)


def _natural(size: int, seed: int | None) -> NDArray[np.int64]:
    return np.arange(size * size, dtype=np.int64)


def _zig_zag(size: int, seed: int | None) -> NDArray[np.int64]:
    u, v = _sequency_grid(size)
    return np.lexsort((u, np.abs(v - u), u + v))


def _cake_cutting(size: int, seed: int | None) -> NDArray[np.int64]:
    u, v = _sequency_grid(size)
    return np.lexsort((u, u + v, (u + 1) * (v + 1)))


def _random(size: int, seed: int | None) -> NDArray[np.int64]:
    others = 1 + np.random.default_rng(seed).permutation(size * size - 1)
    return np.concatenate([[0], others]).astype(np.int64)


ORDERS: dict[str, Callable[[int, int | None], NDArray[np.int64]]] = {
    "natural": _natural,
    "zig-zag": _zig_zag,
    "cake-cutting": _cake_cutting,
    "random": _random,
}


@lru_cache(maxsize=16)
def ranking(order: str, size: int, seed: int | None = None) -> NDArray[np.int64]:
    """All N pattern indices, most important first, shape (N,), read-only.

    Ties are decided by the keys of the order: zig-zag (u + v, abs(u - v), u), cake-cutting
    ((u + 1)(v + 1), u + v, u), with u, v the sign changes down the rows and along the columns.

    Raises
    ------
    CxgiError
        For an unknown order, or a seed that is missing (random) or not used (others).
    """
    check_size(size)
    if order not in ORDERS:
        raise CxgiError(f"order {order!r} is unknown: choose one of {', '.join(ORDERS)}")
    if (order == "random") != (seed is not None):
        raise CxgiError(f"order {order!r} with seed {seed!r}: the random order, and only it, takes a seed")
    indices = ORDERS[order](size, seed)
    indices.setflags(write=False)
    return indices


def count_for_fraction(size: int, fraction: float) -> int:
    """Number of patterns M for a sampling fraction M / N (always of N, at least 1)."""
    if not 0 < fraction <= 1:
        raise CxgiError(f"fraction {fraction!r} is outside 0 < fraction <= 1")
    return max(1, round(fraction * check_size(size) ** 2))


# ---------------------------------------------------------------- the pattern set


@dataclass(frozen=True)
class PatternSet:
    """Which patterns are measured: immutable, hashable, rebuilt from these few words.

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
    order: str = "cake-cutting"
    seed: int | None = None
    basis: str = "hadamard"

    def __post_init__(self) -> None:
        if self.basis != "hadamard":
            raise CxgiError(f"basis {self.basis!r} is unknown: only 'hadamard' is built in")
        for name in ("size", "count", "seed"):  # numpy's integers would not go into JSON
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else int(value))
        ranking(self.order, self.size, self.seed)
        if not 1 <= self.count <= self.size**2:
            raise CxgiError(f"count {self.count} is outside 1..{self.size**2} for size {self.size}")

    @classmethod
    def from_fraction(
        cls, size: int, fraction: float, order: str = "cake-cutting", seed: int | None = None
    ) -> PatternSet:
        """The pattern set whose count is `fraction` of N."""
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
        """Digest of the words and of the indices they stand for."""
        digest = hashlib.sha256(json.dumps(self._words(), sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.pattern_index, dtype="<i8").tobytes())
        return digest.hexdigest()

    def _words(self) -> dict[str, Any]:
        return {
            "basis": self.basis,
            "size": self.size,
            "order": self.order,
            "seed": self.seed,
            "count": self.count,
        }

    def to_dict(self) -> dict[str, Any]:
        """The words and their digest, as written into the start document of a run."""
        return {**self._words(), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> PatternSet:
        """Rebuild a set from `to_dict`; a digest that does not match is an error."""
        try:
            made = cls(words["size"], words["count"], words["order"], words.get("seed"), words["basis"])
        except (KeyError, TypeError) as error:
            raise CxgiError(f"pattern set {words!r} lacks basis, size, order or count ({error})") from error
        if words.get("sha256", made.sha256) != made.sha256:
            raise CxgiError(
                f"pattern set {made} does not rebuild the patterns it names "
                f"(sha256 {words['sha256'][:12]}, here {made.sha256[:12]}): use the release that wrote it"
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
            raise CxgiError(f"pattern set text is not JSON ({error})") from error


def checked_index(pattern_index: ArrayLike, size: int) -> NDArray[np.int64]:
    """Pattern indices as int64, each inside 0..N-1 and present once, else `CxgiError`."""
    total = check_size(size) ** 2
    index = np.array(pattern_index, dtype=np.int64).reshape(-1)
    if not len(index):
        raise CxgiError("no pattern was measured: nothing to reconstruct from")
    outside = index[(index < 0) | (index >= total)]
    if len(outside):
        raise CxgiError(f"pattern_index {outside[0]} is outside 0..{total - 1} for size {size}: is the size right?")
    values, counts = np.unique(index, return_counts=True)
    if (counts > 1).any():
        raise CxgiError(
            f"pattern_index {values[counts > 1][0]} is given {counts.max()} times: keep one bucket per pattern"
        )
    return index


def pattern(size: int, pattern_index: int) -> NDArray[np.int8]:
    """Pattern H_k of a size, shape (n, n): ``hadamard(n * n)[k].reshape(n, n)`` without that matrix."""
    row, column = divmod(int(pattern_index), check_size(size))
    if not 0 <= row < size:
        raise CxgiError(f"pattern_index {pattern_index} is outside 0..{size**2 - 1} for size {size}")
    line = hadamard_matrix(size)
    return np.multiply.outer(line[row], line[column])
