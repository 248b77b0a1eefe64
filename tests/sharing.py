"""Processes that share a data folder, for tests.

They are forked from one that has imported what takes long (`PRELOADED`), say when they are ready, begin together, and
answer with what can be sent.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .patience import PATIENCE_S

READY = "ready"
PRELOADED = ("tiled.server.app", "tiled.client", "adbc_driver_sqlite.dbapi", "bluesky_tiled_plugins", "tests.conftest")
NO_THREADS = ("OPHYD_CONTROL_LAYER", "dummy")  # with pyepics, importing ophyd starts some, which no fork takes along


class Child:
    """A process that does something, and the test's end of it.

    Parameters
    ----------
    work : callable
        Takes a function that waits for the others, and the arguments.
    errors : Path
        Where its stderr goes.
    *arguments
        Which can be pickled.
    """

    def __init__(self, work: Callable[..., Any], errors: Path, *arguments: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self._pipe, its_end = context.Pipe()
        self._errors = errors
        self.process = context.Process(target=_work, args=(work, its_end, str(errors), arguments))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(*NO_THREADS)
            self.process.start()
        its_end.close()

    def hear(self) -> Any:
        """What it sends next."""
        assert self._pipe.poll(PATIENCE_S), "hangs"
        try:
            return self._pipe.recv()
        except EOFError:
            raise AssertionError(self._errors.read_text()) from None

    def begin(self) -> None:
        """It begins with its work, once all others are ready."""
        self._pipe.send(None)

    def result(self) -> Any:
        """What it has found out, when it has ended without complaint."""
        found = self.hear()
        self.process.join(PATIENCE_S)
        errors = self._errors.read_text()
        assert self.process.exitcode == 0, errors
        assert "Traceback" not in errors, errors
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _work(work: Callable[..., Any], pipe: Any, errors: str, arguments: tuple[Any, ...]) -> None:
    """In the process."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)

    def wait_for_the_others() -> None:
        pipe.send(READY)
        pipe.recv()

    pipe.send(work(wait_for_the_others, *arguments))


def begin_together(children: list[Child]) -> None:
    for child in children:
        assert child.hear() == READY
    for child in children:
        child.begin()


def begun(folder: Path, count: int) -> tuple[Any, Any]:
    """An engine that stores its runs, and the plan of one scan."""
    from cxgi_bluesky.catalog import open_catalog, recover_journals, writer_of
    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from cxgi_bluesky.session.run_engine import make_run_engine
    from tests.conftest import QUIET, small_board, small_scan

    catalog = open_catalog(folder, to_write=True)
    recover_journals(catalog)
    line = simulated_beamline(small_board(16), "CAS", parameters=QUIET)
    return make_run_engine(writer_of(catalog)), lambda: small_scan(line, count)


def scan(wait_for_the_others: Callable[[], None], folder: Path, scans: int, exposures: int) -> dict[str, Any]:
    """Scan again and again; the number of events of each run, by stream."""
    engine, plan = begun(folder, exposures)
    told: dict[str, Any] = {}
    engine.subscribe(lambda name, document: told.update({document["run_start"]: document["num_events"]}), "stop")
    wait_for_the_others()
    for _ in range(scans):
        engine(plan())
    return told


def scan_until_killed(wait_for_the_others: Callable[[], None], folder: Path, documents: Path, every: int) -> None:
    """Scan, with a run after each so many exposures if not 0; each event goes to a file once the engine is done."""
    from ophyd import Signal

    from tests.nested_runs import log, nested

    engine, plan = begun(folder, 200)
    temperature = Signal(name="temperature", value=300.0)
    with documents.open("w", encoding="utf-8") as file:

        def note(name: str, document: Any) -> None:
            file.write(json.dumps([name, document]) + "\n")
            file.flush()

        engine.subscribe(note)
        while True:
            engine(nested(plan(), lambda: log(temperature, key="temperature"), every=every or sys.maxsize))


def read(wait_for_the_others: Callable[[], None], folder: Path, stop: Path) -> dict[str, Any]:
    """List the runs and reconstruct the newest scan until a file is there; how often, and what was said.

    Half of the time it rests: the processes that write have the cores then.
    """
    from cxgi_bluesky.catalog import catalog_errors, find_run, open_catalog, summarise
    from cxgi_bluesky.errors import CxgiError
    from cxgi_bluesky.session.reconstruct_run import reconstruct_run

    folder.mkdir(exist_ok=True)
    catalog = open_catalog(folder)
    listed, pictures, said = 0, 0, []
    wait_for_the_others()
    while not stop.exists():
        begun_at = time.monotonic()
        try:
            with catalog_errors():
                rows = [summarise(run) for run in catalog.values().tail(50)]
                listed += 1
                scans = [row["uid"] for row in rows if row["purpose"] == "image"]
                for uid in scans[-1:]:
                    reconstruct_run(catalog, find_run(catalog, uid), method="inverse", record=pictures % 5 == 0)
                    pictures += 1
        except CxgiError as error:
            said.append(str(error))
        time.sleep(time.monotonic() - begun_at)
    return {"listed": listed, "pictures": pictures, "said": said}


def lock(wait_for_the_others: Callable[[], None], folder: Path, stop: Path, seconds: float) -> int:
    """Lock each database for so long twice a second, until a file is there; how often."""
    locked = 0
    wait_for_the_others()
    while not stop.exists():
        for name in ("catalog.db", "tables.db"):
            with closing(sqlite3.connect(folder / name, timeout=60, isolation_level=None)) as database:
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(seconds)
                database.execute("COMMIT")
                locked += 1
        time.sleep(max(0.0, 0.5 - 2 * seconds))
    return locked


def stored_counts(catalog: Any, uid: str) -> dict[str, int]:
    """Events of a run in the catalog by stream; each is there once."""
    from cxgi_bluesky.catalog.recovery import read_documents

    documents = read_documents(catalog, uid)
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    keys = [(stream_of[d["descriptor"]], d["seq_num"], d["time"]) for name, d in documents if name == "event"]
    assert len(keys) == len(set(keys))
    return dict(Counter(stream for stream, _, _ in keys))
