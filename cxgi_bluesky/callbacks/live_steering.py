"""Live images that a plan steers by: how good the image is without a truth, and which patterns to measure next."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        Estimated PSNR and its lower bound at one standard error; None where nothing can be claimed.
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
        self._rule, self._available, self._lines_z = rule, available, lines_z
        self._rng = np.random.default_rng(seed)

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
