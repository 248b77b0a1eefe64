from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from cxgi_bluesky.devices.config.load import beamline_path, example_path, examples, read_beamline_file
from cxgi_bluesky.errors import CxgiError
from tests.beamline_files import GONE, changed_file


def test_there_is_an_example_for_each_detector_and_all_are_right():
    kinds = {read_beamline_file(example_path(name)).config.diode.kind for name in examples()}
    assert kinds == {"generic", "keithley", "quadem", "scaler"}
    assert "ioc" in examples()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 2, r"version 2: choose 1"),
        ("name", GONE, r"name is missing: give a text"),
        ("stage.z", "m3", r"stage\.z 'm3': unknown key"),
        ("stage.setle_s", 0.1, r"stage\.setle_s 0\.1: unknown key, did you mean settle_s\?"),
        ("stage.x", GONE, r"stage\.x is missing: give the name of a PV"),
        ("stage.x", "STAGE X", r"stage\.x 'STAGE X': give the name of a PV, without blanks"),
        ("stage.x", "STAGE:X.RBV", r"stage\.x 'STAGE:X\.RBV': give the name of the record alone, without a field"),
        ("object_stage.motor", "OBJECT:X.VAL", r"object_stage\.motor 'OBJECT:X\.VAL': .*without a field"),
        ("stage.y", "STAGE:X", r"stage\.y 'STAGE:X': stage\.x is the same"),
        ("object_stage.motor", "STAGE:X", r"object_stage\.motor 'STAGE:X': stage\.x is the same"),
        ("shutter.opened_value", "Closed", r"shutter\.opened_value 'Closed': closed_value is the same"),
        ("shutter.max_open", GONE, r"shutter\.max_open_s 60: give max_open"),
        ("shutter.second_barrier.readback", "SHUTTER:STATUS", r"second_barrier\.readback .*the shutter's own"),
        ("stage.in_position_um", 0, r"stage\.in_position_um 0: give a number of more than 0"),
        ("stage.in_position_um", float("nan"), r"stage\.in_position_um nan: give a number"),
        ("stage.move_timeout_s", 600, r"stage\.move_timeout_s 600: .* at most 110"),
        ("stage.limits_mm", {"x": [5, -5]}, r"stage\.limits_mm\.x \[5, -5\]: give two numbers, the lower one first"),
        ("stage.settle_s", True, r"stage\.settle_s True: give a number"),
        ("shutter", None, r"shutter None: give keys with values"),
        ("shutter.closing_s", 12, r"shutter\.closing_s 12: .* at most 9"),
        ("shutter.closing_s", 7, r"shutter\.closing_s of shutter and barrier 10 s: give at most 9"),
        ("shutter.command", GONE, r"shutter\.command: .*either a command PV or both"),
        ("shutter.permit_value", True, r"shutter\.permit_value True: .*quotation marks"),
        ("shutter.second_barrier.readback", GONE, r"shutter\.second_barrier\.readback is missing"),
        (
            "diode.class",
            "camera",
            r"diode .*class must be one of keithley, quadem, scaler, generic, or .*, and is 'camera'",
        ),
        ("diode.unit", "V", r"diode\.unit 'V': choose A, mA"),
        ("diode.rate", "slow", r"diode\.rate 'slow': unknown key"),
        ("diode.late_s", 9, r"diode\.late_s 9: give a number of at least 0 and at most 5"),
        ("monitor.value", GONE, r"monitor\.value is missing"),
        ("object_stage.in_mm", "1e1", r"object_stage\.in_mm '1e1': .*write 10\.0"),
        ("object_stage.out_mm", 0.04, r"object_stage\.in_mm 0 and out_mm 0\.04 are within 20 um: give two"),
        ("source.ready_value", 2, r"source\.ready_value 2: choose 0, 1"),
        ("source", {}, r"source\.ready: .*needs ready, current or both"),
        ("source.at_least_ma", GONE, r"source\.current: .*belong together"),
        ("timeouts", {"read_s": -1}, r"timeouts\.read_s -1: give a number of more than 0"),
        ("board", "unknown", r"board 'unknown'.*choose au64, cu32"),
        ("board", "none.yaml", r"board 'none\.yaml'.*cannot be read"),
        ("stage.velocity_mm_s", "fast", r"stage\.velocity_mm_s 'fast': give a number of more than 0"),
        ("stage.x", {"setpoint": "P", "readback": "R"}, r"stage\.x and stage\.y: give two motor records"),
        ("stage.x", {"setpoint": "P"}, r"stage\.x\.readback is missing: give the name of a PV"),
        ("stage.x", {"setpoint": "P", "read": "R"}, r"stage\.x\.read 'R': unknown key, did you mean readback\?"),
        ("version", True, r"version True: choose 1"),
        ("shutter", GONE, r"shutter is missing: give keys with values: readback, command"),
        ("diode", GONE, r"diode is missing: its class must be one of"),
        ("data", "ftp://server:8000", r"data 'ftp://server:8000': .*folder"),
    ],
)
def test_one_clear_error_names_key_value_and_remedy(tmp_path, path, value, message):
    with pytest.raises(CxgiError, match=message) as caught:
        read_beamline_file(changed_file(tmp_path, {path: value}))
    assert "beamline.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("example", "key", "value", "message"),
    [
        ("keithley", "rate", "sluggish", "'sluggish': choose slow, medium, fast"),
        ("keithley", "start_range", 9, "9: give a whole number from 0 to 7"),
        ("tetramm", "channel", 5, "5: give a whole number from 1 to 4"),
        ("scaler", "channel", 1, "1: give a whole number from 2 to 32"),
        ("scaler", "counts_per_pa_s", 0, "0: give a number of more than 0"),
    ],
)
def test_each_detector_has_its_own_keys(tmp_path, example, key, value, message):
    with pytest.raises(CxgiError, match=rf"diode\.{key} {message}"):
        read_beamline_file(changed_file(tmp_path, {f"diode.{key}": value}, example))


def test_a_shutter_has_a_command_or_pulses(tmp_path):
    pulses = {"shutter.open_pulse": "OPEN", "shutter.close_pulse": "CLOSE"}
    with pytest.raises(CxgiError, match=r"shutter\.command: .*either a command PV or both"):
        read_beamline_file(changed_file(tmp_path, pulses))
    read_beamline_file(changed_file(tmp_path, {**pulses, "shutter.command": GONE}))


@pytest.mark.parametrize("text", ["version: [", "", "- 1\n", "\x00"])
def test_files_that_are_no_beamline(tmp_path, text):
    file = tmp_path / "beamline.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CxgiError, match=r"beamline\.yml"):
        read_beamline_file(file)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = changed_file(tmp_path, {})
    file.write_text(file.read_text(encoding="utf-8") + "\nname: another\n", encoding="utf-8")
    with pytest.raises(CxgiError, match="name stands twice"):
        read_beamline_file(file)


def test_no_object_is_made_of_yaml(tmp_path):
    file = tmp_path / "beamline.yml"
    file.write_text("version: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(CxgiError, match="cannot be read"):
        read_beamline_file(file)


def test_a_board_file_lies_beside_the_beamline_file(tmp_path, board):
    board.to_yaml(tmp_path / "mine.yaml")
    assert read_beamline_file(changed_file(tmp_path, {"board": "mine.yaml"})).board == board


def test_pvs_get_the_prefix(tmp_path):
    file = read_beamline_file(changed_file(tmp_path, {"prefix": "BL:"}))
    assert file.pv("STAGE:X") == "BL:STAGE:X"
    assert file.pv(None) is None


@pytest.mark.parametrize("name", examples())
def test_the_board_of_an_example_lies_within_its_limits(name):
    file = read_beamline_file(example_path(name))
    positions = [file.board.position_mm(tile) for tile in range(file.board.tile_count)]
    positions += [file.board.place_mm(fiducial) for fiducial in file.board.fiducials]
    for axis, limits in enumerate(getattr(file.config.stage.limits_mm, name) for name in "xy"):
        if limits is not None:
            assert limits[0] <= min(position[axis] for position in positions)
            assert max(position[axis] for position in positions) <= limits[1]


def test_examples_go_by_name():
    assert beamline_path("ioc") == example_path("ioc")
    with pytest.raises(CxgiError, match=r"no beamline file ioc\.yml here: give ioc for the example, or copy it first"):
        beamline_path("ioc.yml")
    with pytest.raises(CxgiError, match=r"'iok' .* choose ioc, keithley"):
        example_path("iok")


# ---------------------------------------------------------------- schema for editors

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "beamline.schema.json"


def test_the_schema_for_editors_is_that_of_the_models():
    """Write it anew with: python -m tests.devices.test_beamline_file."""
    assert SCHEMA.read_text(encoding="utf-8") == current_schema()


def current_schema() -> str:
    from cxgi_bluesky.devices.config.models import BeamlineConfig

    return json.dumps(BeamlineConfig.model_json_schema(), indent=1) + "\n"


@pytest.mark.parametrize("name", examples())
def test_examples_are_right_by_the_schema_too(name):
    jsonschema.validate(yaml.safe_load(example_path(name).read_text()), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_neither_the_devices_nor_the_command_line_import_pydantic():
    code = (
        "import sys, cxgi_bluesky.devices.config, cxgi_bluesky.devices.diagnostics.check; "
        "from cxgi_bluesky.cli import build_parser; build_parser(); print('pydantic' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


if __name__ == "__main__":
    SCHEMA.write_text(current_schema(), encoding="utf-8")
