"""What ends a scan early: an image that is good enough, as far as the data say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..callbacks.live_steering import LiveSteering, Steering
from ..errors import ScanError

logger = logging.getLogger(__name__)

_Read = Callable[[Steering], float | None]
_TARGETS: dict[str, tuple[str, str, _Read]] = {
    "psnr_db": ("PSNR", "dB", lambda newest: newest.psnr_low_db),  # its lower bound: a claim that will hold
    "lines_z": ("line in the residual", "sigma", lambda newest: newest.lines_z),
}
PSNR, LINES = "psnr_db", "lines_z"


@dataclass(frozen=True)
class Goal:
    """Targets that the newest image has to reach, all of them.

    Attributes
    ----------
    targets : mapping of str to float
        ``psnr_db``: the lower bound (one standard error) of the estimated PSNR is this or more (dB);
        ``lines_z``: a line or point that the image lacks was found in the residual with this z or more (sigma).
    steering : LiveSteering
        Whose newest image counts; never waited for.
    """

    targets: Mapping[str, float]
    steering: LiveSteering

    def reached(self) -> str | None:
        """Why the scan may end now, None if it has to go on."""
        newest = self.steering.newest
        if newest is None:
            return None
        found = {name: _TARGETS[name][2](newest) for name in self.targets}
        if any(value is None or value < self.targets[name] for name, value in found.items()):
            return None
        told = ", ".join(
            f"{_TARGETS[name][0]} {value:.1f} {_TARGETS[name][1]} (wanted {self.targets[name]:g})"
            for name, value in found.items()
        )
        logger.warning("good enough: %s with %d patterns; the scan ends here", told, newest.image_patterns)
        return f"good enough: {told} with {newest.image_patterns} patterns"


def check_targets(until: Any) -> None:
    """Raise `CxgiError` unless these are targets: a mapping of ``psnr_db`` and ``lines_z`` to numbers above 0."""
    if not isinstance(until, Mapping) or not until or set(until) - set(_TARGETS):
        raise ScanError(f"until {until!r}: give {{'psnr_db': 25}} (dB), {{'lines_z': 5}} (sigma), or both")
    for name, target in until.items():
        if isinstance(target, bool) or not isinstance(target, Real) or not 0 < float(target) < 100:
            raise ScanError(f"until {name} {target!r}: give a number of {_TARGETS[name][1]} between 0 and 100")
