"""CSV: ``pattern_index,bucket[,sigma][,bucket_complement]``, words in comment lines above the header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..reduction import Array
from .table import COLUMNS, FORMAT_VERSION, VERSION_WORD, WORDS, BucketTable, check_version, made_from

_COUNT_WORD = "patterns"
_SHOWN = 100  # characters of a foreign text in a message
_WORD = re.compile(r"#\s*([A-Za-z][\w-]*)\s*:(.*)")


def read_csv(path: Path) -> BucketTable:
    """Read a CSV file; lines that begin with # are comments.

    Comments above the header are words (``# size: 32``) if ``# cxgi_buckets: 1`` is among them.

    Raises
    ------
    CxgiError
        If the file cannot be read, a column is missing, a cell is no number, or a word is unknown.
    """
    text = read_text(path)
    words = _read_words(path, text)
    columns = _columns_at_once(text) or _columns_line_by_line(path, text)
    if _COUNT_WORD in words:
        _check_whole(path, text, words[_COUNT_WORD], len(columns["pattern_index"]))
    return made_from(path, columns, words)


def read_text(path: Path) -> str:
    """All of a UTF-8 file, its line ends as they are."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CxgiError(f"{path} cannot be read ({error})") from error


def _check_whole(path: Path, text: str, said: str, found: int) -> None:
    """Raise `CxgiError` for a file that was cut short, be it in the middle of its last number."""
    last = "" if text.endswith(("\n", "\r")) else ", the last without a line end"
    if said != str(found) or last:
        raise CxgiError(
            f"{path} says {_COUNT_WORD}: {said} and has {found}{last}: it was cut short; fetch it again, "
            f"or remove the line '# {_COUNT_WORD}: {said}' if it was shortened on purpose"
        )


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


# ---------------------------------------------------------------- words


def _read_words(path: Path, text: str) -> dict[str, Any]:
    """What the comments above the header say; nothing unless they name the version of the format."""
    said: list[tuple[int, str, str]] = []
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if _is_content(line):
            break
        if match := _WORD.match(line):
            said.append((number, match[1], match[2].strip()))
    versions = [value for _, name, value in said if name == VERSION_WORD]
    if not versions:
        return {}
    check_version(path, versions[0])
    words: dict[str, Any] = {}
    for number, name, value in said:
        if name not in (VERSION_WORD, _COUNT_WORD, *WORDS):
            raise CxgiError(
                f"{path}, line {number}: {name!r} is unknown: say {', '.join(WORDS)}; write a remark as 'source: ...'"
            )
        if name in words and name != "source":
            raise CxgiError(f"{path}, line {number}: {name} is said twice: keep one")
        words[name] = f"{words[name]}\n{value}" if name in words else value
    return words


# ---------------------------------------------------------------- columns


def _columns_at_once(text: str) -> dict[str, Array] | None:
    """The columns of a file without a fault, read by numpy; None where the lines must be looked at one by one."""
    stream = io.StringIO(text, newline="")
    header = next(([name.strip() for name in line.split(",")] for line in stream if _is_content(line)), [])
    if not {"pattern_index", "bucket"} <= set(header) or not text[stream.tell() :].strip():
        return None
    names = [name for name in COLUMNS if name in header]
    try:
        rows = np.loadtxt(stream, delimiter=",", comments=None, usecols=[header.index(name) for name in names], ndmin=2)
    except ValueError:
        return None
    columns = dict(zip(names, rows.T, strict=True))
    index = columns["pattern_index"]
    return columns if (np.isfinite(index) & (np.floor(index) == index)).all() else None


def _columns_line_by_line(path: Path, text: str) -> dict[str, Array]:
    rows = [
        (number, _cells_of(path, number, line))
        for number, line in enumerate(io.StringIO(text, newline=""), 1)
        if _is_content(line)
    ]
    if not rows:
        raise CxgiError(f"{path} is empty: expected the columns pattern_index,bucket")
    header = [name.strip() for name in rows[0][1]]
    missing = {"pattern_index", "bucket"} - set(header)
    if missing:
        has = ", ".join(header)[:_SHOWN]
        raise CxgiError(f"{path} lacks the column {', '.join(sorted(missing))}: it has {has}")
    return {name: _numbers(path, rows[1:], header.index(name), name) for name in COLUMNS if name in header}


def _cells_of(path: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")]))
    except csv.Error as error:
        raise CxgiError(f"{path}, line {number} is no row of a table ({error})") from error


def _numbers(path: Path, rows: list[tuple[int, list[str]]], place: int, name: str) -> Array:
    values = []
    for number, row in rows:
        cell = row[place] if place < len(row) else ""
        try:
            value = float(cell)
            if name == "pattern_index" and value != int(value):
                raise ValueError("not a whole number")
        except (ValueError, OverflowError) as error:
            reason = f" ({error})" if len(str(error)) <= _SHOWN else ""
            raise CxgiError(f"{path}, line {number}: {name} {cell[:_SHOWN]!r} is no number{reason}") from error
        values.append(value)
    return np.array(values)


# ---------------------------------------------------------------- writing


def write_csv(path: Path, table: BucketTable) -> None:
    """Write the words as comments, the header, and one row per pattern; floats read back exactly."""
    columns, words = table.columns(), {VERSION_WORD: FORMAT_VERSION, _COUNT_WORD: len(table), **table.words()}
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for name, value in words.items():
            stream.writelines(f"# {name}: {line}\n" for line in str(value).split("\n"))
        stream.write(",".join(columns) + "\n")
        stream.writelines(",".join(row) + "\n" for row in zip(*map(_cells, columns.values()), strict=True))


def _cells(column: NDArray[Any]) -> Iterable[str]:
    return map(repr, column.tolist())
