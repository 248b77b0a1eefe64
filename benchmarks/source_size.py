"""What the source does to an image: edge widths of ghost and direct image, the knife edge, predicted D_r.

An 8 degree tilted, sharp edge on the simulated Au board at three spot sizes: the ghost image of 768 patterns by `tv`
beside the direct image, and the width that geometry predicts for the latter. Then simulated knife-edge scans (drift
and noise on): the fitted spot's errors over their stated sigma. Last, D_r of both boards for a few spectra (spekpy).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from cxgi_bluesky.analysis.knife_edge import KnifeGeometry, fit_knife_scan
from cxgi_bluesky.analysis.resolution.mtf import compare_sharpness
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.camera import Camera, direct_image, predict_edge_um
from cxgi_bluesky.simulation.materials import Layer, predict_d_r
from cxgi_bluesky.simulation.optics import Blade
from cxgi_bluesky.simulation.scans import scan_simulation
from cxgi_bluesky.simulation.source import Source
from cxgi_bluesky.simulation.spectrum import tube_spectrum

BOARD = load_board("au64")
TILT_DEG = 8.0
BOXES = {"ghost_box": (20, 44, 20, 44), "direct_box": (60, 140, 60, 140)}
KNIFE = KnifeGeometry(source_knife_mm=50, knife_slit_mm=400, slit_um=20)


def tilted_edge(subpixels: int) -> np.ndarray:
    axis = (np.arange(64 * subpixels) + 0.5) / subpixels - 32
    y, x = np.meshgrid(axis, axis, indexing="ij")
    tilt = np.deg2rad(TILT_DEG)
    return np.clip((x * np.cos(tilt) + y * np.sin(tilt) - 0.3) * subpixels + 0.5, 0, 1).astype(np.float32)


def edges(spot_um: float) -> dict[str, Any]:
    """Widths (um, 10-90 %) with their sigmas."""
    parameters = replace(simulation_parameters(BOARD), source=Source(spot_um, spot_um))
    pixel_um = parameters.geometry.object_pixel_um(BOARD.pixel_um)
    simulation = BeamlineSimulation(BOARD, tilted_edge(4), parameters, seed=1)
    ghost = reconstruct(scan_simulation(simulation, PatternSet(64, 768)), method="tv").image
    direct = direct_image(
        tilted_edge(16),
        pixel_um / 16,
        parameters.source,
        parameters.geometry,
        Camera(),
        photons_per_pixel=1000,
        seed=2,
    )
    both = compare_sharpness(ghost, direct.image, ghost_pixel_um=pixel_um, direct_pixel_um=direct.pixel_um, **BOXES)
    expected = predict_edge_um(parameters.source, parameters.geometry, direct.pixel_um, angle_deg=TILT_DEG)
    return {
        "expected_direct_um": round(expected, 2),
        "direct_um": [round(both.direct.width_um, 2), round(both.direct.width_sigma_um, 2)],
        "ghost_um": [round(both.ghost.width_um, 2), round(both.ghost.width_sigma_um, 2)],
    }


def knife_edges(axis: str, truth_um: float, seeds: int) -> dict[str, float]:
    """Errors of the fitted spot over their stated sigma, over seeds."""
    pulls, sigmas, chi = [], [], []
    position = np.linspace(-70, 70, 41)
    for seed in range(seeds):
        simulation = BeamlineSimulation(BOARD, np.ones((256, 256), np.float32), simulation_parameters(BOARD), seed=seed)
        simulation.move_to(*BOARD.position_mm(BOARD.open_tile_number))
        simulation.open_shutter()
        readings = []
        for place in position:
            simulation.blades[axis] = Blade(place, KNIFE)
            readings.append(simulation.expose(1.0))
        signal, sigma = np.array(readings).T
        fit = fit_knife_scan(position, signal, KNIFE, sigma=sigma, axis=axis)
        pulls.append((fit.fwhm_um - truth_um) / fit.fwhm_sigma_um)
        sigmas.append(fit.fwhm_sigma_um)
        chi.append(fit.chi_square / fit.degrees_of_freedom)
    return {
        "pull_mean": round(float(np.mean(pulls)), 2),
        "pull_rms": round(float(np.sqrt(np.mean(np.square(pulls)))), 2),
        "pull_max": round(float(np.abs(pulls).max()), 2),
        "sigma_um": round(float(np.mean(sigmas)), 3),
        "reduced_chi_square": round(float(np.mean(chi)), 2),
    }


def depths(anode: str, kv: float, filters: tuple[Layer, ...]) -> dict[str, float]:
    light = tube_spectrum(anode, kv)
    masks = {"Au 10 um": ("Au", 10.0, Layer("SiO2", 500)), "Cu 100 um": ("Cu", 100.0, Layer("FR4", 500))}
    return {
        name: round(predict_d_r(metal, thick, light, substrate=under, filters=filters), 3)
        for name, (metal, thick, under) in masks.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=24, help="knife-edge scans an axis")
    options = parser.parse_args()
    lights = [("Mo", kv, ()) for kv in (40, 45, 50)] + [("Mo", 45, (Layer("Al", 500),)), ("W", 45, ())]
    results = {
        "edges": {f"{spot:g} um": edges(spot) for spot in (10.0, 37.0, 100.0)},
        "knife": {axis: knife_edges(axis, truth, options.seeds) for axis, truth in (("x", 30.0), ("y", 37.0))},
        "d_r": {f"{a} {kv} kV {' '.join(map(str, f))}".strip(): depths(a, kv, f) for a, kv, f in lights},
    }
    report("source_size", results)


if __name__ == "__main__":
    main()
