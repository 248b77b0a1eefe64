"""Processes that share a data folder, for tests.

They say when they are ready, begin together, and answer.
"""

from __future__ import annotations

import base64
import json
import logging
import pickle
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

from tests import warm

from .patience import PATIENCE_S

READY = "ready"


class Child:
    """A process that does something, and the test's end of it.

    Parameters
    ----------
    work : callable
        Takes a function that waits for the others, and the arguments; returns what JSON can carry.
    errors : Path
        Where its stderr goes.
    *arguments
        Which can be pickled.
    """

    def __init__(self, work: Callable[..., Any], errors: Path, *arguments: Any) -> None:
        words = [sys.executable, "-c", "from tests.sharing import work; work()"]
        with errors.open("w") as file:
            self._process = warm.Popen(words, stdin=PIPE, stdout=PIPE, stderr=file)
        self._errors = errors
        self._say(base64.b64encode(pickle.dumps((work, arguments))).decode())

    def _say(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """What it says next."""
        line = self._process.stdout.readline()
        assert line, self._errors.read_text()
        return json.loads(line)

    def begin(self) -> None:
        """It begins with its work, once all others are ready."""
        self._say("begin")

    def result(self) -> Any:
        """What it has found out, when it has ended without complaint."""
        found = self.hear()
        status = self.wait()
        errors = self._errors.read_text()
        assert status == 0, errors
        assert "Traceback" not in errors, errors
        return found

    def wait(self) -> int:
        """How it has ended."""
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def work() -> None:
    """In the process."""
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)
    its_work, arguments = pickle.loads(base64.b64decode(sys.stdin.readline()))  # noqa: S301 - of the test

    def say(what: Any) -> None:
        print(json.dumps(what), flush=True)

    def wait_for_the_others() -> None:
        say(READY)
        sys.stdin.readline()

    say(its_work(wait_for_the_others, *arguments))


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
