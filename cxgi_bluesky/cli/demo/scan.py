"""The scan of a demonstration, from the first exposure to the catalog."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bluesky.utils import RunEngineInterrupted

from ...catalog import find_run, read_exposures
from ...errors import ConfigError
from ...masks.pattern_set import PatternSet
from ...measurement.exposures import Exposures
from ...reconstruction.result import Reconstruction
from ...session.session import Session


@dataclass(frozen=True)
class Scanned:
    """A scan as the catalog holds it, and its last live pictures.

    Attributes
    ----------
    uid : str
    run : the run of the catalog
    pattern_set : PatternSet
    exposures : Exposures
    live : dict of str to Reconstruction
        By method.
    open_s : float
        How long the shutter device was open.
    openings : int
        How often, as that device saw it.
    """

    uid: str
    run: Any
    pattern_set: PatternSet
    exposures: Exposures
    live: dict[str, Reconstruction | None]
    open_s: float
    openings: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run_uid": self.uid,
            "exposures": len(self.exposures),
            "reference_exposures": self.exposures.reference_exposures,
            "shutter_open_s": self.open_s,
            "openings": self.openings,
            "fraction": self.pattern_set.fraction,
        }


def scan(s: Session, fraction: float, words: str, echo: Callable[[str], None]) -> Scanned:
    """Scan the object of a session.

    Parameters
    ----------
    s : Session
    fraction : float
        Sampling fraction.
    words : str
        Of the object and the exposure time, for the user.
    say : callable

    Raises
    ------
    CxgiError
        After Ctrl-C, when the shutter is closed: what can still be done with the exposures.
    """
    pattern_set = s.pattern_set(fraction)
    echo(
        f"Scanning {pattern_set.count} of {pattern_set.size**2} patterns of board {s.board.name} "
        f"({s.board.metal}, D_r {s.board.d_r:.0%}), {words}"
    )
    uid = _scan_or_say_what_is_left(s, pattern_set)
    live = s.wait_for_images()
    run = find_run(s.catalog, uid)
    open_s, openings = float(s.shutter.open_s.get()), int(s.shutter.openings.get())
    return Scanned(uid, run, pattern_set, read_exposures(run), live, open_s, openings)


def _scan_or_say_what_is_left(s: Session, pattern_set: PatternSet) -> str:
    """Run the scan; Ctrl-C ends it cleanly and says what can still be done with it."""
    uids: list[str] = []
    s.RE.subscribe(lambda _, start: uids.append(start["uid"]), "start")
    try:
        s.RE(s.scan(pattern_set=pattern_set))
    except RunEngineInterrupted:
        logging.getLogger("bluesky").setLevel(logging.CRITICAL)  # it would print a traceback of our own abort
        s.RE.abort("interrupted from the keyboard")
        raise ConfigError(
            f"interrupted: the shutter is {s.shutter.state.get()}, the exposures so far are stored "
            f"(cxgi reconstruct {uids[0][:8]} makes a picture of them)"
        ) from None
    return uids[0]
