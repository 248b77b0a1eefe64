"""The shared IOC without noise, a beamline over it, and what its tiles give."""

from __future__ import annotations

import pytest

from tests.ioc.devices.conftest import beamline_file, line, make_line, scan, shared_line
from tests.ioc.serving import Client

from .books import EXPOSURE_S, SCALE, SET, TILE_TIMES

__all__ = ["beamline_file", "line", "make_line", "shared_line"]


@pytest.fixture(scope="session")
def truth(shared_ioc, shared_line) -> dict[int, float]:
    """Bucket of each pattern of `SET`, measured by hand: stage, shutter and detector one PV after the other."""
    ca, board = Client(shared_ioc.prefix), shared_line.board
    ca.reset()
    ca.put("EXPOSURE_S", EXPOSURE_S)
    ca.put("SHUTTER:CMD", "Open")
    buckets = {}
    for k in SET.pattern_index.tolist():
        x_mm, y_mm = board.position_mm(board.tile_of(k))
        ca.put("STAGE:X", x_mm)
        ca.put("STAGE:Y", y_mm)
        buckets[k] = ca.expose()
    ca.reset()
    return buckets


@pytest.fixture
def slowly(ca):
    """Exposures take 0.2 real seconds."""
    ca.put("TIME_SCALE", SCALE)


def short_scan(line, **options):
    """A scan of `SET`: a dark exposure, an open one, the patterns, an open one."""
    return scan(line, SET, exposure_s=EXPOSURE_S, **{**TILE_TIMES, "object_stage": None, **options})
