"""Bare lists of buckets, as other programs write them: no pattern_index, the k-th belongs to the k-th of an order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._files.text_table import numbers_of, read_text
from ...errors import CxgiError, FileFormatError
from ...masks.orders import ORDERS, ranking
from ..coefficients import Coding
from .npz_file import MAX_BYTES, read_arrays
from .table import BucketTable, naming, numeric

LAYOUTS = ("list", "pairs")
_TEXT_SUFFIXES = (".csv", ".txt", ".dat")
_Numbers = NDArray[Any]


def read_list(
    path: str | Path, layout: str, *, size: int | None, order: str | None, seed: int | None, coding: Coding | None
) -> BucketTable:
    """Read a bare list of buckets: text, .npy, or .npz with a single array.

    Parameters
    ----------
    path : str or Path
        Text files (.csv, .txt, .dat) hold numbers apart by commas, semicolons, white space or line ends, without a
        header.
    layout : {"list", "pairs"}
        list: one bucket per pattern; pairs: positive, negative, positive, negative, ..., or a
        table of two columns (or of two rows), positive first.
    size, order, seed
        The k-th bucket (or pair) belongs to ``ranking(order, size, seed)[k]``; M <= N of them.
    coding : {"binary", "signed"}, or "complementary" for pairs

    Raises
    ------
    CxgiError
        If the file cannot be read or holds anything but such a list, or size, order or coding is not given.
    """
    path = Path(path)
    with naming(path):
        if size is None:
            raise FileFormatError("a bare list does not say its size: give size=N (--size N)")
        if order is None:
            others = ", ".join(name for name in ORDERS if name != "natural")
            raise FileFormatError(
                "a bare list does not say in which order the patterns were shown: give order='natural' "
                f"(--order natural: the rows of the Hadamard matrix, which is common) or {others}"
            )
        ranked = ranking(order, size, seed)
        _check_coding(layout, coding)
    numbers = _read_numbers(path)
    with naming(path):
        bucket, complement = _pairs(numbers) if layout == "pairs" else (_line(numbers), None)
        if len(bucket) > len(ranked):
            what = "pairs" if layout == "pairs" else "buckets"
            raise FileFormatError(
                f"{len(bucket)} {what} are more than the {len(ranked)} patterns of size {size}: wrong size?"
            )
        return BucketTable(
            ranked[: len(bucket)],
            bucket,
            bucket_complement=complement,
            size=size,
            coding="complementary" if layout == "pairs" else coding,
            order=order,
            seed=seed,
        )


def _check_coding(layout: str, coding: Coding | None) -> None:
    if layout not in LAYOUTS:
        raise FileFormatError(f"layout {layout!r} is unknown: choose {' or '.join(LAYOUTS)}")
    if layout == "pairs" and coding not in (None, "complementary"):
        raise FileFormatError(
            f"pairs have coding 'complementary', not {coding!r}: leave the coding out, or use layout list"
        )
    if layout == "list" and coding not in ("binary", "signed"):
        raise FileFormatError(
            f"a list of single buckets with coding {coding!r}: give --coding signed or --coding binary"
        )


def _line(numbers: _Numbers) -> _Numbers:
    if max(numbers.shape) != numbers.size:
        raise FileFormatError(
            f"{numbers.shape} is a table, not one row or column: for pairs use layout pairs (--layout pairs)"
        )
    return numbers.reshape(-1)


def _pairs(numbers: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Positive and negative of each pair."""
    if max(numbers.shape) == numbers.size:
        if numbers.size % 2:
            raise FileFormatError(f"{numbers.size} numbers are no pairs: one is missing or too many")
        return numbers.reshape(-1)[::2], numbers.reshape(-1)[1::2]
    if numbers.shape == (2, 2):
        raise FileFormatError("a 2 x 2 table may hold the pairs in its rows or in its columns: write them as one list")
    if numbers.shape[1] == 2:
        if np.ptp(numbers[:, 0] - np.arange(len(numbers))) == 0:
            raise FileFormatError(
                "the first column counts the rows: name the columns pattern_index,bucket in a header instead"
            )
        return numbers[:, 0], numbers[:, 1]
    if numbers.shape[0] == 2:
        return numbers[0], numbers[1]
    raise FileFormatError(f"{numbers.shape} is no table of pairs: expected two columns, two rows, or one list")


# ---------------------------------------------------------------- files


def _read_numbers(path: Path) -> _Numbers:
    """The numbers of a file, in one or two dimensions, at least one of them."""
    suffix = path.suffix.lower()
    if suffix in _TEXT_SUFFIXES:
        numbers = numbers_of(path, read_text(path))
    elif suffix == ".npy":
        numbers = _only_array(path)
    elif suffix == ".npz":
        arrays = read_arrays(path)
        if len(arrays) != 1:
            raise FileFormatError(f"{path} has {len(arrays)} arrays ({', '.join(arrays)}): save the list alone")
        numbers = next(iter(arrays.values()))
    else:
        known = ", ".join((*_TEXT_SUFFIXES, ".npy", ".npz"))
        raise FileFormatError(f"{path} has the suffix {path.suffix!r}: a bare list ends with {known}")
    with naming(path):
        numbers = numeric("the list", numbers)
        if numbers.size == 0 or numbers.ndim not in (1, 2):
            raise FileFormatError(f"an array of shape {numbers.shape} is no list of buckets")
    return numbers


def _only_array(path: Path) -> _Numbers:
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise FileFormatError(f"{path} has {size} bytes, at most {MAX_BYTES} are read: is it another file?")
        with path.open("rb") as stream:
            array = np.load(stream, allow_pickle=False)
    except CxgiError:
        raise
    except Exception as error:  # damaged files make numpy raise nearly anything
        raise FileFormatError(f"{path} cannot be read as NPY ({' '.join(str(error).split())})") from error
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"{path} is an NPZ file: give it the suffix .npz")
    return array
