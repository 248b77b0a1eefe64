"""The worker of a queue server over Channel Access: whatever ends it, but a kill, closes the shutter."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from cxgi_bluesky.catalog import find_run, open_catalog
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.masks.pattern_set import PatternSet
from tests.beamline_files import changed_file
from tests.ioc.devices.conftest import changes_of
from tests.ioc.serving import IocProcess
from tests.patience import eventually

from .serving import Queue


def has_ended(process: int) -> bool:
    """Whether a process is there no more, or only waits for its parent to ask."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.long
def test_a_worker_that_is_told_to_end_aborts_its_scan_and_closes_the_shutter(tmp_path):
    ioc = IocProcess("--time-scale", "0", "--board", "cu32", "--prefix", "QUEUE:")
    beamline = changed_file(tmp_path, changes_of("QUEUE:"))
    words = ["--beamline", str(beamline), "--data", str(tmp_path / "data")]
    assert main(["queue-profile", str(tmp_path / "profile"), *words]) == 0
    with ExitStack() as ends:
        ends.callback(ioc.end)
        queue = Queue(tmp_path / "profile", tmp_path, ends, ioc.environment)
        slit = {"source_knife_mm": 10, "knife_slit_mm": 100, "slit_um": 5}
        positions = {"start_um": -70, "stop_um": 70, "points": 9, "exposure_s": 0.1, "slit": slit}
        knife = queue.run("knife_edge_scan", "knife", "shutter", "diode", **positions)
        assert knife["exit_status"] == "completed", knife["msg"]

        queue.begin("mask_scan", pattern_set=PatternSet(32, 1024).to_dict(), exposure_s=0.1)
        uid = queue.run_begun()
        worker = queue.worker
        os.kill(worker, signal.SIGTERM)
        eventually(lambda: has_ended(worker), True)
        counted = ioc.end()
    stop = find_run(open_catalog(tmp_path / "data"), uid).metadata["stop"]
    assert stop["exit_status"] == "abort"
    assert counted["shutter"] == "Closed"
