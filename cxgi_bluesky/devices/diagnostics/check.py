"""The whole check of a beamline file against its IOCs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.load import beamline_path, make_beamline, read_beamline_file
from .active import Exposed, check_moves, try_exposure
from .own import check_own_devices
from .passive import (
    Finding,
    check_access,
    check_connections,
    check_labels,
    check_limits,
    check_stamps,
    check_states,
    check_units,
    format_table,
    read_all,
)


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes
    ----------
    beamline : str
        Name in the file.
    findings : tuple of Finding
        Empty: all is well.
    read : int
        PVs that were read.
    moved : bool
        Whether axes were moved.
    exposed : Exposed, optional
        The exposure that was tried.
    own : int
        Devices with classes of the user's that were read.
    """

    beamline: str
    findings: tuple[Finding, ...]
    read: int
    moved: bool
    exposed: Exposed | None = None
    own: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        if self.good:
            moved = "axes moved and put back" if self.moved else "nothing moved"
            exposed = self.exposed or "no exposure tried"
            own = f" and {self.own} devices of your own" if self.own else ""
            return f"{self.beamline}: all is well ({self.read} PVs{own} read, {moved}, {exposed})"
        return format_table(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings], "good": self.good}


def check_beamline(path: str | Path, *, move: bool = False, expose: bool = False) -> Report:
    """Connect to everything in a beamline file and read each PV once: units, write access, limits, labels, states.

    Without `expose` it is not known whether a reading is of its own exposure.

    Parameters
    ----------
    path : path or str
        Beamline file, or the name of an example.
    move : bool
        Also move each axis of the mask stage a little and back; else nothing moves.
    expose : bool
        Also try one exposure, with the shutter closed.

    Raises
    ------
    CxgiError
        If the file itself is not right.
    """
    file = read_beamline_file(beamline_path(path))
    line = make_beamline(file, connect=False)
    devices = line.all_devices
    found = check_connections(devices, file.timeouts)
    read, own, exposed = 0, 0, None
    if not (found and found[0].where == "IOC"):
        silent, read = read_all(devices)
        lacking, own = check_own_devices(line, file.timeouts.connection_s)
        found += lacking
        found += silent or [
            *check_units(line),
            *check_access(line),
            *check_limits(line),
            *(check_labels(line) or check_states(line)),
        ]
        if move and not silent and not lacking:
            found += check_moves(line)
        if expose and not silent and not lacking:
            wrong, exposed = try_exposure(line)
            found += wrong
        elif not silent:
            found += check_stamps(line)
    return Report(file.config.name, tuple(found), read, move, exposed, own)
