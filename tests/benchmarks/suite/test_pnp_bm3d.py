from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.suite import pnp_bm3d as peers
from benchmarks.suite import workload
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from tests.conftest import smooth_image

# Stands where the package of that name is in the peers' environment; its own licence keeps it out of this one.
STAND_IN = """
from scipy.ndimage import gaussian_filter

class BM3DProfile:
    num_threads = 0

def bm3d(image, strength, profile):
    assert profile.num_threads == 1
    return gaussian_filter(image, 2 * strength)
"""


def measurement(size=16, scale=1.0, count=128, seed=0, **words) -> Measurement:
    index = PatternSet(size, count).pattern_index
    values = scale * walsh_hadamard_2d(smooth_image(size, seed=seed)).ravel()[index]
    return Measurement.from_buckets(
        size, index, values, coding="signed", sigma=np.full(count, 0.01 * scale * np.std(values / scale)), **words
    )


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    (tmp_path / "bm3d.py").write_text(STAND_IN)
    (tmp_path / "bm3d-0.1.dist-info").mkdir()
    (tmp_path / "bm3d-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: bm3d\nVersion: 0.1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return sys.executable


def test_a_peer_that_is_not_installed_says_how_to(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "_CHECKOUT", tmp_path)
    answer = peers.pnp_bm3d([measurement()])
    assert answer.images == answer.ms == (None,)
    assert answer.why == peers.NOT_INSTALLED
    assert peers.peers_python() is None


def test_an_environment_is_used_once_it_is_complete(monkeypatch, tmp_path):
    python = tmp_path / ".venv-peers" / "bin" / "python"
    runner = tmp_path / "benchmarks" / "peers" / "run.py"
    for path in (python, runner):
        path.parent.mkdir(parents=True)
        path.write_text("")
    monkeypatch.setattr(peers, "_CHECKOUT", tmp_path)
    assert peers.peers_python() is None
    (tmp_path / ".venv-peers" / ".installed").write_text("")
    assert peers.peers_python() == python


def test_pictures_come_back_in_their_places_and_units(interpreter):
    asked = [measurement(seed=1), measurement(32, 50.0, 512, seed=2), measurement(seed=3)]
    answer = peers.pnp_bm3d(asked, python=interpreter)
    assert answer.why is None
    assert answer.settings.startswith("bm3d 0.1: 20 iterations")
    for made, seed, scale in zip(answer.images, (1, 2, 3), (1.0, 50.0, 1.0), strict=True):
        truth = smooth_image(len(made), seed=seed)
        assert np.corrcoef(made.ravel(), truth.ravel())[0, 1] > 0.97
        assert np.mean(made) == pytest.approx(scale * truth.mean(), rel=0.02)
    assert all(ms > 0 for ms in answer.ms)


def test_no_picture_is_begun_after_the_time(interpreter):
    answer = peers.pnp_bm3d([measurement(), measurement(seed=1)], 1e-9, python=interpreter)
    assert answer.images[0] is not None
    assert answer.images[1] is None


@pytest.mark.parametrize("python", ["/nowhere/python", "false"])
def test_an_environment_that_fails_is_told_and_ends_nothing(python):
    answer = peers.pnp_bm3d([measurement()], python=python)
    assert answer.images == (None,)
    assert answer.why.startswith("failed: ")


def test_nothing_is_asked_for_no_measurement(interpreter):
    assert peers.pnp_bm3d([], python=interpreter).images == ()


def test_the_range_of_a_relative_measurement_is_its_own():
    one, many = (peers.prepared(measurement(scale=scale)) for scale in (1.0, 1000.0))
    assert many[1] == pytest.approx(1000 * one[1], rel=1e-3)
    truth = workload.truths()["CAS"]
    absolute = workload.measure(truth, workload.pattern_set("zig-zag", 0), snr_db=30, seed=0)
    assert peers.prepared(absolute)[1] == 1
