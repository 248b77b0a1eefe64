"""Live images that a plan steers by: how good the image is without a truth, and which patterns to measure next."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ScanError
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from ..reconstruction.error_model.noise import MIN_PATTERNS
from ..reconstruction.planning.choose import find_rule, rank_patterns
from ..reconstruction.registry import CH_MWCNN
from ..reconstruction.residual_lines import residual_lines
from ..reconstruction.result import Reconstruction
from .live_reconstruction import LiveReconstruction, ReferenceRuns


@dataclass(frozen=True, eq=False)
class Steering:
    """What the newest image says.

    Attributes
    ----------
    image_patterns : int
        From how many patterns it was made.
    psnr_db, psnr_low_db : float or None
        Estimated PSNR and the lower end of its interval; None where nothing can be claimed.
    lines_z : float or None
        The strongest line or point that the data hold and the image lacks (sigma); None where none was found.
    ranked : ndarray of int64, or None
        The patterns that were not measured then, those to measure first in front; None without a rule.
    """

    image_patterns: int
    psnr_db: float | None
    psnr_low_db: float | None
    lines_z: float | None
    ranked: NDArray[np.int64] | None


class LiveSteering(LiveReconstruction):
    """Make images of a scan, and from each what its plan steers by; a plan subscribes its own to its own run.

    Advisory: a slow image means that the plan goes by an older one, and never waits for it.

    Parameters
    ----------
    method : str, optional
        A method of `reconstruct` that predicts patterns that were not measured ("ch-mwcnn" by default).
    rule : str, optional
        By which patterns are ranked (`RULES`); none are by default.
    available : collection of int, optional
        Patterns that the board has; all by default.
    seed : int, optional
        Of the rule's draws.
    lines_z : float, optional
        Smallest z (sigma) of lines and points that the image lacks and that are looked for; by default none are.
    references : ReferenceRuns, optional
        As of `LiveReconstruction`.
    first, every : int, optional
        As of `LiveReconstruction`.
    """

    def __init__(
        self,
        method: str = CH_MWCNN.name,
        *,
        rule: str | None = None,
        available: Collection[int] | None = None,
        seed: int = 0,
        lines_z: float | None = None,
        references: ReferenceRuns | None = None,
        first: int = 32,
        every: int = 8,
    ) -> None:
        super().__init__(method, first=first, every=every, references=references)
        if rule is not None:
            find_rule(rule)
        self.newest: Steering | None = None
        self.newest_with_psnr: Steering | None = None
        self._rule, self._available, self._lines_z = rule, available, lines_z
        self._rng = np.random.default_rng(seed)

    def close(self, timeout: float = 20.0) -> None:
        """Cancel the images that were requested, wait for those in work, and be forgotten: a plan makes another one."""
        super().close(timeout)
        if all(run.finished.is_set() for run in self._runs):
            atexit.unregister(self.close)

    def _make_image(self, measurement: Measurement | SpeckleMeasurement, options: dict[str, Any]) -> Reconstruction:
        result = super()._make_image(measurement, options)
        assert isinstance(measurement, Measurement)
        self.newest = Steering(
            image_patterns=len(measurement),
            psnr_db=result.quality.get("psnr_db"),
            psnr_low_db=result.quality.get("psnr_low_db"),
            lines_z=self._strongest_line(measurement, result),
            ranked=None if self._rule is None else self._rank(measurement, result, self._rule),
        )
        if self.newest.psnr_db is not None:
            self.newest_with_psnr = self.newest
        return result

    def _rank(self, measurement: Measurement, result: Reconstruction, rule: str) -> NDArray[np.int64]:
        return rank_patterns(
            measurement.to_beam_view(result.image),
            measured=measurement.pattern_index.tolist(),
            rng=self._rng,
            rule=rule,
            sigma=float(np.sqrt(np.mean(measurement.sigma**2))),
            available=self._available,
        )

    def _strongest_line(self, measurement: Measurement, result: Reconstruction) -> float | None:
        if self._lines_z is None or len(measurement) < MIN_PATTERNS:
            return None
        return max((line.z for line in residual_lines(measurement, result.image, min_z=self._lines_z)), default=None)


logger = logging.getLogger(__name__)

_Read = Callable[[Steering], float | None]
_TARGETS: dict[str, tuple[str, str, _Read]] = {
    "psnr_db": ("PSNR at least", "dB", lambda newest: newest.psnr_low_db),  # its lower bound: a claim that will hold
    "lines_z": ("line in the residual", "sigma", lambda newest: newest.lines_z),
}
PSNR, LINES = "psnr_db", "lines_z"
_LATE = 0.8  # of the patterns: an image of fewer is an old one


@dataclass(frozen=True)
class Goal:
    """Targets that the newest image has to reach, all of them.

    Attributes
    ----------
    targets : mapping of str to float
        ``psnr_db``: the lower end of the estimated PSNR is this or more (dB);
        ``lines_z``: a line or point that the image lacks was found in the residual with this z or more (sigma).
    steering : LiveSteering
        Whose newest image counts; never waited for.
    """

    targets: Mapping[str, float]
    steering: LiveSteering

    def find_reason(self) -> str | None:
        """Find why the scan may end now; None if it has to go on."""
        newest = self.steering.newest
        if newest is None:
            return None
        found = {name: _TARGETS[name][2](newest) for name in self.targets}
        if any(value is None or value < self.targets[name] for name, value in found.items()):
            return None
        reason = ", ".join(
            f"{_TARGETS[name][0]} {value:.1f} {_TARGETS[name][1]} (wanted {self.targets[name]:g})"
            for name, value in found.items()
        )
        return f"good enough: {reason} with {newest.image_patterns} patterns"

    def explain_end(self, exposed: int) -> str:
        """Say how far the image is when all patterns were measured: silence would look like a reached target.

        Parameters
        ----------
        exposed : int
            Patterns that the scan has exposed for its image.
        """
        reached = self.find_reason()
        if reached is not None:
            logger.warning("%s; all patterns were measured by then", reached)
            return reached
        newest, failure = self.steering.newest, self.steering.failure
        wanted = ", ".join(
            f"{_TARGETS[name][0]} {target:g} {_TARGETS[name][1]}" for name, target in self.targets.items()
        )
        late = f"exposures are faster than images, all {exposed} patterns were measured"
        if newest is None:
            why = late if failure is None else f"there was no image ({failure})"
            reason = f"never judged (wanted {wanted}): {why}"
        else:
            last = (self.steering.newest_with_psnr if PSNR in self.targets else None) or newest
            found = ", ".join(_describe(name, last) for name in self.targets)
            reason = f"not good enough: {found} (wanted {wanted}) with {last.image_patterns} patterns"
            if newest.image_patterns < _LATE * exposed:
                reason += f", the newest image: {late}"
        logger.warning("%s", reason)
        return reason


def _describe(target: str, newest: Steering) -> str:
    """What the newest image has of what is wanted."""
    label, unit, read = _TARGETS[target]
    value = read(newest)
    return f"{label.removesuffix(' at least')} unknown" if value is None else f"{label} {value:.1f} {unit}"


def check_targets(until: Any) -> None:
    """Raise `CxgiError` unless these are targets: a mapping of ``psnr_db`` and ``lines_z`` to numbers above 0."""
    if not isinstance(until, Mapping) or not until or set(until) - set(_TARGETS):
        raise ScanError(f"until {until!r}: give {{'psnr_db': 25}} (dB), {{'lines_z': 5}} (sigma), or both")
    for name, target in until.items():
        if isinstance(target, bool) or not isinstance(target, Real) or not 0 < float(target) < 100:
            raise ScanError(f"until {name} {target!r}: give a number of {_TARGETS[name][1]} between 0 and 100")
