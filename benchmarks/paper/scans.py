"""Scans of the simulated beamline with the real plans; what is kept of a run is its `Exposures`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from bluesky import RunEngine

from cxgi_bluesky.devices.simulated.beamline import SimulatedMaskBeamline, simulated_beamline
from cxgi_bluesky.masks.board import MaskBoard, load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.plans import hadamard_scan, reference_scan
from cxgi_bluesky.simulation.beamline import SimulationParameters, simulation_parameters
from cxgi_bluesky.simulation.board.etching import Defects

# Of the orders that we know, the one whose first 768 patterns give the paper's TVAL3 image its contrast.
ORDER = "cake-cutting"
EXPOSURE_S = 1.0


def etched_parameters(board: MaskBoard, seed: int) -> SimulationParameters:
    """Parameters of the paper's boards as etching left them; each seed is another board."""
    parameters = simulation_parameters(board, etched=True)
    assert isinstance(parameters.defects, Defects)
    return replace(parameters, defects=replace(parameters.defects, seed=seed))


def without_defects(parameters: SimulationParameters) -> SimulationParameters:
    """Masks as designed, the stage exact."""
    return replace(parameters, defects=None, stage_rms_um=0.0)


def without_noise(parameters: SimulationParameters) -> SimulationParameters:
    """A steady source and a detector without noise: what is left is the masks' and the stage's."""
    quiet = replace(parameters.detector, swank=1e12, electrometer_fa=0.0)
    return replace(parameters, drift_rms=0.0, detector=quiet)


def beamline(
    board: str, object_name: str, seed: int, parameters: SimulationParameters | None = None, *, run: int = 0
) -> SimulatedMaskBeamline:
    """Simulated devices, their board etched unless parameters say otherwise.

    The board is that of the seed; noise, drift and stage errors are other ones in each run.
    """
    loaded = load_board(board)
    noise = int(np.random.SeedSequence([seed, run]).generate_state(1)[0])
    return simulated_beamline(loaded, object_name, seed=noise, parameters=parameters or etched_parameters(loaded, seed))


def scan_image(
    line: SimulatedMaskBeamline, count: int, order: str = ORDER, exposure_s: float = EXPOSURE_S
) -> Exposures:
    """One image by `hadamard_scan`."""
    return _run(line, hadamard_scan, count, order, exposure_s)


def scan_reference(
    line: SimulatedMaskBeamline, count: int, order: str = ORDER, exposure_s: float = EXPOSURE_S
) -> Exposures:
    """The same tiles with the object out, by `reference_scan`."""
    return _run(line, reference_scan, count, order, exposure_s, metal_exposures=16)


def pattern_set(line: SimulatedMaskBeamline, count: int, order: str = ORDER) -> PatternSet:
    """The patterns of these scans."""
    return PatternSet(line.board.size, count, order)


def _run(
    line: SimulatedMaskBeamline, plan: Any, count: int, order: str, exposure_s: float, **options: Any
) -> Exposures:
    exposures = Exposures()
    words = {"board": line.board, "pattern_set": pattern_set(line, count, order), "exposure_s": exposure_s}
    RunEngine({})(
        plan(line.stage, line.shutter, line.diode, object_stage=line.object_stage, **words, **options), exposures
    )
    if line.shutter.state.get() != "closed":
        raise RuntimeError("the scan has ended with the shutter open")
    return exposures
