"""Landmarks of a board, and the ways in which its plate may have been put on the stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import CxgiError
from ..masks.board import Alignment, MaskBoard

FEWEST_LANDMARKS = 3
ALONE_TILES = 3  # an edge profile must see nothing but its own fiducial
LEAST_SPREAD = 1e-3  # of the shorter extent over the longer one, below which the fiducials lie on a line

Place = tuple[int, int]


def landmarks_of(board: MaskBoard) -> tuple[Place, ...]:
    """The board's fiducials, if a plate can be aligned by them.

    Raises
    ------
    CxgiError
        For fewer than three, for fiducials on a line (from which handedness cannot be told), or for one that has
        anything else but metal within two places.
    """
    places = board.fiducials
    if len(places) < FEWEST_LANDMARKS:
        raise CxgiError(
            f"board {board.name!r} has {len(places)} fiducials, alignment needs {FEWEST_LANDMARKS} or more: "
            "name all-open places of the plate in its file, fiducials: [[row, column], ...]"
        )
    extent = np.linalg.svd(np.array(places, dtype=float) - np.mean(places, axis=0), compute_uv=False)
    if extent[1] < LEAST_SPREAD * extent[0]:
        raise CxgiError(f"the fiducials of board {board.name!r} lie on a line: give one beside it")
    open_places = [divmod(tile, board.columns) for tile in range(board.pattern_count)]
    others = np.array([*open_places, board.open_tile, *places])
    for place in places:
        near = (np.abs(others - place).max(axis=1) < ALONE_TILES).sum()
        if near > 1:  # itself
            raise CxgiError(
                f"fiducial {place} of board {board.name!r} is not alone: within {ALONE_TILES - 1} places of it there "
                "must be nothing but metal"
            )
    return places


def orientations(board: MaskBoard) -> dict[str, Alignment]:
    """Alignments to try: as the file says, turned back to front where it lies, and back to front about tile 0."""
    filed = board.alignment
    turned = replace(filed, mirrored=not filed.mirrored)
    across_mm = filed.matrix @ [(board.columns - 1) * board.tile_pitch_um / 1000, 0.0]
    in_place = replace(turned, x0_mm=filed.x0_mm + float(across_mm[0]), y0_mm=filed.y0_mm + float(across_mm[1]))
    return {"as in the file": filed, "back to front": in_place, "back to front about tile 0": turned}
