"""Beamlines over the IOC: the example file of the package with long times, and what a test changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from cxgi_bluesky.devices.config.load import load_beamline
from cxgi_bluesky.devices.shutter import ShutterError
from cxgi_bluesky.plans import hadamard_scan
from tests.beamline_files import changed_file

PATIENT = {
    "board": "cu32",
    "timeouts": {"connection_s": 60, "read_s": 10, "write_s": 20},
    "stage.in_position_um": 20,
    "stage.move_timeout_s": 60,
    "shutter.opening_s": 8,
    "shutter.closing_s": 4.5,
    "shutter.second_barrier.closing_s": 4.5,
}
RECORDS, ASYNC = "records", "ophyd-async"
BOTH_AXES = [RECORDS, pytest.param(ASYNC, marks=pytest.mark.long)]
SOON_S = 0.6  # for a shutter that is to be given up
HASTY = {  # for an IOC that is to be given up
    "timeouts": {"connection_s": 60, "read_s": 1, "write_s": 1},
    "shutter__closing_s": 1,
    "shutter__second_barrier__closing_s": 1,
    "stage__move_timeout_s": 1,
}
DIODES = {
    "keithley": {"class": "keithley", "pvs": "KEITHLEY:", "range_settle_s": 0},
    "tetramm": {"class": "quadem", "pvs": "TETRAMM:", "range_settle_s": 0},
    "scaler": {"class": "scaler", "record": "SCALER1", "counts_per_pa_s": 10000},
}


def changes_of(prefix: str, axes: str = RECORDS, **changes) -> dict:
    """What a test's file has else than the example; a keyword names its key with two underscores for dots."""
    changed = {"prefix": prefix, **PATIENT, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {**changed, **(async_axes(prefix) if axes == ASYNC else {})}


def async_axes(prefix: str) -> dict:
    """The same records, driven by ophyd-async over aioca."""
    motor = "ophyd_async.epics.motor.Motor"
    return {f"stage.{axis}": {"class": motor, "options": {"prefix": f"{prefix}STAGE:{axis.upper()}"}} for axis in "xy"}


@pytest.fixture
def axes() -> str:
    """What drives the mask stage; a test that is made with both has ``parametrize("axes", BOTH_AXES)``."""
    return RECORDS


@pytest.fixture
def beamline_file(tmp_path, axes):
    """Writes a beamline file."""

    return lambda prefix, **changes: changed_file(tmp_path, changes_of(prefix, axes, **changes))


@pytest.fixture
def make_line(beamline_file):
    """Makes beamlines; their PVs are kept, as other clients in this process share the channels.

    Afterwards they hear no more of them: each motor would ask for its direction at each move of a later test, and
    updates that a test waits for would come after all those.
    """
    made = []

    def make(prefix, **changes):
        made.append(load_beamline(beamline_file(prefix, **changes)))
        return made[-1]

    yield make
    for signal in (walk.item for line in made for device in line.all_devices for walk in device.walk_signals()):
        signal.unsubscribe_all()


@pytest.fixture(scope="session")
def shared_lines(shared_ioc, tmp_path_factory):
    """Beamlines of the shared IOC, one for each kind of axes."""
    return cache(
        lambda axes: load_beamline(changed_file(tmp_path_factory.mktemp("line"), changes_of(shared_ioc.prefix, axes)))
    )


@pytest.fixture(scope="session")
def shared_line(shared_lines):
    """That with motor records of ours."""
    return shared_lines(RECORDS)


@pytest.fixture
def line(ca, shared_lines, axes):
    """One of them, without the alarms of an earlier test."""
    shared_line = shared_lines(axes)
    shared_line.shutter.alarm = None
    try:
        shared_line.shutter.close()
    except ShutterError:  # pyepics lost an answer while the machine was busy: once more
        shared_line.shutter.alarm = None
        shared_line.shutter.close()
    for device in shared_line.devices:
        device.unstage()
    shared_line.diode.exposure_s.put(1.0)
    return shared_line


@pytest.fixture
def hasten(monkeypatch):
    """From now on a beamline's shutter is given up soon."""

    def at_once(line):
        times = replace(line.shutter.times, opening_s=SOON_S, closing_s=SOON_S)
        monkeypatch.setattr(line.shutter, "times", times)

    return at_once


def scan(line, pattern_set, **options):
    """A short scan with a beamline's devices."""
    words = {"exposure_s": 1.0, "open_exposures": 1, "dark_exposures": 1, "incident_exposures": 1, **options}
    words.setdefault("object_stage", line.object_stage)
    return hadamard_scan(line.stage, line.shutter, line.diode, board=line.board, pattern_set=pattern_set, **words)
