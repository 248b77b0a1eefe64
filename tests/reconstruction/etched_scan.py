"""Readings of two Cu boards as etching left them, kept beside this file: drawing all tiles of one takes 20 s.

``python -m tests.reconstruction.etched_scan`` makes `READINGS` again: bucket and sigma of each exposure, in the order
in which `scan_simulation` asks for them, shape (boards, exposures, 2).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import scan_simulation

READINGS = Path(__file__).with_suffix(".npy")
BOARDS = (0, 1)  # seeds of their defects, and of the scans
ALL = PatternSet(32, 1024)


def etched_simulation(seed: int) -> BeamlineSimulation:
    """The beamline with one of the boards."""
    board = load_board("cu32")
    parameters = simulation_parameters(board, etched=True)
    parameters = replace(parameters, defects=replace(parameters.defects, seed=seed))
    return BeamlineSimulation(board, render_object("CAS", 32, 4), parameters, seed=seed)


class Recording:
    """A twin whose readings are written down."""

    def __init__(self, simulation: BeamlineSimulation) -> None:
        self._simulation, self.readings = simulation, []

    def expose(self, exposure_s: float) -> tuple[float, float]:
        self.readings.append(self._simulation.expose(exposure_s))
        return self.readings[-1]

    def __getattr__(self, name: str):
        return getattr(self._simulation, name)


class Replaying(Recording):
    """A twin that reads what was written down."""

    def __init__(self, simulation: BeamlineSimulation, readings: NDArray[np.float64]) -> None:
        super().__init__(simulation)
        self._left = iter(readings)

    def expose(self, exposure_s: float) -> tuple[float, float]:
        return tuple(next(self._left))


def scanned(seed: int, patterns: PatternSet) -> NDArray[np.float64]:
    """Readings of a scan that is made now."""
    recording = Recording(etched_simulation(seed))
    scan_simulation(recording, patterns)
    return np.array(recording.readings)


def stored_scan(seed: int) -> tuple[Measurement, NDArray[np.float32]]:
    """The scan of all patterns that was kept, and the truth."""
    simulation = etched_simulation(seed)
    return scan_simulation(Replaying(simulation, np.load(READINGS)[seed]), ALL), simulation.truth


if __name__ == "__main__":
    np.save(READINGS, [scanned(seed, ALL) for seed in BOARDS])
