from __future__ import annotations

import argparse
import json

import pytest

from cxgi_bluesky import session
from cxgi_bluesky.cli import knife_edge
from cxgi_bluesky.cli._common import plain
from cxgi_bluesky.devices.simulated import KNIFE_GEOMETRY, SimulatedKnife
from cxgi_bluesky.resolution import fit_knife_edge
from tests.conftest import small_board


def test_the_spot_of_a_run_in_the_catalog(tmp_path, monkeypatch):
    s = session.start(sim=True, data=tmp_path, board=small_board(), object_name="CAS", live=False, progress=False)
    knife = SimulatedKnife(name="knife", axis="y", twin=s.beamline.twin)
    words = {"start_um": -70, "stop_um": 70, "points": 21, "exposure_s": 2.0, "slit": KNIFE_GEOMETRY}
    (uid,) = s.RE(s.plans.knife_edge_scan(knife, s.shutter, s.diode, **words))
    fit = fit_knife_edge(s.catalog[uid])
    assert fit.fwhm_um == pytest.approx(37, abs=4 * fit.fwhm_sigma_um)

    monkeypatch.setattr("cxgi_bluesky.catalog.open_catalog", lambda data: s.catalog)  # opening takes seconds
    parser = argparse.ArgumentParser()
    knife_edge.add(parser.add_subparsers())
    options = parser.parse_args(["knife-edge", uid[:8], "--data", str(tmp_path)])
    said: list[str] = []
    payload = json.loads(json.dumps(plain(options.command(options, said.append)), allow_nan=False))
    assert payload["run"] == uid
    assert (payload["axis"], payload["points"]) == ("y", 21)
    assert (payload["fwhm_um"], payload["fwhm_sigma_um"]) == pytest.approx((fit.fwhm_um, fit.fwhm_sigma_um))
    assert "spot along y: 3" in said[0]
