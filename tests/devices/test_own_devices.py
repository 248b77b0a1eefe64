"""Devices of classes that a beamline file names: loaded, checked, scanned with."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
import yaml

from cxgi_bluesky import session
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.config.load import load_beamline, read_beamline_file
from cxgi_bluesky.devices.diagnostics.check import check_beamline
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.plans import knife_edge_scan
from tests.conftest import QUIET, small_board

MODULE = """
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.board import load_board
from ophyd.status import Status
from tests.conftest import QUIET
from pathlib import Path
import time

LINE = simulated_beamline(load_board(str(Path(__file__).parent / "board.yaml")), "CAS", parameters=QUIET)


def x_axis(name):
    return LINE.stage.x


def y_axis(name):
    return LINE.stage.y


def shutter(name):
    return LINE.shutter


def object_stage(name):
    return LINE.object_stage


class Setting:
    # What is set, without ophyd.
    parent = None

    def __init__(self, name):
        self.name, self.value = name, 0.0

    def set(self, value):
        self.value = value
        return Done()


class Done:
    # A status of bluesky's protocol, without ophyd.
    done = success = True

    def add_callback(self, callback):
        callback(self)

    def exception(self, timeout=0.0):
        return None


class Diode:
    # A bucket detector without ophyd.
    parent = None

    def __init__(self, name, *, key="bucket", told="bucket"):
        self.name, self.key, self.bucket_name = name, key, told
        self.exposure_s = Setting(f"{name}_exposure_s")
        self.value = 0.0

    def trigger(self):
        self.value = LINE.simulation.expose(self.exposure_s.value)[0]
        return Done()

    def read(self):
        return {self.key: {"value": self.value, "timestamp": time.time()}}

    def describe(self):
        return {self.key: {"source": "own", "dtype": "number", "shape": [], "units": "nA"}}


class Blind(Diode):
    trigger = None


class Late(Diode):
    async def read(self):
        return {}


class Stage:
    def __new__(cls, name, board):
        return LINE.stage


class Edge(Setting):
    def check_value(self, value):
        pass


class Blade:
    # A knife without ophyd.
    parent, axis, in_position_um, target_um = None, "x", 1.0, 0.0

    def __init__(self, name):
        self.name, self.edge = name, Edge("blade_edge")

    def read(self):
        return {"blade_edge": {"value": self.edge.value, "timestamp": 0.0}}

    def describe(self):
        return {"blade_edge": {"source": "own", "dtype": "number", "shape": []}}


class Bare:
    def __init__(self, name):
        pass

number = 5
"""
CONTENT = {
    "version": 1,
    "name": "own",
    "board": "board.yaml",
    "stage": {"x": {"class": "{}.x_axis"}, "y": {"class": "{}.y_axis"}, "in_position_um": 2},
    "shutter": {"class": "{}.shutter"},
    "diode": {"class": "{}.Diode"},
    "object_stage": {"class": "{}.object_stage"},
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a beamline file and its module, which has a name of its own in each test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = f"own_{tmp_path.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    small_board().to_yaml(tmp_path / "board.yaml")
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")

    def begin(**changes):
        text = yaml.safe_dump({**CONTENT, **changes}).replace("{}", module)
        (tmp_path / "beamline.yml").write_text(text, encoding="utf-8")
        return tmp_path / "beamline.yml"

    yield begin
    sys.modules.pop(module, None)


def test_a_detector_without_ophyd_makes_an_image_in_a_session(write, tmp_path):
    s = session.start(beamline=write(), data=tmp_path / "data", live=False, progress=False)
    (uid,) = s.RE(s.scan(1.0, exposure_s=1.0))
    image = s.reconstruct(uid, method="inverse", record=False)
    soft = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    assert np.corrcoef(image.image.ravel(), soft.simulation.truth.ravel())[0, 1] > 0.9
    start = s.catalog[uid].metadata["start"]
    assert start["cxgi"]["fields"] == {"pattern_index": "pattern_index", "bucket": "bucket", "sigma": None, "i0": None}
    assert start["cxgi"]["bucket_unit"] == "nA"
    assert image.scale == "transmission"  # the object was moved out and in


def test_a_knife_of_a_class_of_ones_own_is_scanned(write, documents, RE):
    line = load_beamline(write(knife={"class": "{}.Blade"}))
    slit = {"source_knife_mm": 100.0, "knife_slit_mm": 100.0, "slit_um": 10.0}
    places = {"start_um": -20.0, "stop_um": 20.0, "points": 11, "exposure_s": 1.0, "slit": slit}
    RE(knife_edge_scan(line.knife, line.shutter, line.diode, **places))
    rows = [event["data"] for event in documents.of("event")]
    assert [row["blade_edge"] for row in rows if "blade_edge" in row][:3] == [-20.0, -16.0, -12.0]
    assert line.knife.edge.value == 0.0  # where it was


def test_a_class_of_a_whole_stage_gets_the_board(write):
    line = load_beamline(write(stage={"class": "{}.Stage"}))
    line.stage.tile.set(3)
    assert line.board.name == small_board().name
    assert check_beamline(write(stage={"class": "{}.Stage"})).good


def test_reading_a_file_runs_no_code(write):
    file = write(diode={"class": "nowhere.Diode"})
    assert read_beamline_file(file).config.diode.path == "nowhere.Diode"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"diode": {"class": "nowhere.Diode"}},
            r"diode\.class 'nowhere\.Diode': there is no module 'nowhere' in PYTHON",
        ),
        ({"diode": {"class": "{}.Diodes"}}, r"diode\.class '.*\.Diodes': .* has no Diodes, did you mean Diode\?"),
        ({"diode": {"class": "{}.number"}}, r"diode\.class '.*\.number': it is no class, but 5"),
        ({"diode": {"class": "broken.Diode"}}, r"broken cannot be imported \(ZeroDivisionError: division by zero\)"),
        (
            {"diode": {"class": "needs.Diode"}},
            r"needs cannot be imported \(ModuleNotFoundError: No module named 'an_oth",
        ),
        (
            {"diode": {"class": "{}.Diode", "options": {"kee": 1}}},
            r"diode\.options: .*'kee'\): it takes \(name, \*, key=",
        ),
        ({"diode": {"class": "{}.Diode", "option": 1}}, r"diode\.option 1: unknown key, did you mean options\?"),
        ({"diode": {"class": "{}.Diode", "options": 3}}, r"diode\.options 3: give keyword arguments with values"),
        ({"diode": {"class": "{}."}}, r"diode\.class '.*\.': give the dotted path of a class"),
        ({"shutter": {"class": "shutter"}}, r"shutter\.class 'shutter': give the dotted path of a class"),
        ({"diode": {"class": "{}.Blind"}}, r"diode: Blind lacks 'trigger', which every BucketDetector has"),
        ({"diode": {"class": "{}.Late"}}, r"diode: .*Late is an async device, which only axes of the stage may be"),
        ({"shutter": {"class": "{}.Bare"}}, r"shutter: Bare lacks 'close', 'name', .*, which every BeamShutter has"),
        (
            {"object_stage": {"class": "{}.Bare"}},
            r"object_stage: Bare lacks 'name', 'parent', 'set', which every Object",
        ),
        ({"knife": {"class": "{}.Bare"}}, r"knife: Bare lacks 'axis', .*, which every KnifeBlade has"),
        ({"stage": {"class": "{}.Diode"}}, r"stage\.options: .*Diode cannot be made \(TypeError: .*'board'"),
        (
            {"stage": {**CONTENT["stage"], "y": {"class": "{}.Bare"}}},
            r"stage\.y: Bare lacks 'describe', .*StageAxis has",
        ),
        ({"stage": {**CONTENT["stage"], "y": "BL:Y"}}, r"stage\.x and stage\.y: .*or classes of both"),
        ({"stage": {**CONTENT["stage"], "velocity_mm_s": 3.0}}, r"stage\.velocity_mm_s 3: axes without a motor record"),
        ({"monitor": {"value": "I0"}}, r"monitor: a diode with a class of its own reads it too"),
    ],
)
def test_what_is_wrong_with_a_class_is_one_line(write, tmp_path, changes, said):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needs.py").write_text("import an_other_one\n")
    with pytest.raises(CxgiError, match=said) as caught:
        load_beamline(write(**changes))
    assert "\n" not in str(caught.value)
    assert "beamline.yml" in str(caught.value)


def test_without_the_extra_for_ophyd_async_it_is_named(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "ophyd_async", None)
    for module in [name for name in sys.modules if name.startswith("ophyd_async.")]:
        monkeypatch.delitem(sys.modules, module)
    motor = {"class": "ophyd_async.epics.motor.Motor", "options": {"prefix": "BL:X"}}
    with pytest.raises(CxgiError, match=r"stage\.x\.class .*pip install 'cxgi_bluesky\[ophyd-async\]'"):
        load_beamline(write(stage={"x": motor, "y": motor}))


# ---------------------------------------------------------------- cxgi check


def test_a_check_moves_and_exposes(write, capsys):
    assert main(["check", str(write()), "--move", "--expose"]) == 0
    said = capsys.readouterr().out
    assert "all is well (0 PVs and 3 devices of your own read, axes moved and put back, one exposure of 1 s" in said


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"diode": {"class": "{}.Diode", "options": {"key": "other"}}}, "diode", "and not 'bucket'"),
        ({"stage": {**CONTENT["stage"], "limits_mm": {"x": [-0.1, 9]}}}, "stage.x", r"outside (-0.1, 9.0) mm of the"),
    ],
)
def test_a_check_finds_what_is_wrong(write, changes, where, what):
    findings = check_beamline(write(**changes), move=True, expose=True).findings
    assert {finding.where for finding in findings} == {where}
    assert all(what in finding.what for finding in findings)


def test_a_plan_names_a_data_key_that_a_detector_does_not_have(write):
    line = load_beamline(write(diode={"class": "{}.Diode", "options": {"key": "other"}}))
    s = session.start(beamline=line, data=write().parent / "data", live=False, progress=False)
    with pytest.raises(CxgiError, match="bucket_name of diode is 'bucket': give one of its data keys, other"):
        s.RE(s.scan(1.0, exposure_s=1.0))
