"""Locks of a data folder between processes; the operating system lets go of them when a process ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CxgiError

WAIT_S = 60.0  # what is done under a lock takes well under a second
_PAUSE_S = 0.005


class LockedError(CxgiError):
    """Another process keeps a lock for too long."""


@contextmanager
def hold_lock(folder: Path, purpose: str, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Keep all other processes (and threads) out of what has the same purpose in the same data folder.

    Parameters
    ----------
    folder : Path
        The data folder, which must exist; locks lie in its folder ``locks``.
    purpose : str
        What the lock is for; also the name of its file.
    wait_s : float, optional
        Longest wait for another process (s); 60 by default.

    Raises
    ------
    LockedError
        If another process holds the lock for longer than `wait_s`.
    """
    file = _open(folder, purpose)
    try:
        if not _take(file, fcntl.LOCK_EX, wait_s):
            raise LockedError(
                f"data folder {folder}: another process has been busy with it ({purpose}) for {wait_s:g} s: "
                "wait for it, or end it"
            )
        yield
    finally:
        os.close(file)


def take_shared(folder: Path, purpose: str) -> int | None:
    """Take a lock that many may have at once, until the descriptor returned is closed; None while one has it alone.

    Parameters
    ----------
    folder : Path
        The data folder, which must exist.
    purpose : str
        What the lock is for; also the name of its file.
    """
    return _try(folder, purpose, fcntl.LOCK_SH)


def take_alone(folder: Path, purpose: str) -> int | None:
    """Take the lock of `take_shared` alone, until the descriptor returned is closed; None while others have it.

    Parameters
    ----------
    folder : Path
        The data folder, which must exist.
    purpose : str
        What the lock is for; also the name of its file.
    """
    return _try(folder, purpose, fcntl.LOCK_EX)


def _try(folder: Path, purpose: str, kind: int) -> int | None:
    file = _open(folder, purpose)
    if _take(file, kind, 0.0):
        return file
    os.close(file)
    return None


def _open(folder: Path, purpose: str) -> int:
    path = folder / "locks" / purpose
    path.parent.mkdir(exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _take(file: int, kind: int, wait_s: float) -> bool:
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE_S)
