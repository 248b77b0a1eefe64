from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.catalog import (
    data_folder,
    find_run,
    open_catalog,
    read_exposures,
    read_image,
    record_reconstruction,
    run_writer,
    summarise,
)
from cxgi_bluesky.devices.simulated import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.exposures import Exposures
from cxgi_bluesky.measurement import Measurement
from cxgi_bluesky.patterns import PatternSet
from cxgi_bluesky.quality import affine_fit
from cxgi_bluesky.reconstruction import reconstruct
from cxgi_bluesky.run_reconstruction import reconstruct_run
from cxgi_bluesky.simulation.etching import Defects
from cxgi_bluesky.simulation.tile_camera import record_tile_maps
from tests.conftest import QUIET, small_board, small_scan
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
def writer(RE, catalog):
    callback = run_writer(catalog)
    RE.subscribe(callback)
    return callback


@pytest.mark.long
def test_a_catalog_is_initialised_once_and_again_after_a_loss(tmp_path, monkeypatch):
    calls = []
    original = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (calls.append(a), original(*a, **k))[1])
    assert len(open_catalog(tmp_path)) == 0
    assert len(calls) == 1
    assert len(open_catalog(tmp_path)) == 0
    assert len(calls) == 1
    (tmp_path / "catalog.db").unlink()
    assert len(open_catalog(tmp_path)) == 0
    assert len(calls) == 2
    (tmp_path / "catalog.tiled-version").write_text("tiled 0.0.1\n")
    open_catalog(tmp_path)
    assert len(calls) == 3


@pytest.fixture
def uneven():
    """Tiles that pass more or less than designed, and a detector with a dark current."""
    detector = replace(QUIET.detector, background_pa=0.3)
    parameters = replace(QUIET, defects=Defects(corner_um=1.0, offset_rms_um=0.8, seed=3), detector=detector)
    return simulated_beamline(small_board(), "CAS", parameters=parameters)


def test_what_is_stored_is_what_was_seen(RE, documents, writer, beamline, catalog):
    (uid,) = RE(small_scan(beamline, 40, md={"sample": "leaf"}))
    stored = read_exposures(find_run(catalog, uid))
    np.testing.assert_array_equal(
        Measurement.from_run(find_run(catalog, uid)).coefficient, Measurement.from_exposures(stored).coefficient
    )
    live = Exposures.from_documents(documents)
    assert stored.streams == live.streams
    for method in ("correlation", "tv"):
        one, two = (reconstruct(Measurement.from_exposures(e), method=method).image for e in (stored, live))
        np.testing.assert_array_equal(one, two)
    summary = summarise(find_run(catalog, uid[:8]))
    assert summary["uid"] == uid
    assert (summary["purpose"], summary["board"], summary["size"], summary["patterns"]) == ("image", "test8", 8, 40)
    assert (summary["exposures"], summary["exit_status"], summary["sample"]) == (40, "success", "leaf")


def test_units_reach_the_catalog(RE, writer, beamline, catalog):
    (uid,) = RE(small_scan(beamline, 4))
    keys = find_run(catalog, uid)["primary"].metadata["data_keys"]
    assert keys["diode_current"]["units"] == "pA"
    assert keys["stage_x"]["units"] == "mm"


def test_a_reconstruction_is_a_run_of_its_own(RE, writer, beamline, catalog):
    (uid,) = RE(small_scan(beamline, 40))
    result = reconstruct(Measurement.from_exposures(read_exposures(find_run(catalog, uid))), method="tv")
    derived = find_run(catalog, record_reconstruction(catalog, result, pixel_um=10.0))
    words = derived.metadata["start"]["cxgi"]
    assert words["raw_uids"] == [uid]
    assert (words["method"], words["pixel_um"], words["purpose"]) == ("tv", 10.0, "reconstruction")
    assert words["parameters"]["weight"] == result.parameters["weight"]
    np.testing.assert_array_equal(read_image(derived), result.image)
    assert summarise(derived)["raw_uids"] == [uid]
    with pytest.raises(CxgiError, match=f"is a reconstruction: reconstruct its raw run {uid}"):
        read_exposures(derived)


def test_a_rewound_exposure_is_stored_and_the_last_one_wins(RE, documents, writer, beamline, catalog):
    from tests.plans.test_endings import RunEngineInterrupted, interrupted

    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(small_scan(beamline, 12), 150))
    RE.resume()
    uid = documents.of("start")[0]["uid"]
    stored, live = read_exposures(find_run(catalog, uid)), Exposures.from_documents(documents)
    np.testing.assert_array_equal(
        Measurement.from_exposures(stored).coefficient, Measurement.from_exposures(live).coefficient
    )


def test_an_aborted_scan_can_be_reconstructed(RE, documents, writer, beamline, catalog):
    from tests.plans.test_endings import RunEngineInterrupted, interrupted

    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(small_scan(beamline, 40), 350))
    RE.abort("sample moved")
    run = find_run(catalog, documents.of("start")[0]["uid"])
    assert summarise(run)["exit_status"] == "abort"
    assert 10 < len(Measurement.from_exposures(read_exposures(run))) < 40


def test_another_process_reads_while_it_is_open_here(RE, writer, beamline, catalog, folder):
    (uid,) = RE(small_scan(beamline, 8))
    code = "import sys, databroker; print(databroker.catalog['cxgi'][sys.argv[1]].metadata['stop']['exit_status'])"
    environment = {**os.environ, "TILED_PROFILES": str(folder / "profiles")}
    done = subprocess.run(
        [sys.executable, "-c", code, uid],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout.strip() == "success", done.stderr


def test_unknown_runs(catalog):
    with pytest.raises(CxgiError, match="'zzzzzzzz' is not in the catalog"):
        find_run(catalog, "zzzzzzzz")


def test_other_runs_are_no_images(RE, writer, beamline, catalog):
    from bluesky.plans import count

    (uid,) = RE(count([beamline.diode], 2))
    assert summarise(find_run(catalog, uid))["purpose"] is None
    with pytest.raises(CxgiError, match="no mask scan"):
        read_exposures(find_run(catalog, uid))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CxgiError, match=r"data folder .*file.* cannot be written .* --data or CXGI_DATA"):
        open_catalog(tmp_path / "file" / "data")


def test_where_data_goes(monkeypatch, tmp_path):
    monkeypatch.delenv("CXGI_DATA", raising=False)
    assert data_folder("x").name == "x"
    assert "cxgi_bluesky" in str(data_folder())
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert str(data_folder("x")) == "x"


# ---------------------------------------------------------------- runs that belong together


def reference(line, **options):
    from cxgi_bluesky.plans import reference_scan

    words = {"board": line.board, "pattern_set": PatternSet(8, 64), "exposure_s": 1.0, **options}
    return reference_scan(line.stage, line.shutter, line.diode, object_stage=line.object_stage, **words)


def test_a_reconstruction_uses_the_reference_that_the_run_names(RE, writer, catalog, uneven):
    (reference_uid,) = RE(reference(uneven))
    (uid,) = RE(small_scan(uneven, reference_uid=reference_uid))
    run = find_run(catalog, uid)
    corrected, derived = reconstruct_run(catalog, run, method="inverse")
    plain, _ = reconstruct_run(catalog, run, method="inverse", reference_uid="none", record=False)
    errors = [np.std(affine_fit(r.image, uneven.twin.truth) - uneven.twin.truth) for r in (corrected, plain)]
    assert errors[0] < 0.6 * errors[1]
    words = find_run(catalog, derived).metadata["start"]["cxgi"]
    assert words["reference_uids"] == [reference_uid]
    assert words["raw_uids"] == [uid]
    assert plain.source.get("reference_uids") is None


def test_another_reference_can_be_named_afterwards(RE, writer, catalog, uneven):
    (uid,) = RE(small_scan(uneven))
    (reference_uid,) = RE(reference(uneven))
    result, _ = reconstruct_run(
        catalog, find_run(catalog, uid), method="inverse", reference_uid=reference_uid[:8], record=False
    )
    assert result.source["reference_uids"] == [reference_uid]


def test_the_dark_scan_that_the_run_names_is_used(RE, writer, catalog, uneven):
    from cxgi_bluesky.plans import dark_scan

    (dark_uid,) = RE(dark_scan(uneven.shutter, uneven.diode, exposure_s=1.0, exposures=4))
    (uid,) = RE(small_scan(uneven, dark_exposures=0, dark_uid=dark_uid))
    result, _ = reconstruct_run(catalog, find_run(catalog, uid), method="inverse", record=False)
    assert result.source["dark_subtracted"] == pytest.approx(0.3)


def test_a_run_with_dark_readings_does_not_need_the_dark_scan_that_it_names(RE, writer, catalog, uneven):
    (uid,) = RE(small_scan(uneven, 4, dark_uid="feedbeef"))
    run = find_run(catalog, uid)
    result, _ = reconstruct_run(catalog, run, method="inverse", record=False)
    assert result.source["dark_subtracted"] == pytest.approx(0.3)
    with pytest.raises(CxgiError, match="has dark readings of its own"):
        reconstruct_run(catalog, run, method="inverse", dark_uid="feedbeef", record=False)


def test_a_dark_scan_that_is_gone_can_be_left_out(RE, writer, catalog, uneven):
    (uid,) = RE(small_scan(uneven, 4, dark_exposures=0, dark_uid="feedbeef"))
    run = find_run(catalog, uid)
    with pytest.raises(CxgiError, match=r"the dark run that this image names .*'feedbeef'.*--dark-run none"):
        reconstruct_run(catalog, run, method="inverse", record=False)
    result, _ = reconstruct_run(catalog, run, method="inverse", dark_uid="none", record=False)
    assert result.source["dark_subtracted"] == 0


def test_beside_tile_maps_a_reference_that_gave_the_intensity_is_named(RE, writer, catalog, uneven):
    (reference_uid,) = RE(reference(uneven))
    (uid,) = RE(small_scan(uneven, reference_uid=reference_uid))
    maps = record_tile_maps(uneven.twin, PatternSet(8, 64), noise=0.001)
    result, _ = reconstruct_run(catalog, find_run(catalog, uid), method="inverse", tile_maps=maps, record=False)
    assert result.scale == "transmission"
    assert result.source["reference_uids"] == [reference_uid]
    assert "mask_error" not in result.source


@pytest.mark.parametrize(("link", "message"), [("reference_uid", "no reference scan"), ("dark_uid", "no dark scan")])
def test_a_link_to_a_run_of_another_kind_is_refused(RE, writer, catalog, uneven, link, message):
    (other,) = RE(small_scan(uneven, 4))
    (uid,) = RE(small_scan(uneven, **{link: other}, dark_exposures=0))
    with pytest.raises(CxgiError, match=message):
        reconstruct_run(catalog, find_run(catalog, uid), method="inverse", record=False)


def test_a_reference_that_is_not_there_is_said(RE, writer, catalog, uneven):
    (uid,) = RE(small_scan(uneven, 4, reference_uid="feedbeef"))
    with pytest.raises(CxgiError, match=r"that this image names .*'feedbeef' is not in the catalog.*--reference none"):
        reconstruct_run(catalog, find_run(catalog, uid), method="inverse", record=False)


def test_measured_masks_are_named_in_the_derived_run(RE, writer, catalog, uneven):
    (uid,) = RE(small_scan(uneven))
    maps = record_tile_maps(uneven.twin, PatternSet(8, 64), noise=0.001)
    result, derived = reconstruct_run(catalog, find_run(catalog, uid), method="inverse", tile_maps=maps)
    plain, _ = reconstruct_run(catalog, find_run(catalog, uid), method="inverse", record=False)
    errors = [np.std(affine_fit(r.image, uneven.twin.truth) - uneven.twin.truth) for r in (result, plain)]
    assert errors[0] < 0.5 * errors[1]
    assert find_run(catalog, derived).metadata["start"]["cxgi"]["tile_maps_sha256"] == maps.sha256
    with pytest.raises(CxgiError, match="of another board"):
        reconstruct_run(
            catalog, find_run(catalog, uid), method="inverse", tile_maps=replace(maps, board_sha256="0" * 64)
        )
