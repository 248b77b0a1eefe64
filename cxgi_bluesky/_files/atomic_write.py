"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StorageError

_IDLE_S = 3600.0


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


@contextmanager
def explain_write_error(path: object, remedy: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """An error of the file system becomes a `StorageError` that names what cannot be written, and the remedy.

    Parameters
    ----------
    path : object
        What is written, for the message.
    remedy : str
        What to do about it, such as "choose another place".
    kinds : tuple of type, optional
        Errors for a place where nothing can be written; `OSError` by default.
    """
    try:
        yield
    except kinds as error:
        raise StorageError(f"{path} cannot be written ({error}): {remedy}") from error


def remove_leftovers(folder: Path, stems: str) -> None:
    """Remove what `whole_file` has left of processes that were killed: what nobody has written to for an hour.

    Parameters
    ----------
    folder : Path
        The folder of those files; folders in it are left alone.
    stems : str
        Glob pattern of the stems, such as ``objects-*``.
    """
    for part in folder.glob(f".{stems}.*.part.*"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _IDLE_S:
                part.unlink()
