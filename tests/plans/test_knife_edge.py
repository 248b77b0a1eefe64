from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bluesky.utils import FailedPause, RunEngineInterrupted

from cxgi_bluesky.analysis.knife_edge import fit_knife_edge
from cxgi_bluesky.devices.knife import Knife
from cxgi_bluesky.devices.simulated.beamline import (
    KNIFE_GEOMETRY,
    SimulatedAxis,
    SimulatedKnife,
    simulated_beamline,
)
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.plans import knife_edge_scan
from cxgi_bluesky.simulation.source import Source
from tests.conftest import QUIET, small_board
from tests.plans.test_endings import Broken, fail_after, interrupted
from tests.plans.test_raster import shutter_is_closed

SPOT = replace(QUIET, source=Source())


@pytest.fixture
def line():
    line = simulated_beamline(small_board(), "CAS", parameters=SPOT)
    line.simulation.object_in = False
    return line


def knife_of(line, axis="x"):
    return SimulatedKnife(name=f"knife_{axis}", axis=axis, simulation=line.simulation)


def scan(line, knife, **changes):
    words = {"start_um": -60, "stop_um": 60, "points": 25, "exposure_s": 0.5, "slit": KNIFE_GEOMETRY, **changes}
    return knife_edge_scan(knife, line.shutter, line.diode, **words)


def rows(documents):
    primary = next(d["uid"] for d in documents.of("descriptor") if d["name"] == "primary")
    return [d["data"] for d in documents.of("event") if d["descriptor"] == primary]


@pytest.mark.parametrize(("axis", "size"), [("x", 30), ("y", 37)])
def test_a_scan_gives_the_size_of_the_spot(RE, documents, line, axis, size):
    knife = knife_of(line, axis)
    RE(scan(line, knife))
    fit = fit_knife_edge(documents)
    assert fit.axis == axis
    assert fit.fwhm_um == pytest.approx(size, rel=0.005)
    assert shutter_is_closed(line)
    assert knife.edge.position == -2000  # out of the beam again


def test_the_start_document_says_what_the_fit_needs(RE, documents, line):
    RE(scan(line, knife_of(line, "y"), md={"sample": "none"}))
    start = documents.of("start")[0]
    assert start["cxgi"]["schema"] == 1
    assert start["cxgi"]["purpose"] == "knife_edge"
    assert start["cxgi"]["knife_edge"] == {
        "axis": "y",
        "source_knife_mm": 50.0,
        "knife_slit_mm": 400.0,
        "slit_um": 20.0,
    }
    assert start["cxgi"]["fields"] == {"position": "knife_y_edge", "bucket": "diode_current", "sigma": "diode_sigma"}
    assert (start["plan_name"], start["sample"], start["num_points"]) == ("knife_edge_scan", "none", 25)
    keys = documents.of("descriptor")[0]["data_keys"]
    assert keys["knife_y_edge"]["units"] == "um"


def test_repeats_are_passes_over_all_positions(RE, documents, line):
    RE(scan(line, knife_of(line), points=8, repeats=3))
    places = [row["knife_x_edge"] for row in rows(documents)]
    np.testing.assert_allclose(places, np.tile(np.linspace(-60, 60, 8), 3))
    assert line.simulation.openings == 24
    assert line.shutter.open_s.get() == pytest.approx(12)


def test_a_knife_that_covers_the_beam_from_the_other_side(RE, documents, line):
    RE(scan(line, knife_of(line), start_um=60, stop_um=-60))
    assert fit_knife_edge(documents).fwhm_um == pytest.approx(30, rel=0.005)


def test_a_run_of_the_catalog_will_do(RE, documents, line):
    class Run:
        def documents(self):
            return iter(documents)

    RE(scan(line, knife_of(line)))
    assert fit_knife_edge(Run()).fwhm_um == fit_knife_edge(documents).fwhm_um


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposure_s": 0}, "exposure_s 0"),
        ({"points": 7}, "points 7"),
        ({"repeats": 0}, "repeats 0"),
        ({"stop_um": -60}, "two different positions"),
        ({"stop_um": float("nan")}, "two different positions"),
        ({"start_um": -3000}, "-3000 um is beyond the limits of knife_x"),
        ({"md": {"cxgi": {}}}, "'cxgi'"),
    ],
)
def test_impossible_requests_are_refused_before_anything_moves(RE, documents, line, changes, message):
    knife = knife_of(line)
    with pytest.raises(CxgiError, match=message):
        RE(scan(line, knife, **changes))
    assert knife.edge.position == -2000
    assert not documents


def test_a_knife_of_no_axis():
    with pytest.raises(CxgiError, match="axis 'z'"):
        Knife(name="knife", axis="z")


def test_a_detector_fault_leaves_the_shutter_closed_and_the_knife_out(RE, documents, line, monkeypatch):
    knife = knife_of(line)
    fail_after(line.diode, "trigger", 7, monkeypatch)
    with pytest.raises(Broken):
        RE(scan(line, knife))
    assert shutter_is_closed(line)
    assert knife.edge.position == -2000
    assert len(rows(documents)) == 6


def test_a_knife_in_the_wrong_place_is_never_exposed(RE, line, monkeypatch):
    knife = knife_of(line)
    original = SimulatedAxis.set
    monkeypatch.setattr(SimulatedAxis, "set", lambda self, value, **words: original(self, value + 3, **words))
    with pytest.raises(RuntimeError, match=r"sent to -60\.0 um and is at -57\.0 um .*nothing was exposed"):
        RE(scan(line, knife))
    assert line.simulation.openings == 0


def short(line, knife):
    return scan(line, knife, points=8)


def message_count() -> int:
    line = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    return sum(1 for _ in short(line, knife_of(line)))


@pytest.mark.parametrize("at", range(1, message_count() + 1, 11))
def test_pause_and_resume(RE, documents, line, at):
    """Whenever it is paused: shutter closed while paused, every point there after resuming."""
    knife = knife_of(line)
    try:
        RE(interrupted(short(line, knife), at))
    except FailedPause:
        assert shutter_is_closed(line)
        return
    except RunEngineInterrupted:
        assert shutter_is_closed(line)
        RE.resume()
    assert shutter_is_closed(line)
    assert knife.edge.position == -2000
    fit = fit_knife_edge(documents)
    assert len(fit.signal) == 8
    np.testing.assert_allclose(fit.position_um, np.linspace(-60, 60, 8))


@pytest.mark.parametrize("ending", ["abort", "stop", "halt"])
def test_pause_and_end(RE, line, ending):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(scan(line, knife_of(line)), 150))
    getattr(RE, ending)()
    assert shutter_is_closed(line)
