"""A run as a file: what others read in it, the same image to the bit from it, and names that stay in their folder."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from event_model import compose_run

from cxgi_bluesky import BucketTable, Measurement, session, write_buckets
from cxgi_bluesky._files.image_file import read_image_file
from cxgi_bluesky.callbacks import RunExport
from cxgi_bluesky.catalog import export_run, find_newest_image, find_run, read_exposures, read_run_file, run_writer
from cxgi_bluesky.catalog.export import FORMATS, Format
from cxgi_bluesky.catalog.nexus_file import VERSION_KEY
from cxgi_bluesky.catalog.read import read_documents
from cxgi_bluesky.cli.catalog import EXPORT_FORMATS
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.beamline import ExportFormat
from cxgi_bluesky.devices.config import example_path
from cxgi_bluesky.devices.config.models import BeamlineConfig
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.plans import dark_scan, mask_scan, reference_scan, resume_scan
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from cxgi_bluesky.simulation.board.etching import Defects
from tests import warm
from tests.conftest import QUIET, small_board, small_scan
from tests.patience import PATIENCE_S
from tests.plans.test_endings import interrupted

pytestmark = pytest.mark.usefixtures("opened_once")

DETECTOR = replace(QUIET.detector, background_pa=0.3, electrometer_fa=20.0)
PARAMETERS = replace(QUIET, detector=DETECTOR, defects=Defects(corner_um=1.0, offset_rms_um=0.8, seed=3))
IMAGES = ("referenced", "dark linked", "resumed", "signed masks", "mirrored")
SCANNED_WITH = {
    "signed masks": {"d_r": 1.0},
    "mirrored": {"alignment": replace(small_board().alignment, mirrored=True)},
}


@pytest.fixture(scope="module")
def uids(folder, catalog):
    """Runs by what they are: images with a reference, a dark and an earlier scan, and of other boards."""
    line = simulated_beamline(small_board(), "CAS", parameters=PARAMETERS)
    devices = line.stage, line.shutter, line.diode
    engine = RunEngine({"sample": "../leaf"}, scan_id_source=lambda md: md.get("scan_id", 0) + 1)
    engine.subscribe(run_writer(catalog))
    words = {"board": line.board, "exposure_s": 1.0, "object_stage": line.object_stage}
    (reference,) = engine(reference_scan(*devices, pattern_set=PatternSet(8, 64), **words))
    (image,) = engine(small_scan(line, reference_uid=reference, object_stage=line.object_stage))
    (recorded,) = engine(small_scan(line, reference_uid=reference, object_stage=line.object_stage))
    (dark,) = engine(dark_scan(line.shutter, line.diode, exposure_s=1.0))
    (linked,) = engine(small_scan(line, 40, dark_exposures=0, dark_uid=dark))
    (part,) = engine(small_scan(line, 40, max_open_s=30.0))
    (resumed,) = engine(resume_scan(*devices, earlier=read_exposures(find_run(catalog, part)), max_open_s=600.0))
    uids = {"reference": reference, "referenced": image, "recorded": recorded, "dark": dark}
    uids |= {"dark linked": linked, "resumed": resumed}
    for name, changes in SCANNED_WITH.items():
        other = simulated_beamline(small_board(**changes), "CAS", parameters=PARAMETERS)
        (uids[name],) = engine(small_scan(other, 40))
    return uids


@pytest.fixture(scope="module")
def exported(folder, catalog, uids):
    """The file of an image with a reference, and its run; two images were recorded, the older with uncertainty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (("tv", "--details"), ("inverse",)):
            assert main(["reconstruct", uids["recorded"], "--method", *words, "--data", str(folder)]) == 0
    run = find_run(catalog, uids["recorded"])
    return SimpleNamespace(run=run, path=export_run(catalog, run, out=folder / "out"))


def image_of(tmp_path, capsys, target, *more) -> tuple[np.ndarray, dict]:
    out = tmp_path / "image.npy"
    status = main(["reconstruct", str(target), "--out", str(out), "--json", *more])
    answer = json.loads(capsys.readouterr().out)
    assert status == 0, answer
    return np.load(out), answer


# ---------------------------------------------------------------- read back


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("method", ["inverse", "tv"])
def test_a_file_gives_the_image_of_the_catalog_to_the_bit(
    folder, catalog, uids, tmp_path, capsys, monkeypatch, name, method
):
    path = export_run(catalog, find_run(catalog, uids[name]), out=tmp_path)
    there, stored = image_of(tmp_path, capsys, uids[name], "--method", method, "--data", str(folder))
    monkeypatch.setenv("CXGI_DATA", str(tmp_path / "nothing"))
    here, answer = image_of(tmp_path, capsys, path, "--method", method)
    assert np.array_equal(here, there)
    assert here.std() > 0
    assert answer["run_uid"] is None
    assert answer["parameters"] == stored["parameters"]
    assert answer["source"] == stored["source"]


def test_options_of_runs_are_for_a_file_of_a_run_too(folder, exported, uids, tmp_path, capsys):
    words = ("--method", "inverse", "--reference", "none", "--fraction", "0.25")
    here, answer = image_of(tmp_path, capsys, exported.path, *words)
    there, _ = image_of(tmp_path, capsys, uids["recorded"], *words, "--data", str(folder))
    assert np.array_equal(here, there)
    assert "reference_uids" not in answer["source"]
    assert main(["reconstruct", str(exported.path), "--d-r", "0.5"]) == 2
    assert "is an exported run, which brings its own" in capsys.readouterr().err


def test_every_document_is_read_back_as_it_was(catalog, exported, uids):
    runs = read_run_file(exported.path)
    assert runs.exported.uid == uids["recorded"]
    assert uids["reference"] in runs
    assert len(runs) == 4  # with two reconstructions
    for uid, run in runs.items():
        assert list(run.documents()) == [(name, dict(one)) for name, one in read_documents(find_run(catalog, uid))]


def test_one_measurement_from_a_filed_run(exported):
    ours, theirs = Measurement.from_run(read_run_file(exported.path).exported), Measurement.from_run(exported.run)
    assert np.array_equal(ours.coefficient, theirs.coefficient)


def test_a_run_that_is_not_in_the_catalog_is_left_out_with_a_warning(catalog, uids, tmp_path, caplog):
    line = simulated_beamline(small_board(), "CAS", parameters=PARAMETERS)
    engine = RunEngine({})
    engine.subscribe(run_writer(catalog))
    (uid,) = engine(small_scan(line, 4, dark_exposures=0, dark_uid="feedbeef"))
    path = export_run(catalog, find_run(catalog, uid), out=tmp_path)
    assert "the dark run feedbeef is left out" in caplog.text
    assert list(read_run_file(path)) == [uid]


# ---------------------------------------------------------------- read by others


@pytest.mark.filterwarnings("ignore")
def test_the_validator_of_nexus_finds_nothing(exported):
    from nexusformat.nexus.validate import validate_file

    assert validate_file(str(exported.path)) == (0, 0)


@pytest.mark.filterwarnings("ignore")
def test_the_validator_does_find_something(exported, tmp_path):
    from nexusformat.nexus.validate import validate_file

    path = tmp_path / "a.nxs"
    path.write_bytes(exported.path.read_bytes())
    with h5py.File(path, "r+") as file:
        file["entry/reconstruction_1/date"][...] = "yesterday"
        del file["entry/buckets"].attrs["signal"]
    assert sum(validate_file(str(path))) >= 1


@pytest.mark.filterwarnings("ignore")
def test_nexusformat_plots_the_newest_image_in_um(exported, catalog):
    from nexusformat.nexus import nxload

    data = nxload(exported.path).plottable_data
    assert data.nxpath == "/entry/reconstruction_2/image"
    y, x = data.nxaxes
    assert x.attrs["units"] == y.attrs["units"] == "um"
    assert x.nxvalue.tolist() == [10.0 * n for n in range(8)]
    assert y.nxvalue.tolist() == x.nxvalue.tolist()[::-1]
    newest = find_run(catalog, list(read_run_file(exported.path))[2])
    assert np.array_equal(data.nxsignal.nxvalue, newest["primary"]["image"].read()[0])


@pytest.mark.filterwarnings("ignore")
def test_silx_plots_the_same_and_the_older_with_its_uncertainty(exported):
    from silx.io import open as silx_open
    from silx.io.nxdata import NXdata, get_default

    with silx_open(str(exported.path)) as file:
        newest, older = get_default(file), NXdata(file["/entry/reconstruction_1/image"])
        assert newest.is_image
        assert newest.signal.name == "/entry/reconstruction_2/image/image"
        assert newest.axes_dataset_names == ["y", "x"]
        assert older.errors.shape == (8, 8)
        assert NXdata(file["/entry/buckets"]).errors.shape == (64,)


def test_what_was_measured_is_there_with_units(exported, uids):
    with h5py.File(exported.path) as file:
        entry = file["entry"]
        assert entry["instrument/detector/data"].attrs["units"] == "pA"
        assert len(entry["instrument/detector/data"]) == len(entry["streams/primary/pattern_index"]) == 64
        assert entry["streams/primary/configuration/stage/stage_board_pixel_um"].attrs["units"] == "um"
        assert entry["sample/name"][()] == b"../leaf"
        assert entry["pattern_set/order"][()] == b"zig-zag"
        assert entry["reconstruction_1/parameters/method"][()] == b"tv"
        assert entry["reconstruction_1/parameters/uncertainty_kind"][()] == b"error"
        assert json.loads(entry["documents/start"][()]) == exported.run.metadata["start"]
        assert [name for name in file if name != "entry"] == [f"reference_{uids['reference'][:8]}"]


def test_runs_without_an_image_plot_what_they_have(catalog, uids, tmp_path):
    for name, plotted in (("dark", "data"), ("reference", "buckets")):
        with h5py.File(export_run(catalog, find_run(catalog, uids[name]), out=tmp_path)) as file:
            assert file["entry"].attrs["default"] == plotted


def test_a_run_of_another_program(catalog, tmp_path):
    run = compose_run(metadata={"plan_name": "count", "odd": "a\0b", "cxgi": "a text"})
    keys = {
        "a b-c": {"source": "x", "dtype": "number", "shape": []},
        "t": {"source": "x", "dtype": "string", "shape": []},
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    keys |= dict.fromkeys(("configuration", "time"), keys["a b-c"])
    data = {"a b-c": 1.5, "t": "text", "configuration": 2.0, "time": 3.0}
    event = stream.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0))
    write = run_writer(catalog)
    for name, document in (
        ("start", run.start_doc), ("descriptor", stream.descriptor_doc), ("event", event), ("stop", run.compose_stop())
    ):  # fmt: skip
        write(name, document)
    stored = find_run(catalog, run.start_doc["uid"])
    path = export_run(catalog, stored, out=tmp_path)
    with h5py.File(path) as file:
        assert file["entry/data/a_b_c"][()].tolist() == [1.5]
    assert list(read_run_file(path).exported.documents()) == [(n, dict(d)) for n, d in read_documents(stored)]


# ---------------------------------------------------------------- buckets and images


def test_the_picture_of_a_run_that_was_resumed_is_its_own_image_if_it_has_one(catalog, uids):
    whole = find_run(catalog, uids["resumed"])
    part = find_run(catalog, whole.metadata["start"]["cxgi"]["resumes"])
    (_, of_both), (_, of_part) = (reconstruct_run(catalog, run, method="correlation") for run in (whole, part))
    reconstruct_run(catalog, whole, method="inverse")
    assert find_newest_image(catalog, part).metadata["start"]["uid"] == of_part
    assert find_newest_image(catalog, whole).metadata["start"]["uid"] != of_both


def test_a_run_that_has_not_ended_is_written_as_far_as_it_is_and_said_to_be(catalog, tmp_path, caplog):
    line, engine = simulated_beamline(small_board(), "CAS", parameters=PARAMETERS), RunEngine({})
    engine.subscribe(run_writer(catalog))
    with pytest.raises(RunEngineInterrupted):
        engine(interrupted(small_scan(line, 40), 300))
    (run,) = [run for run in catalog.values() if run.metadata.get("stop") is None]
    try:
        export_run(catalog, run, out=tmp_path)
    finally:
        engine.abort()
    assert f"run {run.metadata['start']['uid'][:8]} has not ended: " in caplog.text


def test_a_table_of_buckets_gives_the_coefficients_of_the_run(folder, catalog, uids, tmp_path, capsys):
    run = find_run(catalog, uids["referenced"])
    path = export_run(catalog, run, file_format="csv", out=tmp_path)
    measured = Measurement.from_exposures(
        read_exposures(run), reference=read_exposures(find_run(catalog, uids["reference"]))
    )
    table = Measurement.from_file(path)
    order = np.argsort(table.pattern_index), np.argsort(measured.pattern_index)
    scale = measured.coefficient[order[1]][0] / table.coefficient[order[0]][0]
    assert table.coefficient[order[0]] * scale == pytest.approx(measured.coefficient[order[1]], rel=1e-12, abs=1e-12)
    assert table.sigma[order[0]] * scale == pytest.approx(measured.sigma[order[1]], rel=1e-12)
    assert table.sigma_common * scale == pytest.approx(measured.sigma_common, rel=1e-12)
    assert uids["reference"] in table.source["file_source"]
    image, answer = image_of(tmp_path, capsys, path, "--method", "inverse")
    assert (answer["scale"], image.shape) == ("relative", (8, 8))


def test_a_table_from_the_run_alone(catalog, uids):
    table = BucketTable.from_run(find_run(catalog, uids["signed masks"]))
    assert (len(table), table.size, table.coding, table.d_r, table.unit) == (40, 8, "binary", 1.0, "pA")
    assert "corrected" not in table.source


def test_an_image_with_its_pixel_size_and_uncertainty(folder, catalog, exported, tmp_path):
    older = find_run(catalog, list(read_run_file(exported.path))[1])
    path = export_run(catalog, older, file_format="tiff", out=tmp_path)
    with tifffile.TiffFile(path) as file:
        assert (len(file.pages), file.pages[0].dtype) == (2, np.float32)
        assert file.pages[0].tags["XResolution"].value == (1000, 1)  # per cm: 10 um
        assert 'PhysicalSizeX="10.0"' in file.ome_metadata
        assert 'PhysicalSizeXUnit="µm"' in file.ome_metadata
        image, uncertainty = file.asarray()
    with h5py.File(exported.path) as file:
        assert np.array_equal(image, file["entry/reconstruction_1/image/image"][()].astype(np.float32))
        assert np.array_equal(uncertainty, file["entry/reconstruction_1/image/image_errors"][()].astype(np.float32))
    newest = export_run(catalog, exported.run, file_format="tiff", out=tmp_path)
    assert read_image_file(newest).image.shape == (8, 8)


@pytest.mark.parametrize(
    ("name", "file_format", "message"),
    [
        ("dark", "tiff", "has no image yet: cxgi reconstruct"),
        ("dark", "csv", "it holds no patterns"),
        ("mirrored", "csv", "mounted back to front"),
        ("dark", "word", "export format 'word' is unknown"),
    ],
)
def test_what_a_run_does_not_hold_is_refused(catalog, uids, tmp_path, name, file_format, message):
    with pytest.raises(CxgiError, match=message):
        export_run(catalog, find_run(catalog, uids[name]), file_format=file_format, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_reconstruction_lies_in_the_file_of_its_raw_run(catalog, exported, tmp_path):
    derived = find_run(catalog, list(read_run_file(exported.path))[1])
    with pytest.raises(CxgiError, match="is a reconstruction, which the file of its raw run holds"):
        export_run(catalog, derived, out=tmp_path)


# ---------------------------------------------------------------- names


def test_the_command_names_its_files_and_overwrites_none(folder, uids, tmp_path, capsys):
    words = ["export", uids["dark"], uids["reference"][:8], "--out", str(tmp_path / "a" / "b"), "--data", str(folder)]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["run_uid"] for row in answer["files"]] == [uids["dark"], uids["reference"]]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == sorted(
        f"run-{number}-{uids[name][:8]}.nxs" for name, number in (("dark", 4), ("reference", 1))
    )
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--force", "--format", "hdf5"]) == 0
    assert main([*words, "--force"]) == 0


HOSTILE = {"uid": "../../../etc/passwd", "scan_id": "../..", "sample": "../../x", "time": 0.0}


@pytest.mark.parametrize("start", [HOSTILE, {**HOSTILE, "uid": "/../", "scan_id": -1}, {"uid": "a\0b/c", "time": 0.0}])
def test_no_metadata_lead_out_of_the_folder(catalog, tmp_path, start):
    run = SimpleNamespace(metadata={"start": start, "stop": None}, documents=lambda: iter([("start", start)]))
    path = export_run(catalog, run, out=tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert [one.name for one in (tmp_path / "out").iterdir()] == [path.name]
    assert path.name.startswith("run-")


def test_a_link_in_the_place_of_the_file_is_not_followed(catalog, uids, tmp_path):
    run = find_run(catalog, uids["dark"])
    path = export_run(catalog, run, out=tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CxgiError, match="exists already"):
        export_run(catalog, run, out=tmp_path)
    export_run(catalog, run, out=tmp_path, overwrite=True)
    assert not path.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_a_file(catalog, uids, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(CxgiError, match="cannot be written"):
        export_run(catalog, find_run(catalog, uids["dark"]), out=tmp_path / "out")


# ---------------------------------------------------------------- at the end of each scan


@pytest.fixture
def session_that_exports(tmp_path):
    def begin(file_format, **options):
        words = {"board": small_board(), "live": False, "progress": False, "export": file_format, **options}
        return session.start(sim=True, data=tmp_path / "data", **words)

    return begin


def test_a_session_writes_the_file_of_each_scan_with_its_image(session_that_exports, tmp_path, capsys):
    s = session_that_exports("nexus")
    s.RE(s.reference_scan(1.0))
    (uid,) = s.RE(s.scan(1.0))
    (path,) = s.wait_for_exports()
    assert path.parent == tmp_path / "data" / "exports"
    with h5py.File(path) as file:
        assert file["entry"].attrs["default"] == "reconstruction_1"
        assert file["entry/reconstruction_1/image/image_errors"].shape == (8, 8)
    recorded = s.catalog[-1]
    assert recorded.metadata["start"]["cxgi"]["raw_uids"] == [uid]
    image, _ = image_of(tmp_path, capsys, path, "--method", "tv")
    assert np.array_equal(image, recorded["primary"]["image"].read()[0])


def test_a_scan_does_not_wait_for_its_file_and_is_not_touched_by_its_failure(session_that_exports, tmp_path, caplog):
    s = session_that_exports("csv")
    (tmp_path / "data" / "exports").write_text("in the way")
    (uid,) = s.RE(s.scan(1.0))
    assert s.wait_for_exports() == []
    assert isinstance(s.exports.failure, CxgiError)
    assert f"run {uid[:8]} has no file" in caplog.text
    assert s.catalog[uid].metadata["stop"]["exit_status"] == "success"
    (tmp_path / "data" / "exports").unlink()
    s.RE(s.scan(1.0))
    assert [path.suffix for path in s.wait_for_exports()] == [".csv"]


@pytest.mark.long
def test_a_process_that_ends_finishes_its_file_first(tmp_path):
    code = (
        "from cxgi_bluesky import session; "
        f"s = session.start(data={str(tmp_path)!r}, board='cu32', live=False, progress=False, export='tiff'); "
        "s.RE(s.scan(0.05))"
    )
    done = warm.run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "exports").iterdir()
    assert path.suffix == ".tiff", done.stderr


def test_the_engine_goes_on_while_a_file_is_written(RE, beamline):
    writing, go_on = threading.Event(), threading.Event()

    def slow(uid):
        writing.set()
        assert go_on.wait(PATIENCE_S)
        return Path(uid)

    exports = RunExport(slow)
    RE.subscribe(exports)
    first, second = (RE(small_scan(beamline, 4))[0] for _ in range(2))
    assert writing.wait(PATIENCE_S)
    assert exports.files == []
    go_on.set()
    assert exports.wait() == [Path(first), Path(second)]


def test_an_image_that_cannot_be_made_is_missing_in_the_file_alone(session_that_exports, caplog):
    s = session_that_exports("hdf5")
    words = {"board": s.board, "exposure_s": 1.0, "pattern_set": PatternSet(8, 4)}
    s.RE(mask_scan(*s.devices, **words, dark_exposures=0, dark_uid="feedbeef"))
    (path,) = s.wait_for_exports()
    assert "is exported without an image" in caplog.text
    assert read_run_file(path).exported.metadata["stop"]["exit_status"] == "success"


def test_an_unknown_format_is_refused_before_anything_is_opened(session_that_exports, tmp_path):
    with pytest.raises(CxgiError, match="export 'word' is unknown: choose one of nexus, hdf5, csv, tiff"):
        session_that_exports("word")
    assert not (tmp_path / "data").exists()


def test_beamline_files_and_the_command_know_the_formats():
    assert get_args(ExportFormat) == EXPORT_FORMATS == FORMATS == get_args(Format)


def test_a_beamline_file_asks_for_files():
    text = example_path("ioc").read_text(encoding="utf-8")
    assert BeamlineConfig(**yaml.safe_load(text)).export is None
    assert BeamlineConfig(**yaml.safe_load(f"export: tiff\n{text}")).export == "tiff"


# ---------------------------------------------------------------- damage


def replace_lines(file, values, **options):
    documents = file["entry/documents"]
    del documents["lines"]
    documents.create_dataset("lines", data=values, **options)


def changed_lines(change):
    def damage(file):
        lines = file["entry/documents/lines"][()].tobytes().splitlines()
        replace_lines(file, np.frombuffer(b"\n".join(change(lines)), np.uint8))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file["entry/documents"].attrs.__setitem__(VERSION_KEY, 2), "attribute cxgi_run of version 1"),
        (lambda file: file["entry"].__delitem__("documents"), "holds no documents of a run"),
        (lambda file: file.__delitem__("entry"), "holds no exported run"),
        (lambda file: replace_lines(file, np.zeros(4)), "not bytes"),
        (lambda file: replace_lines(file, np.zeros(0, np.uint8)), "is empty"),
        (changed_lines(lambda lines: lines[1:]), "line 1 is no document"),
        (changed_lines(lambda lines: [lines[0], *lines]), "line 2 is no document"),
        (changed_lines(lambda lines: [lines[0], *lines[2:]]), "line 2 is no document"),
        (changed_lines(lambda lines: [lines[0], b'["event", {"data": 1}]']), "line 2 is no document"),
        (changed_lines(lambda lines: [lines[0], b'["event"']), "line 2 is no document"),
        (
            changed_lines(lambda lines: [lines[0], *(one.replace(b"diode_current", b"d") for one in lines[1:])]),
            "not those of its scan",
        ),
        (changed_lines(lambda lines: [b'["start", {"uid": 3, "time": 0}]']), "line 1 is no document"),
    ],
)
def test_a_damaged_file_is_one_clear_error(exported, tmp_path, capsys, damage, message):
    path = tmp_path / "a.nxs"
    path.write_bytes(exported.path.read_bytes())
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(CxgiError, match=message) as caught:
        read_run_file(path)
    assert str(path) in str(caught.value)
    assert main(["reconstruct", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_what_is_no_hdf5(tmp_path, content):
    path = tmp_path / "a.nxs"
    path.write_bytes(content)
    with pytest.raises(CxgiError, match="cannot be read as an exported run"):
        read_run_file(path)
    with pytest.raises(CxgiError, match="cannot be read as an exported run"):
        read_run_file(tmp_path / "missing.nxs")


def test_a_file_of_buckets_is_still_one(tmp_path, capsys, catalog, uids):
    table = BucketTable.from_run(find_run(catalog, uids["signed masks"]))
    path = write_buckets(tmp_path / "a.h5", table)
    _, answer = image_of(tmp_path, capsys, path, "--method", "inverse")
    assert answer["source"]["file"] == str(path)
