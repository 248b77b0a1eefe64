from __future__ import annotations

import numpy as np
import pytest
from IPython.lib.pretty import pretty
from ophyd.utils import LimitError

from cxgi_bluesky.devices.shutter import ShutterError
from cxgi_bluesky.devices.simulated.beamline import SimulatedShutter, simulated_beamline
from cxgi_bluesky.errors import CxgiError
from tests.conftest import QUIET
from tests.patience import PATIENCE_S, eventually


def test_stage_moves_by_tile(beamline):
    stage, board = beamline.stage, beamline.board
    stage.tile.set(17).wait(timeout=PATIENCE_S)
    assert stage.tile.position == 17
    assert (stage.x.position, stage.y.position) == pytest.approx(board.position_mm(17))
    assert stage.pattern_index.get() == board.pattern_index_of(17)
    assert stage.tile_distance_um.get() == pytest.approx(0, abs=1e-6)
    assert (beamline.simulation.x_mm, beamline.simulation.y_mm) == pytest.approx(board.position_mm(17))


def test_between_tiles_the_readback_is_the_nearest_tile_and_its_distance(beamline):
    stage, board = beamline.stage, beamline.board
    x, y = board.position_mm(9)
    stage.x.set(x + 0.013).wait(timeout=PATIENCE_S)
    stage.y.set(y).wait(timeout=PATIENCE_S)
    assert stage.tile.position == 9
    assert stage.tile_distance_um.get() == pytest.approx(13)


def test_axes_moved_alone_move_the_plate(beamline):
    beamline.stage.x.set(1.25).wait(timeout=PATIENCE_S)
    assert beamline.simulation.x_mm == pytest.approx(1.25)


def test_reference_tiles_have_no_pattern(beamline):
    beamline.stage.tile.set(beamline.board.open_tile_number).wait(timeout=PATIENCE_S)
    assert beamline.stage.pattern_index.get() == -1


@pytest.mark.parametrize("tile", [-1, 66, 3.5])
def test_unknown_tiles_are_refused_before_anything_moves(beamline, tile):
    before = beamline.stage.real_position
    with pytest.raises((CxgiError, LimitError, ValueError), match=r"tile|limits"):
        beamline.stage.tile.set(tile)
    assert beamline.stage.real_position == before


def test_descriptions_carry_units_precision_and_types(beamline):
    keys = {}
    for device in beamline.devices:
        keys |= device.describe()
    assert keys["diode_current"]["units"] == "pA"
    assert keys["diode_sigma"]["units"] == "pA"
    assert keys["diode_exposure_s"]["units"] == "s"
    assert keys["stage_x"]["units"] == keys["stage_y"]["units"] == "mm"
    assert keys["stage_tile_distance_um"]["units"] == "um"
    assert keys["shutter_open_s"]["units"] == "s"
    assert keys["pattern_index"]["dtype_numpy"] == "<i8"
    assert keys["stage_tile"]["dtype"] == "integer"
    for name in ("diode_current", "stage_x", "stage_tile_distance_um", "shutter_open_s"):
        assert keys[name]["precision"] >= 2
        assert keys[name]["dtype_numpy"] == "<f8"


def test_hints_are_what_one_wants_to_see(beamline):
    assert beamline.diode.hints == {"fields": ["diode_current"]}
    assert beamline.stage.hints == {"fields": ["stage_tile"]}


def test_diode_reads_the_twin(beamline):
    beamline.shutter.set("open").wait(timeout=PATIENCE_S)
    beamline.stage.tile.set(3).wait(timeout=PATIENCE_S)
    beamline.diode.trigger().wait(timeout=PATIENCE_S)
    assert beamline.diode.current.get() == pytest.approx(beamline.simulation.current_pa(), rel=1e-4)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_impossible_exposure_times(beamline, seconds):
    with pytest.raises(CxgiError, match="exposure time"):
        beamline.diode.exposure_s.put(seconds)


def test_simulated_time_can_pass(board):
    """A long exposure ends after a short one that began later."""
    beamline, ended = simulated_beamline(board, "CAS", parameters=QUIET, time_scale=0.5), []
    for seconds in (1.0, 0.01):
        beamline.diode.exposure_s.put(seconds)
        beamline.diode.trigger().add_callback(lambda _, seconds=seconds: ended.append(seconds))
    eventually(lambda: ended, [0.01, 1.0])


def test_an_interrupted_exposure_is_forgotten(board):
    beamline = simulated_beamline(board, "CAS", parameters=QUIET, time_scale=0.5)
    beamline.shutter.set("open").wait(timeout=PATIENCE_S)
    first, second = beamline.diode.trigger(), beamline.diode.trigger()
    for status in (first, second):
        status.wait(timeout=PATIENCE_S)
    assert beamline.simulation.exposures == 1
    assert beamline.shutter.open_s.get() == 1.0


def test_stage_reads_the_twins_seed(board):
    def first(seed):
        line = simulated_beamline(board, "CAS", seed=seed)
        line.shutter.set("open").wait(timeout=PATIENCE_S)
        line.diode.trigger().wait(timeout=PATIENCE_S)
        return line.diode.current.get()

    assert first(1) == first(1)
    assert first(1) != first(2)


@pytest.mark.parametrize("ending", ["unstage", "stop", "pause", "close"])
def test_everything_that_ends_a_scan_closes_the_shutter(beamline, ending):
    beamline.shutter.stage()
    beamline.shutter.set("open").wait(timeout=PATIENCE_S)
    assert beamline.shutter.state.get() == "open"
    getattr(beamline.shutter, ending)()
    assert beamline.shutter.state.get() == "closed"
    assert not beamline.simulation.shutter_open


def test_resuming_does_not_open(beamline):
    beamline.shutter.pause()
    beamline.shutter.resume()
    assert beamline.shutter.state.get() == "closed"


def test_a_shutter_that_does_not_close_is_an_alarm(beamline):
    class Stuck(SimulatedShutter):
        def _command(self, opened):
            return super()._command(True)

    stuck = Stuck(name="stuck", simulation=beamline.simulation)
    with pytest.raises(ShutterError, match=r"stuck reads open .* check it now"):
        stuck.close()


def test_a_shutter_whose_movement_never_ends_is_an_alarm(beamline):
    from ophyd.status import Status

    class Hanging(SimulatedShutter):
        timeout_s = 0.05

        def _command(self, opened):
            return Status(obj=self, timeout=5)

    with pytest.raises(ShutterError, match=r"hanging did not close within 0.05 s"):
        Hanging(name="hanging", simulation=beamline.simulation).close()


def test_words_that_no_shutter_knows(beamline):
    with pytest.raises(CxgiError, match="'ajar'"):
        beamline.shutter.set("ajar")
    with pytest.raises(CxgiError, match="'away'"):
        beamline.object_stage.set("away")


def test_object_moves_out_and_in(beamline):
    beamline.shutter.set("open").wait(timeout=PATIENCE_S)
    inside = beamline.simulation.current_pa()
    beamline.object_stage.set("out").wait(timeout=PATIENCE_S)
    assert beamline.object_stage.state.get() == "out"
    assert beamline.simulation.current_pa() > inside
    beamline.object_stage.set("in").wait(timeout=PATIENCE_S)
    assert np.isclose(beamline.simulation.current_pa(), inside)


def test_a_person_sees_what_a_device_reads_and_how_it_is_set(beamline, monkeypatch):
    for device in beamline.all_devices:
        lines = pretty(device).splitlines()
        assert 2 <= len(lines) <= 5
        assert lines[0].startswith(f"{device.name}: ")
    assert pretty(beamline.shutter).splitlines()[1] == "  state closed, open_s 0, openings 0"
    monkeypatch.setattr(beamline.shutter, "read", lambda: 1 / 0)
    assert "cannot be read (ZeroDivisionError" in pretty(beamline.shutter)
