"""Runs under way, for who follows them from elsewhere: what is stored of them, and news of journals and of a server."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import CxgiError, StorageError
from ..measurement.documents import cxgi_block
from .journal import SUFFIX, Document, from_line, journal_files, journal_folder, read_journal
from .open import data_folder, data_location, is_server, open_catalog
from .recovery import read_documents
from .tiled_adapter import catalog_errors, short, silence_import_warnings

logger = logging.getLogger(__name__)

NEWEST = 3  # runs of the catalog among which one is looked for that a journal does not have


class StoredRuns:
    """What is stored of runs that may still be under way: their journals, which have every exposure, or the catalog.

    The catalog is opened when it is needed. A folder that is not there has no runs.

    Parameters
    ----------
    data : path or str, optional
        Data folder or server, as in `open_catalog`.
    """

    def __init__(self, data: str | Path | None = None) -> None:
        self.location = data_location(data) or data_folder()
        self.folder = data_folder(data)
        self._catalog: Any = None
        self._opening = threading.Lock()

    @property
    def catalog(self) -> Any:
        """The catalog; for any thread.

        Raises
        ------
        CxgiError
            If it cannot be opened.
        """
        with self._opening:
            if self._catalog is None:
                self._catalog = open_catalog(self.location)
            return self._catalog

    def open(self) -> None:
        """Open the catalog now: what is wrong with it is an error now, and a warning later."""
        _ = self.catalog

    def documents(self, uid: str) -> list[Document]:
        """Read what is stored of a run by now; nothing if it is not known, or cannot be read (a warning says so)."""
        journals = [self._read(path) for path in journal_files(journal_folder(self.folder)) if path.stem == uid]
        in_journal = next(iter(journals), [])
        return in_journal or self._ask(lambda: read_documents(self.catalog, uid)) or []

    def run_of_descriptor(self, descriptor: str) -> str | None:
        """Find the run that has a descriptor: in the journals, then among the newest runs of the catalog."""
        for path in journal_files(journal_folder(self.folder)):
            if _has_descriptor(self._read(path), descriptor):
                return path.stem
        newest = self._ask(lambda: [run.metadata["start"]["uid"] for run in self.catalog.values().tail(NEWEST)])
        return next((uid for uid in newest or [] if _has_descriptor(self.documents(uid), descriptor)), None)

    def scan_under_way(self) -> str | None:
        """Find the newest image scan of the catalog, if it has not ended."""
        with catalog_errors():
            newest = self._newest_scan()
        return newest["start"]["uid"] if newest and not newest.get("stop") else None

    def last_scan(self) -> str | None:
        """Find the newest image scan of the catalog; None if there is none, or none can be read (a warning says so)."""
        newest = self._ask(self._newest_scan)
        return newest["start"]["uid"] if newest else None

    def _newest_scan(self) -> Any:
        """Metadata of the newest image scan of the catalog."""
        from tiled.queries import Key

        return next(
            (run.metadata for run in self.catalog.search(Key("cxgi.purpose") == "image").values().tail(1)), None
        )

    def _read(self, path: Path) -> list[Document]:
        try:
            return read_journal(path).documents
        except OSError:  # the catalog has the whole run meanwhile
            return []

    def _ask(self, question: Callable[[], Any]) -> Any:
        if not (is_server(self.location) or self.folder.exists()):
            return None
        try:
            with catalog_errors():
                return question()
        except CxgiError as error:
            logger.warning("nothing can be read from %s (%s)", self.location, error)
            return None


def _has_descriptor(documents: list[Document], uid: str) -> bool:
    return any(name == "descriptor" and document.get("uid") == uid for name, document in documents)


# ---------------------------------------------------------------- journals that grow


class JournalTails:
    """What is new in the journals of a data folder that processes write now; those that are left over are not.

    A journal stays open until its last line is read, also when it has been removed meanwhile.

    Parameters
    ----------
    folder : Path
        Data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = journal_folder(folder)
        self._tails: dict[str, _Tail] = {}
        self._known: set[str] = set()  # left over, or read to the end

    def new_documents(self) -> Iterator[Document]:
        """Read the documents that were written since the last time."""
        self._find_new()
        for name, tail in list(self._tails.items()):
            yield from tail.read()
            if tail.ended or tail.is_removed():
                self._let_go(name)

    def cut_off(self) -> list[str]:
        """Return the uids of the runs whose processes have ended without a stop document, each once."""
        found = [name for name, tail in self._tails.items() if not tail.is_written() and not tail.has_more()]
        for name in found:
            self._let_go(name)
        return [Path(name).stem for name in found]

    def has_journal(self, uid: str) -> bool:
        """Return whether the journal of a run is still there: until the catalog has the run."""
        return (self._folder / f"{uid}{SUFFIX}").exists()

    def _let_go(self, name: str) -> None:
        self._tails.pop(name).close()
        self._known.add(name)

    def _find_new(self) -> None:
        for path in journal_files(self._folder):
            if path.name in self._tails or path.name in self._known:
                continue
            with suppress(OSError):  # removed meanwhile, or no file
                tail = _Tail(path)
                if tail.is_written():
                    self._tails[path.name] = tail
                else:
                    tail.close()
                    self._known.add(path.name)


class _Tail:
    """A journal, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        self._rest = b""
        self.ended = False  # by its stop document, or as it cannot be read any more

    def read(self) -> list[Document]:
        """Parse the lines that are complete by now, and were not read before."""
        try:
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        except OSError:  # of a network folder
            self.ended = True
            return []
        documents = [document for line in lines if (document := from_line(line)) is not None]
        self.ended |= any(name == "stop" for name, _ in documents)
        return documents

    def is_written(self) -> bool:
        """Whether a process has it locked."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False

    def has_more(self) -> bool:
        """Whether something was written since it was read."""
        return bool(self._file.peek(1))

    def is_removed(self) -> bool:
        """Whether it has no name any more, and is read to its end."""
        return os.fstat(self._file.fileno()).st_nlink == 0 and not self.has_more()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


# ---------------------------------------------------------------- news of a server


@contextmanager
def watch_runs(catalog: Any, on_news: Callable[[str], None]) -> Iterator[None]:
    """Be told when a server has something new of a run: its beginning, exposures, its end.

    Parameters
    ----------
    catalog : tiled container
        On a server whose configuration has a ``streaming_cache``.
    on_news : callable
        Takes the uid of the run; called in threads of Tiled's.

    Raises
    ------
    CxgiError
        If the server has no such cache, or does not answer.
    """
    with silence_import_warnings():
        from bluesky_tiled_plugins.streaming import subscribe_to_streams

    def note_run(update: Any) -> None:
        if _is_scan(update):
            on_news(update.key)

    def is_under_way(update: Any) -> bool:  # also runs of the last hour are told of
        return _is_scan(update) and not catalog[update.key].metadata.get("stop")

    with ExitStack() as ends:
        try:
            _subscribe_with_own_key(catalog.context)
            runs = catalog.subscribe()
            ends.callback(runs.disconnect)
            runs.child_created.add_callback(note_run)
            runs.child_metadata_updated.add_callback(note_run)
            _start(runs)
            events = subscribe_to_streams(
                catalog, lambda update: on_news(update.run_uid), streams=None, run_filter=is_under_way
            )
            ends.callback(events.disconnect)
        except Exception as error:
            raise StorageError(
                f"the server does not stream ({short(error)}): its configuration needs a streaming_cache, see "
                "docs/how-to/follow-a-scan-from-elsewhere"
            ) from error
        yield


def _subscribe_with_own_key(context: Any) -> None:
    """Let subscriptions take the key that there is.

    Where people can log in, Tiled's client would make a new key for each. A key that reads may not do so, as it could
    make one that writes.
    """
    if context.api_key:
        context.create_api_key = lambda **_: {"secret": context.api_key, "first_eight": ""}
        context.revoke_api_key = lambda _: None


def _start(subscription: Any) -> None:
    """Start a subscription, or raise why it does not; Tiled's own `start_in_thread` would wait for good."""
    ended: Future[None] = Future()

    def work() -> None:
        try:
            subscription.start()
        except Exception as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=work, name="server-news", daemon=True).start()
    while not subscription._connected_event.wait(0.1):
        if ended.done():
            ended.result()
            raise StorageError("it closes the connection")


def _is_scan(update: Any) -> bool:
    return "pattern_set" in cxgi_block(update.metadata.get("start") or {})
