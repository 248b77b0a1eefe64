"""Scans of other processes: where their documents come from, and what live images need of them."""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..catalog.follow import JournalTails, StoredRuns, watch_runs
from ..catalog.open import is_server
from ..errors import ConfigError, CxgiError
from ..measurement.documents import cxgi_block
from ..measurement.exposures import Exposures
from .live_reconstruction import ReferenceRuns
from .whole_runs import WholeRuns

logger = logging.getLogger(__name__)

ANSWER_S = 3.0  # so long a proxy may take to answer
LOOK_S = 0.05  # between two looks at the journals
CUT_OFF = "its process has ended: cxgi recover brings it into the catalog"
_LINKS = ("reference_uid", "dark_uid", "resumes")


class Address(NamedTuple):
    """A source: "0mq", "tiled" or "journals" (those of a data folder), and the address that its client takes."""

    protocol: str
    address: str


def parse_source(source: str | None) -> Address:
    """Parse ``0mq://HOST:PORT``, ``tiled://HOST:PORT`` or ``http[s]://...``; None means the journals of a data folder.

    Raises
    ------
    CxgiError
        For anything else.
    """
    if source is None:
        return Address("journals", "")
    found = re.fullmatch(r"(0mq|tiled|https?)://(.+)", source, flags=re.IGNORECASE)
    if found is None:
        raise ConfigError(f"--from {source!r}: give 0mq://HOST:PORT or tiled://HOST:PORT")
    protocol, address = found[1].lower(), found[2]
    if protocol == "0mq":
        return Address(protocol, address)
    return Address("tiled", f"http://{address}" if protocol == "tiled" else source)


def open_stored(source: str | None, data: str | Path | None) -> StoredRuns:
    """Return what is stored of the runs that are followed.

    Parameters
    ----------
    source : str or None
        As `parse_source` takes it.
    data : path or str, optional
        Data folder or server (default: the user's data folder).

    Raises
    ------
    CxgiError
        If both say where runs are read from, or the catalog of a server cannot be opened.
    """
    protocol, address = parse_source(source)
    if protocol == "tiled" and data is not None:
        raise ConfigError(f"--data {data}: with a Tiled server runs are read from that: leave it out")
    stored = StoredRuns(address if protocol == "tiled" else data)
    if is_server(stored.location):
        stored.open()
    return stored


class Source(Protocol):
    """Where documents come from; all of it happens in the thread of `run`."""

    def run(self) -> None:
        """Feed documents until `close`."""

    def close(self) -> None:
        """Have `run` return; from any thread."""


class ZeroMQSource:
    """Documents as a proxy gives them.

    Parameters
    ----------
    runs : WholeRuns
        Takes them.
    address : str
        Of the proxy, ``host:port``.
    """

    def __init__(self, runs: WholeRuns, address: str) -> None:
        from .zmq_documents import DocumentReceiver

        self._receiver = DocumentReceiver(address, runs)
        self.run, self.close = self._receiver.run, self._receiver.close
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        except (OSError, OverflowError) as error:
            logger.warning("nothing answers at %s (%s): start bluesky-0MQ-proxy; waiting for it", address, error)


class TiledSource:
    """What a server has of a run, read whenever it says that there is more.

    Parameters
    ----------
    runs : WholeRuns
        Takes the documents.
    stored : StoredRuns
        On the server.
    """

    def __init__(self, runs: WholeRuns, stored: StoredRuns) -> None:
        self._runs, self._stored = runs, stored
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Read until `close`."""
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


class JournalSource:
    """The journals of a data folder, looked at 20 times a second: no set-up, and nothing that a scan could notice.

    A run whose process has ended without a stop document is given one, "abort", that is stored nowhere, unless it is
    taken by `on_cut_off`: then it ends when `cxgi recover` has stored it.

    Parameters
    ----------
    runs : WholeRuns
        Takes the documents.
    stored : StoredRuns
        In the folder.
    begin_with_last : bool, optional
        Whether the last scan of the catalog comes first (default False).
    on_cut_off : callable, optional
        Takes the uid of such a run.
    """

    def __init__(
        self,
        runs: WholeRuns,
        stored: StoredRuns,
        *,
        begin_with_last: bool = False,
        on_cut_off: Callable[[str], None] | None = None,
    ) -> None:
        self._runs, self._stored, self._tails = runs, stored, JournalTails(stored.folder)
        self._begin_with_last, self._on_cut_off = begin_with_last, on_cut_off
        self._cut_off: set[str] = set()
        self._closing = threading.Event()

    def run(self) -> None:
        """Read until `close`."""
        if self._begin_with_last and (last := self._stored.last_scan()) is not None:
            self._runs.update(last)
        while not self._closing.wait(LOOK_S):
            for name, document in self._tails.new_documents():
                self._runs(name, document)
            for uid in self._tails.cut_off():
                if self._on_cut_off is None:
                    self._runs("stop", _cut_off(uid))
                else:
                    self._on_cut_off(uid)
                    self._cut_off.add(uid)
            for uid in [uid for uid in self._cut_off if not self._tails.has_journal(uid)]:
                self._cut_off.remove(uid)
                self._runs.update(uid)

    def close(self) -> None:
        """Have `run` return."""
        self._closing.set()


def _cut_off(uid: str) -> dict[str, Any]:
    return {"uid": "", "run_start": uid, "time": time.time(), "exit_status": "abort", "reason": CUT_OFF}


def open_source(
    source: str | None,
    runs: WholeRuns,
    stored: StoredRuns,
    *,
    begin_with_last: bool = False,
    on_cut_off: Callable[[str], None] | None = None,
) -> Source:
    """Return where the documents of scans come from.

    Parameters
    ----------
    source : str or None
        As `parse_source` takes it. None: the journals of the data folder, or the server that has the runs.
    runs : WholeRuns
        Takes the documents.
    stored : StoredRuns
    begin_with_last, on_cut_off : optional
        As of `JournalSource`.

    Raises
    ------
    CxgiError
        If an address is none, or what it needs is not installed.
    """
    protocol, address = parse_source(source)
    if protocol == "0mq":
        return ZeroMQSource(runs, address)
    if is_server(stored.location):
        return TiledSource(runs, stored)
    return JournalSource(runs, stored, begin_with_last=begin_with_last, on_cut_off=on_cut_off)


class SourceThread:
    """A source at work in a thread.

    Parameters
    ----------
    source : Source
    on_failure : callable, optional
        Called when it has failed.
    """

    def __init__(self, source: Source, *, on_failure: Callable[[], None] = lambda: None) -> None:
        self._source, self._on_failure = source, on_failure
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="live-source", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._source.run()
        except Exception as error:
            self._failure = error
            self._on_failure()

    def check(self) -> None:
        """Raise what the source has failed by."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End it, and wait for its end."""
        self._source.close()
        self._thread.join(ANSWER_S)


class LinkedRuns:
    """Finds the runs that live images of a scan need: reference and dark scan, and what it resumes. Advisory.

    Parameters
    ----------
    stored : StoredRuns
        Where they are.
    """

    def __init__(self, stored: StoredRuns) -> None:
        self._stored, self.references = stored, ReferenceRuns()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; subscribe it before what makes images."""
        if name == "start":
            self._find(document)
        self.references(name, document)

    def _find(self, start: Mapping[str, Any]) -> None:
        block = cxgi_block(start)
        for key in _LINKS:
            uid = block.get(key)
            if uid is None or self.references.get(uid) is not None:
                continue
            documents: Iterable[tuple[str, Any]] = self._stored.documents(uid)
            try:
                exposures = Exposures.from_documents(documents)
                self._find(exposures.start)
                earlier = self.references.get(exposures.metadata.resumes)
                self.references.keep(exposures if earlier is None else exposures.continuing(earlier))
            except CxgiError:
                logger.warning(
                    "run %s names %s as its %s, which is not in %s: live images are made without it",
                    start["uid"][:8], str(uid)[:8], key, self._stored.location,
                )  # fmt: skip
