from __future__ import annotations

import json

import numpy as np
import pytest

from cxgi_bluesky import session
from cxgi_bluesky.catalog import find_reconstructions, find_run, read_exposures, read_image, summarise
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.sandpaper import simulated_speckle_beamline, speckle_board
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.speckle import SpeckleMeasurement
from cxgi_bluesky.plans import record_speckles
from cxgi_bluesky.simulation.scans import record_sandpaper


@pytest.fixture(scope="module")
def line():
    return simulated_speckle_beamline(board=speckle_board(80, size=12), seed=2)


@pytest.fixture(scope="module")
def s(tmp_path_factory, line):
    return session.start(data=tmp_path_factory.mktemp("data"), beamline=line, progress=False, export="nexus")


@pytest.fixture(scope="module")
def run(s, line, tmp_path_factory):
    """Record, register, scan; returns the uid of the scan and its patterns."""
    path = tmp_path_factory.mktemp("recorded") / "s.h5"
    s.RE(record_speckles(s.stage, s.shutter, line.camera, path=path, exposure_s=1.0, object_stage=s.object_stage))
    speckles = s.speckles(path)
    (uid,) = s.RE(s.scan(pattern_set=speckles, md={"sample": "stencil"}))
    path.unlink()  # the registered one is enough from here on
    return uid, speckles


def test_the_file_of_a_scan_gives_its_image(s, run, tmp_path):
    uid, _ = run
    (path,) = s.wait_for_exports()
    (stored,) = find_reconstructions(s.catalog, uid)
    out = tmp_path / "a.npy"
    assert main(["reconstruct", str(path), "--out", str(out), "--data", str(s.folder)]) == 0
    np.testing.assert_array_equal(np.load(out), read_image(stored))


def test_what_is_stored_is_what_was_seen(s, run):
    uid, speckles = run
    s.wait_for_exports()
    live = s.wait_for_images()["correlation"]
    stored = SpeckleMeasurement.from_run(find_run(s.catalog, uid), speckles)
    assert len(stored) == 80
    known = set(s.catalog)
    result = s.reconstruct(uid)
    assert result.method == "correlation"
    np.testing.assert_array_equal(result.image, live.image)
    (derived,) = set(s.catalog) - known
    words = s.catalog[derived].metadata["start"]["cxgi"]
    assert (words["raw_uids"], words["method"], words["pixel_um"]) == ([uid], "correlation", 150.0)
    assert words["parameters"] == {"form": "GI"}
    np.testing.assert_array_equal(read_image(s.catalog[derived]), result.image)
    summary = summarise(find_run(s.catalog, uid))
    assert (summary["board"], summary["patterns"], summary["exposures"]) == ("sandpaper", 80, 80)
    assert s.reconstruct(uid, form="DGI", record=False).parameters == {"form": "DGI"}


def test_what_is_for_masks_is_refused_and_not_ignored(s, run):
    for name, value in (("reference_uid", "none"), ("tile_maps", object()), ("details", True), ("residual", True)):
        with pytest.raises(CxgiError, match=f"{name}: for Hadamard masks alone"):
            s.reconstruct(run[0], record=False, **{name: value})
    with pytest.raises(CxgiError, match="leave reference_uid out"):
        s.scan(pattern_set=run[1], reference_uid=run[0])


def test_a_linked_dark_is_subtracted(s, run):
    (dark,) = s.RE(s.plans.dark_scan(s.shutter, s.diode, exposure_s=1.0, exposures=4))
    (uid,) = s.RE(s.scan(pattern_set=run[1].first(12), dark_exposures=0, dark_uid=dark))
    level = read_exposures(find_run(s.catalog, dark)).dark
    source = s.reconstruct(uid, record=False).source
    assert source["dark_subtracted"] == pytest.approx(level)
    assert s.reconstruct(uid, record=False, dark_uid="none").source["dark_subtracted"] == 0


def test_the_recording_is_a_run_too(s, run):
    from tiled.queries import Key

    recorded = s.catalog.search(Key("cxgi.purpose") == "speckles").values().first()
    assert str(np.asarray(recorded["asset"].read()["camera_asset_sha256"])[0]) == run[1].sha256
    with pytest.raises(CxgiError, match="no mask scan"):
        read_exposures(recorded)


@pytest.mark.usefixtures("opened_once")
def test_from_the_command_line(s, run, tmp_path, capsys):
    uid, speckles = run
    arguments = ["reconstruct", uid[:8], "--data", str(s.folder), "--out", str(tmp_path / "a.npy"), "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["method"], answer["exposures"], answer["scale"]) == ("correlation", 80, "relative")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), s.reconstruct(uid, record=False).image)
    assert main([*arguments, "--speckles", str(speckles.path)]) == 0
    capsys.readouterr()
    assert main(["runs", "--data", str(s.folder)]) == 0
    assert uid[:8] in capsys.readouterr().out
    for more, message in [
        (["--method", "tv"], "'tv' is for Hadamard masks"),
        (["--fraction", "0.5"], "--fraction is for Hadamard masks"),
        (["--speckles", str(tmp_path / "none.h5")], "none.h5 cannot be read"),
    ]:
        assert main([*arguments, *more]) == 2
        assert message in capsys.readouterr().err


def test_a_run_whose_patterns_are_gone_or_damaged(s, run, tmp_path):
    uid, speckles = run
    content = speckles.path.read_bytes()
    try:
        speckles.path.unlink()
        with pytest.raises(CxgiError, match=rf"sha256 {speckles.sha256} are not here"):
            s.reconstruct(uid)
        speckles.path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CxgiError, match="cannot be read"):
            s.reconstruct(uid)
        simulation = simulated_speckle_beamline(board=speckle_board(80, size=12), seed=9).simulation
        other = record_sandpaper(simulation, tmp_path / "other.h5", count=3, exposure_s=2.0)
        with pytest.raises(CxgiError, match="holds other patterns"):
            s.reconstruct(uid, speckles=other.path)
    finally:
        speckles.path.write_bytes(content)


def test_a_session_over_sandpaper_has_no_hadamard_patterns(s):
    with pytest.raises(CxgiError, match=r"carries no masks: give recorded patterns"):
        s.scan(0.1)
