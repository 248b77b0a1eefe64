"""Every way through every plan, message by message: nothing opens the shutter that the plan does not surely close."""

from __future__ import annotations

from functools import cache

import pytest
from bluesky import Msg

from cxgi_bluesky import plans
from cxgi_bluesky.analysis.knife_edge import KnifeGeometry
from cxgi_bluesky.devices.simulated.beamline import SimulatedKnife, simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.plans import (
    adaptive_scan,
    align_board,
    hadamard_scan,
    knife_edge_scan,
    metal_scan,
    record_speckles,
    reference_scan,
    resume_scan,
)
from tests.conftest import QUIET, small_board
from tests.plans.test_speckles import make_line

SHORT = {"exposure_s": 1.0, "open_exposures": 1, "dark_exposures": 1, "metal_exposures": 1}


class Fault(RuntimeError):
    """What is thrown into a plan."""


def hadamard(line, _):
    words = {"validation": 1, "incident_exposures": 1, "open_every": 1, "object_stage": line.object_stage}
    return hadamard_scan(
        line.stage, line.shutter, line.diode, board=line.board, pattern_set=PatternSet(8, 2), **SHORT, **words
    )


def reference(line, _):
    words = {"board": line.board, "pattern_set": PatternSet(8, 2), "object_stage": line.object_stage}
    return reference_scan(line.stage, line.shutter, line.diode, **words, **SHORT)


def metal(line, _):
    return metal_scan(line.stage, line.shutter, line.diode, board=line.board, exposure_s=1.0, exposures=1)


@cache
def begun() -> Exposures:
    """A scan that has measured nothing yet."""
    earlier = Exposures()
    for message in hadamard(simulated_beamline(small_board(), "CAS", parameters=QUIET), None):
        if message.command == "open_run":
            earlier("start", {"uid": "earlier", **message.kwargs})
    return earlier


def resumed(line, _):
    return resume_scan(line.stage, line.shutter, line.diode, earlier=begun(), object_stage=line.object_stage)


def knife(line, _):
    blade = SimulatedKnife(name="knife", axis="x", simulation=line.simulation)
    words = {"start_um": -50, "stop_um": 50, "points": 8, "exposure_s": 1.0, "slit": KnifeGeometry(50, 400, 20)}
    return knife_edge_scan(blade, line.shutter, line.diode, **words)


@cache
def line_with_fiducials():
    board = small_board(fiducials=((-6, 0), (-6, 12), (20, 3)))
    return simulated_beamline(board, "CAS", parameters=QUIET)


def alignment(*_):
    line = line_with_fiducials()
    words = {"board": line.board, "exposure_s": 1.0, "points": 3, "object_stage": line.object_stage}
    return align_board(line.stage, line.shutter, line.diode, **words)


speckle_line = cache(make_line)


def speckles(_, folder):
    line = speckle_line()
    return record_speckles(
        line.stage, line.shutter, line.camera, path=folder / "s.h5", exposure_s=1.0, count=2, dark_frames=1
    )


def adaptive(line, _):
    words = {"count": 24, "exposure_s": 1.0, "validation": 4, "object_stage": line.object_stage}
    return adaptive_scan(line.stage, line.shutter, line.diode, **words)


OF_PLAN = {
    "adaptive_scan": adaptive,
    "hadamard_scan": hadamard,
    "reference_scan": reference,
    "metal_scan": metal,
    "resume_scan": resumed,
    "knife_edge_scan": knife,
    "align_board": alignment,
    "record_speckles": speckles,
}
PLANS = list(OF_PLAN.values())
HARMLESS = {"wait", "trigger", "set"}  # while it is open; none of them can be stopped by a full disk


@pytest.fixture
def line():
    return simulated_beamline(small_board(), "CAS", parameters=QUIET)


def is_shutter(message: Msg) -> bool:
    return message.command == "set" and message.obj is not None and message.obj.name == "shutter"


def test_every_plan_that_opens_the_shutter_is_tested_here():
    assert {*OF_PLAN, "mask_scan", "dark_scan"} == set(plans.__all__)


@pytest.mark.parametrize("plan", PLANS)
def test_between_open_and_close_there_is_only_the_exposure(line, tmp_path, plan):
    opened, openings = False, 0
    for message in plan(line, tmp_path):
        if is_shutter(message):
            opened = message.args[0] == "open"
            openings += opened
        elif opened:
            assert message.command in HARMLESS, message
    assert openings > 0
    assert not opened


@pytest.mark.parametrize("plan", PLANS)
def test_a_fault_at_any_message_is_followed_by_closing(line, tmp_path, plan):
    """Thrown in before, instead of and after whatever the message does: if it was open, closing is among the next."""
    messages = sum(1 for _ in plan(line, tmp_path))
    for at in range(1, 1 + messages, 1 if messages < 600 else 17):  # an exposure has 15, so all of them come in turn
        walk = plan(line, tmp_path)
        opened = False
        for _ in range(at):
            message = next(walk)
            opened = message.args[0] == "open" if is_shutter(message) else opened
        unstaged = closed = False
        try:
            message = walk.throw(Fault(f"at message {at}"))
            while True:
                if is_shutter(message):
                    assert message.args[0] == "closed", f"after a fault at message {at} it is opened"
                    closed = True
                unstaged = unstaged or (message.command == "unstage" and message.obj.name == "shutter")
                message = next(walk)
        except (Fault, StopIteration):
            pass
        assert closed or not opened, f"a fault at message {at} leaves it open"


@pytest.mark.parametrize("plan", PLANS)
def test_whatever_has_been_staged_is_unstaged_which_closes_too(line, tmp_path, plan):
    """The second net: `unstage` of the shutter closes it, also where the RunEngine was told to halt the plan."""
    messages = list(plan(line, tmp_path))
    first_opening = next(
        place for place, message in enumerate(messages) if is_shutter(message) and message.args[0] == "open"
    )
    staged = [m.command for m in messages[:first_opening] if m.obj is not None and m.obj.name == "shutter"]
    assert "stage" in staged
    last = [message for message in messages if message.command != "unsubscribe"][-1]  # of what the plan goes by
    assert last.command in ("unstage", "wait", "close_run")
