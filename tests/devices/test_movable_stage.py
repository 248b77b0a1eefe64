"""A mask stage over any two movables: ophyd's, ophyd-async's, and a plain class."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Component, PseudoPositioner, PseudoSingle, SoftPositioner
from ophyd.pseudopos import pseudo_position_argument, real_position_argument
from ophyd.status import Status
from ophyd.utils import LimitError
from ophyd_async.core import init_devices
from ophyd_async.sim import SimMotor

from cxgi_bluesky.devices.movable_stage import MovableMaskStage
from cxgi_bluesky.devices.ophyd_async import AsyncMovable
from cxgi_bluesky.devices.positions import NotArrivedError, PositionError
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.plans import align_board, hadamard_scan
from tests.conftest import QUIET
from tests.patience import PATIENCE_S, eventually


class PlainAxis:
    """An axis that knows nothing of ophyd, with faults."""

    parent = None

    def __init__(self, name: str = "", *, fault: Exception | None = None, lost_mm: float = 0.0, late_s: float = 0.0):
        self.name, self.fault, self.lost_mm, self.late_s = name, fault, lost_mm, late_s
        self.position, self.stops, self.never = 0.0, 0, False

    def set(self, position):
        status = Status(obj=self)
        if self.never:
            return status
        if self.fault is not None:
            status.set_exception(self.fault)
            return status
        threading.Timer(self.late_s, self._arrive, [position + self.lost_mm]).start()
        status.set_finished()
        return status

    def _arrive(self, position):
        self.position = position

    def stop(self, *, success=False):
        self.stops += 1

    def read(self):
        return {self.name: {"value": self.position, "timestamp": time.time()}}

    def describe(self):
        return {self.name: {"source": "PLAIN", "dtype": "number", "shape": [], "units": "mm"}}


class Rotated(PseudoPositioner):
    """Two axes that are sums and differences of real ones."""

    u = Component(PseudoSingle, egu="mm")
    v = Component(PseudoSingle, egu="mm")
    a = Component(SoftPositioner, init_pos=0.0)
    b = Component(SoftPositioner, init_pos=0.0)

    @pseudo_position_argument
    def forward(self, pseudo):
        return self.RealPosition(pseudo.u + pseudo.v, pseudo.u - pseudo.v)

    @real_position_argument
    def inverse(self, real):
        return self.PseudoPosition((real.a + real.b) / 2, (real.a - real.b) / 2)


def rotated_axes():
    device = Rotated(name="rotated")
    return device.u, device.v


MOVABLES = {
    "plain": lambda: (PlainAxis("mx"), PlainAxis("my")),
    "ophyd": lambda: (SoftPositioner(name="mx", init_pos=0.0), SoftPositioner(name="my", init_pos=0.0, egu="mm")),
    "ophyd-async": lambda: (SimMotor("mx"), SimMotor("my")),
    "mixed": lambda: (SimMotor("mx"), PlainAxis("my")),
}


def make_stage(board, movables, **options):
    x, y = movables
    options = {"in_position_um": 2.0, **options}
    return MovableMaskStage(name="stage", board=board, x=x, y=y, **options)


def scan(line, stage, count=8):
    pattern_set = PatternSet(line.board.size, count)
    return hadamard_scan(stage, line.shutter, line.diode, pattern_set=pattern_set, exposure_s=1.0)


@pytest.mark.parametrize("kind", MOVABLES)
def test_a_scan_is_made_with_any_movables(RE, documents, beamline, kind):
    stage = make_stage(beamline.board, MOVABLES[kind]())
    RE(scan(beamline, stage))
    assert documents.of("stop")[0]["exit_status"] == "success"
    (primary,) = [d["uid"] for d in documents.of("descriptor") if d["name"] == "primary"]
    events = [event["data"] for event in documents.of("event") if event["descriptor"] == primary]
    assert [event["pattern_index"] for event in events] == PatternSet(8, 8).pattern_index.tolist()
    for event in events:
        x, y = beamline.board.position_mm(event["stage_tile"])
        assert (event["stage_x"], event["stage_y"]) == pytest.approx((x, y), abs=0.002)


def test_axes_of_a_pseudo_positioner_are_moved_alone_too(beamline):
    u, v = rotated_axes()
    stage = make_stage(beamline.board, (u, v))
    stage.x.set(1.5).wait(timeout=PATIENCE_S)
    assert u.position == pytest.approx(1.5)
    assert stage.x.position == pytest.approx(1.5)


def test_the_image_and_the_data_keys_are_those_of_the_soft_stage(RE, documents, board):
    """The axes of a simulated stage, as any others: they move the simulated board."""
    soft, other = (simulated_beamline(board, "CAS", parameters=QUIET) for _ in range(2))
    stage = make_stage(board, (other.stage.x, other.stage.y))
    RE(scan(soft, soft.stage, 32))
    RE(scan(other, stage, 32))
    buckets = [event["data"]["diode_current"] for event in documents.of("event") if "diode_current" in event["data"]]
    np.testing.assert_allclose(buckets[: len(buckets) // 2], buckets[len(buckets) // 2 :])
    same = ("units", "dtype", "dtype_numpy", "precision")
    ours, theirs = stage.describe(), soft.stage.describe()
    assert set(ours) == set(theirs) == set(stage.read())
    for key in theirs:
        assert {w: ours[key].get(w) for w in same} == {w: theirs[key].get(w) for w in same}, key
    assert stage.hints == soft.stage.hints


def test_what_an_axis_is_set_up_with_is_in_the_run(RE, documents, beamline):
    RE(scan(beamline, make_stage(beamline.board, (SimMotor("mx"), SimMotor("my")), x_limits_mm=(-9, 9))))
    primary = next(d for d in documents.of("descriptor") if d["name"] == "primary")
    settings = primary["configuration"]["stage"]["data"]
    assert settings["mx-velocity"] == 0
    assert settings["mx-acceleration_time"] == 0.5
    assert settings["stage_x_movable"] == "mx"
    assert settings["stage_x_limits_mm"] == [-9, 9]
    assert set(settings) == set(primary["configuration"]["stage"]["data_keys"])


# ---------------------------------------------------------------- what goes wrong


FAULTS = {
    "fails": ({"fault": RuntimeError("drive off")}, NotArrivedError, r"has not arrived as its move .*drive off"),
    "ends elsewhere": (
        {"lost_mm": 0.01},
        PositionError,
        r"reads .* mm, \+10\.0 um off \(window 2 um\): check the axis",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_move_that_fails_exposes_nothing(RE, documents, beamline, fault, axis):
    options, kind, message = FAULTS[fault]
    movables = [PlainAxis("mx"), PlainAxis("my")]
    movables[axis] = PlainAxis("bad", **options)
    with pytest.raises(kind, match=f"stage_{'xy'[axis]} was sent to .*{message}"):
        RE(scan(beamline, make_stage(beamline.board, movables)))
    assert documents.of("stop")[0]["exit_status"] == "fail"
    assert beamline.simulation.openings == 0
    assert not beamline.simulation.shutter_open


def test_a_move_that_does_not_end_is_given_up_and_both_axes_stopped(beamline):
    movables = [PlainAxis("mx"), PlainAxis("my")]
    movables[1].never = True
    stage = make_stage(beamline.board, movables, move_timeout_s=0.05)
    with pytest.raises(NotArrivedError, match=r"stage_y was sent to .* has not arrived within 0\.05 s"):
        stage.xy.set((0.0, 1.0)).wait(timeout=PATIENCE_S)
    assert [movable.stops for movable in movables] == [1, 1]


def test_a_readback_that_comes_late_is_waited_for(beamline):
    stage = make_stage(beamline.board, (PlainAxis("mx", late_s=0.1), PlainAxis("my")))
    stage.tile.set(17).wait(timeout=PATIENCE_S)
    assert stage.tile.position == 17


@pytest.mark.parametrize("kind", ["ophyd", "ophyd-async"])
def test_limits_hold_before_anything_moves(beamline, kind):
    stage = make_stage(beamline.board, MOVABLES[kind](), y_limits_mm=(-0.1, 0.1))
    with pytest.raises(LimitError, match=r"stage_y: 5 mm is outside \(-0\.1, 0\.1\) mm of the beamline file"):
        stage.xy.set((1.0, 5.0))
    assert stage.x.position == 0


def test_limits_of_the_axis_itself_hold(beamline):
    stage = make_stage(beamline.board, (SoftPositioner(name="mx", limits=(-1, 1), init_pos=0.0), PlainAxis("my")))
    with pytest.raises(LimitError, match="5"):
        stage.xy.set((5.0, 1.0))
    assert stage.y.position == 0


def test_a_stop_ends_a_move(beamline):
    motors = SimMotor("mx", instant=False), SimMotor("my", instant=False)
    stage = make_stage(beamline.board, motors)
    moved = stage.xy.set((500.0, 0.0))
    eventually(lambda: stage.x.position > 0.1, True)
    stage.stop()
    with pytest.raises(NotArrivedError, match=r"stage_[xy] was sent to .* was stopped"):
        moved.wait(timeout=PATIENCE_S)
    assert stage.x.position < 400


def test_a_board_is_aligned_with_motors_of_ophyd_async(RE, documents, beamline):
    """`align_board` moves both axes to places beside tiles; limits that it would exceed are found before."""
    stage = make_stage(beamline.board, (SimMotor("mx"), SimMotor("my")), x_limits_mm=(-1e-3, 1e-3))
    with pytest.raises(CxgiError, match="fiducial"):
        RE(align_board(stage, beamline.shutter, beamline.diode, exposure_s=1.0))
    assert not documents


def test_motors_that_were_connected_in_the_loop_of_a_run_engine_work(beamline):
    RE = RunEngine({})
    with init_devices():
        mx, my = SimMotor(), SimMotor()
    stage = make_stage(beamline.board, (mx, my))
    RE(scan(beamline, stage))
    assert (mx.name, stage.x.title) == ("mx", "mx")


def test_a_motor_that_hangs_in_its_connection_is_one_line(beamline):
    class Lost(SimMotor):
        async def connect(self, *args, **kwargs):
            raise TimeoutError("ca://NONE.VAL")

    stage = make_stage(beamline.board, (Lost("mx"), SimMotor("my")))
    with pytest.raises(CxgiError, match=r"stage_x \(mx\): no answer within 0\.1 s .*NONE\.VAL"):
        stage.wait_for_connection(timeout=0.1)


# ---------------------------------------------------------------- what is none


def test_what_is_no_axis_is_one_line(beamline):
    with pytest.raises(CxgiError, match=r"stage\.y: 3 lacks 'describe', 'name', 'read', 'set', which every StageAxis"):
        make_stage(beamline.board, (PlainAxis("mx"), 3))


def test_an_axis_in_another_unit_is_not_staged(beamline):
    stage = make_stage(beamline.board, (SimMotor("mx", units="um"), SimMotor("my")))
    with pytest.raises(CxgiError, match=r"stage_x \(mx\) is in 'um': positions of boards are in mm"):
        stage.stage()


def test_an_axis_without_a_readback_of_its_name_is_one_line(beamline):
    axis = PlainAxis("mx")
    axis.read = lambda: {"other": {"value": 0.0, "timestamp": 0.0}}
    stage = make_stage(beamline.board, (axis, PlainAxis("my")))
    with pytest.raises(CxgiError, match="mx has no readback of its own name, it has other"):
        stage.wait_for_connection()


def test_an_async_movable_that_cannot_do_a_thing_does_nothing():
    class Bare:
        name = "bare"

        async def read(self):
            return {}

    assert AsyncMovable(Bare()).read_configuration() == {}
    AsyncMovable(Bare()).stop()
