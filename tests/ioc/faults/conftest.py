"""The shared IOC without noise, a beamline over it, and what its tiles give."""

from __future__ import annotations

import pytest

from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.plans import resume_scan
from tests.conftest import Recorder
from tests.ioc.devices.conftest import axes, beamline_file, hasten, line, make_line, scan, shared_line, shared_lines
from tests.ioc.serving import Client

from .books import EXPOSURE_S, SET, TILE_TIMES, paced
from .scanning import Scanner

__all__ = ["axes", "beamline_file", "hasten", "line", "make_line", "shared_line", "shared_lines"]


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


def short_scan(line, **options):
    """A scan of `SET`: a dark exposure, an open one, the patterns, an open one."""
    words = {"exposure_s": EXPOSURE_S, **TILE_TIMES, "object_stage": None, **options}
    return paced(scan(line, SET, **words), line.shutter)


def resumed(RE, line, documents, **options) -> Exposures:
    """Complete the scan of some documents by another one, whose documents are added; both together."""
    earlier = Exposures.from_documents(documents)
    rest = Recorder()
    token = RE.subscribe(rest)
    RE(resume_scan(line.stage, line.shutter, line.diode, earlier=earlier, **options))
    RE.unsubscribe(token)
    documents.extend(d for d in rest if not any(d[1] is known[1] for known in documents))
    return Exposures.from_documents(rest).continuing(earlier)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    """Of all sessions: a catalog is slow to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def scanner(tmp_path, data_folder):
    """Starts scanning processes, which share a folder."""
    started: list[Scanner] = []

    def start(file, environment) -> Scanner:
        started.append(Scanner(file, tmp_path, data_folder, environment))
        return started[-1]

    yield start
    for one in started:
        one.end()
