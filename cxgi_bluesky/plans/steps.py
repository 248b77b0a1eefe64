"""Steps that the plans share: a run that ends safely whatever happens, move, expose one tile, read the dark.

What is done at every exposure yields its messages itself: each call of a function of `plan_stubs` formats the
whole stack for a warning that is hardly ever shown, a third of the RunEngine's time per exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import FailedStatus

from ..devices.diode import Diode
from ..devices.object_stage import ObjectStage
from ..devices.shutter import CLOSED, OPEN, Shutter
from ..devices.stage import MaskStage
from ..errors import CxgiError

Plan = Generator[Any, Any, Any]

MOVE_TIMEOUT_S = 120.0
SHUTTER_TIMEOUT_S = 10.0
EXPOSURE_MARGIN_S = 30.0


def check_metadata(md: dict[str, Any] | None) -> None:
    """Raise `CxgiError` when the user's metadata has the key that belongs to the plan."""
    if "cxgi" in (md or {}):
        raise CxgiError("md has a key 'cxgi': that block is written by the plan, choose another key")


def safe_run(
    devices: list[Any],
    shutter: Shutter,
    exposures: Callable[[], Plan],
    *,
    put_back: Callable[[], Plan],
    metadata: dict[str, Any],
    md: dict[str, Any] | None,
) -> Plan:
    """One run of `exposures`; however it ends, the shutter is closed, and then what was moved is put back.

    Raises
    ------
    CxgiError
        Before anything moves: when `md` has the key that belongs to the plan.
    """
    check_metadata(md)

    @bpp.stage_decorator(devices)
    @bpp.run_decorator(md={**metadata, **(md or {})})
    def run() -> Plan:
        yield from move(shutter, CLOSED, SHUTTER_TIMEOUT_S)
        yield from closing_finally(shutter, exposures, put_back)
        yield from bps.checkpoint()  # a pause from here on has nothing to repeat

    return (yield from run())


def closing_finally(shutter: Shutter, exposures: Callable[[], Plan], put_back: Callable[[], Plan]) -> Plan:
    """`exposures`; however they end, the shutter is closed, and then, even if that fails, `put_back` is done."""

    def make_safe() -> Plan:
        yield from bpp.finalize_wrapper(move(shutter, CLOSED, SHUTTER_TIMEOUT_S), put_back)

    yield from bpp.finalize_wrapper(exposures(), make_safe)


def with_object(object_stage: ObjectStage | None) -> list[Any]:
    """The object's stage as a list of devices, empty without one."""
    return [] if object_stage is None else [object_stage]


# ---------------------------------------------------------------- steps
def wait_for(group: str, timeout_s: float) -> Plan:
    """Wait for what was started under a name; an error after the time-out.

    What the device says of its failure is raised, and stands in the stop document: bluesky's own error names a status.
    """
    try:
        yield Msg("wait", None, group=group, error_on_timeout=True, timeout=timeout_s, watch=())
    except FailedStatus as error:
        raise (error.__cause__ or error) from None


def move(device: Any, target: Any, timeout_s: float = MOVE_TIMEOUT_S) -> Plan:
    """Set and wait, never longer than the time-out."""
    group = f"{device.name} to {target}"
    yield Msg("set", device, target, group=group)
    yield from wait_for(group, timeout_s)


def move_object(object_stage: ObjectStage | None, place: str) -> Plan:
    """The object in or out, where something can move it."""
    yield from move(object_stage, place) if object_stage is not None else bps.null()


def store(stage: Any, detector: Any, stream: str) -> Plan:
    """One event of a stream: where the stage is (None: there is none) and what the detector has measured."""
    yield Msg("create", name=stream)
    if stage is not None:
        yield Msg("read", stage)
    yield Msg("read", detector)
    yield Msg("save")


def expose(stage: MaskStage, shutter: Shutter, diode: Diode, tile: int, stream: str, exposure_s: float) -> Plan:
    """One exposure: checkpoint, move, open, expose, close, store."""
    yield Msg("checkpoint")
    yield from reach_tile(stage, tile)
    yield from move(shutter, OPEN, SHUTTER_TIMEOUT_S)
    yield Msg("trigger", diode, group="exposure")
    yield from wait_for("exposure", exposure_s + EXPOSURE_MARGIN_S)
    yield from move(shutter, CLOSED, SHUTTER_TIMEOUT_S)
    yield from store(stage, diode, stream)


def reach_tile(stage: MaskStage, tile: int) -> Plan:
    """Move to a tile and make sure that the stage is there."""
    yield from move(stage.tile, tile)
    reached = yield from bps.rd(stage.tile, default_value=tile)
    distance_um = yield from bps.rd(stage.tile_distance_um, default_value=0.0)
    if reached != tile or distance_um > stage.in_position_um:
        raise RuntimeError(
            f"{stage.name} was sent to tile {tile} and is {distance_um:.1f} um from tile {reached} "
            f"(allowed: {stage.in_position_um:g} um): check the stage, nothing was exposed"
        )


def read_darks(stage: MaskStage | None, diode: Diode, exposure_s: float, count: int) -> Plan:
    """Set the exposure time, and so many readings with the shutter closed."""
    yield from bps.mv(diode.exposure_s, exposure_s)
    for _ in range(count):
        yield from bps.checkpoint()
        yield from bps.trigger(diode, group="exposure")
        yield from bps.wait(group="exposure", timeout=exposure_s + EXPOSURE_MARGIN_S)
        yield from store(stage, diode, "dark")
