"""Beamlines over the IOC: the example file of the package with short times, and what a test changes."""

from __future__ import annotations

import copy

import pytest
import yaml

from cxgi_bluesky.devices.beamline_file import example_path, load_beamline
from cxgi_bluesky.plans import hadamard_scan

SHORT = {
    "board": "cu32",
    "timeouts": {"connection_s": 5, "read_s": 1, "write_s": 2},
    "stage.in_position_um": 20,
    "stage.move_timeout_s": 5,
    "shutter.opening_s": 0.6,
    "shutter.closing_s": 0.6,
    "shutter.second_barrier.closing_s": 0.6,
}
DIODES = {
    "keithley": {"class": "keithley", "pvs": "KEITHLEY:", "range_settle_s": 0},
    "tetramm": {"class": "quadem", "pvs": "TETRAMM:", "range_settle_s": 0},
    "scaler": {"class": "scaler", "record": "SCALER1", "counts_per_pa_s": 10000},
}
GONE = object()  # a key that a test takes out


def words_of(prefix: str, **changes) -> dict:
    """Words of the beamline file; a change names its key by dots, written as two underscores in a keyword."""
    words = copy.deepcopy(yaml.safe_load(example_path("ioc").read_text(encoding="utf-8")))
    words["prefix"] = prefix
    for path, value in {**SHORT, **{key.replace("__", "."): value for key, value in changes.items()}}.items():
        *blocks, key = path.split(".")
        place = words
        for name in blocks:
            place = place[name]
        if value is GONE:
            del place[key]
        else:
            place[key] = value
    return words


@pytest.fixture
def beamline_file(tmp_path):
    """Writes a beamline file."""

    def write(prefix: str, **changes):
        file = tmp_path / "beamline.yml"
        file.write_text(yaml.safe_dump(words_of(prefix, **changes)), encoding="utf-8")
        return file

    return write


@pytest.fixture
def make_line(beamline_file):
    """Makes beamlines; their PVs are kept, as other clients in this process share the channels."""
    return lambda prefix, **changes: load_beamline(beamline_file(prefix, **changes))


@pytest.fixture(scope="session")
def shared_line(shared_ioc, tmp_path_factory):
    """The beamline of the shared IOC."""
    file = tmp_path_factory.mktemp("line") / "beamline.yml"
    file.write_text(yaml.safe_dump(words_of(shared_ioc.prefix)), encoding="utf-8")
    return load_beamline(file)


@pytest.fixture
def line(ca, shared_line):
    """The same, without the alarms of an earlier test."""
    shared_line.shutter.alarm = None
    shared_line.shutter.close()
    for device in shared_line.devices:
        device.unstage()
    shared_line.diode.exposure_s.put(1.0)
    return shared_line


def scan(line, pattern_set, **options):
    """A short scan with a beamline's devices."""
    words = {"exposure_s": 1.0, "open_exposures": 1, "dark_exposures": 1, "incident_exposures": 1, **options}
    words.setdefault("object_stage", line.object_stage)
    return hadamard_scan(line.stage, line.shutter, line.diode, board=line.board, pattern_set=pattern_set, **words)
