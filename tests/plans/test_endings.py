"""However a scan ends or pauses: shutter closed, object back in, every exposure so far kept."""

from __future__ import annotations

import numpy as np
import pytest
from bluesky import Msg
from bluesky.preprocessors import plan_mutator
from bluesky.utils import FailedPause, RunEngineInterrupted, ensure_generator

from cxgi_bluesky.devices.simulated.beamline import SimulatedMaskStage, SimulatedShutter, simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.cases import long_case
from tests.conftest import QUIET, small_board
from tests.plans.test_raster import scan, shutter_is_closed


class Broken(RuntimeError):
    """An injected fault."""


def fail_after(device, method, count, monkeypatch):
    """Let a method of a device fail at its call number `count`."""
    original, calls = getattr(type(device), method), []

    def faulty(self, *args, **kwargs):
        calls.append(1)
        if self is device and len(calls) >= count:
            raise Broken(f"{device.name}.{method}")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(device), method, faulty)


def test_detector_fault_leaves_the_shutter_closed_and_keeps_the_exposures(RE, documents, beamline, monkeypatch):
    fail_after(beamline.diode, "trigger", 40, monkeypatch)
    with pytest.raises(Broken):
        RE(scan(beamline))
    assert shutter_is_closed(beamline)
    assert beamline.object_stage.state.get() == "in"
    assert documents.of("stop")[0]["exit_status"] == "fail"
    assert len(Exposures.from_documents(documents)) == 40 - 1 - 12 - 1


def test_fault_with_the_object_out_puts_it_back(RE, beamline, monkeypatch):
    fail_after(beamline.diode, "trigger", 6, monkeypatch)
    with pytest.raises(Broken):
        RE(scan(beamline))
    assert beamline.object_stage.state.get() == "in"
    assert shutter_is_closed(beamline)


def test_a_stage_at_the_wrong_tile_is_never_exposed(RE, beamline, monkeypatch):
    board = beamline.board
    monkeypatch.setattr(
        SimulatedMaskStage, "forward", lambda self, *a, **k: self.RealPosition(*board.position_mm(5)), raising=True
    )
    with pytest.raises(
        RuntimeError, match=r"sent to tile \d+ and is .* from tile 5 .*: check the stage, nothing was exposed"
    ):
        RE(scan(beamline, dark_exposures=0))
    assert beamline.simulation.openings == 0


def test_a_stage_beside_its_tile_is_never_exposed(RE, beamline, monkeypatch):
    def beside(self, pseudo):
        x, y = self.board.position_mm(int(pseudo.tile))
        return self.RealPosition(x + 0.003, y)  # 3 um: more than a quarter of a pixel

    from ophyd.pseudopos import pseudo_position_argument

    monkeypatch.setattr(SimulatedMaskStage, "forward", pseudo_position_argument(beside))
    with pytest.raises(RuntimeError, match=r"is 3\.0 um from tile \d+ \(allowed: 2\.5 um\)"):
        RE(scan(beamline, dark_exposures=0))
    assert beamline.simulation.openings == 0


def test_a_closing_that_fails_once_still_brings_the_object_back(RE, beamline, monkeypatch):
    fail_after(beamline.diode, "trigger", 6, monkeypatch)
    original, failed = SimulatedShutter._command, []

    def once(self, opened):
        if not opened and beamline.simulation.exposures >= 5 and not failed:
            failed.append(1)
            raise OSError("controller busy")
        return original(self, opened)

    monkeypatch.setattr(SimulatedShutter, "_command", once)
    with pytest.raises(OSError, match="controller busy"):
        RE(scan(beamline))
    assert failed
    assert shutter_is_closed(beamline)
    assert beamline.object_stage.state.get() == "in"


def test_a_failing_subscriber_leaves_the_shutter_closed(RE, beamline):
    seen = []

    def full_disk(name, document):
        seen.append(name)
        if seen.count("event") == 20:
            raise OSError("no space left on device")

    RE.subscribe(full_disk)
    with pytest.raises(OSError, match="no space left"):
        RE(scan(beamline))
    assert shutter_is_closed(beamline)


def interrupted(plan, at: int):
    """The plan with a pause before its message number `at`."""
    seen = []

    def pause(message):
        seen.append(message)
        if len(seen) == at:
            return ensure_generator([Msg("pause", None, defer=False), message]), None
        return None, None

    return plan_mutator(plan, pause)


@pytest.mark.parametrize(
    ("ending", "given", "exit_status"),
    [("abort", ["sample moved"], "abort"), ("stop", [], "success"), ("halt", [], "abort")],
)
def test_pause_and_end(RE, documents, beamline, ending, given, exit_status):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(scan(beamline), 400))
    assert shutter_is_closed(beamline)
    getattr(RE, ending)(*given)
    assert shutter_is_closed(beamline)
    (stop,) = documents.of("stop")
    assert (stop["exit_status"], stop["reason"]) == (exit_status, *(given or [""]))
    so_far = Exposures.from_documents(documents)
    assert 5 < len(so_far) < 64
    reconstruct(Measurement.from_exposures(so_far), method="correlation")


def short(line):
    return scan(line, PatternSet(8, 3), open_exposures=1, dark_exposures=1, incident_exposures=1, open_every=2)


def message_count() -> int:
    line = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    return sum(1 for _ in short(line))


# An exposure has 15 messages, so that every second one of the plan is each of them in turn.
EVERY = range(1, message_count() + 1)


@pytest.mark.parametrize("at", [*EVERY[::2], *map(long_case, EVERY[1::2])])
def test_pause_at_every_message(RE, documents, beamline, at):
    """Whenever it is paused: shutter closed while paused, every exposure there after resuming, object back in."""
    try:
        RE(interrupted(short(beamline), at))
    except FailedPause:  # before the first checkpoint: ends instead, which is safe too
        assert shutter_is_closed(beamline)
        return
    except RunEngineInterrupted:
        assert shutter_is_closed(beamline)
        RE.resume()
    assert shutter_is_closed(beamline)
    assert beamline.object_stage.state.get() == "in"
    exposures = Exposures.from_documents(documents)
    counts = {name: len(stream) for name, stream in exposures.streams.items()}
    assert counts == {"primary": 3, "validation": 0, "open": 3, "dark": 1, "incident": 1, "metal": 0}
    m = Measurement.from_exposures(exposures)
    expected = [(PatternSet(8, 3).pattern(k) * beamline.simulation.truth).sum() for k in m.pattern_index]
    np.testing.assert_allclose(m.coefficient, expected, atol=5e-3)
