"""What a pvAccess client sees of a scan: a real server and client, on loopback and free ports."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from p4p.client.thread import Context, RemoteError

from cxgi_bluesky import session
from cxgi_bluesky.callbacks.pva_publisher import PVS, STATES, PvaPublisher
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from tests.conftest import signed_measurement, small_board, small_scan, smooth_image
from tests.patience import PATIENCE_S, eventually

ROOT = Path(__file__).parents[2]
DISPLAY = ROOT / "examples" / "phoebus" / "cxgi.bob"
PAGE = ROOT / "docs" / "how-to" / "show-the-image-in-epics.md"
SCORE = {"patterns": 64, "explained": 0.7, "supported": True}
NO_ALARM, MINOR, MAJOR, INVALID = range(4)


class Client:
    """Reads PVs, as any program at the beamline would."""

    def __init__(self, conf: dict[str, str]) -> None:
        self._context = Context("pva", conf=conf, useenv=False)

    def get(self, name: str):
        return self._context.get(f"T:{name}", timeout=PATIENCE_S)

    def put(self, name: str, value) -> None:
        self._context.put(f"T:{name}", value, timeout=PATIENCE_S, get=False)

    def close(self) -> None:
        self._context.close()


@pytest.fixture(autouse=True)
def _free_ports(monkeypatch):
    for name in ("EPICS_PVAS_SERVER_PORT", "EPICS_PVAS_BROADCAST_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.delenv("EPICS_PVAS_INTF_ADDR_LIST", raising=False)


@pytest.fixture
def publisher():
    made = PvaPublisher("T:")
    yield made
    made.close()


@pytest.fixture
def client(publisher):
    made = Client(publisher.conf)
    yield made
    made.close()


@pytest.fixture
def image():
    made = reconstruct_and_check(signed_measurement(smooth_image(16), sigma=0.1), method="tv", details=True)
    return replace(made, source={"raw_uids": ["one"], "pixel_um": 2.5, "last_exposure_time": 1700000000.25})


# ---------------------------------------------------------------- a scan


def test_a_scan_and_its_image_are_those_of_its_documents(RE, documents, publisher, client):
    RE.subscribe(publisher)
    RE(small_scan(simulated_beamline(small_board(16), "CAS", seed=3), 128))
    publisher.wait(PATIENCE_S)
    assert STATES[int(client.get("State"))] == "done"
    exposures = Exposures.from_documents(documents)
    expected = reconstruct_and_check(Measurement.from_exposures(exposures), method="tv", details=True)
    image, uncertainty = client.get("Image"), client.get("Uncertainty")
    np.testing.assert_array_equal(image, expected.image.astype(np.float32))
    np.testing.assert_array_equal(uncertainty, expected.uncertainty.astype(np.float32))
    last = max(exposure.time for exposure in exposures.streams["primary"].values())
    for name in ("Image", "Uncertainty", "Verdict", "ImageExposures", "PixelSize"):
        assert client.get(name).timestamp == pytest.approx(last, abs=1e-6)
    assert image.raw.dataTimeStamp.secondsPastEpoch == int(last)
    assert [dimension.size for dimension in image.raw.dimension] == [16, 16]
    assert image.attrib["pixel_width_um"] == image.attrib["pixel_height_um"] == client.get("PixelSize") == 10.0
    assert image.attrib["run_uid"] == client.get("RunUid") == exposures.start["uid"]
    assert image.attrib["exposures"] == client.get("ImageExposures") == 128
    assert client.get("ExposuresDone") == client.get("ExposuresTotal") == 128
    assert client.get("OpenTime") == exposures.figures["open_s"] > 128
    assert client.get("ScanNumber") == 1
    assert client.get("Explained") == pytest.approx(expected.quality["held_out"]["explained"])
    assert client.get("UncertaintyMean") == pytest.approx(expected.uncertainty.mean())


def test_a_scan_that_ends_early_is_an_alarm(RE, documents, publisher, client):
    RE(small_scan(simulated_beamline(small_board(16), "CAS"), 2))
    for name, document in documents:
        publisher(name, {**document, "exit_status": "abort", "reason": "it moved"} if name == "stop" else document)
    state = client.get("State")
    assert (STATES[int(state)], state.severity, state.raw.alarm.message) == ("ended early", MINOR, "it moved")


def test_the_image_of_the_scan_before_is_marked_until_there_is_one(publisher, client, RE, documents, image):
    publisher.show(image)
    assert client.get("Image").severity == NO_ALARM
    RE(small_scan(simulated_beamline(small_board(16), "CAS"), 2))
    publisher(*documents[0])
    old = client.get("Image")
    assert (old.severity, old.raw.alarm.message) == (INVALID, "of the scan before: no image of this one yet")
    np.testing.assert_array_equal(old, image.image.astype(np.float32))
    publisher.show(image)  # one that comes late
    assert client.get("Image").severity == INVALID


# ---------------------------------------------------------------- quality


@pytest.mark.parametrize(
    ("score", "text", "severity"),
    [
        (SCORE, "supported", NO_ALARM),
        ({**SCORE, "supported": False}, "NOT SUPPORTED BY THE DATA", MAJOR),
        ({**SCORE, "supported": None, "explained": -0.2}, "PREDICTS NOTHING: DO NOT TRUST", MAJOR),
        ({**SCORE, "supported": None}, "NOT JUDGED: TOO FEW PATTERNS", MINOR),
        (None, "NOT JUDGED: TOO FEW PATTERNS", MINOR),
    ],
)
def test_a_mark_is_an_alarm_of_image_and_verdict(score, text, severity, publisher, client, image):
    publisher.show(replace(image, quality={"held_out": score}))
    assert client.get("Verdict") == text
    for name in ("Image", "Verdict"):
        value = client.get(name)
        assert (value.severity, value.raw.alarm.message) == (severity, text if severity else "")
    assert client.get("Explained").severity == (INVALID if score is None else NO_ALARM)


def test_the_psnr_is_served_where_it_is_known_and_invalid_elsewhere(publisher, client, image):
    publisher.show(image)
    assert np.isnan(client.get("PSNR"))
    assert client.get("PSNR").severity == INVALID
    publisher.show(replace(image, quality={"psnr_db": 24.5, "psnr_low_db": 23.0, "psnr_high_db": 26.0}))
    assert [client.get(name) for name in ("PSNR", "PSNRLow", "PSNRHigh")] == [24.5, 23.0, 26.0]
    assert client.get("PSNR").severity == NO_ALARM
    assert client.get("PSNR").raw.display.units == "dB"


def test_an_uncertainty_stays_until_the_next_and_never_becomes_that_of_another_scan(publisher, client, image):
    publisher.show(image)
    publisher.show(replace(image, uncertainty=None, source={**image.source, "last_exposure_time": 1700000009.0}))
    assert client.get("Uncertainty").timestamp == 1700000000.25
    assert client.get("Image").timestamp == 1700000009.0
    publisher.show(replace(image, uncertainty=None, source={**image.source, "raw_uids": ["another"]}))
    assert client.get("Uncertainty").severity == INVALID
    assert np.isnan(client.get("Uncertainty")).all()


# ---------------------------------------------------------------- the server


@pytest.mark.parametrize("pv", PVS, ids=lambda pv: pv.name)
def test_nobody_can_write(pv, client):
    before = client.get(pv.name)
    with pytest.raises(RemoteError, match="Put not supported"):
        client.put(pv.name, before)


def test_it_is_served_on_this_machine_alone_unless_told_otherwise(publisher, monkeypatch):
    assert publisher.conf["EPICS_PVAS_INTF_ADDR_LIST"].partition(":")[0] == "127.0.0.1"
    assert publisher.conf["EPICS_PVAS_BEACON_ADDR_LIST"].partition(":")[0] == "127.0.0.1"
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", "127.0.0.2")
    for host, expected in ((None, "127.0.0.2"), ("127.0.0.3", "127.0.0.3")):
        told = PvaPublisher("T:", host=host, later=True)
        assert told.conf["EPICS_PVAS_INTF_ADDR_LIST"].partition(":")[0] == expected
        told.close()


def test_what_cannot_be_served_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    assert main(["pva", "--prefix", "a b"]) == 2
    assert "prefix of PVs 'a b': give letters" in capsys.readouterr().err
    with pytest.raises(CxgiError, match=r"nothing can be served at 192\.0\.2\.1 .*give an address of this machine"):
        PvaPublisher("T:", host="192.0.2.1", later=True)


def test_the_same_pvs_are_not_served_twice(publisher, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    for name in ("EPICS_PVA_BROADCAST_PORT", "EPICS_PVA_SERVER_PORT"):
        monkeypatch.setenv(name, publisher.conf[name])
    monkeypatch.setattr("cxgi_bluesky.cli.pva.SEARCH_S", PATIENCE_S)
    assert main(["pva", "--prefix", "T:"]) == 2
    assert "T:State is served already: end that server, or give another --prefix" in capsys.readouterr().err


# ---------------------------------------------------------------- who uses them


def test_the_display_of_phoebus_shows_what_is_served_and_no_more(publisher):
    display = ElementTree.parse(DISPLAY).getroot()
    macros = {macro.tag: "T:" for macro in display.find("macros")}
    shown = [element.text for element in display.iter("pv_name")]
    names = [re.sub(r"\$\((\w+)\)", lambda found: macros[found[1]], name) for name in shown]
    assert {name.removeprefix("pva://") for name in names} == set(publisher.names)
    images = {element.find("pv_name").text for element in display.iter("widget") if element.get("type") == "image"}
    assert images == {"pva://$(P)Image", "pva://$(P)Uncertainty"}


def test_the_page_lists_all_pvs_and_states():
    rows = re.findall(r"^\| `(\w+)` \| (\w+)(?:, (\w+))? \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert rows == [(pv.name, pv.kind, pv.unit) for pv in PVS]
    assert f"`{'`, `'.join(STATES)}`" in PAGE.read_text(encoding="utf-8")


def test_a_session_serves_its_scans(tmp_path):
    beamline = simulated_beamline(small_board(16), "CAS")
    s = session.start(data=tmp_path, beamline=beamline, live=False, progress=False, pva="T:")
    client = Client(s.pvs.conf)
    try:
        (uid,) = s.RE(s.scan(0.5, 1.0))
        s.pvs.wait(PATIENCE_S)
        eventually(lambda: client.get("ImageExposures"), 128)
        assert client.get("RunUid") == uid
        assert not (tmp_path / "live.png").exists()
    finally:
        client.close()
        s.pvs.close()
