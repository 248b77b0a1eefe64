"""What the commands share that follow scans of other processes: where documents come from, what belongs to a scan."""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError, CxgiError
from ..measurement.documents import cxgi_block

if TYPE_CHECKING:
    from ..callbacks import ReferenceRuns
    from ..callbacks.whole_runs import WholeRuns
    from ..catalog.follow import StoredRuns

logger = logging.getLogger(__name__)

ANSWER_S = 3.0  # so long a proxy may take to answer, and a source to end
JOURNAL_S = 0.1  # between two looks at the journals of a data folder
FROM_HELP = "0mq://HOST:PORT, where a proxy gives documents, or tiled://HOST:PORT, a Tiled server (also http[s]://...)"


def parse_source(source: str | None) -> tuple[str, str]:
    """Split what ``--from`` gives.

    Returns
    -------
    (str, str)
        "0mq", "tiled" or, for None, "journals", and the address.

    Raises
    ------
    CxgiError
        For an address of another kind.
    """
    if source is None:
        return "journals", ""
    found = re.fullmatch(r"(0mq|tiled|https?)://(.+)", source, flags=re.IGNORECASE)
    if found is None:
        raise ConfigError(f"--from {source!r}: give 0mq://HOST:PORT or tiled://HOST:PORT")
    protocol, address = found[1].lower(), found[2]
    if protocol == "0mq":
        return protocol, address
    return "tiled", f"http://{address}" if protocol == "tiled" else source


def open_stored(source: str | None, data: str | Path | None) -> StoredRuns:
    """Return what is stored of the runs that are followed.

    Parameters
    ----------
    source : str, optional
        As ``--from`` gives it.
    data : path or str, optional
        As ``--data`` gives it.

    Raises
    ------
    CxgiError
        If both say where runs are read from, or the catalog cannot be opened.
    """
    protocol, address = parse_source(source)
    if protocol == "tiled" and data is not None:
        raise ConfigError(f"--data {data}: with a Tiled server runs are read from that: leave it out")
    from ..catalog.follow import StoredRuns

    stored = StoredRuns(address if protocol == "tiled" else data)
    if protocol == "tiled" or data is not None:
        stored.catalog  # noqa: B018 opened here: what is wrong with it is an error now, and a warning later
    return stored


class Source(Protocol):
    """Where documents come from."""

    def run(self) -> None:
        """Give documents until `close`."""

    def close(self) -> None:
        """Have `run` return; from any thread."""


def open_source(
    source: str | None, runs: WholeRuns, stored: StoredRuns, *, on_cut_off: Callable[[str], None] | None = None
) -> Source:
    """Return where the documents of scans come from.

    Parameters
    ----------
    source : str or None
        As ``--from`` gives it; None: the journals of the data folder, after the last scan of its catalog.
    runs : WholeRuns
        Takes the documents.
    stored : StoredRuns
    on_cut_off : callable, optional
        Takes the uid of a run whose process has ended without its end (journals alone tell).

    Raises
    ------
    CxgiError
        If an address is none, or what it needs is not installed.
    """
    protocol, address = parse_source(source)
    if protocol == "journals":
        return _Journals(runs, stored, on_cut_off)
    return _Tiled(runs, stored) if protocol == "tiled" else _ZeroMQ(runs, address)


class SourceThread:
    """A source at work; who started it ends with it if it fails."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="scan-source", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._source.run()
        except Exception as error:
            self._failure = error

    def check(self) -> None:
        """Raise what the source has failed by."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End it."""
        self._source.close()
        self._thread.join(ANSWER_S)


class _ZeroMQ:
    """Documents as a proxy gives them."""

    def __init__(self, runs: WholeRuns, address: str) -> None:
        from ..callbacks.zmq_documents import DocumentReceiver

        self._receiver = DocumentReceiver(address, runs)
        self.run, self.close = self._receiver.run, self._receiver.close
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        except (OSError, OverflowError) as error:
            logger.warning("nothing answers at %s (%s): start bluesky-0MQ-proxy; waiting for it", address, error)


class _Tiled:
    """What a server has of a run, read whenever it says that there is more."""

    def __init__(self, runs: WholeRuns, stored: StoredRuns) -> None:
        self._runs, self._stored = runs, stored
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Read until `close`."""
        from ..catalog.follow import watch_runs

        with watch_runs(self._stored.catalog, self._news.put):
            if (begun := self._stored.scan_under_way()) is not None:
                self._news.put(begun)
            while (uid := self._news.get()) is not None:
                later = [self._news.get() for _ in range(self._news.qsize())]  # of one run they are one
                if None in later:
                    return
                for one in dict.fromkeys([uid, *(other for other in later if other)]):
                    self._runs.update(one)

    def close(self) -> None:
        """Have `run` return."""
        self._news.put(None)


class _Journals:
    """What is written into the journals of a data folder, after the last scan of its catalog."""

    def __init__(self, runs: WholeRuns, stored: StoredRuns, on_cut_off: Callable[[str], None] | None) -> None:
        self._runs, self._stored, self._on_cut_off = runs, stored, on_cut_off
        self._closing = threading.Event()

    def run(self) -> None:
        """Read until `close`."""
        from ..catalog.follow import JournalNews

        news = JournalNews(self._stored.folder)
        if (last := self._stored.last_scan()) is not None:
            self._runs.update(last)
        while not self._closing.wait(JOURNAL_S):
            for name, document in news.documents():
                self._runs(name, document)
            for uid in news.removed():
                self._runs.update(uid)
            for uid in news.cut_off():
                logger.warning("run %s: its process has ended, the run has not; cxgi recover stores it", uid[:8])
                if self._on_cut_off is not None:
                    self._on_cut_off(uid)

    def close(self) -> None:
        """Have `run` return."""
        self._closing.set()


# ---------------------------------------------------------------- what belongs to a scan


def keep_linked_runs(start: Mapping[str, Any], references: ReferenceRuns, stored: StoredRuns) -> None:
    """Keep at hand the runs that an image needs: reference and dark scan, and what it resumes; a warning if one is not.

    Parameters
    ----------
    start : mapping
        Start document of a scan.
    references : ReferenceRuns
        Where they are kept.
    stored : StoredRuns
        Where they are read.
    """
    from ..measurement.exposures import Exposures

    block = cxgi_block(start)
    for key in ("reference_uid", "dark_uid", "resumes"):
        uid = block.get(key)
        if uid is None or references.get(uid) is not None:
            continue
        documents = stored.documents(uid)
        try:
            exposures = Exposures.from_documents(documents)
            keep_linked_runs(exposures.start, references, stored)
            earlier = references.get(exposures.metadata.resumes)
            references.keep(exposures if earlier is None else exposures.continuing(earlier))
        except CxgiError:
            logger.warning(
                "run %s names %s as its %s, which is not in %s: live images are made without it",
                start["uid"][:8], str(uid)[:8], key, stored.location,
            )  # fmt: skip
