from __future__ import annotations

import atexit
import gc
import os
from functools import cache
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import numpy as np
import pytest
from bluesky import RunEngine

from cxgi_bluesky.catalog import embedded, open_catalog
from cxgi_bluesky.devices.simulated.beamline import SimulatedMaskBeamline, simulated_beamline
from cxgi_bluesky.masks.board import Alignment, MaskBoard
from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import hadamard_scan
from cxgi_bluesky.simulation.base import Detector
from cxgi_bluesky.simulation.beamline import SimulationParameters
from cxgi_bluesky.simulation.source import POINT_SOURCE
from tests import warm
from tests.children import heed_signals_in_children
from tests.sharing import Child

# Of millions of objects, looking through them as often as usual takes 7 % of the time, and at the end a second or two.
gc.set_threshold(10_000, 20, 50)
atexit.register(gc.freeze)
heed_signals_in_children()
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")  # it says nothing of how fast the machine is

QUIET = SimulationParameters(
    drift_rms=0.0,
    stage_rms_um=0.0,
    detector=Detector(swank=1e12, electrometer_fa=0.0, background_pa=0.0),
    source=POINT_SOURCE,
)


def small_board(size: int = 8, **changes) -> MaskBoard:
    """A small board with a guard gap, an alignment and tiles out of index order."""
    words = {
        "name": f"test{size}",
        "size": size,
        "pixel_um": 10.0,
        "tile_pitch_um": size * 10.0 + 40.0,
        "columns": size,
        "pattern_index": tuple(ranking("zig-zag", size).tolist()),
        "open_tile": (-2, 0),
        "metal_tile": (-2, 2),
        "metal": "Au",
        "d_r": 0.83,
        "aperture_um": size * 10.0,
        "alignment": Alignment(x0_mm=-1.5, y0_mm=0.7),
    }
    return MaskBoard(**{**words, **changes})


# Begun first, so that all processes end at about the same time: tests with an IOC, catalogs, processes, trainings. Of
# those beside each other here a file of each folder comes in turn: some wait while others compute.
SLOW_FIRST = (
    ("catalog/test_sharing.py", "catalog/test_kills.py"),
    ("ioc", "queue", "catalog", "web", "cli", "session", "test_docs.py", "_files/test_fuzz_readers.py"),
    ("training",),
    ("benchmarks/paper", "reconstruction", "plans"),
)


@cache
def turn_of(file: Path) -> tuple[int, int]:
    """When its tests are begun."""
    place = file.relative_to(Path(__file__).parent)
    turns = (n for n, names in enumerate(SLOW_FIRST) if any(place.is_relative_to(name) for name in names))
    return next(turns, len(SLOW_FIRST)), sorted(file.parent.glob("test_*.py")).index(file)


def pytest_sessionstart(session):
    """One process for all workers whose children begin with their imports done."""
    if getattr(session.config.option, "numprocesses", None):  # not in a worker
        warm.start()


def pytest_collection_modifyitems(items):
    """In their turn, the tests of a file together."""
    items.sort(key=lambda item: (*turn_of(item.path), item.path))


def remember_dependencies() -> None:
    """Let FastAPI analyse each function once; as Tiled replaces some, it would in each request, half of its time."""
    from fastapi.dependencies import utils

    analyse = utils.get_dependant

    @cache
    def remembered(words):
        return analyse(**{key: list(value) if isinstance(value, tuple) else value for key, value in words})

    def get_dependant(**words):
        return remembered(tuple((key, tuple(v) if isinstance(v, list) else v) for key, v in sorted(words.items())))

    utils.get_dependant = get_dependant


remember_dependencies()


def share_routes() -> None:
    """Let Tiled make its routes once: they are the same for all embedded catalogs, and half of an opening."""
    open_app, made = embedded._open, []

    @cache
    def share():
        from tiled.server import app

        make = app.get_router

        def get_router(*registries):
            if not made:
                made.append(make(*registries))
            return made[0]

        app.get_router = get_router

    def open_sharing(*arguments):
        share()
        return open_app(*arguments)

    embedded._open = open_sharing


share_routes()


@pytest.fixture(scope="session", autouse=True)
def _user_folders(tmp_path_factory):
    """Drawn tiles and data of the tests stay out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXGI_CACHE", str(tmp_path_factory.mktemp("tiles")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("user-data")))
        yield


@pytest.fixture
def start_child(tmp_path):
    """Start processes (`tests/sharing.py`); those that still run are killed in the end."""
    children = []

    def begin(work, *arguments):
        children.append(Child(work, tmp_path / f"errors-{len(children)}", *arguments))
        return children[-1]

    yield begin
    for child in children:
        child.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder for the tests of a file."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def catalog(folder):
    """Its catalog."""
    return open_catalog(folder)


@pytest.fixture(scope="module")
def opened_once():
    """Commands in this process open the catalog of a folder once: a second each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxgi_bluesky.catalog.open_catalog", cache(open_catalog))
        yield


@pytest.fixture
def board() -> MaskBoard:
    return small_board()


@pytest.fixture
def beamline(board) -> SimulatedMaskBeamline:
    """Soft devices on a small board, without noise."""
    return simulated_beamline(board, "CAS", parameters=QUIET)


@pytest.fixture
def RE() -> RunEngine:
    return RunEngine({})


class Recorder(list):
    """Collects documents as (name, document)."""

    __hash__ = object.__hash__  # the RunEngine keeps its subscribers in a dict

    def __call__(self, name, document):
        self.append((name, document))

    def of_last_run(self):
        starts = [n for n, (kind, _) in enumerate(self) if kind == "start"]
        return self[starts[-1] :]

    def of(self, name):
        return [document for kind, document in self if kind == name]


@pytest.fixture
def documents(RE) -> Recorder:
    recorder = Recorder()
    RE.subscribe(recorder)
    return recorder


def smooth_image(size: int = 16, seed: int = 0) -> np.ndarray:
    """A bright, soft object on a dark ground with a sharp bar."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    image = 0.8 * np.exp(-(((x - 0.4) ** 2 + (y - 0.55) ** 2) * 12)) + 0.02 * rng.random((size, size))
    image[size // 8 : size // 4] += 0.2
    return image


def signed_measurement(image: np.ndarray, pattern_set: PatternSet | None = None, sigma: float = 0.0, seed: int = 0):
    """A signed measurement of an image with Gaussian noise of known sigma."""
    size = len(image)
    pattern_set = pattern_set or PatternSet(size, size * size)
    index = pattern_set.pattern_index
    values = walsh_hadamard_2d(image.astype(float)).ravel()[index]
    noise = sigma * np.random.default_rng(seed).normal(size=len(index))
    return Measurement.from_buckets(size, index, values + noise, coding="signed", sigma=np.full(len(index), sigma))


ALONE = {"dark_exposures": 0, "open_exposures": 0, "incident_exposures": 0}  # patterns and figures, no other streams


def small_scan(line: SimulatedMaskBeamline, count: int = 64, **options):
    """The plan of a short scan of a simulated beamline."""
    pattern_set = PatternSet(line.board.size, count)
    words = {"board": line.board, "pattern_set": pattern_set, "exposure_s": 1.0, **options}
    return hadamard_scan(line.stage, line.shutter, line.diode, **words)
