"""CSV: ``pattern_index,bucket[,sigma][,bucket_complement]``, attributes in comment lines above the header."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..._files.text_table import columns_of, is_content, read_text
from ...errors import FileFormatError
from .table import ATTRS, COLUMNS, FORMAT_VERSION, VERSION_KEY, BucketTable, check_version, make_table

_COUNT_KEY = "patterns"
_WORD = re.compile(r"#\s*([A-Za-z][\w-]*)\s*:(.*)")


def read_csv(path: Path) -> BucketTable:
    """Read a CSV file; lines that begin with # are comments.

    Comments above the header are attributes (``# size: 32``) if ``# cxgi_buckets: 1`` is among them.

    Raises
    ------
    CxgiError
        If the file cannot be read, a word is unknown, or for a table that `columns_of` refuses.
    """
    text = read_text(path)
    attrs = _read_attrs(path, text)
    columns = columns_of(path, text, COLUMNS[:2], COLUMNS[2:], whole=COLUMNS[:1])
    if _COUNT_KEY in attrs:
        _check_whole(path, text, attrs[_COUNT_KEY], len(columns["pattern_index"]))
    return make_table(path, columns, attrs)


def _check_whole(path: Path, text: str, said: str, found: int) -> None:
    """Raise `CxgiError` for a file that was cut short, be it in the middle of its last number."""
    last = "" if text.endswith(("\n", "\r")) else ", the last without a line end"
    if said != str(found) or last:
        raise FileFormatError(
            f"{path} says {_COUNT_KEY}: {said} and has {found}{last}: it was cut short; fetch it again, "
            f"or remove the line '# {_COUNT_KEY}: {said}' if it was shortened on purpose"
        )


# ---------------------------------------------------------------- attributes


def _read_attrs(path: Path, text: str) -> dict[str, Any]:
    """Read the comments above the header; nothing unless they name the version of the format."""
    said: list[tuple[int, str, str]] = []
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if is_content(line):
            break
        if match := _WORD.match(line):
            said.append((number, match[1], match[2].strip()))
    versions = [value for _, name, value in said if name == VERSION_KEY]
    if not versions:
        return {}
    check_version(path, versions[0])
    attrs: dict[str, Any] = {}
    for number, name, value in said:
        if name not in (VERSION_KEY, _COUNT_KEY, *ATTRS):
            raise FileFormatError(
                f"{path}, line {number}: {name!r} is unknown: say {', '.join(ATTRS)}; write a remark as 'source: ...'"
            )
        if name in attrs and name != "source":
            raise FileFormatError(f"{path}, line {number}: {name} is said twice: keep one")
        attrs[name] = f"{attrs[name]}\n{value}" if name in attrs else value
    return attrs


# ---------------------------------------------------------------- writing


def write_csv(path: Path, table: BucketTable) -> None:
    """Write the attributes as comments, the header, and one row per pattern; floats read back exactly.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    table : BucketTable
        What to write.
    """
    columns, attrs = table.columns(), {VERSION_KEY: FORMAT_VERSION, _COUNT_KEY: len(table), **table.attrs()}
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for name, value in attrs.items():
            stream.writelines(f"# {name}: {line}\n" for line in str(value).split("\n"))
        stream.write(",".join(columns) + "\n")
        stream.writelines(",".join(row) + "\n" for row in zip(*map(_cells, columns.values()), strict=True))


def _cells(column: NDArray[Any]) -> Iterable[str]:
    return map(repr, column.tolist())
