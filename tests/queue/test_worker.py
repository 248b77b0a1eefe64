"""The worker of a queue server over Channel Access: whatever ends it, but a kill, closes the shutter."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from cxgi_bluesky.catalog import find_run, open_catalog
from cxgi_bluesky.cli import main
from cxgi_bluesky.patterns import PatternSet
from tests.beamline_files import changed_file
from tests.ioc.serving import IocProcess
from tests.patience import eventually

from .serving import Queue


@pytest.mark.long
def test_a_worker_that_is_told_to_end_aborts_its_scan_and_closes_the_shutter(tmp_path):
    ioc = IocProcess("--time-scale", "0", "--board", "cu32", "--prefix", "QUEUE:")
    beamline = changed_file(tmp_path, {"prefix": "QUEUE:", "board": "cu32", "timeouts.connection_s": 60})
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
        eventually(lambda: len(queue.do("re_runs")["run_list"]), 1)
        (run,) = queue.do("re_runs")["run_list"]
        os.kill(queue.worker, signal.SIGTERM)
        queue.wait_for("worker_environment_state", "closed", "failed")
    counted = ioc.end()
    stop = find_run(open_catalog(tmp_path / "data"), run["uid"]).metadata["stop"]
    assert stop["exit_status"] == "abort"
    assert "SIGTERM" in stop["reason"]
    assert counted["shutter"] == "closed"
