"""The plans, unchanged, over Channel Access."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.conftest import QUIET, small_board

from .children import in_child
from .conftest import ASYNC, BOTH_AXES, RECORDS, scan

SAME = ("units", "dtype", "dtype_numpy")


@pytest.mark.parametrize("axes", BOTH_AXES)
def test_a_scan_over_channel_access_makes_the_picture_of_the_soft_devices(
    RE, documents, own_ioc, beamline_file, tmp_path
):
    board = small_board(8, aperture_um=80.0)
    board.to_yaml(tmp_path / "small.yaml")
    ioc = own_ioc("--board", str(tmp_path / "small.yaml"), "--object", "CAS")
    file = beamline_file(ioc.prefix, board="small.yaml", stage__in_position_um=2.5)
    told = in_child("picture", ioc, file)
    assert told["streams"] == {"primary": 24, "validation": 0, "open": 2, "dark": 1, "incident": 1, "metal": 0}
    assert told["scale"] == "transmission"
    RE(scan(simulated_beamline(board, "CAS"), PatternSet(8, 24)))
    soft = reconstruct(Measurement.from_documents(documents), method="inverse").image
    image = np.array(told["image"])
    assert np.corrcoef(image.ravel(), soft.ravel())[0, 1] > 0.98
    assert np.abs(image - soft).mean() < 0.05
    assert told["openings"] == ioc.end()["openings"] == 27


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_the_data_keys_are_those_of_the_soft_devices(line):
    soft = simulated_beamline("cu32", "CAS", parameters=QUIET)
    for real, simulated in zip(line.devices, soft.devices, strict=True):
        assert set(real.read()) >= set(simulated.read())  # types in descriptions are those of what was read last
        ours, theirs = real.describe(), simulated.describe()
        assert set(theirs) <= set(ours)
        for key, words in theirs.items():
            assert {word: ours[key].get(word) for word in SAME} == {word: words.get(word) for word in SAME}, key
            assert ours[key].get("precision", 9) >= words.get("precision", 0)
        assert set(ours) == set(real.read())
        assert set(real.describe_configuration()) == set(real.read_configuration())
    assert line.stage.hints == soft.stage.hints
    assert line.diode.hints == soft.diode.hints
    assert {"stage_x_velocity", "stage_x-velocity"} & set(line.stage.read_configuration())


def test_the_incident_intensity_is_in_the_run(RE, documents, line):
    RE(scan(line, PatternSet(32, 4), object_stage=None))
    (start,) = documents.of("start")
    assert start["cxgi"]["fields"]["i0"] == "diode_i0"
    measured = Exposures.from_documents(documents)
    assert all(exposure.i0 > 0 for exposure in measured.streams["primary"].values())


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_a_pause_closes_and_the_exposure_is_repeated(RE, documents, ca, line):
    def pause(name, document):
        if name == "event" and document["seq_num"] == 3 and document["data"]["pattern_index"] >= 0 and not states:
            states.append("asked")
            threading.Thread(target=RE.request_pause, daemon=True).start()

    states: list[str] = []
    RE.subscribe(pause)
    with pytest.raises(RunEngineInterrupted):
        RE(scan(line, PatternSet(32, 8), object_stage=None))
    assert line.shutter.state.get() == "closed"
    assert ca.get("SHUTTER:STATUS") == "Closed"
    RE.resume()
    assert len(Exposures.from_documents(documents)) == 8
