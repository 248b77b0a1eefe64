"""The twin that the IOC serves: with a source whose current is known, and an intensity monitor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..masks.board import load_board
from ..simulation.beamline import BeamlineTwin, TwinParameters, twin_parameters
from ..simulation.objects import render_object
from ..simulation.source import intensity_drift
from .options import IocOptions

STEP_DUE = 1 - 1e-6


class ServedTwin(BeamlineTwin):
    """A `BeamlineTwin` whose light follows the source's current.

    Attributes
    ----------
    source_share : float
        Current of the source over its full one.
    intensity : float
        Light of the last exposure over the mean of a full source, drift included.
    drift_due : float
        Steps of the drift that are to be made before the next exposure; a short reading is less than one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source_share = 1.0
        self.intensity = 1.0
        self.drift_due = 0.0
        self._drift = self._with_source(self._drift)

    def reseed(self, seed: int) -> None:
        """Begin all noise anew, the drift too."""
        self._rng = np.random.default_rng(seed)
        self._drift = self._with_source(intensity_drift(self._rng, self.parameters.drift_rms))

    def _with_source(self, drift: Iterator[float]) -> Iterator[float]:
        value = None
        while True:
            while value is None or self.drift_due > STEP_DUE:
                value = next(drift)
                self.drift_due = max(self.drift_due - 1, 0.0)
            self.intensity = value * self.source_share
            yield self.intensity


def served_twin(options: IocOptions) -> ServedTwin:
    """The twin of some options.

    Raises
    ------
    CxgiError
        For a board or object that is unknown.
    """
    board = load_board(options.board)
    parameters = _parameters(twin_parameters(board, etched=options.etched), options)
    object_map = render_object(options.object_name, board.size, parameters.subpixels)
    if options.lies_as is not None:
        board = replace(board, alignment=options.lies_as)
    return ServedTwin(board, object_map, parameters, seed=options.seed)


def _parameters(parameters: TwinParameters, options: IocOptions) -> TwinParameters:
    diode: dict[str, Any] = {"background_pa": options.dark_pa, "electrometer_fa": options.electrometer_fa}
    detector = replace(parameters.detector, **{name: value for name, value in diode.items() if value is not None})
    asked = {name: getattr(options, name) for name in ("open_pa", "stage_rms_um", "drift_rms")}
    return replace(parameters, detector=detector, **{n: v for n, v in asked.items() if v is not None})
