"""``history.jsonl``: one line of JSON for each check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .._files.atomic_write import whole_file

Line = dict[str, Any]


def read_history(path: Path) -> list[Line]:
    """All lines; one that was cut short at the end is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def add_line(path: Path, line: Line) -> list[Line]:
    """Write a line after those of the steps before it (later ones are of a training that was cut off); all lines."""
    lines = [*(old for old in read_history(path) if old["step"] < line["step"]), line]
    with whole_file(path) as part:
        part.write_text("".join(json.dumps(one, allow_nan=False) + "\n" for one in lines), encoding="utf-8")
    return lines
