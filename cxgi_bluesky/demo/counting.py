"""The IOC's own counts beside those of the run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from .scan import Scanned

LIT = ("primary", "validation", "open", "incident", "metal")


@dataclass(frozen=True)
class Counted:
    """Openings, exposures, and seconds of exposures with the shutter open."""

    openings: int
    exposures: int
    open_s: float


@dataclass(frozen=True)
class Counts:
    """What the run says it has done, and what the IOC counted."""

    run: Counted
    ioc: Counted
    shutter: str

    @classmethod
    def of(cls, scanned: Scanned, diode: Any, told: dict[str, Any]) -> Counts:
        """From a scan, its diode and what the IOC said at its end; a Keithley's readings are exposures of the IOC."""
        lit = sum(len(scanned.exposures.streams[name]) for name in LIT)
        exposure_s = float(scanned.exposures.start["cxgi"]["exposure_s"])
        readings = max(1, round(exposure_s / getattr(diode, "reading_s", exposure_s)))
        run = Counted(scanned.openings, lit * readings, lit * exposure_s)
        return cls(run, Counted(told["openings"], told["exposures"], told["open_s"]), told["shutter"])

    @property
    def equal(self) -> bool:
        """Whether run and IOC agree."""
        same = (self.run.openings, self.run.exposures) == (self.ioc.openings, self.ioc.exposures)
        return same and math.isclose(self.run.open_s, self.ioc.open_s, rel_tol=1e-6)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "equal": self.equal}

    def __str__(self) -> str:
        pairs = ", ".join(
            f"{word} {getattr(self.run, name):g} / {getattr(self.ioc, name):g}"
            for name, word in (("openings", "openings"), ("exposures", "exposures"), ("open_s", "seconds open"))
        )
        verdict = "equal" if self.equal else "NOT EQUAL"
        return f"Counted by the run / by the IOC itself: {pairs}: {verdict}. IOC ended, its shutter {self.shutter}."
