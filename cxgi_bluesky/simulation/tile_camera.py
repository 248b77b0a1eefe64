"""What a camera behind each tile of the twin would record: measured masks from a simulated board."""

from __future__ import annotations

import math

import numpy as np

from ..errors import ConfigError
from ..masks.pattern_set import PatternSet
from ..masks.tile_maps import MAX_TRANSMISSION, MIN_TRANSMISSION, FineTileMaps, TileMaps
from .beamline import BeamlineSimulation
from .board.tiles import Map


def record_fine_tile_maps(
    simulation: BeamlineSimulation,
    patterns: PatternSet,
    *,
    noise: float = 0.0,
    stage_rms_um: float | None = None,
    seed: int = 0,
) -> FineTileMaps:
    """Photograph each tile of a pattern set and the open tile, on the twin's sub-pixels.

    The object is out and the camera sees the field as the mask lies in it: with an error of each stage move,
    and mirrored or turned as the board is mounted. The twin's own state and random numbers are left alone.

    Parameters
    ----------
    twin : BeamlineTwin
    patterns : PatternSet
    noise : float, optional
        Rms of the camera's noise in each of its pixels (a sub-pixel), where an open tile is 1; 0 by default.
    stage_rms_um : float, optional
        Error of each stage move, per axis; by default the twin's.
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
        picture = simulation.mask_map(float(x), float(y))
        noisy = picture + np.float32(noise) * rng.normal(size=picture.shape).astype(np.float32)
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
    twin : BeamlineTwin
    patterns : PatternSet
    noise : float, optional
        Rms of the camera's noise in each sub-pixel, where an open tile is 1; 0 by default.
    stage_rms_um : float, optional
        Random error of each stage move, per axis (um); by default the twin's.
    seed : int, optional
        Of the noise and the stage's errors; 0 by default.
    """
    fine = record_fine_tile_maps(simulation, patterns, noise=noise, stage_rms_um=stage_rms_um, seed=seed)
    return fine.averaged()
