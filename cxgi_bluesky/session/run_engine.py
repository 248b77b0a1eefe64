"""The RunEngine of a session: its runs are stored, its metadata and scan numbers are kept for all processes."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import threading
from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from bluesky import Msg, RunEngine
from bluesky.preprocessors import plan_mutator
from bluesky.suspenders import SuspendBoolHigh, SuspendBoolLow, SuspendFloor
from bluesky.utils import DefaultDuringTask, FailedPause, MsgGenerator, PlanHalt, RequestAbort, RequestStop

from .._files.atomic_write import whole_file
from .._files.file_lock import hold_lock
from ..callbacks.notebook import find_shell
from ..catalog import CatalogWriter, RunStore, last_scan_id
from ..errors import ConfigError, StorageError
from ..measurement.plain_values import plain_or_text, require_plain

NOT_KEPT = ("versions",)  # bluesky and this package stamp them anew
SCAN_ID = "scan_id"
STEP_S = 0.1
ASKED_FOR = (FailedPause, RequestAbort, PlanHalt, asyncio.CancelledError)  # what ends a plan that somebody aborts
STAMPED_PACKAGES = ("cxgi_bluesky", "bluesky-tiled-plugins", "databroker", "tiled", "numpy", "torch")


def make_run_engine(writer: CatalogWriter) -> RunEngine:
    """Make a RunEngine that numbers its scans, stamps package versions into every run and stores it, journal first.

    Metadata (``RE.md``) and the number of the last scan are kept in the data folder.

    Parameters
    ----------
    writer : CatalogWriter
        Of the catalog, which is asked for the last number where the folder does not have it.
    """
    metadata = EngineMetadata(writer.folder)
    if SCAN_ID not in metadata:
        is_new = not (writer.reads_back or (writer.folder / "catalog.db").exists())
        metadata[SCAN_ID] = 0 if is_new else last_scan_id(writer.catalog)
    engine = RunEngine(metadata, scan_id_source=metadata.next_scan_id, during_task=WaitInSteps())
    versions = engine.md["versions"]
    for package in STAMPED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    logging.getLogger("bluesky").addFilter(_take_traceback_off)
    store_runs(engine, writer)
    return engine


def _take_traceback_off(record: logging.LogRecord) -> bool:
    """Take the traceback off what the engine says of an abort that somebody asked for."""
    if record.exc_info and isinstance(record.exc_info[1], ASKED_FOR):
        record.exc_info = record.exc_text = None
    return True


class WaitInSteps(DefaultDuringTask):
    """What the main thread does during a plan: it waits, but looks up now and then, so that no signal waits with it.

    The system may give a signal to any thread. Python acts on it when the main thread runs: one that waits for the plan
    without an end would heed Ctrl-C, or an order to end, only after the plan (seen on a busy machine).
    """

    def block(self, blocking_event: threading.Event) -> None:
        """Wait until the plan has ended.

        Parameters
        ----------
        blocking_event : threading.Event
        """
        super().block(_Steps(blocking_event))


class _Steps:
    """An event that is waited for in steps."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def wait(self) -> None:
        while not self._event.wait(STEP_S):
            pass


def store_runs(engine: RunEngine, writer: CatalogWriter) -> None:
    """Store every run of an engine, which is otherwise left as it is.

    Parameters
    ----------
    engine : RunEngine
    writer : CatalogWriter
        Of the catalog.
    """
    add_to_engine(engine, "store", callbacks=[RunStore(writer)])


_added: WeakKeyDictionary[RunEngine, dict[str, ExitStack]] = WeakKeyDictionary()  # what takes it off again, by its name


def add_to_engine(
    engine: RunEngine,
    name: str,
    *,
    callbacks: Iterable[Any] = (),
    preprocessors: Iterable[Any] = (),
    suspenders: Iterable[Any] = (),
) -> None:
    """Add to an engine, in place of what was added under this name before: a second start doubles nothing.

    Parameters
    ----------
    engine : RunEngine
    name : str
    callbacks : iterable of callable, optional
        Take the documents of all runs, in this order.
    preprocessors : iterable of callable, optional
        Change plans.
    suspenders : iterable of SuspenderBase, optional
        Hold scans.
    """
    added = _added.setdefault(engine, {})
    if name in added:
        added.pop(name).close()
    undo = added[name] = ExitStack()
    for callback in callbacks:
        undo.callback(engine.unsubscribe, engine.subscribe(callback))
    for preprocessor in preprocessors:
        engine.preprocessors.append(preprocessor)
        undo.callback(engine.preprocessors.remove, preprocessor)
    for suspender in suspenders:
        engine.install_suspender(suspender)
        undo.callback(engine.remove_suspender, suspender)


def register_magics(engine: RunEngine) -> None:
    """Let ``%mov stage.tile 17`` and its like use this RunEngine, in IPython."""
    shell = find_shell()
    if shell is None:
        return
    from bluesky.magics import BlueskyMagics

    magics = BlueskyMagics(shell)
    magics.RE = engine
    shell.register_magics(magics)


# ---------------------------------------------------------------- an early end


class StopAfterTile:
    """Ends a scan before its next exposure, when it is asked to; a preprocessor of a RunEngine.

    The plan ends as by ``RE.stop()``: the shutter is closed, the run is stored as a success.
    """

    def __init__(self) -> None:
        self._asked = False

    def request(self) -> None:
        """End the scan that runs, from any thread."""
        self._asked = True

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Wrap a plan."""
        self._asked = False
        return plan_mutator(plan, self._look)

    def _look(self, message: Msg) -> tuple[MsgGenerator[Any] | None, None]:
        if not self._asked or message.command != "checkpoint":
            return None, None
        self._asked = False
        return self._stop(), None

    def _stop(self) -> MsgGenerator[Any]:
        yield from ()
        raise RequestStop


# ---------------------------------------------------------------- metadata


class EngineMetadata(UserDict[str, Any]):
    """What ``RE.md`` is: a mapping that is kept in ``engine-metadata.json`` of a data folder.

    Each key that is set, changed or deleted here is so in the file, under a lock; the keys of other processes stay.
    Dates, paths and numpy's values are kept as text and numbers.
    ``scan_id`` only grows: setting it to 1000 makes the next scan 1001.

    Parameters
    ----------
    folder : Path
        Data folder.

    Raises
    ------
    CxgiError
        If the file cannot be read; when a key is set, for a value that `require_plain` refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._folder = folder / "engine-metadata.json", folder
        with self._read_and_lock() as kept:
            self.data = kept
        self._last = copy.deepcopy(kept)

    def __setitem__(self, key: str, value: Any) -> None:
        """Set and keep a key."""
        if key not in NOT_KEPT:
            value = _check(key, value)
        self.data[key] = value
        self._keep()

    def __delitem__(self, key: str) -> None:
        """Forget a key, here and in the file."""
        del self.data[key]
        self._keep()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(self.data, memo)

    def next_scan_id(self, _: Mapping[str, Any]) -> int:
        """Return the number of the next scan, which no other process gets; the RunEngine's ``scan_id_source``."""
        return self._keep(scans=1)

    def _keep(self, *, scans: int = 0) -> int:
        """Bring into the file what was changed here since the last time, also within values; the last scan's number."""
        mine = {key: value for key, value in self.data.items() if key not in (*NOT_KEPT, SCAN_ID)}
        mine, _ = plain_or_text(mine, "")  # what was put into a value since; of the run's the catalog's writer warns
        with self._read_and_lock() as kept:
            for key in self._last.keys() - mine.keys() - {SCAN_ID}:
                kept.pop(key, None)
            kept |= {key: value for key, value in mine.items() if key not in self._last or self._last[key] != value}
            number: int = max(kept.get(SCAN_ID, 0), self.data.get(SCAN_ID, 0)) + scans
            kept[SCAN_ID] = number
            with whole_file(self._path) as part:
                part.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        self._last = copy.deepcopy(mine)
        return number

    @contextmanager
    def _read_and_lock(self) -> Iterator[dict[str, Any]]:
        """Read the file, and let nobody else change it meanwhile."""
        with hold_lock(self._folder, "engine-metadata"):
            try:
                kept = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
                if not isinstance(kept, dict) or not isinstance(kept.get(SCAN_ID, 0), int):
                    raise ValueError("no mapping whose scan_id is a whole number")
            except (ValueError, OSError) as error:
                raise StorageError(f"{self._path} cannot be read ({error}): mend it, or move it away") from error
            yield kept


def _check(key: str, value: Any) -> Any:
    if key == SCAN_ID and not isinstance(value, int):
        raise ConfigError(f"scan_id {value!r}: give a whole number")
    return require_plain(value, f"metadata {key}")


# ---------------------------------------------------------------- suspenders


RECOVERED = 1.02  # of the least current: one that hovers there does not start and stop the scan


def source_suspenders(source: Any) -> list[Any]:
    """Make suspenders for a RunEngine from a source's signals.

    Parameters
    ----------
    source : Device
        With `ready`, `ready_value`, `current`, `at_least_ma`, `wait_s`, as `EpicsSource`.
    """
    suspenders: list[Any] = []
    if source.ready is not None:
        kind = SuspendBoolLow if source.ready_value else SuspendBoolHigh
        suspenders.append(kind(source.ready, sleep=source.wait_s, tripped_message=f"{source.name} is not ready"))
    if source.current is not None:
        floor = source.at_least_ma
        message = f"{source.name}: less than {floor:g} mA"
        options = {"resume_thresh": RECOVERED * floor, "sleep": source.wait_s, "tripped_message": message}
        suspenders.append(SuspendFloor(source.current, floor, **options))
    return suspenders
