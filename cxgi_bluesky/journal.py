"""A journal of documents: every exposure is on disk before the next one begins.

The catalog is written in batches, so a process that is killed loses the last of them. The journal
is a file of JSON lines per run that is written at once and removed when the catalog has the whole
run. A journal that is left over belongs to a run that was cut off; `left_over` finds it.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

Document = tuple[str, dict[str, Any]]

logger = logging.getLogger(__name__)


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy's numbers and arrays."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written into a journal")


class Journal:
    """Writes each document of a run as it comes. Critical: a journal that cannot be written ends the scan.

    The file is locked until it is closed or its process has ended, so that nobody takes it for left over before.

    Parameters
    ----------
    folder : Path
        Where journals are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: TextIO | None = None
        atexit.register(self.close)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one document."""
        if name == "start":
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / f"{document['uid']}.jsonl").open("w", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        if self._file is not None:
            self._file.write(json.dumps([name, document], default=_plain) + "\n")
            self._file.flush()

    @property
    def path(self) -> Path | None:
        """Its file while it is open."""
        return None if self._file is None else Path(self._file.name)

    def forget(self) -> None:
        """The catalog has the run: remove its journal."""
        if self._file is not None:
            Path(self._file.name).unlink()
            self.close()

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


def left_over(folder: Path) -> Iterator[tuple[Path, list[Document]]]:
    """Journals of runs that were cut off, each with its documents and a stop document."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its scan is running
            try:
                documents = _with_stop(_read(file))
            except (LookupError, TypeError) as error:
                logger.warning("journal %s is not made of a run's documents (%r) and is left alone", path, error)
                continue
            yield path, documents


def _read(file: TextIO) -> list[Document]:
    """All whole lines; the last one may have been cut off."""
    documents: list[Document] = []
    for line in file:
        try:
            name, document = json.loads(line)
        except (ValueError, TypeError):
            break
        documents.append((name, document))
    return documents


def _with_stop(documents: list[Document]) -> list[Document]:
    if documents[0][0] != "start":
        raise LookupError("no start document")
    if documents[-1][0] == "stop":
        return documents
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    events = [stream_of[d["descriptor"]] for name, d in documents if name == "event"]
    stop = {
        "uid": str(uuid.uuid4()),
        "time": time.time(),
        "run_start": documents[0][1]["uid"],
        "exit_status": "abort",
        "reason": "the process was cut off; recovered from its journal",
        "num_events": {stream: events.count(stream) for stream in stream_of.values()},
    }
    return [*documents, ("stop", stop)]
