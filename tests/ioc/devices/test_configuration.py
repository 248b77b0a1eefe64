"""Settings of devices over Channel Access, in the descriptors of a run and read back from the catalog."""

from __future__ import annotations

import pytest

from cxgi_bluesky.catalog import run_writer
from cxgi_bluesky.masks.pattern_set import PatternSet
from tests.devices.test_configuration import configuration

from .conftest import DIODES, scan

BESIDE = {
    "keithley": {"diode_reading_s": 0.1, "diode_range_set": 0, "diode_ranges": list(range(8)), "diode_value_unit": "A"},
    "tetramm": {"diode_channel": 1, "diode_full_scales": [120e-9, 120e-6], "diode_detector_values_per_read": 10},
    "scaler": {"diode_channel": 2, "diode_counts_per_pa_s": 10000.0, "diode_scaler_freq": 1e7},
}


def test_a_run_tells_the_settings_of_its_devices(RE, documents, ca, line, catalog):
    RE.subscribe(run_writer(catalog))
    RE(scan(line, PatternSet(32, 2), open_exposures=0))
    words = configuration(list(catalog[documents.of("start")[0]["uid"]].documents()))
    data = {key: value for one in words.values() for key, value in one["data"].items()}
    assert data["stage_board_sha256"] == line.board.sha256
    assert data["stage_x_motor_egu"] == "mm"
    assert (data["diode_late_s"], data["diode_value_unit"], data["diode_monitor_unit"]) == (1.0, "pA", "pA")
    assert data["diode_value_pv"] == f"{ca.prefix}VALUE"
    assert (data["shutter_opened_value"], data["shutter_closed_value"]) == ("Open", "Closed")
    assert (data["shutter_max_open_s"], data["object_stage_out_mm"]) == (60.0, 10.0)
    assert data["exposure_max_repeats"] == 2


@pytest.mark.parametrize("kind", BESIDE)
def test_each_detector_tells_range_and_averaging(ca, make_line, kind):
    diode = make_line(ca.prefix, diode=DIODES[kind]).diode
    keys, read = diode.describe_configuration(), diode.read_configuration()
    assert {key: read[key]["value"] for key in BESIDE[kind]} == BESIDE[kind]
    assert set(keys) == set(read)


def test_a_setting_that_does_not_answer_ends_no_scan(RE, documents, ca, make_line, caplog, monkeypatch):
    line = make_line(ca.prefix, diode=DIODES["tetramm"])
    monkeypatch.setattr(line.diode.detector.values_per_read, "_timeout", 1e-9)
    RE(scan(line, PatternSet(32, 2), object_stage=None, open_exposures=0))
    assert documents.of("stop")[0]["exit_status"] == "success"
    data = configuration(documents)["diode"]["data"]
    assert "diode_detector_values_per_read" not in data
    assert "diode_detector_em_range" in data
    assert "a setting is not in the run: diode_detector_values_per_read" in caplog.text
