"""knife_edge_scan: move a blade through the beam, one exposure per position: the size of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator
from ophyd.utils import LimitError

from ..analysis.knife_edge import MIN_POINTS, PURPOSE, KnifeGeometry
from ..devices.positions import PositionError
from ..devices.protocols import BeamShutter, BucketDetector, KnifeBlade
from ..errors import CxgiError, ScanError
from .arguments import for_queues
from .exposure import MAX_REPEATS, Exposing, ExposureLimits, Reading, consequence
from .metadata import bucket_fields, check_exposure, start_document
from .stubs import Plan, move, safe_run


@for_queues
def knife_edge_scan(
    knife: KnifeBlade,
    shutter: BeamShutter,
    diode: BucketDetector,
    *,
    start_um: float,
    stop_um: float,
    points: int,
    exposure_s: float,
    slit: KnifeGeometry | dict[str, float],
    repeats: int = 1,
    max_repeats: int = MAX_REPEATS,
    max_open_s: float | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[Any]:
    """Scan a knife through the beam for `fit_knife_edge`.

    The mask stage is left where it is: put an open tile into the beam and the object out first. However the plan ends,
    the shutter is closed and the knife goes back where it was.

    Parameters
    ----------
    knife : KnifeBlade
        Blade.
    shutter : BeamShutter
        Beam shutter.
    diode : BucketDetector
        Detector.
    start_um : float
        First position (um), well to one side of the edge.
    stop_um : float
        Last position (um), well to the other side.
    points : int
        Number of positions, evenly spaced, both ends included.
    exposure_s : float
        Exposure time at each position (s).
    slit : KnifeGeometry or dict
        Distances source_knife_mm and knife_slit_mm, and the slit's width slit_um along the knife's axis.
    repeats : int
        Passes over all positions, each from start to stop, so that backlash is the same and drift averages.
    max_repeats : int
        How often an exposure that failed its checks is made again.
    max_open_s : float, optional
        Exposure budget: longest total time with the shutter open (s). The scan ends cleanly before an exposure
        that would exceed it.
    md : dict, optional
        Metadata of the user.

    Raises
    ------
    CxgiError
        Before anything moves, for an impossible number or a position beyond the knife's limits.
    """
    _check(knife, start_um, stop_um, points, exposure_s, repeats)
    geometry = _geometry(slit)
    exposing = Exposing(shutter, diode, exposure_s, ExposureLimits(max_repeats, max_open_s))
    devices: list[Any] = [knife, shutter, diode]
    positions = np.tile(np.linspace(start_um, stop_um, points), repeats).tolist()
    arguments = {
        "start_um": start_um,
        "stop_um": stop_um,
        "points": points,
        "exposure_s": exposure_s,
        "repeats": repeats,
        "max_repeats": max_repeats,
        "max_open_s": max_open_s,
    }
    metadata = start_document(
        "knife_edge_scan",
        PURPOSE,
        devices,
        {**arguments, "slit": geometry.to_dict()},
        detector=diode,
        axis=knife.edge,
        points=len(positions),
        knife_edge={"axis": knife.axis, **geometry.to_dict()},
        fields={"position": knife.edge.name, **bucket_fields(diode)},
    )
    parked = knife.target_um

    def exposures() -> Plan:
        yield from move(diode.exposure_s, exposure_s)
        for position in positions:
            yield from exposing.expose_at(KnifePosition(knife, position), "primary")

    def knife_back() -> Plan:
        yield from move(knife.edge, parked)

    return (
        yield from safe_run(
            devices, shutter, exposures, put_back=knife_back, figures=exposing.figures, metadata=metadata, md=md
        )
    )


@dataclass(frozen=True)
class KnifePosition:
    """A position of a blade."""

    device: KnifeBlade
    position_um: float

    def reach(self) -> Plan:
        """Move the blade there and make sure that it is there."""
        yield from move(self.device.edge, self.position_um)
        reading = yield Msg("read", self.device)
        self.check(reading or {}, exposed=False)

    def check(self, reading: Reading, *, exposed: bool = True) -> None:
        """Raise `PositionError` unless a reading of the knife is of this position.

        Parameters
        ----------
        reading : mapping
            Of the knife, by data key; position in um. One without it counts as there.
        exposed : bool, optional
            Whether something was exposed there, for the message (default True).
        """
        knife = self.device
        reached = reading.get(knife.edge.name, {}).get("value", self.position_um)
        if not abs(reached - self.position_um) <= knife.in_position_um:
            raise PositionError(
                f"{knife.name} was sent to {self.position_um:.1f} um and is at {reached:.1f} um "
                f"(allowed: {knife.in_position_um:g} um off): check the axis, {consequence(exposed)}"
            )


def _geometry(slit: KnifeGeometry | dict[str, float]) -> KnifeGeometry:
    try:
        return KnifeGeometry(**slit) if isinstance(slit, dict) else slit
    except TypeError as error:
        raise ScanError(f"slit {slit!r}: give the numbers source_knife_mm, knife_slit_mm and slit_um") from error


def _check(knife: KnifeBlade, start_um: float, stop_um: float, points: int, exposure_s: float, repeats: int) -> None:
    check_exposure(exposure_s)
    if points < MIN_POINTS:
        raise ScanError(f"points {points}: a knife edge needs {MIN_POINTS} or more")
    if repeats < 1:
        raise ScanError(f"repeats {repeats}: give 1 or more")
    if not (np.isfinite([start_um, stop_um]).all() and start_um != stop_um):
        raise ScanError(f"start_um {start_um} and stop_um {stop_um}: give two different positions")
    for position in (start_um, stop_um):
        try:
            knife.edge.check_value(position)
        except (LimitError, ValueError, CxgiError) as error:
            raise ScanError(f"{position:g} um is beyond the limits of {knife.name}: {error}") from error
