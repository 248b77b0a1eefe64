from __future__ import annotations

import re

import pytest
from bluesky.magics import BlueskyMagics
from ophyd.utils import LimitError

from cxgi_bluesky.devices.positions import PositionError
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from tests.patience import PATIENCE_S, eventually

from .conftest import ASYNC, RECORDS, scan


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_a_tile_is_reached_with_both_axes(ca, line):
    line.stage.tile.set(17).wait(timeout=PATIENCE_S)
    x, y = line.board.position_mm(17)
    assert (ca.get("STAGE:X.RBV"), ca.get("STAGE:Y.RBV")) == pytest.approx((x, y), abs=0.005)
    assert line.stage.tile.position == 17
    assert line.stage.pattern_index.get() == line.board.pattern_index_of(17)
    assert line.stage.tile_distance_um.get() < 5
    assert ca.get("COUNT:MOVES") == 2


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_between_tiles_the_readback_is_the_nearest_tile_and_its_distance(line):
    x, y = line.board.position_mm(9)
    line.stage.x.set(x + 0.4).wait(timeout=PATIENCE_S)
    line.stage.y.set(y).wait(timeout=PATIENCE_S)
    eventually(lambda: line.stage.tile.position, 9)  # an axis that is moved alone ends with its DMOV
    eventually(lambda: line.stage.tile_distance_um.get(), pytest.approx(400, abs=5))


def test_the_magic_moves_to_a_tile(RE, ca, line):
    magics = BlueskyMagics(None)
    magics.RE, magics.shell = RE, type("Shell", (), {"user_ns": {"stage": line.stage}})
    magics.mov("stage.tile 17")
    assert line.stage.tile.position == 17


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_an_axis_that_ends_elsewhere_is_one_clear_error(ca, line, axis):
    line.stage.tile.set(0).wait(timeout=PATIENCE_S)
    tile = {"x": 1, "y": line.board.columns}[axis]  # only this axis moves
    wanted = line.board.position_mm(tile)["xy".index(axis)]
    ca.put("TIME_SCALE", 2.0)
    status = line.stage.tile.set(tile)
    eventually(lambda: ca.get(f"STAGE:{axis.upper()}.MOVN"), 1)
    ca.put(f"STAGE:{axis.upper()}.STOP", 1)  # another client stops it; for the record the move is done
    with pytest.raises(PositionError) as caught:
        status.wait(timeout=PATIENCE_S)
    found = ca.get(f"STAGE:{axis.upper()}.RBV")
    read = re.search(rf"stage_{axis} was sent to {wanted:.4f} mm and reads (-?[\d.]+) mm", str(caught.value))
    assert float(read[1]) == pytest.approx(found, abs=1e-3)  # both with the encoder's noise
    assert "um off (window 20 um): check the axis for lost steps" in str(caught.value)


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_a_scan_exposes_nothing_beyond_the_window(RE, documents, ca, make_line):
    line = make_line(ca.prefix, stage__in_position_um=1e-4)  # less than the encoder's noise
    with pytest.raises(PositionError, match=r"stage_[xy] was sent to .* \(window 0\.0001 um\)"):
        RE(scan(line, PatternSet(32, 8), object_stage=None))
    assert "window 0.0001 um" in documents.of("stop")[0]["reason"]
    assert ca.get("COUNT:OPENINGS") == 0
    assert ca.get("SHUTTER:STATUS") == "Closed"


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_an_axis_that_does_not_arrive_ends_the_move(ca, make_line):
    line = make_line(ca.prefix, stage__move_timeout_s=0.4)
    ca.put("FAULT:STUCK", 1)
    with pytest.raises(PositionError, match=r"stage_[xy] was sent to .* has not arrived"):
        line.stage.tile.set(40).wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_limits_of_the_file_are_kept_before_anything_moves(ca, make_line):
    line = make_line(ca.prefix, stage__limits_mm={"x": [-100, 0], "y": [-100, 100]})
    far = max(range(line.board.pattern_count), key=lambda tile: line.board.position_mm(tile)[0])
    with pytest.raises(LimitError, match=r"stage_x: .* outside \(-100\.0, 0\.0\) mm of the beamline file"):
        line.stage.tile.set(far)
    assert ca.get("COUNT:MOVES") == 0


def test_a_motor_in_another_unit_is_not_staged(ca, line):
    ca.put("STAGE:X.EGU", "um")
    try:
        with pytest.raises(CxgiError, match=r"STAGE:X\.EGU says 'um'"):
            line.stage.stage()
    finally:
        ca.put("STAGE:X.EGU", "mm")


def test_the_velocity_is_put_back(ca, make_line):
    before = ca.get("STAGE:X.VELO")
    line = make_line(ca.prefix, stage__velocity_mm_s=before / 2)
    line.stage.stage()
    assert ca.get("STAGE:X.VELO") == pytest.approx(before / 2)
    line.stage.unstage()
    assert ca.get("STAGE:X.VELO") == pytest.approx(before)


def test_the_object_goes_out_and_in(ca, line):
    line.object_stage.set("out").wait(timeout=PATIENCE_S)
    assert (line.object_stage.state.get(), ca.get("OBJECT:X.RBV")) == ("out", pytest.approx(10, abs=0.01))
    line.object_stage.motor.set(5.0).wait(timeout=PATIENCE_S)
    eventually(lambda: line.object_stage.state.get(), "between")
    line.object_stage.set("in").wait(timeout=PATIENCE_S)
    assert line.object_stage.state.get() == "in"
    with pytest.raises(CxgiError, match="'away'"):
        line.object_stage.set("away")
