"""The demonstration over Channel Access, as its user runs it: each in a process of its own, with an IOC of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from cxgi_bluesky.cli.demo import epics as over_epics
from cxgi_bluesky.cli.demo.agreement import AGREES, DIFFERS, IDENTICAL, Agreement, Count, Counts
from cxgi_bluesky.cli.demo.epics import DemoIoc
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.config.load import example_path
from tests import warm
from tests.patience import PATIENCE_S, eventually

from .serving import ROOT

SMALL = ("--board", "cu32", "--object", "CAS", "--fraction", "0.03125")
COMMAND = [sys.executable, "-m", "cxgi_bluesky.cli", "demo", "--epics"]


@pytest.fixture
def environment(tmp_path):
    """Of a user who has set no addresses."""
    data = tmp_path / "data"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EPICS_")}
    return {**clean, "PYTHONPATH": str(ROOT), "CXGI_DATA": str(data), "MPLBACKEND": "Agg"}


def demonstrated(detector, environment, folder):
    """What a demonstration prints as JSON; it prints nothing of repeaters or lost connections."""
    arguments = [*COMMAND, *SMALL, "--detector", detector, "--out", "out", "--json"]
    run = warm.run(arguments, env=environment, cwd=folder, timeout=2 * PATIENCE_S)
    assert run.returncode == 0, run.stderr
    progress = re.compile("exp/s|s/exp|the catalog is being opened")  # the second below one a second
    assert [line for line in re.split(r"[\r\n]+", run.stderr) if line.strip() and not progress.search(line)] == []
    return json.loads(run.stdout)


@pytest.mark.long
@pytest.mark.parametrize("detector", ["keithley"])
def test_a_detector_agrees_with_soft_devices_and_the_iocs_counts(detector, environment, tmp_path):
    numbers = demonstrated(detector, environment, tmp_path)
    assert numbers == json.loads((tmp_path / "out" / "demo.json").read_text())
    beside, counts = numbers["beside_soft_devices"], numbers["counts"]
    assert beside["identical_buckets"] == (detector in ("generic", "tetramm"))
    assert beside["verdict"] in (IDENTICAL, AGREES)
    assert counts["equal"]
    assert counts["shutter"] == "Closed"
    assert counts["run"]["openings"] == numbers["exposures"] + numbers["reference_exposures"]
    assert counts["ioc"]["exposures"] == counts["run"]["openings"] * (10 if detector == "keithley" else 1)
    assert {"overview.png", "tv.png", "beamline.yml"} <= {file.name for file in (tmp_path / "out").iterdir()}


@pytest.mark.long
def test_ctrl_c_closes_the_shutter_ends_the_ioc_and_says_what_is_left(environment, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--board", "cu32", "--object", "CAS", "--fraction", "1", "--out", "out"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    journals = tmp_path / "data" / "journal"
    eventually(lambda: _events(journals), lambda seen: seen > 5)
    with open(children) as file:
        started = [int(pid) for pid in file.read().split()]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "interrupted: the shutter is closed" in errors
    assert "cxgi reconstruct " in errors
    assert "CHECK IT NOW" not in errors
    assert "Traceback" not in errors
    assert started
    assert not any(_runs(pid) for pid in started)


def _events(journals):
    return sum(file.read_text().count('["event') for file in journals.glob("*.jsonl"))


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_ioc_ends_when_its_with_block_fails():
    ioc = DemoIoc(prefix="D:", board="cu32", object_name="CAS", seed=1)
    with pytest.raises(ZeroDivisionError), ioc:
        _ = 1 / 0
    assert ioc.counted["shutter"] == "Closed"
    assert ioc.counted["openings"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "keithley"], "it needs --epics"),
        (["--epics", "--material", "Au", "--energy-kev", "20"], "the IOC serves no thickness"),
        (["--epics", "--board", "none.yaml"], "the IOC did not start: .*none.yaml"),
        (["--epics", "--object", "cube"], "the IOC did not start: .*cube"),
    ],
)
def test_what_cannot_be_is_one_error(tmp_path, capsys, arguments, message):
    assert main(["demo", *arguments, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, line)


def test_without_the_extra_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.cli.demo.epics.find_spec", lambda name: None)
    assert main(["demo", "--epics", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'cxgi_bluesky[epics]'" in capsys.readouterr().err


@pytest.mark.parametrize("detector", over_epics.EXAMPLES)
def test_the_examples_fit_by_prefix_and_board_alone(detector):
    shipped = yaml.safe_load(example_path(over_epics.EXAMPLES[detector]).read_text(encoding="utf-8"))
    config = over_epics.make_beamline_config(detector, "cu32")
    assert {key for key in shipped if shipped.get(key) != config.get(key)} <= {"board", "data", "stage"}
    assert (config["stage"]["x"], config["stage"]["y"]) == ("STAGE:X", "STAGE:Y")
    assert over_epics.make_beamline_config(detector, shipped["board"])["stage"] == shipped["stage"]


def test_the_verdict_is_decided_by_what_two_seeds_differ_by():
    near = {"tv": 0.9, "tval3": 1.2}
    assert Agreement(9, True, 0.0, 2.5, {"tv": 0.0}).verdict == IDENTICAL
    assert Agreement(9, False, 2.4, 2.5, near).verdict == AGREES
    assert Agreement(9, False, 9.0, 2.5, near).verdict == DIFFERS
    assert Agreement(9, False, 2.4, 2.5, {**near, "tv": 3.0}).verdict == DIFFERS


def test_one_opening_more_is_not_equal():
    run = Count(10, 10, 10.0)
    assert Counts(run, Count(10, 10, 10.0 + 1e-9), "Closed").equal
    assert not Counts(run, Count(11, 10, 10.0), "Closed").equal
    assert not Counts(run, Count(10, 10, 10.1), "Closed").equal
