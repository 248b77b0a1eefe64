"""Scans and recordings of a simulated beamline without Bluesky, for benchmarks and tests of reconstruction."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..masks.pattern_set import PatternSet
from ..masks.speckle_files import SpeckleWriter
from ..masks.speckle_set import SpeckleSet
from ..masks.tile_maps import MAX_TRANSMISSION, MIN_TRANSMISSION, FineTileMaps, TileMaps
from ..measurement.exposures import Exposures
from ..measurement.measurement import Measurement
from ..measurement.schema import SCHEMA
from .beamline import BeamlineSimulation
from .board.tiles import Map
from .sandpaper import SandpaperSimulation, SpeckleCamera


def scan_simulation(
    simulation: BeamlineSimulation, patterns: PatternSet, *, exposure_s: float = 1.0, opens: int = 8
) -> Measurement:
    """Expose the open tile, then each pattern of a set once; the dark current is taken as known.

    Every bucket has the rms of their sigmas, the noise of a steady source.

    Parameters
    ----------
    simulation : BeamlineSimulation
    patterns : PatternSet
        Carried by the simulation's board.
    exposure_s : float, optional
        Exposure time per tile (s); 1 by default.
    opens : int, optional
        Exposures of the open tile; 8 by default.

    Returns
    -------
    Measurement
    """
    board, dark = simulation.board, simulation.parameters.detector.background_pa

    def expose(tile: int) -> tuple[float, float]:
        simulation.move_to(*board.position_mm(tile))
        simulation.open_shutter()
        reading = simulation.expose(exposure_s)
        simulation.close_shutter()
        return reading

    opened = np.array([expose(board.open_tile_number) for _ in range(opens)])
    bucket, sigma = np.array([expose(board.tile_of(int(k))) for k in patterns.pattern_index]).T
    made = Measurement.from_buckets(
        board.size,
        patterns.pattern_index,
        bucket,
        coding="binary",
        sigma=np.full(len(bucket), np.sqrt(np.mean(sigma**2))),
        d_r=board.d_r,
        dark=dark,
        open_bucket=(opened[:, 0].mean() - dark, float(np.sqrt(np.mean(opened[:, 1] ** 2) / opens))),
    )
    return replace(made, mirrored=board.mirrored)


# ---------------------------------------------------------------- sandpaper scan


_FIELDS = {"pattern_index": "pattern_index", "bucket": "current", "sigma": "sigma", "i0": None}


def record_sandpaper(
    simulation: SandpaperSimulation,
    path: str | Path,
    *,
    camera: SpeckleCamera | None = None,
    count: int | None = None,
    exposure_s: float = 10.0,
    dark_frames: int = 8,
    camera_seed: int = 0,
) -> SpeckleSet:
    """Record the reference patterns of the first positions, object out.

    The frames are those of the plan `record_speckles` for the same seeds.

    Parameters
    ----------
    simulation : SandpaperSimulation
    path : path
        A new file.
    camera : SpeckleCamera, optional
        By default one with its own defaults.
    count : int, optional
        Number of positions; all by default.
    exposure_s : float, optional
        Exposure time per frame (s); 10 by default.
    dark_frames : int, optional
        Frames with the shutter closed, taken first; 8 by default.
    camera_seed : int, optional
        Of the camera's noise; 0 by default.

    Raises
    ------
    CxgiError
        If a frame is saturated.
    """
    camera, rng = camera or SpeckleCamera(), np.random.default_rng(camera_seed)
    board = simulation.board
    count = board.count if count is None else count
    source = {"recorded_with": "simulated camera", "exposure_s": exposure_s, "dark_frames": dark_frames}
    options: dict[str, Any] = {
        "pixel_um": board.pixel_um,
        "board_sha256": board.sha256,
        "source": source,
        "full_well": camera.full_well,
    }
    with SpeckleWriter(path, count, board.size, **options) as writer:
        for _ in range(dark_frames):
            writer.put_dark(camera.frame(simulation, exposure_s, rng))
        simulation.object_in = False
        for k in range(count):
            simulation.move_to(*board.position_mm(k))
            simulation.open_shutter()
            writer.put(k, camera.frame(simulation, exposure_s, rng))
            simulation.close_shutter()
        simulation.object_in = True
    return writer.finish()


def scan_sandpaper(
    simulation: SandpaperSimulation,
    speckles: SpeckleSet,
    *,
    exposure_s: float = 1.0,
    open_exposures: int = 4,
    open_every: int = 64,
    dark_exposures: int = 4,
    incident_exposures: int = 4,
) -> Exposures:
    """Measure the buckets of a recorded set, with the reference exposures of the plan `mask_scan`.

    The stored readings are those of the plan for the same seed; their times are simulated.
    ``SpeckleMeasurement.from_exposures(exposures, speckles)`` calibrates them.

    Parameters
    ----------
    simulation : SandpaperSimulation
    speckles : SpeckleSet
        Recorded with the simulation's board.
    exposure_s : float, optional
        Exposure time per position (s); 1 by default.
    open_exposures : int, optional
        Exposures beside the sheet before the scan, and again after it; 4 by default.
    open_every : int, optional
        One more after each so many positions, 64 by default; 0 for none.
    dark_exposures : int, optional
        With the shutter closed; 4 by default.
    incident_exposures : int, optional
        Beside the sheet with the object out; 4 by default.
    """
    board, exposures = simulation.board, Exposures()
    names = {"id": board.name, "sha256": board.sha256, "d_r": None, "pixel_um": board.pixel_um, "metal": board.metal}
    block = {"schema": SCHEMA, "board": names, "pattern_set": speckles.to_dict(), "fields": _FIELDS}
    exposures("start", {"uid": "simulated", "cxgi": block})
    numbers: dict[str, int] = {}

    def store(stream: str, pattern_index: int, reading: tuple[float, float]) -> None:
        if stream not in numbers:
            exposures("descriptor", {"uid": stream, "name": stream})
        numbers[stream] = numbers.get(stream, 0) + 1
        data = {"pattern_index": pattern_index, "current": reading[0], "sigma": reading[1]}
        event = {
            "descriptor": stream,
            "seq_num": numbers[stream],
            "data": data,
            "time": simulation.exposures * exposure_s,
        }
        exposures("event", event)

    def expose(tile: int, stream: str) -> None:
        simulation.move_to(*board.position_mm(tile))
        simulation.open_shutter()
        reading = simulation.expose(exposure_s)
        simulation.close_shutter()
        store(stream, board.pattern_index_of(tile), reading)

    def references(count: int, stream: str) -> None:
        for _ in range(count):
            expose(board.open_tile_number, stream)

    for _ in range(dark_exposures):
        store("dark", -1, simulation.expose(exposure_s))
    simulation.object_in = False
    references(incident_exposures, "incident")
    simulation.object_in = True
    references(open_exposures, "open")
    for done, tile in enumerate(board.tiles_along(speckles, "order")):
        if open_every and done and done % open_every == 0:
            references(1, "open")
        expose(tile, "primary")
    references(open_exposures, "open")
    return exposures


# ---------------------------------------------------------------- tile maps


def record_fine_tile_maps(
    simulation: BeamlineSimulation,
    patterns: PatternSet,
    *,
    noise: float = 0.0,
    stage_rms_um: float | None = None,
    seed: int = 0,
) -> FineTileMaps:
    """Photograph each tile of a pattern set and the open tile, on the simulation's sub-pixels.

    The object is out and the camera sees the field as the mask lies in it: with an error of each stage move,
    and mirrored or turned as the board is mounted. The simulation's own state and random numbers are left alone.

    Parameters
    ----------
    simulation : BeamlineSimulation
    patterns : PatternSet
    noise : float, optional
        Rms of the camera's noise in each of its pixels (a sub-pixel), where an open tile is 1; 0 by default.
    stage_rms_um : float, optional
        Error of each stage move, per axis; by default the simulation's.
    seed : int, optional
        Of the noise and the stage's errors; 0 by default.

    Raises
    ------
    CxgiError
        For a noise that is negative or not finite, or a pattern that the board does not carry.
    """
    if not (math.isfinite(noise) and noise >= 0):
        raise ConfigError(f"noise {noise} of the camera: give 0 or more, as a part of the open tile's level")
    rng = np.random.default_rng(seed)
    board = simulation.board
    stage_mm = (simulation.parameters.stage_rms_um if stage_rms_um is None else stage_rms_um) / 1000

    def photograph(tile: int) -> Map:
        error = stage_mm * rng.normal(size=2)
        x, y = np.array(board.position_mm(tile)) + error
        image = simulation.mask_map(float(x), float(y))
        noisy = image + np.float32(noise) * rng.normal(size=image.shape).astype(np.float32)
        return np.clip(noisy, MIN_TRANSMISSION, MAX_TRANSMISSION)

    opened = photograph(board.open_tile_number)
    maps = np.empty((len(patterns.pattern_index), *opened.shape), dtype=np.float32)
    for i, k in enumerate(patterns.pattern_index):
        maps[i] = photograph(board.tile_of(int(k)))
    source = f"twin of board {board.name}, noise {noise:g}, seed {seed}"
    return FineTileMaps(
        board.size, simulation.parameters.subpixels, patterns.pattern_index, maps, opened, board.sha256, source
    )


def record_tile_maps(
    simulation: BeamlineSimulation,
    patterns: PatternSet,
    *,
    noise: float = 0.0,
    stage_rms_um: float | None = None,
    seed: int = 0,
) -> TileMaps:
    """`record_fine_tile_maps`, averaged onto mask pixels; there the noise is smaller by the sub-pixels per side.

    Parameters
    ----------
    simulation : BeamlineSimulation
    patterns : PatternSet
    noise : float, optional
        Rms of the camera's noise in each sub-pixel, where an open tile is 1; 0 by default.
    stage_rms_um : float, optional
        Random error of each stage move, per axis (um); by default the simulation's.
    seed : int, optional
        Of the noise and the stage's errors; 0 by default.
    """
    fine = record_fine_tile_maps(simulation, patterns, noise=noise, stage_rms_um=stage_rms_um, seed=seed)
    return fine.average()
