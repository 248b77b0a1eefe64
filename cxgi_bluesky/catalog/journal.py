"""A journal of documents: every exposure is on disk before the next one begins.

The catalog is written behind the RunEngine's back and may have to wait for others. The journal, a file of JSON
lines for each run, is written at once, and removed when the catalog has the whole run. A journal that is left over
belongs to a run that was cut off, or that the catalog did not take; `catalog.recovery` brings it in.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from event_model import DocumentNames

from .._files.atomic_write import whole_file
from ..errors import CxgiError, StorageError
from ..measurement.plain_values import is_utf8, plain_or_text

Document = tuple[str, dict[str, Any]]

SUFFIX = ".jsonl"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
SYNC_S = 1.0  # so much of a scan may be lost when the power fails
_ROWS = ("event", "event_page")  # their numbers go into tables, which hold NaN, infinity and large ones as they are
_NAMES = frozenset(name.value for name in DocumentNames)

logger = logging.getLogger(__name__)


class PlainDocuments:
    """Make the documents of one run plain: values that cannot be kept become text, and a warning names each once.

    Parameters
    ----------
    uid : str
        Of the run.
    """

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._reported: set[str] = set()

    def __call__(self, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document with plain values; the one that was given stays as it is."""
        if name not in _ROWS:
            return dict(self._plain(name, document, ""))
        odd = {key: value for key, value in document["data"].items() if not _fits_a_table(value)}
        if not odd:
            return dict(document)
        return {**document, "data": {**document["data"], **self._plain(name, odd, "data")}}

    def _plain(self, name: str, values: Mapping[str, Any], within: str) -> dict[str, Any]:
        plain, changed = plain_or_text(values, within)
        new = {key: why for key, why in changed.items() if key not in self._reported}
        if new:
            self._reported |= new.keys()
            what = ", ".join(f"{key} {why}" for key, why in new.items())
            logger.warning("run %s, %s: %s; kept as text (NaN as null)", self._uid[:8], name, what)
        return dict(plain)


def _fits_a_table(value: Any) -> bool:
    if value is None or isinstance(value, int | float):  # numpy's own become such in the journal
        return True
    if isinstance(value, str):
        return is_utf8(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf" or (value.dtype.kind == "U" and _fits_a_table(value.tolist()))
    return isinstance(value, list | tuple) and all(map(_fits_a_table, value))


# ---------------------------------------------------------------- writing


def journal_folder(folder: Path) -> Path:
    """Return the folder of the journals in a data folder."""
    return folder / "journal"


def _plain(value: Any) -> Any:
    """Convert numpy's numbers and arrays, which JSON does not know."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written into a journal")


def to_line(name: str, document: Mapping[str, Any]) -> bytes:
    """One document as a line of JSON; numpy's numbers and arrays become plain ones."""
    return json.dumps([name, document], default=_plain).encode() + b"\n"


class Journal:
    """Writes each document of one run as it comes. Critical: a journal that cannot be written ends the scan.

    The file is locked until it is closed or its process has ended, so that nobody takes it for left over before. It
    is synchronised with the disk once a second and at the stop document, by a thread of its own.

    Parameters
    ----------
    folder : Path
        Where journals are kept; it is made if it is not there.
    start : mapping
        The run's start document, which is written at once.

    Raises
    ------
    TypeError
        For a document that JSON cannot hold; nothing is written then.
    OSError
        If the file cannot be written.
    CxgiError
        For a uid that is no name of a file, as ``../x``.
    """

    def __init__(self, folder: Path, start: Mapping[str, Any]) -> None:
        if not _NAME.fullmatch(str(start["uid"])):
            raise StorageError(
                f"uid {start['uid']!r} of a run: its journal is named after it, so letters, digits and ._- alone"
            )
        line = to_line("start", start)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{start['uid']}{SUFFIX}"
        part = self.path.with_suffix(".part")  # not a journal before it is locked and has its first line
        self._file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        self._torn = False
        self._closing = threading.Lock()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._append(line)
            part.rename(self.path)
        except BaseException:
            self.close()
            part.unlink(missing_ok=True)
            raise
        _synchroniser.take(self)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one document."""
        self._append(to_line(name, document))
        _synchroniser.take(self, at_once=name == "stop")

    def _append(self, line: bytes) -> None:
        whole = b"\n" + line if self._torn else line
        self._torn = True
        _write(self._file, whole)
        self._torn = False

    def synchronise(self) -> None:
        """Wait until everything that was written is on the disk, the name of the file included."""
        with self._closing:
            if self._file < 0:
                return
            os.fsync(self._file)
        with suppress(OSError):  # some network folders have no such thing
            synchronise_folder(self.path.parent)

    def remove(self) -> None:
        """Remove the file: the catalog has the run."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        with self._closing:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def _write(file: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(file, rest) :]


def synchronise_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Synchroniser:
    """One thread for all journals of the process: a disk may take its time, which no exposure has to wait for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._journals: set[Journal] = set()
        self._at_once = False
        self._thread: threading.Thread | None = None

    def take(self, journal: Journal, *, at_once: bool = False) -> None:
        """Synchronise a journal soon, as something was written to it.

        Parameters
        ----------
        journal : Journal
            To which something was written.
        at_once : bool, optional
            Bring it to the disk now instead of with the next round, once a second (default False).
        """
        with self._condition:
            if self._thread is None or not self._thread.is_alive():  # not alive: the process was forked
                self._thread = threading.Thread(target=self._work, name="journal-to-disk", daemon=True)
                self._thread.start()
            if at_once or not self._journals:
                self._condition.notify()
            self._journals.add(journal)
            self._at_once |= at_once

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._journals)
                self._condition.wait_for(lambda: self._at_once, timeout=SYNC_S)
                journals, self._journals, self._at_once = self._journals, set(), False
            for journal in journals:
                try:
                    journal.synchronise()
                except OSError as error:
                    logger.warning("%s may not be on the disk (%s): look at the disk", journal.path, error)


_synchroniser = _Synchroniser()


# ---------------------------------------------------------------- journals that are there


class NoJournalError(CxgiError):
    """Something that is called a journal is none."""


@dataclass(frozen=True)
class JournalContent:
    """What a journal holds: the documents in its order, and the number of lines that could not be read."""

    documents: list[Document]
    unreadable: int


def journal_files(folder: Path) -> list[Path]:
    """List everything that is called a journal, in a fixed order; it may be something else."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def write_journal(path: Path, documents: Iterable[Document]) -> None:
    """Replace a journal by a new one, which is on the disk when this returns.

    Parameters
    ----------
    path : Path
        File of the journal.
    documents : iterable of (str, dict)
        Name and document, in their order.
    """
    with whole_file(path) as part, part.open("wb") as file:
        file.writelines(to_line(name, document) for name, document in documents)
        file.flush()
        os.fsync(file.fileno())
    synchronise_folder(path.parent)


def read_journal(path: Path) -> JournalContent:
    """Read every line that can be read, of a journal of one's own."""
    with path.open("rb") as file:
        return _read(file)


@contextmanager
def open_left_over(path: Path, *, shared: bool = False) -> Iterator[JournalContent | None]:
    """Read a journal that no process writes, and keep it locked meanwhile.

    None is given while its scan is running, and if another process has brought it in.

    Parameters
    ----------
    path : Path
    shared : bool
        Only to look, together with others.

    Raises
    ------
    NoJournalError
        If it is no file: a folder, a link, a pipe.
    OSError
        If it cannot be opened.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NoJournalError("it is no file")
    descriptor = os.open(path, (os.O_RDONLY if shared else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            gone = not os.path.samestat(os.fstat(descriptor), path.lstat())  # another process has brought it in
        except (BlockingIOError, FileNotFoundError):
            gone = True
        yield None if gone else _read(file)


def _read(file: Any) -> JournalContent:
    """Parse every line that can be read."""
    documents, unreadable = [], 0
    for line in file:
        if not line.strip():
            continue
        document = from_line(line)
        if document is None:
            unreadable += 1
        else:
            documents.append(document)
    return JournalContent(documents, unreadable)


def from_line(line: bytes) -> Document | None:
    """Parse a line of `to_line`; None if it is none."""
    try:
        name, document = json.loads(line)
    except (ValueError, TypeError, RecursionError):  # a cut line, no UTF-8, no pair, too deep
        return None
    known = isinstance(name, str) and name in _NAMES and isinstance(document, dict)
    return (name, document) if known else None
