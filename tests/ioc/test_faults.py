"""Faults of the mask stage and of the light."""

from __future__ import annotations

import numpy as np
import pytest

from .test_buckets import BOARD, go_to

NEAR = 2e-4  # mm; the encoder's noise is 2e-5


def at(ca, axis="X"):
    return ca.get(f"STAGE:{axis}.RBV")


@pytest.mark.parametrize(("short_um", "target", "ends_at"), [(7, 1.0, 0.993), (-7, 1.0, 1.007), (7, -1.0, -0.993)])
def test_moves_end_short_of_their_target_or_beyond_and_the_readback_tells(ca, short_um, target, ends_at):
    ca.put("FAULT:SHORT_UM", short_um)
    ca.put("STAGE:X", target)
    assert (ca.get("STAGE:X"), ca.get("STAGE:X.DMOV")) == (target, 1)
    assert at(ca) == pytest.approx(ends_at, abs=NEAR)
    ca.put("KNIFE:Y", target)  # not the mask stage
    assert ca.get("KNIFE:Y.RBV") == pytest.approx(target, abs=NEAR)


def test_so_many_moves_of_some_length_end_short(ca):
    ca.put("STAGE:Y", 0.0)
    ca.put("FAULT:SHORT_MOVES", 2)
    ca.put("FAULT:SHORT_UM", 50.0)
    ca.put("STAGE:Y", 0.0)
    ends = []
    for target in (1.0, 2.0, 3.0):
        ca.put("STAGE:Y", target)
        ends.append(target - at(ca, "Y"))
    assert ends == pytest.approx([0.05, 0.05, 0.0], abs=NEAR)
    assert (ca.get("FAULT:SHORT_UM"), ca.get("FAULT:SHORT_MOVES")) == (0.0, 0)


@pytest.mark.parametrize("scale", [0.0, 0.05])
def test_with_crossed_wires_the_other_axis_moves_and_says_so(ca, scale):
    ca.put("STAGE:Y", 0.5)
    ca.put("TIME_SCALE", scale)
    ca.put("FAULT:CROSSED", 1)
    ca.put("STAGE:X", 1.0)
    assert (at(ca), at(ca, "Y")) == pytest.approx((0.0, 1.5), abs=NEAR)
    assert ca.get("STAGE:X.DMOV") == 1
    ca.put("STAGE:X", 0.0)
    assert (at(ca), at(ca, "Y")) == pytest.approx((0.0, 0.5), abs=NEAR)
    ca.put("STAGE:Y", 0.7)
    assert (at(ca), at(ca, "Y")) == pytest.approx((0.2, 0.5), abs=NEAR)


def test_the_mask_follows_the_axis_that_really_moved(ca):
    ca.put("SHUTTER:CMD", "Open")
    go_to(ca, BOARD.open_tile_number)
    bright = ca.expose()
    ca.put("FAULT:SHORT_UM", 3000.0)
    go_to(ca, 0)
    ca.put("FAULT:SHORT_MOVES", 0)
    go_to(ca, BOARD.open_tile_number)
    assert ca.expose() < 0.8 * bright


def test_a_dip_of_the_light_lasts_so_many_readings_and_the_monitor_sees_it(ca):
    go_to(ca, BOARD.open_tile_number)
    ca.put("SHUTTER:CMD", "Open")
    before = ca.expose()
    ca.put("FAULT:DIP", 0.25)
    ca.put("FAULT:READINGS", 2)
    ca.put("FAULT:READING", "dip")
    seen = [(ca.expose(), ca.get("I0:VALUE")) for _ in range(3)]
    shares = np.array(seen) / (before, 1000.0)
    assert shares[:, 0] == pytest.approx([0.25, 0.25, 1.0], rel=0.1)
    assert shares[:, 1] == pytest.approx([0.25, 0.25, 1.0], rel=0.1)
    assert ca.get("FAULT:READING") == "none"
    assert ca.get("OVERLOAD") == 0
