"""Processes that share a data folder, for tests: ``python -m tests.sharing WORD FOLDER ...``; each prints JSON.

They say when they are ready, and begin with a line on stdin.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any


def wait_for_the_others() -> None:
    """Ready; begin together."""
    print("ready", flush=True)
    sys.stdin.readline()


def begun(folder: str, count: int) -> tuple[Any, Any]:
    """An engine that stores its runs, and the plan of one scan."""
    from cxgi_bluesky.catalog import open_catalog, recover_journals
    from cxgi_bluesky.devices.simulated import simulated_beamline
    from cxgi_bluesky.engine import make_run_engine
    from tests.conftest import QUIET, small_board, small_scan

    catalog = open_catalog(folder, to_write=True)
    recover_journals(catalog)
    line = simulated_beamline(small_board(16), "CAS", parameters=QUIET)
    return make_run_engine(catalog), lambda: small_scan(line, count)


def scan(folder: str, scans: str, exposures: str) -> None:
    """Scan again and again; prints the number of events of each run, by stream."""
    engine, plan = begun(folder, int(exposures))
    told: dict[str, Any] = {}
    engine.subscribe(lambda name, document: told.update({document["run_start"]: document["num_events"]}), "stop")
    wait_for_the_others()
    for _ in range(int(scans)):
        engine(plan())
    print(json.dumps(told), flush=True)


def scan_until_killed(folder: str, documents: str, every: str) -> None:
    """Scan, with a run after each so many exposures if not 0; each event goes to a file once the engine is done."""
    from ophyd import Signal

    from tests.nested_runs import log, nested

    engine, plan = begun(folder, 200)
    temperature = Signal(name="temperature", value=300.0)
    with open(documents, "w", encoding="utf-8") as file:

        def note(name: str, document: Any) -> None:
            file.write(json.dumps([name, document]) + "\n")
            file.flush()

        engine.subscribe(note)
        while True:
            engine(nested(plan(), lambda: log(temperature, key="temperature"), every=int(every) or sys.maxsize))


def read(folder: str, stop: str) -> None:
    """List the runs and reconstruct the newest scan until a file is there; prints how often, and what was said."""
    from cxgi_bluesky.catalog import catalog_errors, find_run, open_catalog, summarise
    from cxgi_bluesky.errors import CxgiError
    from cxgi_bluesky.run_reconstruction import reconstruct_run

    catalog = open_catalog(folder)
    listed, pictures, said = 0, 0, []
    wait_for_the_others()
    while not Path(stop).exists():
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
    print(json.dumps({"listed": listed, "pictures": pictures, "said": said}), flush=True)


def lock(folder: str, stop: str, seconds: str) -> None:
    """Lock each database for so long twice a second, until a file is there; prints how often."""
    locked = 0
    wait_for_the_others()
    while not Path(stop).exists():
        for name in ("catalog.db", "tables.db"):
            with closing(sqlite3.connect(Path(folder) / name, timeout=60, isolation_level=None)) as database:
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(float(seconds))
                database.execute("COMMIT")
                locked += 1
        time.sleep(max(0.0, 0.5 - 2 * float(seconds)))
    print(json.dumps(locked), flush=True)


if __name__ == "__main__":
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)
    {"scan": scan, "until-killed": scan_until_killed, "read": read, "lock": lock}[sys.argv[1]](*sys.argv[2:])
