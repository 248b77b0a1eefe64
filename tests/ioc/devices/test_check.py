from __future__ import annotations

import json

import pytest

from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.config.load import load_beamline
from cxgi_bluesky.devices.diagnostics.check import check_beamline
from cxgi_bluesky.errors import CxgiError

from .conftest import ASYNC, RECORDS


def only(report):
    (finding,) = report.findings
    return f"{finding.where} | {finding.what} | {finding.remedy}"


@pytest.mark.parametrize("axes", [RECORDS, ASYNC])
def test_all_is_well(ca, beamline_file, capsys):
    assert main(["check", str(beamline_file(ca.prefix)), "--move"]) == 0
    assert "all is well" in capsys.readouterr().out
    assert ca.get("COUNT:MOVES") == 4
    assert ca.get("COUNT:OPENINGS") == 0


def test_nothing_moves_unless_asked(ca, beamline_file):
    assert check_beamline(beamline_file(ca.prefix)).good
    assert ca.get("COUNT:MOVES") == 0


@pytest.mark.parametrize("axes", [ASYNC])
def test_a_wrong_name_of_an_async_motor_is_one_line(ca, beamline_file):
    file = beamline_file(ca.prefix, timeouts={"connection_s": 2})
    file.write_text(file.read_text(encoding="utf-8").replace("STAGE:X", "STAGE:XX"), encoding="utf-8")
    report = check_beamline(file, move=True)
    assert only(report).startswith("stage | stage_x (stage_x): no answer within 2")
    assert "STAGE:XX" in only(report)
    assert "\n" not in only(report)
    with pytest.raises(CxgiError, match=r"stage_x \(stage_x\): no answer within 2"):
        load_beamline(file)


def test_a_wrong_name_is_one_line(ca, beamline_file, capsys):
    file = beamline_file(ca.prefix, stage__x="STAGE:XX", shutter__readback="SHUTTER:STATE",
                         timeouts={"connection_s": 1})  # fmt: skip
    assert main(["check", str(file)]) == 1
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("stage.x")
    assert f"no answer from {ca.prefix}STAGE:XX" in lines[1]
    assert "shutter.readback" in lines[2]
    assert main(["check", str(file), "--json"]) == 1
    payload = json.loads(capsys.readouterr().out)
    assert [finding["where"] for finding in payload["findings"]] == ["stage.x", "shutter.readback"]
    assert payload["good"] is False


def test_crossed_wires_of_the_axes_are_one_line_and_all_is_put_back(ca, beamline_file, capsys):
    before = [ca.get(f"STAGE:{axis}.RBV") for axis in "XY"]
    ca.put("FAULT:CROSSED", 1)
    assert main(["check", str(beamline_file(ca.prefix)), "--move"]) == 1
    _title, line = capsys.readouterr().out.strip().splitlines()
    assert line.split()[0] == "stage"
    assert f"moves of {ca.prefix}STAGE:X (x) move {ca.prefix}STAGE:Y (y), and those of y move x" in line
    assert "swapped" in line
    assert [ca.get(f"STAGE:{axis}.RBV") for axis in "XY"] == pytest.approx(before, abs=1e-3)


def test_axes_that_stop_short_are_found(ca, beamline_file):
    ca.put("FAULT:SHORT_UM", 30.0)
    report = check_beamline(beamline_file(ca.prefix), move=True)
    assert {finding.where for finding in report.findings} == {"stage.x", "stage.y"}
    assert all("lost steps" in finding.remedy for finding in report.findings)


def test_units(ca, beamline_file):
    ca.put("STAGE:Y.EGU", "um")
    try:
        assert "stage.y" in (line := only(check_beamline(beamline_file(ca.prefix))))
        assert "'um'" in line
    finally:
        ca.put("STAGE:Y.EGU", "mm")
    line = only(check_beamline(beamline_file(ca.prefix, diode__unit="nA")))
    assert "diode.unit" in line
    assert "put unit: pA" in line


def test_limits_must_contain_the_board(ca, beamline_file):
    report = check_beamline(beamline_file(ca.prefix, stage__limits_mm={"x": [-10, 10], "y": [-100, 100]}))
    assert "stage.x" in (line := only(report))
    assert "limits_mm of the file are -10 to 10 mm" in line


def test_axes_that_would_fit_the_other_way_round(ca, beamline_file):
    report = check_beamline(beamline_file(ca.prefix, stage__limits_mm={"x": [-200, 200], "y": [-75, 200]}))
    assert "are x and y swapped" in only(report)


def test_a_word_that_the_enum_lacks(ca, beamline_file):
    line = only(check_beamline(beamline_file(ca.prefix, shutter__opened_value="Offen")))
    assert "no word 'Offen': Closed, Open, Moving, Failed" in line


def test_axes_are_not_moved_in_the_beam(ca, beamline_file):
    ca.put("SHUTTER:CMD", "Open")
    report = check_beamline(beamline_file(ca.prefix), move=True)
    assert {finding.where for finding in report.findings} == {"shutter"}
    assert "not closed: the axes were not moved" in str(report)
    assert ca.get("COUNT:MOVES") == 0


@pytest.mark.parametrize(
    ("pv", "value", "where", "words"),
    [
        ("SHUTTER:CMD", "Open", "shutter ", "says Open: light is on the sample | close it before a scan"),
        ("SAFETY:CMD", "Close", "shutter.second_barrier ", "says Closed: there is no beam | open it by hand"),
        ("FAULT:PERMIT", 1, "shutter.permit ", "says Denied: the shutter may not open | get the permit"),
    ],
)
def test_what_stands_in_the_way_of_a_scan(ca, beamline_file, pv, value, where, words):
    ca.put(pv, value)
    line = only(check_beamline(beamline_file(ca.prefix)))
    assert line.startswith(where)
    assert words in line


def test_a_command_that_may_not_be_written(ca, beamline_file):
    line = only(check_beamline(beamline_file(ca.prefix, shutter__command="SHUTTER:STATUS")))
    assert line.startswith("shutter.command")
    assert "SHUTTER:STATUS is read-only" in line


def test_a_stuck_axis_is_found(ca, beamline_file):
    ca.put("FAULT:STUCK", 1)
    report = check_beamline(beamline_file(ca.prefix, stage__move_timeout_s=0.3), move=True)
    assert {finding.where for finding in report.findings} == {"stage.x", "stage.y"}


def test_a_dead_ioc_is_one_line(shared_ioc, beamline_file):
    report = check_beamline(beamline_file("NOBODY:", timeouts={"connection_s": 0.5}))
    assert "IOC | no PV answers within 0.5 s" in only(report)
    assert "EPICS_CA_ADDR_LIST is 127.0.0.1" in only(report)


def test_a_file_that_is_wrong_is_an_error_not_a_finding(tmp_path, capsys):
    assert main(["check", str(tmp_path / "none.yml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_beamline_whose_pvs_do_not_answer(shared_ioc, make_line):
    with pytest.raises(
        CxgiError, match=r"no answer from NOBODY:STAGE:X.RBV, .* and \d+ more within 0.5 s: .*cxgi check"
    ):
        make_line("NOBODY:", timeouts={"connection_s": 0.5})
