"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_IDLE_S = 120.0


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what was written replaces it at the end, and is removed if that fails.

    The name keeps the suffix, as some writers choose by it, and has the process in it, so that two do not meet.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_leftovers(folder: Path, stems: str) -> None:
    """Remove what `whole_file` has left of processes that were killed, of all files whose stem fits a glob pattern.

    The process may be one of another machine, whose numbers mean nothing here: what was written to of late stays.

    Parameters
    ----------
    folder : Path
        The folder of those files; folders in it are left alone.
    stems : str
        Glob pattern of the stems, such as ``objects-*``.
    """
    for part in folder.glob(f".{stems}.*.part.*"):
        number = part.name.split(".part.")[0].rsplit(".", 1)[1]
        with suppress(OSError):
            if number.isdigit() and not _lives(int(number)) and time.time() - part.stat().st_mtime > _IDLE_S:
                part.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
