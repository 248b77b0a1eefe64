"""The knife-edge plan, unchanged, with a blade on a motor record."""

from __future__ import annotations

import pytest

from cxgi_bluesky.analysis.knife_edge import fit_knife_edge
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.plans import knife_edge_scan
from cxgi_bluesky.simulation.ioc.beamline import KNIFE_GEOMETRY
from tests.patience import PATIENCE_S

WORDS = {"start_um": -70.0, "stop_um": 70.0, "points": 21, "exposure_s": 2.0, "slit": KNIFE_GEOMETRY}


def test_the_spot_is_measured_over_channel_access(RE, documents, ca, line):
    ca.put("OBJECT:X", 10.0)
    line.stage.tile.set(line.board.open_tile_number).wait(timeout=PATIENCE_S)
    RE(knife_edge_scan(line.knife, line.shutter, line.diode, **WORDS))
    fit = fit_knife_edge(documents)
    assert fit.fwhm_um == pytest.approx(37, abs=4 * fit.fwhm_sigma_um)
    assert ca.get("COUNT:EXPOSURES") == ca.get("COUNT:OPENINGS") == 21
    assert ca.get("KNIFE:Y.RBV") == pytest.approx(-2.0, abs=1e-3)
    (descriptor,) = [d for d in documents.of("descriptor") if d["name"] == "primary"]
    key = descriptor["data_keys"]["knife_edge"]
    assert (key["units"], key["dtype_numpy"]) == ("um", "<f8")


def test_a_position_beyond_the_limits_is_refused_before_anything_moves(RE, ca, line):
    with pytest.raises(CxgiError, match="beyond the limits of knife"):
        RE(knife_edge_scan(line.knife, line.shutter, line.diode, **{**WORDS, "stop_um": 1e6}))
    assert ca.get("COUNT:MOVES") == ca.get("COUNT:OPENINGS") == 0
