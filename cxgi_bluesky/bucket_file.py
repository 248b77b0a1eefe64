"""Files of buckets: ``pattern_index,bucket[,sigma][,bucket_complement]``."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import CxgiError

Array = NDArray[np.float64]

COLUMNS = ("pattern_index", "bucket", "sigma", "bucket_complement")


def read_columns(path: Path) -> dict[str, Array]:
    """The known columns of a CSV file; lines that begin with # are comments.

    Raises
    ------
    CxgiError
        If the file cannot be read, a column is missing or a cell is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [(n, line) for n, line in enumerate(stream, 1) if line.strip() and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise CxgiError(f"{path} cannot be read ({error})") from error
    if not lines:
        raise CxgiError(f"{path} is empty: expected the columns pattern_index,bucket")
    numbers = [number for number, _ in lines]
    rows = list(csv.reader(line for _, line in lines))
    header = [name.strip() for name in rows[0]]
    missing = {"pattern_index", "bucket"} - set(header)
    if missing:
        raise CxgiError(f"{path} lacks the column {', '.join(sorted(missing))}: it has {', '.join(header)}")
    return {
        name: _numbers(path, zip(numbers[1:], rows[1:], strict=True), header, name)
        for name in COLUMNS
        if name in header
    }


def _numbers(path: Path, rows: Iterable[tuple[int, list[str]]], header: list[str], name: str) -> Array:
    place, values = header.index(name), []
    for number, row in rows:
        try:
            value = float(row[place])
            if name == "pattern_index" and value != int(value):
                raise ValueError("not a whole number")
        except (IndexError, ValueError, OverflowError) as error:
            cell = row[place] if place < len(row) else ""
            raise CxgiError(f"{path}, line {number}: {name} {cell!r} is no number ({error})") from error
        values.append(value)
    return np.array(values)
