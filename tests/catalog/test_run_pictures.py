"""Pictures of a run: what is in them, by the functions that draw them."""

from __future__ import annotations

import numpy as np
import pytest
from bluesky import RunEngine
from PIL import Image

from cxgi_bluesky.catalog import (
    export_run,
    find_run,
    open_catalog,
    read_exposures,
    record_reconstruction,
    run_pictures,
    run_writer,
)
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from tests.conftest import small_board, small_scan


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return open_catalog(tmp_path_factory.mktemp("data"), to_write=True)


@pytest.fixture(scope="module")
def run(catalog):
    engine = RunEngine({})
    engine.subscribe(run_writer(catalog))
    (uid,) = engine(small_scan(simulated_beamline(small_board(16), "CAS", seed=3), 128))
    return find_run(catalog, uid)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, with the words above it."""
    images, draw = [], run_pictures.render_png

    def note(image, **options):
        images.append((image, options.get("title")))
        return draw(image, **options)

    monkeypatch.setattr(run_pictures, "render_png", note)
    return images


def test_a_png_shows_the_newest_image_with_its_uncertainty(run, catalog, tmp_path, drawn):
    measurement = Measurement.from_exposures(read_exposures(run))
    made = reconstruct_and_check(measurement, method="tv", details=True)
    record_reconstruction(catalog, made, pixel_um=10.0)
    path = export_run(catalog, run, file_format="png", out=tmp_path)
    ((image, _),) = drawn
    np.testing.assert_array_equal(image.image, made.image)
    np.testing.assert_array_equal(image.uncertainty, made.uncertainty)
    assert (image.source["pixel_um"], image.mark, image.exposures) == (10.0, made.mark, 128)
    with Image.open(path) as picture:
        assert picture.width > 1.5 * picture.height


def test_an_animation_grows_with_the_exposures_to_the_image_of_the_whole_scan(run, catalog, tmp_path, drawn):
    path = export_run(catalog, run, file_format="gif", out=tmp_path)
    exposures = read_exposures(run)
    counts = [image.exposures for image, _ in drawn]
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1], len(counts)) == (8, 128, 24)
    opened = [float(title.split()[-2]) for _, title in drawn]
    assert opened == sorted(opened)
    assert opened[-1] <= exposures.figures["open_s"] < opened[-1] + 10
    whole = reconstruct(Measurement.from_exposures(exposures), method="tv")
    np.testing.assert_allclose(drawn[-1][0].image, whole.image, atol=0.02)
    with Image.open(path) as animation:
        assert animation.n_frames == 24


def test_the_first_frames_know_nothing_of_later_exposures(run, catalog):
    exposures = read_exposures(run)
    for part, _ in run_pictures._growing(exposures, run):
        last = max(exposure.time for exposure in part.streams["primary"].values())
        left_out = [e.time for k, e in exposures.streams["primary"].items() if k not in part.streams["primary"]]
        assert all(time > last for time in left_out)
        assert all(exposure.time <= last for exposure in part.streams["open"].values())


def test_a_scan_of_a_few_patterns_has_no_animation(catalog, tmp_path):
    engine = RunEngine({})
    engine.subscribe(run_writer(catalog))
    (uid,) = engine(small_scan(simulated_beamline(small_board(16), "CAS"), 4))
    with pytest.raises(CxgiError, match="has 4 patterns: an animation needs 8 at least"):
        export_run(catalog, find_run(catalog, uid), file_format="gif", out=tmp_path)
    assert not list(tmp_path.iterdir())
