"""Numbers of text files: under a header, or bare. Read right where that is certain, else refused with its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError

Array = NDArray[np.float64]
_Row = tuple[int, list[str]]  # number of the line, cells

MAX_BYTES = 64_000_000
MAX_LINES = 2_200_000  # pairs of the largest size
MAX_CELLS = 10_000_000
_LINE_ROOM, _CELL_ROOM, _ROOM = 350, 80, 10**9  # bytes of memory: of a line, of a cell beside, and of all of them
_SHOWN = 100  # characters of a foreign text in a message
_NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_SEPARATORS = (",", ";", "\t", None)  # the last is white space
_POINTS = "write decimal points, and commas only between columns"


def read_text(path: str | Path) -> str:
    """All of a UTF-8 file, its line ends as they are.

    Raises
    ------
    CxgiError
        If it cannot be read, is no UTF-8, has more than `MAX_BYTES`, `MAX_LINES` or `MAX_CELLS`, or would take a GB.
    """
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES and _fits(content.count(b"\n"), _count_cells(content)):
            return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read ({error})") from error
    raise FileFormatError(
        f"{path} has more than {MAX_BYTES} bytes, {MAX_LINES} lines or {MAX_CELLS} numbers, or too many of both: more "
        "than the largest table needs; is it another file?"
    )


def _fits(lines: int, cells: int) -> bool:
    return lines <= MAX_LINES and cells <= MAX_CELLS and lines * _LINE_ROOM + cells * _CELL_ROOM <= _ROOM


def _count_cells(content: bytes) -> int:
    """How many numbers a text may hold."""
    between = np.isin(np.frombuffer(b"\n" + content, dtype=np.uint8), np.frombuffer(b",;\t \r\n", dtype=np.uint8))
    return int(np.count_nonzero(between[:-1] & ~between[1:]))


def is_content(line: str) -> bool:
    """Whether a line is neither blank nor a comment, which begins with #."""
    return bool(line.strip()) and not line.startswith("#")


def columns_of(
    path: str | Path, text: str, required: Sequence[str], optional: Sequence[str] = (), whole: Sequence[str] = ()
) -> dict[str, Array]:
    """The columns of a table below its header; others are left alone.

    Parameters
    ----------
    path : str or Path
        For messages.
    text : str
        Cells apart by commas, semicolons, tabs or white space, as in the header; decimal commas where they can be
        distinguished from commas between columns and thousands.
    required, optional : sequence of str
        Names in small letters; in the file they may be capitals, and quoted.
    whole : sequence of str
        Those that hold whole numbers.

    Returns
    -------
    dict of ndarray, shape (rows,)
        In the order of `required` and `optional`.

    Raises
    ------
    CxgiError
        If a column is missing or named twice, a row has more or fewer cells than the header, or a cell is no number.
    """
    lines = _lines(text)
    number, line = next(lines, (0, ""))
    if not line:
        raise FileFormatError(f"{path} is empty: expected the columns {','.join(required)}")
    separator, header = _header(path, number, line, required)
    names = [name for name in (*required, *optional) if name in header]
    twice = [name for name in names if header.count(name) > 1]
    if twice:
        raise FileFormatError(
            f"{path}, line {number}: {twice[0]} names {header.count(twice[0])} columns: keep one of them"
        )
    at_once = _read_at_once(text, number, separator, len(header))
    if at_once is not None:
        found = {name: at_once[header.index(name)] for name in names}
    else:
        rows = [(number, _cells(path, number, line, separator)) for number, line in lines]
        _check_lengths(path, rows, len(header))
        found = {
            name: _numbers(path, [(number, row[header.index(name)]) for number, row in rows], name) for name in names
        }
    for name in set(whole) & set(found):
        _check_whole_numbers(path, text, name, found[name])
    return found


def numbers_of(path: str | Path, text: str) -> Array:
    """The numbers of a table without a header, shape (rows, columns).

    Parameters
    ----------
    path : str or Path
        For messages.
    text : str
        Lines of numbers, apart by semicolons, tabs, commas or white space; blank lines and comments (#) are left out.

    Raises
    ------
    CxgiError
        If a line holds anything but numbers, or more or fewer than those before it, or its commas may be decimal.
    """
    rows: list[list[float]] = []
    lines = list(_lines(text))
    separator = next((one for one in (";", "\t", ",") if any(one in line for _, line in lines)), None)
    cells = [(number, _cells(path, number, line, separator)) for number, line in lines]
    if separator == ",":
        _check_commas_separate(path, cells)
    decimal = _decimal(path, [(number, cell) for number, row in cells for cell in row])
    for number, row in cells:
        try:
            rows.append([_number(decimal(cell)) for cell in row])
        except ValueError as error:
            raise FileFormatError(
                f"{path}, line {number} is no list of numbers ({error}): a bare list has no header; {_POINTS}"
            ) from error
        if len(row) != len(rows[0]):
            raise FileFormatError(f"{path}, line {number} has {len(row)} numbers, the lines before it {len(rows[0])}")
    return np.array(rows, dtype=np.float64)


# ---------------------------------------------------------------- lines and cells


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with content, and their numbers."""
    return (
        (number, line.strip("\r\n")) for number, line in enumerate(io.StringIO(text, newline=""), 1) if is_content(line)
    )


def _header(path: str | Path, number: int, line: str, required: Sequence[str]) -> tuple[str | None, list[str]]:
    """The separator with which the header has all that is required, and its names."""
    for separator in _SEPARATORS:
        if separator is None or separator in line:
            names = [cell.strip().lower() for cell in _cells(path, number, line, separator)]
            if set(required) <= set(names):
                return separator, names
    cells = _cells(path, number, line, next((one for one in _SEPARATORS if one and one in line), None))
    names = [cell.strip() for cell in cells]
    missing = sorted(set(required) - {name.lower() for name in names})
    raise FileFormatError(
        f"{path} lacks the column {', '.join(missing)}: its first line is {', '.join(names)[:_SHOWN]!r}"
    )


def _check_lengths(path: str | Path, rows: list[_Row], columns: int) -> None:
    for number, row in rows:
        if len(row) != columns:
            cut = "the file was cut short, or: " if number == rows[-1][0] and len(row) < columns else ""
            raise FileFormatError(
                f"{path}, line {number} has {len(row)} cells, the header {columns}: {cut}give one for each column; "
                f"{_POINTS}"
            )


def _cells(path: str | Path, number: int, line: str, separator: str | None) -> list[str]:
    if separator is None:
        return [cell[1:-1] if re.fullmatch('".*"', cell) else cell for cell in line.split()]
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error as error:
        raise FileFormatError(f"{path}, line {number} is no row of a table ({error})") from error


# ---------------------------------------------------------------- numbers


def _read_at_once(text: str, header_line: int, separator: str | None, width: int) -> Array | None:
    """The columns of a file without a fault, read by numpy; None where the lines must be looked at one by one."""
    stream = io.StringIO(text, newline="")
    for _ in range(header_line):
        stream.readline()
    if not text[stream.tell() :].strip():
        return None
    try:
        rows = np.loadtxt(stream, delimiter=separator, comments=None, ndmin=2)
    except ValueError:
        return None
    return rows.T if rows.shape[1] == width else None


def _numbers(path: str | Path, cells: list[tuple[int, str]], name: str) -> Array:
    decimal, values = _decimal(path, cells), []
    for number, cell in cells:
        try:
            values.append(_number(decimal(cell)))
        except ValueError:
            raise FileFormatError(f"{path}, line {number}: {name} {cell[:_SHOWN]!r} is no number; {_POINTS}") from None
    return np.array(values, dtype=np.float64)


def _number(cell: str) -> float:
    """Stricter than float(), to which 1_0 is a number."""
    if not _NUMBER.fullmatch(cell.strip()):
        raise ValueError(f"{cell[:_SHOWN]!r} is no number")
    return float(cell)


def _decimal(path: str | Path, cells: list[tuple[int, str]]) -> Callable[[str], str]:
    """How the cells' decimal commas become points; those which may be commas of thousands are refused."""
    commas = [(number, cell.strip()) for number, cell in cells if "," in cell]
    if not commas:
        return str
    number, first = commas[0]
    if any("." in cell for _, cell in cells) or all(_THOUSANDS.fullmatch(cell) for _, cell in commas):
        raise FileFormatError(
            f"{path}, line {number}: {first[:_SHOWN]!r} may be thousands or a decimal comma; {_POINTS}"
        )
    return lambda cell: cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell.strip()) else cell


def _check_commas_separate(path: str | Path, rows: list[_Row]) -> None:
    """Raise for two columns of whole numbers that look like the two halves of one number: 10,5 and 7,05."""
    if not all(len(row) == 2 and all(re.fullmatch(r"\s*[+-]?\d+\s*", cell) for cell in row) for _, row in rows):
        return
    if any(" " in row[1] for _, row in rows):
        return
    leading = next((number for number, row in rows if re.fullmatch(r"0\d+", row[1])), None)
    if leading is not None or all(len(row[1]) == 1 for _, row in rows):
        raise FileFormatError(
            f"{path}, line {leading or rows[0][0]}: a decimal comma, or two numbers? {_POINTS} ('10, 5')"
        )


def _check_whole_numbers(path: str | Path, text: str, name: str, values: Array) -> None:
    odd = ~(np.isfinite(values) & (np.floor(values) == values))
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        number, _ = list(_lines(text))[row + 1]
        raise FileFormatError(f"{path}, line {number}: {name} {values[row]:g} is no whole number")
