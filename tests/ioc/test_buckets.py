from __future__ import annotations

import math

import numpy as np
import pytest

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.board import load_board
from tests.patience import PATIENCE_S, eventually

from .serving import SlowClient

BOARD = load_board("cu32")


def go_to(ca, tile):
    x, y = BOARD.position_mm(tile)
    ca.put("STAGE:X", x)
    ca.put("STAGE:Y", y)


def test_the_same_seed_gives_the_buckets_of_the_soft_devices(own_ioc):
    ca = SlowClient(own_ioc("--object", "CAS", "--seed", "11"))
    line = simulated_beamline("cu32", "CAS", seed=11)
    ca.put("SHUTTER:CMD", "Open")
    line.shutter.set("open")
    for tile in (1, 40, 41, 500, BOARD.open_tile_number):
        go_to(ca, tile)
        line.stage.tile.move(tile)
        bucket = ca.expose()
        line.diode.trigger().wait(timeout=PATIENCE_S)
        assert bucket == pytest.approx(line.diode.current.get(), rel=1e-9)
        assert ca.get("SPREAD") == pytest.approx(line.diode.sigma.get(), rel=1e-9)


def test_the_mask_in_the_beam_follows_the_stage(ca):
    ca.put("SHUTTER:CMD", "Open")
    go_to(ca, BOARD.open_tile_number)
    bright = ca.expose()
    go_to(ca, BOARD.metal_tile_number)
    assert ca.expose() < 0.5 * bright


def test_lost_steps_shift_the_mask_but_not_the_readback(ca):
    ca.put("SHUTTER:CMD", "Open")
    tile = BOARD.tile_of(31)  # the finest stripes: half a pixel off, they are grey
    go_to(ca, tile)
    before = np.mean([ca.expose() for _ in range(5)])
    go_to(ca, tile + 1)
    ca.put("FAULT:LOST_UM", 5 * BOARD.tile_um)  # so far off that the beam sees other tiles
    go_to(ca, tile)
    assert ca.get("FAULT:LOST_UM") == 0
    assert ca.get("STAGE:X.RBV") == pytest.approx(BOARD.position_mm(tile)[0], abs=2e-4)
    after = np.mean([ca.expose() for _ in range(5)])
    assert abs(after - before) > 10 * ca.get("SPREAD")
    ca.put("STAGE:X.HOMF", 1)
    ca.put("STAGE:Y.HOMF", 1)
    go_to(ca, tile)
    assert np.mean([ca.expose() for _ in range(5)]) == pytest.approx(before, rel=0.05)


def test_object_and_knife_move_out(ca):
    ca.put("SHUTTER:CMD", "Open")
    go_to(ca, BOARD.open_tile_number)
    inside = ca.expose()
    ca.put("OBJECT:X", 20.0)
    outside = ca.expose()
    assert outside > 1.2 * inside
    ca.put("KNIFE:Y", 2.0)
    assert ca.expose() < 0.05 * outside
    ca.put("KNIFE:Y", -2.0)
    assert ca.expose() == pytest.approx(outside, rel=0.05)


def test_exposures_are_counted_light_and_dark_with_their_seconds(ca):
    ca.put("EXPOSURE_S", 2.5)
    ca.expose()
    ca.put("SHUTTER:CMD", "Open")
    ca.expose()
    ca.expose()
    ca.put("SHUTTER:CMD", "Close")
    counts = [ca.get(f"COUNT:{name}") for name in ("OPENINGS", "OPEN_S", "EXPOSURES", "DARK_EXPOSURES")]
    assert counts == [1, pytest.approx(5.0), 2, 1]


def test_in_real_time_an_exposure_takes_its_time_and_half_the_light_is_half_the_bucket(ca):
    go_to(ca, BOARD.open_tile_number)
    ca.put("SHUTTER:CMD", "Open")
    full = ca.expose()
    ca.put("EXPOSURE_S", 2.0)
    ca.put("TIME_SCALE", 1.0)
    ca.put("COUNT:RESET", 1)
    ca.put("ACQUIRE", 1, wait=False)
    eventually(lambda: ca.get("COUNT:OPEN_S"), lambda seen: seen > 0.6)
    ca.put("SHUTTER:CMD", "Close")
    eventually(lambda: ca.get("ACQUIRE"), 0)
    assert 0.2 * full < ca.get("VALUE") < 0.9 * full
    assert ca.get("COUNT:OPEN_S") < 2.0


def test_an_exposure_can_be_ended_and_is_void(ca):
    ca.expose()
    before = ca.get("VALUE")
    ca.put("EXPOSURE_S", 30.0)
    ca.put("TIME_SCALE", 1.0)
    ca.put("ACQUIRE", 1, wait=False)
    eventually(lambda: ca.get("ACQUIRE"), 1)
    ca.put("ACQUIRE", 0)
    eventually(lambda: ca.get("ACQUIRE"), 0)
    assert ca.get("VALUE") == before
    assert ca.get("COUNT:DARK_EXPOSURES") == 1


def test_readings_fail_as_often_as_asked(ca):
    ca.put("FAULT:READINGS", 2)
    ca.put("FAULT:READING", "nan")
    assert math.isnan(ca.expose())
    assert math.isnan(ca.expose())
    assert math.isfinite(ca.expose())
    assert ca.get("FAULT:READING") == "none"


def test_an_overloaded_reading_is_told(ca):
    ca.put("FAULT:READING", "overload")
    assert ca.expose() > 1e37
    assert ca.get("OVERLOAD") == 1
    ca.put("KEITHLEY:read.PROC", 1)
    assert (ca.get("KEITHLEY:read"), ca.get("KEITHLEY:readStatusOverflow")) == (9.9e37, 1)
    ca.put("KEITHLEY:rangeSet", "20 nA")
    ca.put("KEITHLEY:read.PROC", 1)
    assert ca.get("KEITHLEY:readStatusOverflow") == 0


def test_the_keithley_reads_the_same_current_in_amperes(ca):
    go_to(ca, BOARD.open_tile_number)
    ca.put("SHUTTER:CMD", "Open")
    bucket = ca.expose()
    ca.put("KEITHLEY:read.PROC", 1)
    assert ca.get("KEITHLEY:read") == pytest.approx(bucket * 1e-12, rel=0.05)
    ca.put("KEITHLEY:zeroCheckSet", "On")
    ca.put("KEITHLEY:read.PROC", 1)
    assert (ca.get("KEITHLEY:read"), ca.get("KEITHLEY:zeroCheck")) == (0.0, "On")
    ca.put("KEITHLEY:zeroCheckSet", "Off")
