"""An index of the runs of a data folder, so that ``cxgi runs`` and ``cxgi show`` need not open Tiled.

A small SQLite file of our own. Whoever writes into the catalog keeps it, under the same lock; its rows are what the
catalog's client gives back. It records the state of ``catalog.db`` (sizes and times of its files, which are never read
here) that it belongs to: after a write by anybody who does not keep it the two differ, and the index is made anew from
the catalog.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._files.file_lock import LockedError, hold_lock
from ..errors import CxgiError
from ..measurement.documents import cxgi_block
from .databases import empty_write_ahead_log

if TYPE_CHECKING:
    from ..measurement.exposures import Exposures

logger = logging.getLogger(__name__)

FILE = "run-index.db"
SCHEMA = 1
WAIT_S = 5.0  # for another process that has the index locked, which takes milliseconds
LOOK_S = 2.0  # so long a reader waits for a write into the catalog to end
MAX_NUMBER = 1_000_000  # of a scan by which a run can be named: six digits
SHORTEST_UID = 5  # characters, as for the catalog

_TABLES = """
CREATE TABLE runs (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    uid TEXT,
    scan_id INTEGER,
    start TEXT NOT NULL,
    stop TEXT NOT NULL,
    measured TEXT
);
CREATE TABLE state (catalog TEXT NOT NULL);
"""


@dataclass(frozen=True)
class IndexedRun:
    """A run as the catalog has it: its start and stop document ({} and None if missing) and what `cxgi show` adds."""

    start: dict[str, Any]
    stop: dict[str, Any] | None
    measured: dict[str, Any] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The documents as a run of the catalog has them."""
        return {"start": self.start, "stop": self.stop}


@dataclass
class Changes:
    """What a write into the catalog changes: uids, and whether the run was deleted before it was written."""

    uids: dict[str, bool] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    count: int | None = None  # runs in the catalog, if who writes has counted them

    def note(
        self,
        uid: str,
        *,
        replaced: bool = False,
        measured: dict[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that the catalog has a run anew.

        Parameters
        ----------
        uid : str
            Whole.
        replaced : bool, optional
            Whether it was deleted and written again (default False).
        measured : dict, optional
            What `cxgi show` adds to its documents (default: not known).
        metadata : mapping, optional
            What the catalog's client gives of it (default: it is read back).
        """
        self.uids[uid] = replaced
        if metadata is not None:
            self.written[uid] = metadata
        if measured is not None:
            self.measured[uid] = measured


class RunIndex:
    """The index of a data folder.

    Parameters
    ----------
    folder : Path
        Data folder. Without a ``catalog.db`` in it, as for a server's runs, there is no index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.path = folder, folder / FILE
        self._recorded = ""  # state of the catalog that this process has recorded last
        self._looked = False

    # ------------------------------------------------------------ who reads

    def newest(self, count: int) -> tuple[list[IndexedRun], int] | None:
        """Return the newest runs (-1: all), newest last, and the number of all; None if it is missing or behind."""
        found = self._read(
            "SELECT start, stop, measured, (SELECT count(*) FROM runs) FROM runs ORDER BY position DESC LIMIT ?", count
        )
        if found is None:
            return None
        return [_run_of(row) for row in reversed(found)], found[0][3] if found else 0

    def newest_measured(self) -> IndexedRun | None:
        """Return the newest run that is no reconstruction; None without one, or if the index is missing or behind."""
        found = self._read(
            "SELECT start, stop, measured FROM runs WHERE json_type(start, '$.cxgi.raw_uids') IS NULL "
            "ORDER BY position DESC LIMIT 1"
        )
        return _run_of(found[0]) if found else None

    def find(self, name: str) -> IndexedRun | None:
        """Return the one run of a uid, of its first characters, or of a scan number; None without exactly one."""
        begins, number = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"), int(_number(name))
        found = None
        if number >= 0:
            found = self._read("SELECT start, stop, measured FROM runs WHERE scan_id = ? LIMIT 2", number)
        if not found and len(name) >= SHORTEST_UID:
            found = self._read(
                "SELECT start, stop, measured FROM runs WHERE uid LIKE ? ESCAPE '\\' LIMIT 2", f"{begins}%"
            )
        return _run_of(found[0]) if found and len(found) == 1 else None

    def _read(self, query: str, *values: Any) -> list[Any] | None:
        """Query the index if it belongs to the catalog as it is now."""
        found = self._read_if_current(query, values)
        if found is None and self.path.is_file():
            try:
                with hold_lock(self._folder, "writing", wait_s=LOOK_S):  # a write may be under way
                    found = self._read_if_current(query, values)
            except (LockedError, OSError):
                return None
        return found

    def _read_if_current(self, query: str, values: Any) -> list[Any] | None:
        state = self.catalog_state()
        if not state:
            return None
        try:
            with closing(self._connect("ro")) as database:
                database.execute("BEGIN")
                rows = database.execute(query, values).fetchall() if _recorded_state(database) == state else None
        except (sqlite3.Error, OSError):
            return None
        return rows if self.catalog_state() == state else None

    def why_not(self) -> str:
        """Return what is wrong with an index that cannot be used."""
        if not self.path.exists():
            return "is missing"
        try:
            with closing(self._connect("ro")) as database:
                recorded = _recorded_state(database)
        except sqlite3.Error as error:
            return f"cannot be read ({error})"
        return "is behind the catalog" if recorded else "is of another release"

    # ------------------------------------------------------------ who writes

    @contextmanager
    def writing(self, catalog: Any) -> Iterator[Changes]:
        """Keep other processes of ours from writing into the catalog meanwhile, and let the index follow it.

        An error leaves an index that is known to be behind, if the catalog was changed. Nothing that goes wrong with
        the index is an error.

        Parameters
        ----------
        catalog : tiled container
            Of this folder.
        """
        changes = Changes()
        with hold_lock(self._folder, "writing"):
            before = self.catalog_state()
            self._begin_if_new(catalog, before)
            yield changes
            try:
                self._follow(catalog, before, changes)
            except Exception as error:
                logger.warning("%s does not follow (%s): cxgi runs makes it anew", self.path, error)

    def _begin_if_new(self, catalog: Any, state: str) -> None:
        """Begin the index of a catalog that has no run yet."""
        if self._looked:
            return
        self._looked = True
        try:
            if state and not self.path.exists() and _count(catalog) == 0:
                self._write([], state)
        except Exception as error:
            logger.warning("%s cannot be begun (%s): listing runs takes seconds", self.path, error)

    def _follow(self, catalog: Any, before: str, changes: Changes) -> None:
        if not before or (not changes.uids and self.catalog_state() == before):
            return
        if self._recorded != before and not self._is_of(before):
            return  # it is behind: others have written
        found = {uid: changes.written.get(uid) or _metadata_of(catalog, uid) for uid in changes.uids}
        rows = [_row_of(uid, metadata) for uid, metadata in found.items() if metadata is not None]
        if any(row["stop"] != "null" for row in rows):
            empty_write_ahead_log(self._folder)  # else the state would change when the last process closes the catalog
        after = self.catalog_state()
        expected = changes.count
        if expected is None and changes.uids:
            expected = _count(catalog)
        with closing(self._connect("rw")) as database:
            database.execute("BEGIN IMMEDIATE")
            if _recorded_state(database) != before:
                return
            if any(changes.uids.values()):  # what was measured may come from another run's dark
                database.execute("UPDATE runs SET measured = NULL")
            for row in rows:
                if changes.uids[row["key"]]:
                    database.execute("DELETE FROM runs WHERE key = :key", row)
                known = changes.measured.get(row["key"])
                _insert(database, row | {"measured": None if known is None else _text(known)})
            if expected is not None and database.execute("SELECT count(*) FROM runs").fetchone()[0] != expected:
                database.execute("ROLLBACK")
                return
            database.execute("UPDATE state SET catalog = ?", (after,))
            database.execute("COMMIT")
        self._recorded = after

    def _is_of(self, state: str) -> bool:
        try:
            with closing(self._connect("ro")) as database:
                return _recorded_state(database) == state
        except sqlite3.Error:
            return False

    def make_anew(self, catalog: Any) -> bool:
        """Make the index from all runs of the catalog; False if runs were written meanwhile.

        Parameters
        ----------
        catalog : tiled container
            Of this folder.

        Raises
        ------
        OSError, sqlite3.Error, LockedError
            If it cannot be written.
        """
        state = self.catalog_state()
        rows = [_row_of(key, run.metadata) for key, run in catalog.items()]
        with hold_lock(self._folder, "writing"):
            if self.catalog_state() != state:
                return False
            self._write(rows, state)
        return True

    def _write(self, rows: list[dict[str, Any]], state: str) -> None:
        for end in ("", "-journal"):
            self.path.with_name(FILE + end).unlink(missing_ok=True)
        with closing(self._connect("rwc")) as database:
            database.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _TABLES.split(";")):
                database.execute(statement)
            for row in rows:
                _insert(database, row | {"measured": None})
            database.execute("INSERT INTO state VALUES (?)", (state,))
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute("COMMIT")
        self._recorded = state

    def keep_measured(self, uid: str, measured: Mapping[str, Any], state: str) -> None:
        """Keep what `cxgi show` has read of a run that has ended, for the next time.

        Parameters
        ----------
        uid : str
            Whole.
        measured : mapping
            As JSON has it.
        state : str
            Of the catalog, before it was read.
        """
        try:
            with closing(self._connect("rw")) as database:
                database.execute("BEGIN IMMEDIATE")
                if _recorded_state(database) == state:
                    database.execute("UPDATE runs SET measured = ? WHERE key = ?", (_text(measured), uid))
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            logger.debug("%s does not keep what run %s has measured (%s)", self.path, uid, error)

    # ------------------------------------------------------------ files

    def catalog_state(self) -> str:
        """Return sizes and times of the catalog's files: they change with each write; "" without a catalog."""
        state = state_of(self._folder, "catalog.db")
        return state if state.startswith("catalog.db ") else ""

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=WAIT_S, isolation_level=None)


def state_of(folder: Path, database: str) -> str:
    """Return sizes and times of a database of the folder and its log; an empty log is left out.

    Parameters
    ----------
    folder : Path
        Data folder.
    database : str
        Name of the file.
    """
    state = []
    for name in (database, f"{database}-wal"):
        try:
            stat = (folder / name).stat()
        except OSError:
            continue
        if stat.st_size:  # an empty log is removed by who closes the database last
            state.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return ", ".join(state)


def _recorded_state(database: sqlite3.Connection) -> str:
    """Return the state of the catalog that an index belongs to; "" for an index of another release."""
    if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
        return ""
    row = database.execute("SELECT catalog FROM state").fetchone()
    return "" if row is None else str(row[0])


def _number(name: str) -> str:
    return name if name.isascii() and name.isdigit() and len(name) <= 6 else "-1"


def _count(catalog: Any) -> int:
    return len(catalog.new_variation())  # the catalog itself remembers its length for a while


def _metadata_of(catalog: Any, uid: str) -> Mapping[str, Any] | None:
    try:
        run = catalog[uid]
    except (KeyError, ValueError):
        return None
    return run.metadata if _mapping(run.metadata.get("start")).get("uid") == uid else None


def _row_of(key: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = _mapping(metadata.get("start")), metadata.get("stop")
    scan_id = start.get("scan_id")
    return {
        "key": key,
        "uid": str(start.get("uid", "")),
        "scan_id": scan_id if isinstance(scan_id, int) and abs(scan_id) < MAX_NUMBER else None,
        "start": _text(start),
        "stop": _text(_mapping(stop) or None),
    }


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return json.dumps(value)


def _insert(database: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    database.execute(
        "INSERT INTO runs (key, uid, scan_id, start, stop, measured) VALUES (:key, :uid, :scan_id, :start, :stop, "
        ":measured) ON CONFLICT (key) DO UPDATE SET uid = excluded.uid, scan_id = excluded.scan_id, "
        "start = excluded.start, stop = excluded.stop, measured = excluded.measured",
        row,
    )


def _run_of(row: Any) -> IndexedRun:
    start, stop, measured = row[:3]
    return IndexedRun(json.loads(start), json.loads(stop), None if measured is None else json.loads(measured))


# ---------------------------------------------------------------- what a run has measured


def has_exposures(start: Mapping[str, Any]) -> bool:
    """Return whether a run has measured buckets, by its start document; a reconstruction has not."""
    block = cxgi_block(start)
    derived = isinstance(block.get("raw_uids"), list) and block["raw_uids"]
    return not derived and bool(
        _mapping(block.get("pattern_set")).get("count") or block.get("purpose") in ("dark", "metal")
    )


def list_measured(exposures: Exposures, d_r: tuple[float, float] | None) -> dict[str, Any]:
    """List what a run has measured, for `cxgi show`.

    Parameters
    ----------
    exposures : Exposures
        Of the run.
    d_r : (float, float) or None
        D_r that its exposures of metal give, and its sigma; None: not known.
    """
    return {
        "d_r_measured": d_r,
        "exposures": len(exposures),
        "reference_exposures": exposures.reference_exposures,
        "streams": {name: len(stream) for name, stream in exposures.streams.items()},
        "exposure_figures": exposures.figures if exposures.figures_of[exposures.start["uid"]] else None,
    }


def measured_by_itself(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """List what a run has measured, from its documents; None if another run's dark is needed, or they are malformed."""
    from ..measurement.exposures import Exposures
    from ..measurement.reference import dark_level

    try:
        exposures = Exposures.from_documents(documents)
        if not exposures.streams["metal"]:
            return list_measured(exposures, None)
        if exposures.dark is None and exposures.metadata.dark_uid is not None:
            return None
        return list_measured(exposures, exposures.estimate_d_r(dark=dark_level(exposures.metadata, None)))
    except (CxgiError, KeyError, ValueError, TypeError):
        return None  # `cxgi show` reads it from the catalog, and says what is wrong
