"""A scan of the twin without Bluesky: tile after tile, for benchmarks and tests of reconstruction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..masks.pattern_set import PatternSet
from ..measurement.measurement import Measurement
from .beamline import BeamlineTwin


def scan_twin(twin: BeamlineTwin, patterns: PatternSet, *, exposure_s: float = 1.0, opens: int = 8) -> Measurement:
    """Expose the open tile, then each pattern of a set once; the dark current is taken as known.

    Every bucket has the rms of their sigmas, the noise of a steady source.
    """
    board, dark = twin.board, twin.parameters.detector.background_pa

    def expose(tile: int) -> tuple[float, float]:
        twin.move_to(*board.position_mm(tile))
        twin.open_shutter()
        reading = twin.expose(exposure_s)
        twin.close_shutter()
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
    return replace(made, mirrored=board.alignment.mirrored)
