from __future__ import annotations

import threading
import time

import pytest

from tests.patience import PATIENCE_S, eventually

from .waiting import Heard


def test_a_move_arrives_within_the_encoders_noise(ca):
    ca.put("STAGE:X", 1.25)
    assert ca.get("STAGE:X.RBV") == pytest.approx(1.25, abs=2e-4)
    assert ca.get("STAGE:X.RBV") != 1.25
    assert (ca.get("STAGE:X.DMOV"), ca.get("STAGE:X.MOVN")) == (1, 0)
    assert ca.get("COUNT:MOVES") == 1


@pytest.mark.parametrize("target", [0.5, 0.0])
def test_done_moving_toggles_even_for_a_move_of_no_length(ca, target):
    ca.put("STAGE:X", 0.0)
    heard = Heard(ca, "STAGE:X.DMOV")
    ca.put("STAGE:X", target)
    eventually(lambda: heard, [1, 0, 1])
    heard.close()


@pytest.mark.parametrize("target", [1e4, -1e4, float("nan")])
def test_a_target_beyond_the_limits_is_not_taken(ca, target):
    ca.put("STAGE:X", 1.0)
    ca.put("STAGE:X", target)
    assert ca.get("STAGE:X.RBV") == pytest.approx(1.0, abs=2e-4)
    assert (ca.get("STAGE:X"), ca.get("STAGE:X.LVIO"), ca.get("COUNT:MOVES")) == (1.0, 1, 1)


def test_limits_can_be_narrowed_and_clients_see_it(ca):
    before = ca.get("STAGE:X.HLM")
    ca.put("STAGE:X.HLM", 2.0)
    try:
        assert ca.pv("STAGE:X").get_ctrlvars()["upper_ctrl_limit"] == 2.0
        ca.put("STAGE:X", 3.0)
        assert ca.get("STAGE:X") == 0.0
    finally:
        ca.put("STAGE:X.HLM", before)


def test_a_move_takes_its_time_and_stop_ends_it_on_the_way(ca):
    ca.put("STAGE:X.VELO", 1.0)
    ca.put("TIME_SCALE", 1.0)
    try:
        ca.put("STAGE:X", 5.0, wait=False)
        eventually(lambda: ca.get("STAGE:X.RBV"), lambda seen: seen > 0.05)
        assert (ca.get("STAGE:X.DMOV"), ca.get("STAGE:X.MOVN")) == (0, 1)
        ca.put("STAGE:X.STOP", 1)
        eventually(lambda: ca.get("STAGE:X.DMOV"), 1)
        stopped = ca.get("STAGE:X.RBV")
        assert 0.05 < stopped < 4.9
        assert ca.get("STAGE:X") == pytest.approx(stopped, abs=2e-4)
    finally:
        ca.put("STAGE:X.VELO", 5.0)


def test_a_new_target_on_the_way_takes_over(ca):
    ca.put("TIME_SCALE", 1.0)
    ca.put("STAGE:X", 3.0, wait=False)
    eventually(lambda: ca.get("STAGE:X.RBV"), lambda seen: seen > 0.02)
    ca.put("STAGE:X", 0.0)
    assert ca.get("STAGE:X.RBV") == pytest.approx(0.0, abs=2e-4)


def test_a_stuck_motor_does_not_arrive_until_it_is_free(ca):
    ca.put("FAULT:STUCK", 1)
    ca.put("STAGE:X", 1.0, wait=False)
    eventually(lambda: ca.get("STAGE:X.DMOV"), 0)
    time.sleep(0.1)
    assert ca.get("STAGE:X.DMOV") == 0
    assert ca.get("STAGE:X.RBV") == pytest.approx(0.0, abs=2e-4)
    ca.put("FAULT:STUCK", 0)
    eventually(lambda: ca.get("STAGE:X.DMOV"), 1)
    assert ca.get("STAGE:X.RBV") == pytest.approx(1.0, abs=2e-4)


def test_ophyds_motor_drives_it(ca):
    from ophyd import EpicsMotor
    from ophyd.utils.errors import LimitError

    # an axis whose readback `ca` never asked for: of channels that pyepics has already ophyd may miss the first monitor
    motor = EpicsMotor(ca.prefix + "OBJECT:X", name="motor")
    motor.wait_for_connection(timeout=PATIENCE_S)
    for target in (0.7, 0.7, -0.3):
        motor.set(target).wait(timeout=PATIENCE_S)
        assert motor.position == pytest.approx(target, abs=2e-4)
    assert motor.egu == "mm"
    assert motor.precision == 5
    low, high = motor.limits
    assert low < 0 < high
    with pytest.raises(LimitError):
        motor.set(high + 1)
    described = motor.describe()["motor"]
    assert (described["units"], described["dtype"]) == ("mm", "number")
    stuck = threading.Event()
    ca.put("FAULT:STUCK", 1)
    status = motor.set(1.0)
    status.add_callback(lambda status: stuck.set())
    motor.stop()
    assert stuck.wait(timeout=PATIENCE_S)
    motor.destroy()
