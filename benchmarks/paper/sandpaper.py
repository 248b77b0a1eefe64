"""Sandpaper in place of masks: recording of the speckle, scan and correlation, for the red line of Fig. 2(j)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from numpy.typing import NDArray

from benchmarks.paper import paper
from benchmarks.paper.curves import SANDPAPER_EXPOSURES
from benchmarks.paper.scans import EXPOSURE_S
from cxgi_bluesky.devices.simulated.sandpaper import simulated_speckle_beamline
from cxgi_bluesky.masks.speckle_set import SpeckleSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.speckle import SpeckleMeasurement
from cxgi_bluesky.plans import mask_scan, record_speckles
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.speckle import cnr_curve
from cxgi_bluesky.simulation.sandpaper import Sandpaper

Image = NDArray[Any]
# A sheet of this contrast has .2 in pixels as wide as its grain, which is what a camera of such pixels would call it.
SHEET_CONTRAST = 0.28
RECORDING_S = 10.0


def sandpaper_curve(seed: int) -> tuple[list[float], dict[int, Image], Image]:
    """CNR after each of `SANDPAPER_EXPOSURES`, the images that the paper shows, and the truth."""
    line = simulated_speckle_beamline(
        max(SANDPAPER_EXPOSURES), "CAS", seed=seed, sandpaper=Sandpaper(contrast=SHEET_CONTRAST, seed=seed)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speckles.h5"
        recording = record_speckles(
            line.stage,
            line.shutter,
            line.camera,
            path=path,
            exposure_s=RECORDING_S,
            count=max(SANDPAPER_EXPOSURES),
            object_stage=line.object_stage,
        )
        RunEngine({})(recording)
        speckles, exposures = SpeckleSet.open(path), Exposures()
        scan = mask_scan(
            line.stage,
            line.shutter,
            line.diode,
            board=line.board,
            pattern_set=speckles,
            exposure_s=EXPOSURE_S,
            object_stage=line.object_stage,
        )
        RunEngine({})(scan, exposures)
        measurement = SpeckleMeasurement.from_exposures(exposures, speckles)
        truth = line.simulation.truth
        curve = [value for _, value in cnr_curve(measurement, truth, SANDPAPER_EXPOSURES)]
        pictures = {
            count: reconstruct(measurement.first(count), method="correlation").image
            for count in paper.EXPOSURES_SHOWN["sandpaper"]
        }
    return curve, pictures, truth
