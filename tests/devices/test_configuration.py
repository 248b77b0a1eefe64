"""Settings of devices in the descriptors of a run, as it is emitted and as the catalog gives it back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cxgi_bluesky.catalog import run_writer
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.devices.simulated.ccd import SimulatedCCD
from cxgi_bluesky.devices.simulated.sandpaper import simulated_speckle_beamline
from tests.conftest import ALONE, QUIET, small_scan


def configuration(documents, stream="primary"):
    """Configuration of a stream by object."""
    (descriptor,) = [d for name, d in documents if name == "descriptor" and d["name"] == stream]
    return descriptor["configuration"]


def test_a_run_tells_its_board_detector_shutter_and_limits(RE, documents, beamline):
    RE(small_scan(beamline, 4, max_repeats=1, max_open_s=50.0, object_stage=beamline.object_stage))
    settings = configuration(documents)
    board, lies = beamline.board, beamline.board.alignment
    stage = settings["stage"]["data"]
    assert (stage["stage_board_name"], stage["stage_board_sha256"]) == (board.name, board.sha256)
    assert (stage["stage_board_x0_mm"], stage["stage_board_y0_mm"]) == (lies.x0_mm, lies.y0_mm)
    assert (stage["stage_board_pixel_um"], stage["stage_board_d_r"]) == (board.pixel_um, board.d_r)
    assert stage["stage_board_mirrored"] is False
    assert settings["diode"]["data"]["diode_unit"] == "pA"
    assert settings["diode"]["data"]["diode_readings"] == 10
    exposure = settings["exposure"]["data"]
    assert (exposure["exposure_max_repeats"], exposure["exposure_max_open_s"]) == (1, 50.0)
    assert exposure["shutter_timeout_s"] == beamline.shutter.timeout_s
    keys = settings["stage"]["data_keys"]
    units = {key: keys[f"stage_board_{key}"]["units"] for key in ("pixel_um", "x0_mm", "size")}
    assert units == {"pixel_um": "um", "x0_mm": "mm", "size": "pixels"}


def test_every_setting_is_described_and_plain(RE, documents, beamline):
    RE(small_scan(beamline, 4))
    for _, descriptor in (d for d in documents if d[0] == "descriptor"):
        for settings in descriptor["configuration"].values():
            assert set(settings["data"]) == set(settings["data_keys"]) == set(settings["timestamps"])
            json.dumps(settings, allow_nan=False)


def test_settings_may_be_numpy_values(beamline, monkeypatch):
    given = {"a": (np.float64(0.5), "s"), "b": (np.int64(3), ""), "c": (np.arange(2), ""), "d": ((1, 2), "")}
    monkeypatch.setattr(beamline.shutter, "settings", lambda: given)
    described, read = beamline.shutter.describe_configuration(), beamline.shutter.read_configuration()
    found = {key: (described[f"shutter_{key}"]["dtype"], read[f"shutter_{key}"]["value"]) for key in given}
    assert found == {"a": ("number", 0.5), "b": ("integer", 3), "c": ("array", [0, 1]), "d": ("array", [1, 2])}


def test_the_catalog_gives_them_back(RE, documents, beamline, catalog):
    RE.subscribe(run_writer(catalog))
    RE(small_scan(beamline, 4, **ALONE))
    uid = documents.of("start")[0]["uid"]
    for stream in ("primary", "figures"):
        stored, emitted = configuration(list(catalog[uid].documents()), stream), configuration(documents, stream)
        assert {name: settings["data"] for name, settings in stored.items()} == {
            name: settings["data"] for name, settings in emitted.items()
        }
        for name, settings in emitted.items():
            for key, described in settings["data_keys"].items():
                assert described["units"] == stored[name]["data_keys"][key]["units"]


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: simulated_speckle_beamline(9).stage, {"stage_board_size": [59, 59], "stage_board_step_um": 1350.0}),
        (lambda: simulated_speckle_beamline(9).camera, {"camera_size": [59, 59], "camera_dtype": "<u2"}),
        (
            lambda: SimulatedCCD(name="ccd", simulation=simulated_beamline("cu32", parameters=QUIET).simulation),
            {"ccd_unit": "counts"},
        ),
    ],
)
def test_other_devices_tell_theirs(make, wanted):
    device = make()
    read = device.read_configuration()
    assert {key: read[key]["value"] for key in wanted} == wanted
    assert set(device.describe_configuration()) == set(read)


def test_a_part_that_cannot_be_read_is_left_out_and_said(RE, documents, beamline, caplog, monkeypatch):
    def silent():
        raise TimeoutError("Failed to read PV:VELO within 3.00 sec")

    monkeypatch.setattr(beamline.shutter, "read_configuration", silent)
    RE(small_scan(beamline, 4, **ALONE))
    assert documents.of("stop")[0]["exit_status"] == "success"
    assert set(configuration(documents)["exposure"]["data"]) == {"exposure_max_repeats"}
    assert "exposure: a setting is not in the run: shutter (Failed to read PV:VELO" in caplog.text
