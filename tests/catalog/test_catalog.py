from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from bluesky import RunEngine

from cxgi_bluesky.analysis.metrics import affine_fit
from cxgi_bluesky.catalog import (
    data_folder,
    embedded,
    find_named_run,
    find_newest_image,
    find_run,
    open_catalog,
    read_exposures,
    read_image,
    record_reconstruction,
    run_writer,
    summarise,
)
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import dark_scan, reference_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.scans import record_tile_maps
from tests.conftest import QUIET, Recorder, small_board, small_scan
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
def writer(RE, catalog):
    callback = run_writer(catalog)
    RE.subscribe(callback)
    return callback


def test_a_catalog_is_initialised_once_and_again_after_a_loss(tmp_path, monkeypatch):
    calls = []
    original = embedded._make
    monkeypatch.setattr(embedded, "_make", lambda *a: (calls.append(a), original(*a))[1])
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


@pytest.fixture(scope="module")
def seen(catalog):
    """Documents of a scan that is stored."""
    engine, documents = RunEngine({}), Recorder()
    engine.subscribe(documents)
    engine.subscribe(run_writer(catalog))
    engine(small_scan(simulated_beamline(small_board(), "CAS", parameters=QUIET), 40, md={"sample": "leaf"}))
    return documents


@pytest.fixture(scope="module")
def uid(seen):
    """Of that scan."""
    return seen.of("start")[0]["uid"]


def test_what_is_stored_is_what_was_seen(seen, uid, catalog):
    stored = read_exposures(find_run(catalog, uid))
    np.testing.assert_array_equal(
        Measurement.from_run(find_run(catalog, uid)).coefficient, Measurement.from_exposures(stored).coefficient
    )
    live = Exposures.from_documents(seen)
    assert stored.streams == live.streams
    for method in ("correlation", "tv"):
        one, two = (reconstruct(Measurement.from_exposures(e), method=method).image for e in (stored, live))
        np.testing.assert_array_equal(one, two)
    summary = summarise(find_run(catalog, uid[:8]))
    assert summary["uid"] == uid
    assert (summary["purpose"], summary["board"], summary["size"], summary["patterns"]) == ("image", "test8", 8, 40)
    assert (summary["exposures"], summary["exit_status"], summary["sample"]) == (40, "success", "leaf")


@pytest.fixture
def under_way(seen, folder, catalog):
    """A scan that is not at its end and, of its streams in the catalog, what Tiled writes last; within a context."""
    uid, write = str(uuid4()), run_writer(catalog, batch_size=1)
    write("start", {**seen.of("start")[0], "uid": uid})
    (descriptor,) = (one for one in seen.of("descriptor") if one["name"] == "primary")
    write("descriptor", {**descriptor, "run_start": uid})
    for event in [one for one in seen.of("event") if one["descriptor"] == descriptor["uid"]][:3]:
        write("event", event)
    of_the_run = """data_source_id IN (WITH RECURSIVE below(id) AS (SELECT id FROM nodes WHERE key = ? UNION ALL
        SELECT nodes.id FROM nodes JOIN below ON nodes.parent = below.id)
        SELECT data_sources.id FROM data_sources JOIN below ON node_id = below.id)"""
    table = "data_source_asset_association"

    @contextmanager
    def half_written():
        with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None, timeout=PATIENCE_S)) as database:
            rows = database.execute(f"SELECT * FROM {table} WHERE {of_the_run}", (uid,)).fetchall()
            assert rows
            database.execute(f"DELETE FROM {table} WHERE {of_the_run}", (uid,))
            yield
            database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)

    return find_run(catalog, uid), half_written


def test_who_reads_a_stream_that_is_half_written_waits_for_the_other_half(under_way, monkeypatch):
    run, half_written = under_way
    monkeypatch.setattr("cxgi_bluesky.catalog.read.HALF_WRITTEN_S", PATIENCE_S)
    with ThreadPoolExecutor(1) as elsewhere, half_written():
        reading = elsewhere.submit(read_exposures, run)
        time.sleep(0.5)
        assert not reading.done()
    assert len(reading.result()) == 3


def test_a_stream_that_stays_half_written_is_an_error_of_one_line(under_way, monkeypatch):
    run, half_written = under_way
    monkeypatch.setattr("cxgi_bluesky.catalog.read.HALF_WRITTEN_S", 0.0)
    with half_written(), pytest.raises(CxgiError, match="the catalog cannot be read"):
        read_exposures(run)


def test_units_reach_the_catalog(uid, catalog):
    keys = find_run(catalog, uid)["primary"].metadata["data_keys"]
    assert keys["diode_current"]["units"] == "pA"
    assert keys["stage_x"]["units"] == "mm"


def test_a_reconstruction_is_a_run_of_its_own(uid, catalog):
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


def test_unknown_runs(catalog):
    with pytest.raises(CxgiError, match="'zzzzzzzz' is not in the catalog"):
        find_run(catalog, "zzzzzzzz")
    with pytest.raises(CxgiError, match=r"^no run has the scan number 77: cxgi runs lists them$"):
        find_named_run(catalog, "77")


def test_last_is_the_newest_run_that_was_measured_and_minus_one_the_newest_of_all(RE, writer, beamline, catalog):
    (uid,) = RE(small_scan(beamline, 24))
    (dark,) = RE(dark_scan(beamline.shutter, beamline.diode, exposure_s=1.0))
    result = reconstruct(Measurement.from_exposures(read_exposures(find_run(catalog, uid))), method="correlation")
    image = record_reconstruction(catalog, result, pixel_um=None)
    found = [find_named_run(catalog, name, purpose=purpose) for name, purpose in
             (("last", None), ("last", "image"), ("last", "dark"), ("-1", None), ("-1", "image"))]  # fmt: skip
    assert [run.metadata["start"]["uid"] for run in found] == [dark, uid, dark, image, image]
    assert find_newest_image(catalog, find_run(catalog, uid)).metadata["start"]["uid"] == image
    with pytest.raises(CxgiError, match="no knife-edge scan in the catalog"):
        find_named_run(catalog, "last", purpose="knife_edge")


def test_other_runs_are_no_images(RE, writer, beamline, catalog):
    from bluesky.plans import count

    (uid,) = RE(count([beamline.diode], 2))
    assert summarise(find_run(catalog, uid))["purpose"] is None
    with pytest.raises(CxgiError, match="no mask scan"):
        read_exposures(find_run(catalog, uid))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CxgiError, match=r"data folder .*file.* cannot be written .* --data or CXGI_DATA"):
        open_catalog(tmp_path / "file" / "data", to_write=True)


def test_who_only_reads_makes_no_folder(tmp_path):
    with pytest.raises(CxgiError, match=r"there is no data folder .*typo: name another \(--data, CXGI_DATA\), or scan"):
        open_catalog(tmp_path / "typo")
    assert not list(tmp_path.iterdir())


def test_where_data_goes(monkeypatch, tmp_path):
    monkeypatch.delenv("CXGI_DATA", raising=False)
    assert data_folder("x").name == "x"
    assert "cxgi_bluesky" in str(data_folder())
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert str(data_folder("x")) == "x"


# ---------------------------------------------------------------- runs that belong together


@pytest.fixture(scope="module")
def uneven():
    """Tiles that pass more or less than designed, and a detector with a dark current."""
    detector = replace(QUIET.detector, background_pa=0.3)
    parameters = replace(QUIET, defects=Defects(corner_um=1.0, offset_rms_um=0.8, seed=3), detector=detector)
    return simulated_beamline(small_board(), "CAS", parameters=parameters)


@pytest.fixture(scope="module")
def stored(catalog, uneven):
    """Runs a plan and stores its run; returns the uid."""
    engine = RunEngine({})
    engine.subscribe(run_writer(catalog))
    return lambda plan: engine(plan)[0]


@pytest.fixture(scope="module")
def reference(stored, uneven):
    """A reference scan."""
    words = {"board": uneven.board, "pattern_set": PatternSet(8, 64), "exposure_s": 1.0}
    devices = uneven.stage, uneven.shutter, uneven.diode
    return stored(reference_scan(*devices, object_stage=uneven.object_stage, **words))


@pytest.fixture(scope="module")
def image(stored, uneven, reference):
    """A scan that names the reference scan."""
    return stored(small_scan(uneven, reference_uid=reference))


@pytest.fixture(scope="module")
def lost(stored, uneven):
    """A scan with dark readings of its own that names a reference and a dark scan which are not there."""
    return stored(small_scan(uneven, reference_uid="feedbeef", dark_uid="feedbeef"))


@pytest.fixture(scope="module")
def maps(uneven):
    """Of the tiles."""
    return record_tile_maps(uneven.simulation, PatternSet(8, 64), noise=0.001)


def error_of(result, line):
    """Of an image."""
    return np.std(affine_fit(result.image, line.simulation.truth) - line.simulation.truth)


@pytest.fixture(scope="module")
def reconstructed(catalog):
    """Reconstruct a run without storing the image."""

    def reconstructed(uid, **words):
        return reconstruct_run(catalog, find_run(catalog, uid), method="inverse", record=False, **words)[0]

    return reconstructed


def test_a_reconstruction_uses_the_reference_that_the_run_names(catalog, uneven, reference, image, reconstructed):
    corrected, derived = reconstruct_run(catalog, find_run(catalog, image), method="inverse")
    plain = reconstructed(image, reference_uid="none")
    assert error_of(corrected, uneven) < 0.6 * error_of(plain, uneven)
    words = find_run(catalog, derived).metadata["start"]["cxgi"]
    assert words["reference_uids"] == [reference]
    assert words["raw_uids"] == [image]
    assert plain.source.get("reference_uids") is None


def test_another_reference_can_be_named_afterwards(reference, lost, reconstructed):
    assert reconstructed(lost, reference_uid=reference[:8]).source["reference_uids"] == [reference]


def test_the_dark_scan_that_the_run_names_is_used(stored, uneven, reconstructed):
    dark = stored(dark_scan(uneven.shutter, uneven.diode, exposure_s=1.0, exposures=4))
    result = reconstructed(stored(small_scan(uneven, 4, dark_exposures=0, dark_uid=dark)))
    assert result.source["dark_subtracted"] == pytest.approx(0.3)


def test_a_run_with_dark_readings_does_not_need_the_dark_scan_that_it_names(lost, reconstructed):
    assert reconstructed(lost, reference_uid="none").source["dark_subtracted"] == pytest.approx(0.3)
    with pytest.raises(CxgiError, match="has dark readings of its own"):
        reconstructed(lost, reference_uid="none", dark_uid="feedbeef")


def test_a_dark_scan_that_is_gone_can_be_left_out(stored, uneven, reconstructed):
    uid = stored(small_scan(uneven, 4, dark_exposures=0, dark_uid="feedbeef"))
    with pytest.raises(CxgiError, match=r"the dark run that this image names .*'feedbeef'.*--dark-run none"):
        reconstructed(uid)
    assert reconstructed(uid, dark_uid="none").source["dark_subtracted"] == 0


def test_beside_tile_maps_a_reference_that_gave_the_intensity_is_named(reference, image, maps, reconstructed):
    result = reconstructed(image, tile_maps=maps)
    assert result.scale == "transmission"
    assert result.source["reference_uids"] == [reference]
    assert "mask_error" not in result.source


def test_a_link_to_a_run_of_another_kind_is_refused(stored, uneven, image, reconstructed):
    uid = stored(small_scan(uneven, 4, reference_uid=image, dark_uid=image, dark_exposures=0))
    with pytest.raises(CxgiError, match="no reference scan"):
        reconstructed(uid)
    with pytest.raises(CxgiError, match="no dark scan"):
        reconstructed(uid, reference_uid="none")


def test_a_reference_that_is_not_there_is_said(lost, reconstructed):
    with pytest.raises(CxgiError, match=r"that this image names .*'feedbeef' is not in the catalog.*--reference none"):
        reconstructed(lost)


def test_measured_masks_are_named_in_the_derived_run(catalog, uneven, image, maps, reconstructed):
    words = {"method": "inverse", "reference_uid": "none"}
    result, derived = reconstruct_run(catalog, find_run(catalog, image), tile_maps=maps, **words)
    plain = reconstructed(image, reference_uid="none")
    assert error_of(result, uneven) < 0.5 * error_of(plain, uneven)
    assert find_run(catalog, derived).metadata["start"]["cxgi"]["tile_maps_sha256"] == maps.sha256
    with pytest.raises(CxgiError, match="of another board"):
        reconstructed(image, tile_maps=replace(maps, board_sha256="0" * 64))
