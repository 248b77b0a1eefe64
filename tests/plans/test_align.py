from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.analysis.board_alignment.run import alignment_from_run, write_aligned_board
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment, MaskBoard, load_board
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import align_board
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import SimulationParameters
from tests.cases import long_case
from tests.conftest import QUIET, Recorder, small_board, small_scan
from tests.plans.test_endings import Broken, fail_after, interrupted
from tests.plans.test_raster import shutter_is_closed

FIDUCIALS = ((-5, 0), (-5, 4), (10, 7), (10, 2))


def fiducial_board(**changes) -> MaskBoard:
    return small_board(**{"fiducials": FIDUCIALS, **changes})


def turned(board, dx_tiles=0.0, dy_tiles=0.0, rotation_deg=0.0, scale=1.0, mirrored="no") -> Alignment:
    """How a plate lies that was put on the stage carelessly."""
    filed, pitch_mm = board.alignment, board.tile_pitch_um / 1000
    across_mm = (board.columns - 1) * pitch_mm if mirrored == "in place" else 0.0
    return Alignment(
        filed.x0_mm + across_mm + dx_tiles * pitch_mm,
        filed.y0_mm + dy_tiles * pitch_mm,
        rotation_deg,
        scale,
        mirrored != "no",
    )


def line_on(board, lies, object_name="CAS", parameters=None, seed=0):
    return simulated_beamline(board, object_name, true_alignment=lies, parameters=parameters, seed=seed)


def align(line, **changes):
    words = {"board": line.board, "exposure_s": 1.0, "points": 4, "object_stage": line.object_stage, **changes}
    return align_board(line.stage, line.shutter, line.diode, **words)


def worst_um(fit, lies) -> float:
    """Largest error of a tile's position."""
    board, really = fit.aligned_board, replace(fit.board, alignment=lies)
    tiles = range(board.tile_count)
    return max(1000 * np.hypot(*np.subtract(board.position_mm(t), really.position_mm(t))) for t in tiles)


def is_safe(line) -> bool:
    return shutter_is_closed(line) and line.object_stage.state.get() == "in"


# ---------------------------------------------------------------- found


@pytest.mark.parametrize(
    ("name", "lies", "exposures"),
    [
        long_case("au64", {"dx_tiles": 0.5, "dy_tiles": -0.5, "rotation_deg": 1.0, "scale": 1.01}, 188),
        ("au64", {"dx_tiles": -0.3, "dy_tiles": 0.45, "rotation_deg": -0.8, "mirrored": "in place"}, 197),
        ("cu32", {"dx_tiles": -0.5, "dy_tiles": -0.2, "rotation_deg": -1.0, "scale": 0.99}, 188),
        long_case("cu32", {"dx_tiles": 0.2, "dy_tiles": 0.5, "rotation_deg": 0.4, "mirrored": "about tile 0"}, 206),
    ],
)
def test_the_plate_is_found_within_a_quarter_of_a_pixel(RE, documents, name, lies, exposures):
    board = load_board(name)
    lies = turned(board, **lies)
    line = line_on(board, lies, seed=3)
    RE(align(line, points=6))
    fit = alignment_from_run(documents)
    assert worst_um(fit, lies) < board.pixel_um / 4
    assert worst_um(fit, lies) < 3.5 * fit.tile_sigma_um
    found = fit.alignment
    assert abs(found.x0_mm - lies.x0_mm) * 1000 < 3.5 * fit.x0_sigma_um
    assert abs(found.y0_mm - lies.y0_mm) * 1000 < 3.5 * fit.y0_sigma_um
    assert abs(found.rotation_deg - lies.rotation_deg) < 3.5 * fit.rotation_sigma_deg
    assert abs(found.scale - lies.scale) < 3.5 * fit.scale_sigma
    assert found.mirrored == lies.mirrored
    assert fit.mirror_margin > 1000
    assert fit.exposures == exposures == line.simulation.exposures
    assert line.stage.board == board  # the plan changes nothing by itself
    assert is_safe(line)


@pytest.mark.long
def test_an_etched_plate_is_found_too(RE, documents):
    """Over-etching moves all edges outwards, and rounded corners no centre."""
    board = load_board("au64")
    lies = turned(board, 0.4, 0.1, 0.5)
    line = simulated_beamline(board, "CAS", etched=True, true_alignment=lies, seed=5)
    RE(align(line, points=6))
    assert worst_um(alignment_from_run(documents), lies) < board.pixel_um / 4


@pytest.mark.parametrize("mirrored", [long_case("no"), "in place", long_case("about tile 0")])
def test_afterwards_the_picture_is_right(RE, documents, tmp_path, mirrored):
    board = fiducial_board()
    board.to_yaml(tmp_path / "old.yaml")
    line = line_on(board, turned(board, 0.4, -0.3, 0.6, 1.005, mirrored), "gold")

    def likeness():
        documents.clear()
        RE(small_scan(line))
        image = reconstruct(Measurement.from_documents(documents), method="inverse").image
        return [
            np.corrcoef(image.ravel(), truth.ravel())[0, 1]
            for truth in (line.simulation.truth, line.simulation.truth[:, ::-1])
        ]

    before, _ = likeness()
    documents.clear()
    RE(align(line))
    write_aligned_board(line.board, alignment_from_run(documents), tmp_path / "new.yaml")
    line.stage.board = load_board(tmp_path / "new.yaml")
    after, turned_over = likeness()
    assert after > 0.95
    assert max(before, turned_over) < 0.8
    assert load_board(tmp_path / "old.yaml") == board


def test_a_trapezoid_through_a_narrow_aperture(RE, documents):
    board = fiducial_board(aperture_um=50.0)
    lies = turned(board, 0.2, 0.3, 0.5)
    line = line_on(board, lies)
    RE(align(line, points=6))
    assert worst_um(alignment_from_run(documents), lies) < board.pixel_um / 4


def test_a_plate_further_away_is_found_by_a_wider_search(RE, documents):
    board = fiducial_board()
    lies = turned(board, 1.2, -1.2, -0.5)
    line = line_on(board, lies)
    RE(align(line, search_tiles=2, points=3))
    assert worst_um(alignment_from_run(documents), lies) < board.pixel_um / 4


def test_a_large_dark_current_makes_no_difference(RE, documents):
    board = fiducial_board()
    lies = turned(board, 0.3, 0.2)
    leaking = replace(QUIET, detector=replace(QUIET.detector, background_pa=40.0))
    line = line_on(board, lies, parameters=leaking)
    RE(align(line, points=3))
    assert worst_um(alignment_from_run(documents), lies) < 0.1


# ---------------------------------------------------------------- documents


@pytest.fixture(scope="module")
def aligned():
    """Documents of an alignment, which no test changes."""
    documents = Recorder()
    RunEngine({})(align(line_on(fiducial_board(), None), points=3, md={"sample": "none"}), documents)
    return documents


def test_the_documents_say_what_the_fit_needs(aligned):
    board, documents = fiducial_board(), aligned
    (start,) = documents.of("start")
    assert (start["plan_name"], start["sample"], start["cxgi"]["purpose"]) == ("align_board", "none", "alignment")
    assert start["cxgi"]["board"]["sha256"] == board.sha256
    assert MaskBoard.from_dict(start["cxgi"]["alignment"]["board"]) == board
    streams = {d["name"]: d["data_keys"] for d in documents.of("descriptor")}
    assert set(streams) == {"dark", "search", "along_x", "along_y", "figures"}
    for key in ("fiducial_landmark", "fiducial_visit"):
        assert streams["along_x"][key]["dtype_numpy"] == "<i8"
    assert streams["along_x"]["stage_x"]["units"] == "mm"
    fit = alignment_from_run(documents)
    assert fit.uid == start["uid"]
    assert [visit.landmark for visit in fit.visits] == [0, 1, 2, 3, 0]
    assert fit.revisit_um is not None


def test_a_plan_without_a_run_engine_says_all_its_messages():
    line = line_on(fiducial_board(), None)
    messages = list(align(line, points=6))
    assert sum(message.command == "trigger" for message in messages) == 2 + 18 + 5 * 28


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposure_s": 0}, "exposure_s 0"),
        ({"points": 2}, "points 2"),
        ({"search_tiles": 0}, "search_tiles 0"),
        ({"dark_exposures": -1}, "dark_exposures"),
        ({"board": "cu32"}, "is not the one of stage"),
        ({"md": {"cxgi": {}}}, "'cxgi'"),
    ],
)
def test_impossible_requests_are_refused_before_anything_moves(RE, documents, changes, message):
    line = line_on(fiducial_board(), None)
    with pytest.raises(CxgiError, match=message):
        RE(align(line, **changes))
    assert not documents


@pytest.mark.parametrize(
    ("fiducials", "message"),
    [
        ((), "0 fiducials, alignment needs 3"),
        (((-5, 0), (-5, 4), (-5, 8)), "lie on a line"),
        (((-5, 0), (-5, 4), (9, 2)), r"fiducial \(9, 2\) .* is not alone"),
    ],
)
def test_a_board_that_cannot_be_aligned_is_refused(RE, fiducials, message):
    line = line_on(fiducial_board(fiducials=fiducials), None)
    with pytest.raises(CxgiError, match=message):
        RE(align(line))


def test_limits_that_are_too_narrow_are_named_before_anything_moves(RE, documents):
    line = line_on(fiducial_board(), None)
    line.stage.y._limits = (-0.2, 1.5)
    with pytest.raises(CxgiError, match=r"the fiducial at x -0\.660, y 1\.900 mm needs 0\.090 mm .* limits of stage"):
        RE(align(line))
    assert not documents
    assert line.simulation.openings == 0


def test_a_plate_that_is_not_there_says_where_was_looked_and_what_was_seen(RE, documents):
    board = fiducial_board()
    line = line_on(board, turned(board, 40.0))
    with pytest.raises(
        CxgiError, match=r"not found on stage \(as in the file: x -1\.500, y 0\.100 mm \+- 1 tiles showed"
    ):
        RE(align(line))
    assert is_safe(line)
    with pytest.raises(CxgiError, match="0 measured centres"):
        alignment_from_run(documents)


def test_a_source_without_beam_is_no_plate(RE):
    line = line_on(fiducial_board(), None, parameters=SimulationParameters(open_pa=1e-9))
    with pytest.raises(CxgiError, match="is there beam"):
        RE(align(line))
    assert is_safe(line)


def test_other_runs_are_refused(RE, documents):
    line = line_on(fiducial_board(), None)
    RE(small_scan(line, 4))
    with pytest.raises(CxgiError, match="no alignment of a board: its purpose is 'image'"):
        alignment_from_run(documents)


def test_no_picture_is_made_of_an_alignment(aligned):
    with pytest.raises(CxgiError, match="no mask scan"):
        Exposures.from_documents(aligned)


# ---------------------------------------------------------------- faults


def test_readings_that_are_lost_are_left_out(RE, documents, monkeypatch):
    board = fiducial_board()
    lies = turned(board, 0.3, 0.2, 0.5)
    line = line_on(board, lies)
    original, count = type(line.diode)._expose, []

    def faulty(self):
        original(self)
        count.append(1)
        if len(count) in (5, 30, 60):  # one of the search, two of profiles
            self.current.put(float("nan"))

    monkeypatch.setattr(type(line.diode), "_expose", faulty)
    RE(align(line, max_repeats=0))
    assert worst_um(alignment_from_run(documents), lies) < board.pixel_um / 4


def test_a_spent_budget_ends_it_cleanly_and_the_rest_is_asked_for(RE, documents):
    line = line_on(fiducial_board(), None)
    RE(align(line, max_open_s=60.0))
    assert line.simulation.shutter_open_s == 60
    assert is_safe(line)
    assert "exposure budget" in documents.of("stop")[0]["reason"]
    with pytest.raises(CxgiError):
        alignment_from_run(documents)


def test_a_detector_fault_half_way_leaves_everything_safe(RE, documents, monkeypatch):
    line = line_on(fiducial_board(), None)
    fail_after(line.diode, "trigger", 60, monkeypatch)
    with pytest.raises(Broken):
        RE(align(line))
    assert is_safe(line)
    with pytest.raises(CxgiError, match="three fiducials or more are needed"):
        alignment_from_run(documents)


def test_a_stage_in_the_wrong_place_is_never_exposed(RE, monkeypatch):
    line = line_on(fiducial_board(), None)
    original = type(line.stage).move_axes
    monkeypatch.setattr(type(line.stage), "move_axes", lambda self, x, y: original(self, x + 0.003, y))
    with pytest.raises(RuntimeError, match=r"stage_x was sent to .* \(allowed: 2\.5 um off\).*nothing was exposed"):
        RE(align(line))
    assert line.simulation.openings == 0


@pytest.mark.parametrize("ending", ["abort", "stop", "halt"])
def test_pause_and_end(RE, ending):
    line = line_on(fiducial_board(), None)
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(align(line), 400))
    assert shutter_is_closed(line)
    getattr(RE, ending)()
    assert shutter_is_closed(line)
    if ending != "halt":
        assert is_safe(line)


@pytest.mark.parametrize("at", [20, 157, 161, 900])
def test_pause_and_resume(RE, documents, at):
    """At a dark reading, moving, exposing, half-way: shutter closed, and after resuming the plate is found."""
    board = fiducial_board()
    lies = turned(board, 0.2, -0.1, 0.3)
    line = line_on(board, lies, parameters=QUIET)
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(align(line, points=3), at))
    assert shutter_is_closed(line)
    RE.resume()
    assert is_safe(line)
    assert worst_um(alignment_from_run(documents), lies) < 0.3
