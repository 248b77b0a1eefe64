from __future__ import annotations

import numpy as np
import pytest
from bluesky.simulators import summarize_plan
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.analysis.metrics import cnr
from cxgi_bluesky.callbacks import LiveCorrelation, LiveSpeckleCorrelation
from cxgi_bluesky.devices.simulated.sandpaper import simulated_speckle_beamline, speckle_board
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.speckle_set import SpeckleSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.speckle import SpeckleMeasurement
from cxgi_bluesky.plans import hadamard_scan, mask_scan, record_speckles
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.sandpaper import SpeckleCamera
from cxgi_bluesky.simulation.scans import record_sandpaper, scan_sandpaper
from tests.patience import PATIENCE_S
from tests.plans.test_endings import interrupted

COUNT = 80


def make_line(**options):
    return simulated_speckle_beamline(board=speckle_board(COUNT, size=8), **options)


@pytest.fixture
def line():
    return make_line()


def recording(line, path, **options):
    words = {"path": path, "exposure_s": 2.0, "object_stage": line.object_stage, **options}
    return record_speckles(line.stage, line.shutter, line.camera, **words)


def scan(line, speckles, **options):
    words = {"board": line.board, "pattern_set": speckles, "exposure_s": 1.0, "object_stage": line.object_stage}
    return mask_scan(line.stage, line.shutter, line.diode, **{**words, **options})


def events_of(documents, stream):
    uids = {d["uid"] for d in documents.of("descriptor") if d["name"] == stream}
    return [d for d in documents.of("event") if d["descriptor"] in uids]


def test_recording_writes_an_asset_and_no_frames_into_events(RE, documents, line, tmp_path):
    RE(recording(line, tmp_path / "s.h5", md={"sample": "none"}))
    speckles = SpeckleSet.open(tmp_path / "s.h5")
    assert (speckles.shape, speckles.board_sha256) == ((COUNT, 8, 8), line.board.sha256)
    assert speckles.source == {"recorded_with": "camera", "exposure_s": 2.0, "dark_frames": 8}
    assert line.camera.recorded.sha256 == speckles.sha256
    start = documents.of("start")[0]
    assert start["cxgi"]["purpose"] == "speckles"
    assert "pattern_set" not in start["cxgi"]
    (asset,) = events_of(documents, "asset")
    assert asset["data"]["camera_asset_sha256"] == speckles.sha256
    assert asset["data"]["camera_asset_path"] == str(tmp_path / "s.h5")
    rows = events_of(documents, "primary")
    assert [row["data"]["pattern_index"] for row in rows] == list(range(COUNT))
    assert all(np.ndim(value) == 0 for row in rows for value in row["data"].values())
    means = [row["data"]["camera_mean"] for row in rows]
    np.testing.assert_allclose(speckles[:].mean(axis=(1, 2)) + 100, means, rtol=0.02)
    assert len(events_of(documents, "dark")) == 8
    keys = next(d for d in documents.of("descriptor") if d["name"] == "primary")["data_keys"]
    assert keys["camera_mean"]["units"] == "counts"
    assert line.shutter.state.get() == "closed"
    assert line.object_stage.state.get() == "in"


def test_the_same_scan_and_the_start_document_knows_the_patterns(RE, documents, line, tmp_path):
    speckles = record_sandpaper(line.simulation, tmp_path / "s.h5", exposure_s=2.0)
    RE(scan(line, speckles))
    start = documents.of("start")[0]
    assert (start["plan_name"], start["num_points"]) == ("speckle_scan", COUNT)
    words = start["cxgi"]["pattern_set"]
    assert (words["basis"], words["size"], words["sha256"]) == ("speckle", [8, 8], speckles.sha256)
    assert start["cxgi"]["board"]["d_r"] is None
    exposures = Exposures.from_documents(documents)
    counts = {name: len(stream) for name, stream in exposures.streams.items()}
    assert counts == {"primary": COUNT, "validation": 0, "open": 4 + 1 + 4, "dark": 4, "incident": 4, "metal": 0}
    measurement = SpeckleMeasurement.from_documents(documents, speckles)
    np.testing.assert_array_equal(measurement.pattern_index, np.arange(COUNT))
    assert cnr(reconstruct(measurement, method="correlation").image, line.simulation.truth) > 0.5
    assert line.shutter.openings.get() == 2 * COUNT + 13


def test_the_direct_path_reads_what_the_plans_read(RE, documents, tmp_path):
    line, simulation = make_line(seed=4), make_line(seed=4).simulation
    RE(recording(line, tmp_path / "plan.h5"))
    direct = record_sandpaper(simulation, tmp_path / "direct.h5", exposure_s=2.0, camera_seed=4)
    assert direct.sha256 == line.camera.recorded.sha256
    documents.clear()
    RE(scan(line, direct, open_every=16))
    planned, simulated = Exposures.from_documents(documents), scan_sandpaper(simulation, direct, open_every=16)
    for stream, rows in planned.streams.items():
        assert [(k, e.bucket, e.sigma) for k, e in rows.items()] == [
            (k, e.bucket, e.sigma) for k, e in simulated.streams[stream].items()
        ]


def test_fewer_exposures_of_the_same_recording(RE, documents, line, tmp_path):
    speckles = record_sandpaper(line.simulation, tmp_path / "s.h5", exposure_s=2.0)
    RE(scan(line, speckles.first(40)))
    measurement = SpeckleMeasurement.from_documents(documents, speckles)
    assert (len(measurement), measurement.patterns.shape) == (40, (40, 8, 8))


def test_a_pause_repeats_a_frame_and_an_exposure(RE, documents, line, tmp_path):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(recording(line, tmp_path / "s.h5", count=30), 300))
    assert line.shutter.state.get() == "closed"
    RE.resume()
    speckles = line.camera.recorded
    assert speckles.count == 30
    documents.clear()
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(scan(line, speckles), 300))
    RE.resume()
    assert len(SpeckleMeasurement.from_documents(documents, speckles)) == 30


def test_an_aborted_recording_keeps_its_first_frames(RE, line, tmp_path):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(recording(line, tmp_path / "s.h5"), 400))
    RE.abort("enough")
    assert 10 < SpeckleSet.open(tmp_path / "s.h5").count < COUNT
    assert line.shutter.state.get() == "closed"
    assert line.object_stage.state.get() == "in"
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_a_recording_without_a_frame_leaves_nothing(RE, line, tmp_path):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(recording(line, tmp_path / "s.h5"), 20))
    RE.abort("too early")
    assert list(tmp_path.iterdir()) == []


def test_a_saturated_frame_ends_the_recording_safely(RE, tmp_path):
    bright = make_line(camera=SpeckleCamera(full_well=500))
    with pytest.raises(CxgiError, match=r"frame 0 is saturated \(64 pixels at 500 counts\): shorten"):
        RE(recording(bright, tmp_path / "s.h5", exposure_s=50.0))
    assert bright.shutter.state.get() == "closed"
    assert bright.object_stage.state.get() == "in"


def test_plans_can_be_summarised_without_anything_happening(line, tmp_path, capsys):
    summarize_plan(recording(line, tmp_path / "s.h5", count=3))
    assert "stage_tile -> " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_impossible_recordings_are_refused_before_anything_moves(RE, documents, line, beamline, tmp_path):
    (tmp_path / "there.h5").write_bytes(b"")
    for plan, message in [
        (recording(line, tmp_path / "there.h5"), "never overwritten"),
        (recording(line, tmp_path / "s.h5", count=COUNT + 1), f"count {COUNT + 1} is outside 1..{COUNT}"),
        (recording(line, tmp_path / "s.h5", exposure_s=0), "exposure_s 0"),
        (recording(line, tmp_path / "s.h5", md={"cxgi": 1}), "key 'cxgi'"),
        (
            record_speckles(beamline.stage, beamline.shutter, line.camera, path="x", exposure_s=1.0),
            "stage carries masks",
        ),
        (
            record_speckles(make_line().stage, line.shutter, other_camera(), path=tmp_path / "s.h5", exposure_s=1.0),
            r"frames of \(6, 6\)",
        ),
    ]:
        with pytest.raises(CxgiError, match=message):
            RE(plan)
    assert not documents
    with pytest.raises(CxgiError, match="cannot be written"):
        RE(recording(line, tmp_path / "no folder" / "s.h5"))


def other_camera():
    return simulated_speckle_beamline(board=speckle_board(4, size=6)).camera


def test_masks_and_speckle_do_not_mix(RE, line, beamline, tmp_path):
    speckles = record_sandpaper(line.simulation, tmp_path / "s.h5", exposure_s=2.0)
    with pytest.raises(CxgiError, match=r"pattern set of size \(8, 8\) on board 'test8' of size 8"):
        RE(
            hadamard_scan(
                beamline.stage,
                beamline.shutter,
                beamline.diode,
                board=beamline.board,
                pattern_set=speckles,
                exposure_s=1.0,
            )
        )
    with pytest.raises(CxgiError, match=r"of size 8 on board 'sandpaper' of size \(8, 8\)"):
        RE(scan(line, PatternSet(8, 4)))


def test_a_trigger_without_a_recording_says_so(line):
    status = line.camera.trigger()
    with pytest.raises(CxgiError, match="records nothing yet"):
        status.wait(timeout=PATIENCE_S)


def test_live_pictures_of_a_speckle_run(RE, documents, line, tmp_path):
    speckles = record_sandpaper(line.simulation, tmp_path / "s.h5", exposure_s=2.0)
    live, masks = LiveSpeckleCorrelation(every=32), LiveCorrelation()
    for callback in (live, masks):
        RE.subscribe(callback)
    RE(scan(line, speckles))
    picture = live.wait()
    again = reconstruct(SpeckleMeasurement.from_documents(documents, speckles), method="correlation")
    np.testing.assert_array_equal(picture.image, again.image)
    assert live.failure is None
    assert masks.wait(0.1) is None
    assert masks.failure is None
