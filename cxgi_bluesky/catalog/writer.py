"""The thread that writes into a catalog; a RunEngine waits for it at the end of a run only, for `STOP_S` at most."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StorageError
from ..measurement.per_run import Callback, PerRun
from .journal import Document, Journal, PlainDocuments, journal_folder, read_journal
from .recovery import Recovery, keep_done, recover, store_journal, waiting_runs
from .run_index import RunIndex, has_exposures, measured_by_itself
from .tiled_adapter import BATCH_SIZE, batch_size, run_writer, short
from .whole_runs import open_transaction

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

STOP_S = 10.0  # so long a RunEngine waits at the end of a run until the run can be read
OPENED_S = 60.0  # so long the first run waits for a catalog that is being opened: seconds, many on a busy machine
BEHIND_S = 0.5  # the same while the catalog is behind, so that a run nested in a scan does not delay the scan
LINGER_S = 0.3  # exposures that come fast are handed to the catalog together
END_S = 10.0  # so long a process waits at its end
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0)  # between attempts to write a run anew


class CatalogWriter:
    """Does every write of this process into one catalog, in a thread of its own.

    A document that the catalog did not take is never given to it again: its run is set aside, and written anew from
    its journal after its end; if that fails again and again, by `recover` in this or another process.

    Parameters
    ----------
    catalog : tiled container or None
        None: it is opened behind, by `opens`.
    folder : Path
        Data folder: where journals and locks are.
    opens : callable, optional
        Opens the catalog, in this writer's thread (`open_behind`), and again when it is asked for after a failure.
    reads_back : bool
        Whether each run is read back at its end, and written anew if it differs: Tiled's client repeats a write to a
        server whose answer it has missed, which may double events.
    """

    def __init__(
        self,
        catalog: Any,
        folder: Path,
        *,
        opens: Callable[[], Any] | None = None,
        reads_back: bool = False,
    ) -> None:
        self._catalog, self.folder, self.reads_back = catalog, folder, reads_back
        self._opens = opens
        self._ready = threading.Event()  # not set while `open_behind` is at work
        self._ready.set()
        self.index = RunIndex(folder)
        self._condition = threading.Condition()
        self._tasks: list[Callable[[], None]] = []
        self._due = 0.0  # when the tasks are to be done
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._ended = False
        self._given_up = False
        self._thread: threading.Thread | None = None
        self.behind = False  # whether the catalog keeps runs waiting
        self._unstored: dict[str, _Run] = {}  # runs that have ended, and that the catalog did not take

        if catalog is not None:
            remember_writer(self)

    # ------------------------------------------------------------ the catalog

    @property
    def catalog(self) -> Any:
        """The catalog; who asks while it is being opened waits, and raises what went wrong.

        Raises
        ------
        CxgiError
            If it cannot be opened.
        """
        if self._catalog is None:
            if threading.current_thread() is self._thread:
                self._open()
            else:
                self._ask(self._open)
        return self._catalog

    def open_behind(self, *loads: Callable[[], None]) -> None:
        """Open the catalog in the writer's thread, then recover what waits in journals; an error is logged.

        Parameters
        ----------
        *loads : callable
            What else takes long and must be done before a run.
        """
        self._ready.clear()
        self.put(lambda: self._prepare(loads))

    def _prepare(self, loads: Iterable[Callable[[], None]]) -> None:
        try:
            self._open()
            self._recover()
        except Exception as error:
            if not self._ended:  # else the process ends, and Tiled cannot begin any more
                logger.error("%s; runs go into %s meanwhile", error, journal_folder(self.folder))
        for load in loads if not self._ended else ():
            try:
                load()
            except Exception as error:
                logger.error("live images cannot be made (%s)", error)
        self._ready.set()

    def _open(self) -> None:
        if self._catalog is None and self._opens is not None:
            self._catalog = self._opens()
            remember_writer(self)
            with suppress(RuntimeError):  # the process is ending
                threading._register_atexit(self.close)  # type: ignore[attr-defined]  # before Tiled's own

    def begin(self, start: Mapping[str, Any]) -> Callback:
        """Begin a run: its journal is written at once, by the thread that calls, and the catalog soon after.

        A catalog that is being opened is waited for, a minute at most: what it imports holds up every thread of the
        process, and no exposure shall be held up; and a process that ends cannot open it any more.

        Returns
        -------
        callable
            For the other documents of the run. At the stop document it waits until the run can be read, `STOP_S`
            seconds at most.

        Raises
        ------
        OSError
            If the journal cannot be written; raised by the returned callable too.
        """
        run = self._begin(start)
        self.put(lambda: run.take("start", run.start))
        return run

    def _begin(self, start: Mapping[str, Any]) -> _Run:
        make_plain = PlainDocuments(str(start["uid"]))
        start = make_plain("start", start)
        run = _Run(self, Journal(journal_folder(self.folder), start), start, make_plain)
        if not self._ready.wait(min(STOP_S, OPENED_S)):
            logger.warning("the catalog is being opened: the run begins by itself when it is open, nothing to do")
            if not self._ready.wait(max(OPENED_S - STOP_S, 0.0)):
                logger.warning(
                    "the catalog takes long to open: the run begins without it, and is stored when it is open; nothing "
                    "is lost, nothing to do"
                )
        return run

    def write_runs(self, runs: Iterable[list[Document]]) -> None:
        """Store whole runs: their journals first, then all of them in the catalog of a folder in one transaction.

        It waits until they can be read, as at a stop document. Those that the catalog does not take together are
        written anew one by one. If the iterable raises an error, the runs before it are stored.

        Parameters
        ----------
        runs : iterable of lists of (str, dict)
            All documents of each, name and document.

        Raises
        ------
        OSError
            If a journal cannot be written; the runs before it are stored.
        """
        if self.reads_back:  # a server's transactions are its own
            for (_, start), *others in runs:
                store = self.begin(start)
                for name, document in others:
                    store(name, document)
            return
        written: list[tuple[_Run, list[Document]]] = []
        try:
            for (_, start), *others in runs:
                run = self._begin(start)
                plain = [(name, run.write_journal(name, document)) for name, document in others]
                written.append((run, [("start", dict(run.start)), *plain]))
        finally:
            self.put(lambda: self._take_whole(written))
            for run, _ in written:
                run.wait()

    def _take_whole(self, runs: list[tuple[_Run, list[Document]]]) -> None:
        try:
            with self.index.writing(self.catalog) as changes, open_transaction(self.catalog) as container:
                write = run_writer(container, batch_size=max(len(documents) for _, documents in runs))
                for run, documents in runs:
                    for name, document in documents:
                        write(name, document)
                    changes.note(run.uid, measured=run.list_measured(), metadata=container.children[run.uid].metadata)
                changes.count = container.count()
        except Exception as error:
            for run, _ in runs:
                run.set_aside(error)
                run.write_anew()
        else:
            for run, _ in runs:
                run.finish()

    def recover(self) -> Recovery:
        """Bring in all runs whose journals wait.

        Raises
        ------
        CxgiError
            If another process is recovering for too long.
        """
        return self._ask(self._recover)

    def _recover(self) -> Recovery:
        own = list(self._unstored.values())
        for run in own:
            run.write_anew()
        result = recover(self.catalog, self.folder, self.index)
        result.recovered.extend(run.uid for run in own if run.stored)
        return result

    def list_unstored(self) -> list[Mapping[str, Any]]:
        """Start documents of the runs of this process that have ended and are not in the catalog yet."""
        return [run.start for run in list(self._unstored.values())]

    def settle(self, run: _Run, *, stored: bool) -> None:
        """Record whether the catalog has a run that has ended.

        Parameters
        ----------
        run : _Run
            Which has ended.
        stored : bool
            Whether the catalog has it.
        """
        self.behind = not stored
        if stored:
            self._unstored.pop(run.uid, None)
        else:
            self._unstored[run.uid] = run

    def close(self) -> None:
        """Write the queued documents, for at most `END_S` s, then stop; the rest stays in the journals.

        What is being written is waited for (others' locks are, for 30 s at most): if it ended in the middle of a
        write, Tiled in this process would wait for good.
        """
        with self._condition:
            self._ended = True
            self._condition.notify()
        if self._thread is None:
            return
        self._thread.join(END_S)
        if self._thread.is_alive():
            self._given_up = True
            logger.warning(
                "the catalog did not take everything; the rest is safe in %s: cxgi recover", journal_folder(self.folder)
            )
            if not self.reads_back:  # a server goes on without this process
                self._thread.join()

    def forget(self, run: _Run) -> None:
        """Forget a run; `recover` will store it from its journal."""
        self._unstored.pop(run.uid, None)

    # ------------------------------------------------------------ the thread

    def put(self, task: Callable[[], None], *, at_once: bool = True) -> None:
        """Have something done by the thread, in turn.

        Parameters
        ----------
        task : callable
            Without arguments.
        at_once : bool, optional
            Begin now (default); else wait up to 0.3 s for more tasks.
        """
        with self._condition:
            if self._thread is None:
                self._begin_thread()
            first = not self._tasks
            self._tasks.append(task)
            if at_once or len(self._tasks) >= BATCH_SIZE:
                self._due = 0.0
            elif first:
                self._due = time.monotonic() + LINGER_S
            if first or self._due == 0.0:
                self._condition.notify()

    def put_later(self, task: Callable[[], None], in_s: float) -> None:
        """Have something done by the thread after a pause.

        Parameters
        ----------
        task : callable
            Without arguments.
        in_s : float
            Length of the pause (s).
        """
        with self._condition:
            heapq.heappush(self._later, (time.monotonic() + in_s, next(self._number), task))
            self._condition.notify()

    def _begin_thread(self) -> None:
        self._thread = threading.Thread(target=self._work, name="catalog-writer", daemon=True)
        self._thread.start()
        # As Tiled does for its own thread, which must end after this one; atexit would come too late.
        threading._register_atexit(self.close)  # type: ignore[attr-defined]

    def _ask(self, function: Callable[[], Result]) -> Result:
        """Call a function in the thread, after all that was handed over before; return or raise what it does."""
        answer: list[Result] = []
        problem: list[BaseException] = []
        done = threading.Event()

        def task() -> None:
            try:
                answer.append(function())
            except BaseException as error:
                problem.append(error)
            finally:
                done.set()

        self.put(task)
        while not done.wait(0.5):
            if self._thread is None or not self._thread.is_alive():
                raise StorageError("the catalog's writer has ended with its process")
        if problem:
            raise problem[0]
        return answer[0]

    def _work(self) -> None:
        while tasks := self._next():
            for task in tasks:
                if self._given_up:
                    return
                try:
                    task()
                except Exception:  # the thread must go on for the other runs
                    logger.exception("the catalog's writer: what it was doing is left to cxgi recover")

    def _next(self) -> list[Callable[[], None]]:
        """Wait for what is to be done now; return nothing at the end."""
        with self._condition:
            while True:
                now = time.monotonic()
                if self._ended or (self._tasks and self._due <= now):
                    tasks, self._tasks = self._tasks, []
                    return tasks
                if self._later and self._later[0][0] <= now:
                    return [heapq.heappop(self._later)[2]]
                until = min([at for at, _, _ in self._later[:1]] + [self._due] * bool(self._tasks), default=None)
                self._condition.wait(None if until is None else until - now)


class _Run:
    """A run on its way into the catalog, by the journal."""

    def __init__(
        self, owner: CatalogWriter, journal: Journal, start: Mapping[str, Any], make_plain: PlainDocuments
    ) -> None:
        self.start, self.uid = start, str(start["uid"])
        self._make_plain = make_plain
        self.stored = False
        self._owner, self._journal = owner, journal
        self._write: Callback | None = None
        self._failure: Exception | None = None
        self._attempts = 0
        self._tried = threading.Event()  # set after the first attempt, successful or not

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document, in the thread of the RunEngine. Critical."""
        document = self.write_journal(name, document)
        self._owner.put(lambda: self.take(name, document), at_once=name == "stop")
        if name == "stop":
            self.wait()

    def write_journal(self, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Write one document into the journal; returns it as it stands there.

        Parameters
        ----------
        name : str
        document : mapping
        """
        plain = self._make_plain(name, document)
        try:
            self._journal(name, plain)
        except BaseException:
            if name == "stop":
                self._owner.put(self._journal.close)
            raise
        return plain

    def wait(self) -> None:
        """Wait until the run can be read, for a while."""
        if not self._tried.wait(BEHIND_S if self._owner.behind else STOP_S):
            self._owner.behind = True
        if not self.stored:
            when = "follows by itself" if self._failure is None else f"is tried again ({short(self._failure)})"
            logger.warning(
                "run %s is safe in its journal, %s; the catalog %s, nothing to do",
                self.uid[:8],
                self._journal.path,
                when,
            )

    # ------------------------------------------------------------ the writer's thread

    def take(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one document, unless one before it was not taken.

        Parameters
        ----------
        name : str
            Kind of the document, such as "event".
        document : mapping
            Plain values, as in the journal.
        """
        if self._failure is None:
            measured = self.list_measured() if name == "stop" else None
            try:
                with self._owner.index.writing(self._owner.catalog) as changes:
                    self._write = self._write or run_writer(self._owner.catalog, batch_size=batch_size(self.start))
                    self._write(name, document)
                    if name in ("start", "stop"):
                        changes.note(self.uid, measured=measured)
            except Exception as error:
                self.set_aside(error)
        if name == "stop":
            if self._failure is not None or self._owner.reads_back:
                self.write_anew()
            else:
                self.finish()

    def set_aside(self, error: Exception) -> None:
        """Keep the run for later: what the catalog has refused is not given to it again."""
        self._failure, self._write = error, None
        logger.warning(
            "run %s: the catalog does not take it (%s); nothing is lost, it is written anew at its end",
            self.uid[:8],
            short(error),
        )

    def finish(self) -> None:
        """Remove the journal of a run that the catalog has."""
        try:
            self._journal.remove()
        finally:
            self._settle(stored=True)

    def list_measured(self) -> dict[str, Any] | None:
        """List what the run has measured, from its journal, for the index."""
        if not has_exposures(self.start):
            return None
        try:
            return measured_by_itself(read_journal(self._journal.path).documents)
        except OSError:
            return None

    def write_anew(self) -> None:
        """Write the whole run from its journal, joined with what the catalog has of it, unless it is there."""
        if self.stored:
            return
        path = self._journal.path
        try:
            with self._owner.index.writing(self._owner.catalog) as changes:
                if path.exists():  # else another process has recovered it
                    _, new = store_journal(self._owner.catalog, path, read_journal(path), self.uid)
                    changes.note(self.uid, replaced=new)
                    keep_done(path)
        except Exception as error:
            self._failure = error
            self._settle(stored=False)
            if self._attempts < len(PAUSES_S):
                self._owner.put_later(self.write_anew, PAUSES_S[self._attempts])
            elif self._attempts == len(PAUSES_S):
                logger.warning("run %s waits in %s (%s): cxgi recover", self.uid[:8], path, short(error))
                self._journal.close()
                self._owner.forget(self)
            self._attempts += 1
        else:
            if self._tried.is_set():
                logger.warning("run %s is in the catalog now", self.uid[:8])
            self._journal.close()
            self._settle(stored=True)

    def _settle(self, *, stored: bool) -> None:
        self.stored = stored
        self._owner.settle(self, stored=stored)
        self._tried.set()


class RunStore:
    """Every document into the journal, then into the catalog. Critical: a journal that cannot be written ends the scan.

    Values that cannot be kept become text (`PlainDocuments`). Several runs may be open at once.

    Parameters
    ----------
    writer : CatalogWriter

    Raises
    ------
    OSError
        When called, if the journal cannot be written.
    """

    def __init__(self, writer: CatalogWriter) -> None:
        self._runs = PerRun(writer.begin)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Store one document."""
        self._runs(name, document)


_writers: dict[Any, CatalogWriter] = {}  # by the connection of their catalog


def remember_writer(writer: CatalogWriter) -> None:
    """Keep the writer of a catalog which has been opened."""
    _writers[writer.catalog.context] = writer


def writer_of(catalog: Any) -> CatalogWriter:
    """Return the one writer of a catalog that `open_catalog` has opened.

    Raises
    ------
    CxgiError
        For a catalog that was opened by other means.
    """
    try:
        return _writers[catalog.context]
    except KeyError:
        raise StorageError("only a catalog of open_catalog can be written to: open it with that") from None


def waiting_starts(catalog: Any) -> list[Mapping[str, Any]]:
    """Start documents of the runs that wait for a catalog; none for one that `open_catalog` has not opened."""
    writer = _writers.get(catalog.context)
    if writer is None:
        return []
    starts = [waiting.start for waiting in waiting_runs(writer.folder)]
    there = {start.get("uid") for start in starts}
    return [*starts, *(start for start in writer.list_unstored() if start["uid"] not in there)]
