"""Axes without motor records: setpoint with put-completion and readback."""

from __future__ import annotations

import pytest
from ophyd.utils import LimitError

from cxgi_bluesky.devices.diagnostics.check import check_beamline
from cxgi_bluesky.devices.epics.stage import EpicsPositionerStage
from cxgi_bluesky.devices.positions import NotArrivedError, PositionError
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from tests.patience import PATIENCE_S, eventually

from .conftest import scan

AXES = {
    f"stage__{axis}": {name: f"STAGE:{axis.upper()}.{field}" for name, field in fields.items()}
    for axis in "xy"
    for fields in [{"setpoint": "VAL", "readback": "RBV", "stop": "STOP"}]
}


@pytest.fixture
def line(ca, make_line):
    return make_line(ca.prefix, **AXES)


def test_a_tile_is_reached_and_named_as_with_motors(ca, line, shared_line):
    assert isinstance(line.stage, EpicsPositionerStage)
    line.stage.tile.set(17).wait(timeout=PATIENCE_S)
    assert line.stage.tile.position == 17
    assert (ca.get("STAGE:X"), ca.get("STAGE:Y")) == pytest.approx(line.board.position_mm(17))
    keys, motors = line.stage.describe(), shared_line.stage.describe()
    assert set(keys) == set(motors)
    for name in ("stage_x", "stage_y"):
        assert {word: keys[name][word] for word in ("units", "dtype", "dtype_numpy")} == {
            word: motors[name][word] for word in ("units", "dtype", "dtype_numpy")
        }


def test_a_scan_runs_unchanged(RE, documents, ca, line):
    RE(scan(line, PatternSet(32, 8), object_stage=None))
    exposures = Exposures.from_documents(documents)
    assert len(exposures) == 8
    assert ca.get("COUNT:OPENINGS") == exposures.figures["openings"] == 8 + 2


def test_limits_of_the_file_are_kept_before_anything_moves(ca, make_line):
    line = make_line(ca.prefix, **AXES, stage__limits_mm={"x": [-100, 0], "y": [-100, 100]})
    far = max(range(line.board.pattern_count), key=lambda tile: line.board.position_mm(tile)[0])
    with pytest.raises(LimitError, match=r"stage_x: .* outside \(-100\.0, 0\.0\) mm"):
        line.stage.tile.set(far)
    assert ca.get("COUNT:MOVES") == 0


def limits_as_now(signal):
    """Limits of a setpoint, asked for again: pyepics keeps those that it has seen first."""
    signal._write_pv.get_ctrlvars()
    signal._write_pv.run_callbacks()
    return signal.limits


def test_limits_of_the_setpoint_are_kept(ca, make_line, shared_line):
    shared, before = shared_line.stage.y.user_setpoint, ca.get("STAGE:Y.HLM")
    ca.put("STAGE:Y.HLM", -100.0)
    try:
        line = make_line(ca.prefix, **AXES)
        with pytest.raises(LimitError, match=r"stage_y: .* outside the limits of CXGI:STAGE:Y\.VAL"):
            line.stage.tile.set(40)
        assert ca.get("COUNT:MOVES") == 0
    finally:
        ca.put("STAGE:Y.HLM", before)
        eventually(lambda: limits_as_now(shared)[1], before)  # other tests have a line with the same channel


def test_a_stuck_axis_ends_the_move(ca, make_line):
    line = make_line(ca.prefix, **AXES, stage__move_timeout_s=0.4)
    ca.put("FAULT:STUCK", 1)
    with pytest.raises(NotArrivedError, match=r"stage_[xy] was sent to .* has not arrived within 0\.4 s"):
        line.stage.tile.set(40).wait(timeout=PATIENCE_S)


def test_a_move_is_stopped(ca, line):
    line.stage.tile.set(0).wait(timeout=PATIENCE_S)
    ca.put("TIME_SCALE", 1.0)
    status = line.stage.tile.set(900)
    line.stage.stop()
    with pytest.raises(PositionError):
        status.wait(timeout=PATIENCE_S)
    assert ca.get("STAGE:X.DMOV") == ca.get("STAGE:Y.DMOV") == 1


def test_the_check_knows_them(ca, beamline_file):
    report = check_beamline(beamline_file(ca.prefix, **AXES), move=True)
    assert report.findings == ()
    assert report.moved


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage__x": "STAGE:X"}, "give two motor records, setpoint and readback of both, or classes"),
        ({"stage__velocity_mm_s": 2.0}, "have no velocity, leave it out"),
        ({"stage__x": {"setpoint": "STAGE:X.VAL"}}, "stage.x.readback is missing"),
        ({"stage__x": {"setpoint": "A", "readback": "B", "speed": 1}}, "stage.x.speed 1: unknown key"),
    ],
)
def test_what_does_not_go_together_is_one_error(ca, make_line, changes, message):
    with pytest.raises(CxgiError, match=message):
        make_line(ca.prefix, **{**AXES, **changes})
