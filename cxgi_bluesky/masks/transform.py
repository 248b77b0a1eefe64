"""Fast Walsh-Hadamard transform as a product of small Kronecker factors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

MAX_SIZE = 1024
_BLOCK_BITS = 6  # Hadamard factors of up to 64 x 64 keep BLAS busy and stay in cache


def check_size(size: int) -> int:
    """Return `size` as an int if it is a power of two in 2..1024, else raise `CxgiError`."""
    if isinstance(size, bool) or int(size) != size or not 2 <= size <= MAX_SIZE or size & (size - 1):
        raise ConfigError(f"size {size!r} is not a power of two from 2 to {MAX_SIZE}: give 32, 64, ...")
    return int(size)


@lru_cache(maxsize=64)
def hadamard_matrix(order: int, dtype: str = "int8") -> NDArray[Any]:
    """Natural (Sylvester) Hadamard matrix, shape (order, order), entries +1 and -1, read-only.

    Parameters
    ----------
    order : int
        Number of rows, a power of two.
    dtype : str, optional
        numpy's name of the entries' type; "int8" by default.
    """
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
        raise ConfigError(f"array of shape {array.shape} is not (..., n, n): reshape the N coefficients")
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
