"""The size of the source by a knife edge, and one edge of the gold object in the ghost and in the direct image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bluesky import RunEngine
from numpy.typing import NDArray

from benchmarks.paper import paper
from benchmarks.paper.rows import CAMERA_NOISE
from benchmarks.paper.scans import beamline, etched_parameters, scan_image
from cxgi_bluesky.analysis.knife_edge import fit_knife_edge
from cxgi_bluesky.analysis.resolution.mtf import compare_sharpness
from cxgi_bluesky.devices.simulated.beamline import SimulatedKnife
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import knife_edge_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.camera import Camera, predict_edge_um
from cxgi_bluesky.simulation.objects.paper import (
    GOLD_COLUMN_UM,
    GOLD_FIELD_UM,
    GOLD_GAP_UM,
    GOLD_RADIUS_UM,
    GOLD_TILT_DEG,
)
from cxgi_bluesky.simulation.scans import record_tile_maps

Image = NDArray[Any]
SPOTS_UM: tuple[tuple[float, float] | float, ...] = (10.0, paper.SPOT_UM, 100.0)
PHOTONS_PER_PIXEL = 2000.0
DIRECT_SUBPIXELS = 16  # a camera's pixel is smaller than a mask's: 4 would widen the sharpest edge by a tenth
_HALF_HEIGHT_UM, _HALF_WIDTH_UM = 100.0, 65.0  # of the box around the column's outer face


@dataclass(frozen=True, eq=False)
class Resolution:
    """What one seed measures: (FWHM, sigma) of the spot along x and y, an edge row for each spot, the direct image."""

    spot: dict[str, tuple[float, float]]
    edges: list[dict[str, float]]
    direct: Image


def measure_resolution(seed: int) -> Resolution:
    """Knife-edge scans along both axes, then ghost and direct images with spots of several sizes."""
    compared = [_edges(spot, seed, run) for run, spot in enumerate(SPOTS_UM, start=10)]
    direct = next(image for spot, (_, image) in zip(SPOTS_UM, compared, strict=True) if spot == paper.SPOT_UM)
    return Resolution({axis: _spot(axis, seed) for axis in "xy"}, [row for row, _ in compared], direct)


def _spot(axis: str, seed: int) -> tuple[float, float]:
    line = beamline("au64", "gold", seed, run=20 + "xy".index(axis))
    line.simulation.object_in = False
    line.stage.tile.set(line.board.open_tile_number).wait(timeout=10)
    knife = SimulatedKnife(name="knife", simulation=line.simulation, axis=axis)
    documents: list[tuple[str, Any]] = []
    plan = knife_edge_scan(
        knife,
        line.shutter,
        line.diode,
        start_um=-80.0,
        stop_um=80.0,
        points=81,
        exposure_s=1.0,
        slit=knife.geometry,
    )
    RunEngine({})(plan, lambda name, document: documents.append((name, document)))
    fit = fit_knife_edge(documents)
    return fit.fwhm_um, fit.fwhm_sigma_um


def _edges(spot: tuple[float, float] | float, seed: int, run: int) -> tuple[dict[str, float], Image]:
    """The outer face of the gold column in both images, the masks as measured."""
    across, down = spot if isinstance(spot, tuple) else (spot, spot)
    parameters = etched_parameters(load_board("au64"), seed)
    parameters = replace(parameters, source=replace(parameters.source, fwhm_x_um=across, fwhm_y_um=down))
    line = beamline("au64", "gold", seed, parameters, run=run)
    camera, geometry = Camera(), parameters.geometry
    exposures = scan_image(line, paper.EXPOSURES["au64"])
    patterns = PatternSet.from_dict(exposures.start["cxgi"]["pattern_set"])
    maps = record_tile_maps(line.simulation, patterns, noise=CAMERA_NOISE, seed=seed)
    ghost = reconstruct(Measurement.from_exposures(exposures, tile_maps=maps), method="tv").image
    fine = replace(parameters, subpixels=DIRECT_SUBPIXELS, defects=None)  # no mask stands in a direct image
    direct = beamline("au64", "gold", seed, fine).simulation.direct_image(
        camera, photons_per_pixel=PHOTONS_PER_PIXEL, seed=seed
    )
    ghost_pixel_um = geometry.object_pixel_um(line.board.pixel_um)
    found = compare_sharpness(
        ghost,
        direct.image,
        ghost_pixel_um=ghost_pixel_um,
        direct_pixel_um=direct.pixel_um,
        ghost_box=_face_box(len(ghost), ghost_pixel_um, geometry.object_magnification),
        direct_box=_face_box(len(direct.image), direct.pixel_um, geometry.object_magnification),
    )
    return {
        "spot_x_um": across,
        "spot_y_um": down,
        "ghost_um": found.ghost.width_um,
        "ghost_sigma_um": found.ghost.width_sigma_um,
        "ghost_mtf50_per_mm": found.ghost.mtf50_per_mm,
        "ghost_pixel_um": ghost_pixel_um,
        "direct_um": found.direct.width_um,
        "direct_sigma_um": found.direct.width_sigma_um,
        "direct_mtf50_per_mm": found.direct.mtf50_per_mm,
        "direct_pixel_um": direct.pixel_um,
        "direct_expected_um": predict_edge_um(parameters.source, geometry, direct.pixel_um, angle_deg=GOLD_TILT_DEG),
    }, direct.image


def _face_box(size: int, pixel_um: float, scale: float) -> tuple[int, int, int, int]:
    """Box around the column's outer face in an image centred on the object (row0, row1, col0, col1).

    `scale` is the size of the object over the drawn one: the object is drawn on the mask's pixels, which are larger
    at the object.
    """
    tilt = math.radians(GOLD_TILT_DEG)
    face_um = -scale * (GOLD_COLUMN_UM + GOLD_GAP_UM + GOLD_RADIUS_UM) / 2
    row, col = (size / 2 + face_um * part / pixel_um for part in (math.sin(tilt), math.cos(tilt)))
    half_height, half_width = (half / pixel_um for half in (_HALF_HEIGHT_UM, _HALF_WIDTH_UM))
    limits = (row - half_height, row + half_height, col - half_width, col + half_width)
    row0, row1, col0, col1 = (min(max(round(limit), 0), size) for limit in limits)
    return row0, row1, col0, col1


def summary(results: Sequence[Resolution]) -> dict[str, Any]:
    """Means over the seeds, and the spread of the spot's size beside the uncertainty that the fit states."""
    spot = {}
    for axis, true in zip("xy", paper.SPOT_UM, strict=True):
        values = np.array([result.spot[axis] for result in results])
        spot[axis] = {
            "true_um": true,
            "fwhm_um": float(values[:, 0].mean()),
            "stated_sigma_um": float(values[:, 1].mean()),
            "largest_pull": float(np.max(np.abs(values[:, 0] - true) / values[:, 1])),
        }
    edges = [
        {name: float(np.mean([result.edges[i][name] for result in results])) for name in results[0].edges[i]}
        for i in range(len(results[0].edges))
    ]
    return {"knife_edge": spot, "edges": edges, "field_um": GOLD_FIELD_UM}
