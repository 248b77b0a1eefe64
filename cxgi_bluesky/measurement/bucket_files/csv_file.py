"""CSV: ``pattern_index,bucket[,sigma][,bucket_complement]``, words in comment lines above the header."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..._files.text_table import columns_of, is_content, read_text
from ...errors import FileFormatError
from .table import COLUMNS, FORMAT_VERSION, VERSION_WORD, WORDS, BucketTable, check_version, make_table

_COUNT_WORD = "patterns"
_WORD = re.compile(r"#\s*([A-Za-z][\w-]*)\s*:(.*)")


def read_csv(path: Path) -> BucketTable:
    """Read a CSV file; lines that begin with # are comments.

    Comments above the header are words (``# size: 32``) if ``# cxgi_buckets: 1`` is among them.

    Raises
    ------
    CxgiError
        If the file cannot be read, a word is unknown, or for a table that `columns_of` refuses.
    """
    text = read_text(path)
    words = _read_words(path, text)
    columns = columns_of(path, text, COLUMNS[:2], COLUMNS[2:], whole=COLUMNS[:1])
    if _COUNT_WORD in words:
        _check_whole(path, text, words[_COUNT_WORD], len(columns["pattern_index"]))
    return make_table(path, columns, words)


def _check_whole(path: Path, text: str, said: str, found: int) -> None:
    """Raise `CxgiError` for a file that was cut short, be it in the middle of its last number."""
    last = "" if text.endswith(("\n", "\r")) else ", the last without a line end"
    if said != str(found) or last:
        raise FileFormatError(
            f"{path} says {_COUNT_WORD}: {said} and has {found}{last}: it was cut short; fetch it again, "
            f"or remove the line '# {_COUNT_WORD}: {said}' if it was shortened on purpose"
        )


# ---------------------------------------------------------------- words


def _read_words(path: Path, text: str) -> dict[str, Any]:
    """What the comments above the header say; nothing unless they name the version of the format."""
    said: list[tuple[int, str, str]] = []
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if is_content(line):
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
            raise FileFormatError(
                f"{path}, line {number}: {name!r} is unknown: say {', '.join(WORDS)}; write a remark as 'source: ...'"
            )
        if name in words and name != "source":
            raise FileFormatError(f"{path}, line {number}: {name} is said twice: keep one")
        words[name] = f"{words[name]}\n{value}" if name in words else value
    return words


# ---------------------------------------------------------------- writing


def write_csv(path: Path, table: BucketTable) -> None:
    """Write the words as comments, the header, and one row per pattern; floats read back exactly.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    table : BucketTable
        What to write.
    """
    columns, words = table.columns(), {VERSION_WORD: FORMAT_VERSION, _COUNT_WORD: len(table), **table.words()}
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for name, value in words.items():
            stream.writelines(f"# {name}: {line}\n" for line in str(value).split("\n"))
        stream.write(",".join(columns) + "\n")
        stream.writelines(",".join(row) + "\n" for row in zip(*map(_cells, columns.values()), strict=True))


def _cells(column: NDArray[Any]) -> Iterable[str]:
    return map(repr, column.tolist())
