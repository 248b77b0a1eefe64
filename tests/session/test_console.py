"""A session at a console: names, ``%cxgi``, what is shown, and a real IPython at a terminal."""

from __future__ import annotations

import logging
import os
import re
import sys

import pexpect
import pytest
from IPython.core.interactiveshell import InteractiveShell

from cxgi_bluesky import session
from cxgi_bluesky.catalog import find_run, open_catalog, read_exposures
from cxgi_bluesky.errors import ConfigError
from cxgi_bluesky.session.console import LOGGERS, TERMINAL, list_names, run_line
from tests.patience import PATIENCE_S


@pytest.fixture
def s(tmp_path):
    kept = {name: (list(logging.getLogger(name).handlers), logging.getLogger(name).level) for name in LOGGERS}
    made = session.start(data=tmp_path, board="cu32", live=False, progress=False)
    assert made.catalog is not None  # opened before pytest changes what warnings do
    yield made
    for name, (handlers, level) in kept.items():
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            if handler not in handlers:
                logger.removeHandler(handler)
                handler.close()
        logger.setLevel(level)


def test_a_session_is_shown_in_five_lines_that_say_what_there_is(s):
    lines = repr(s).splitlines()
    assert len(lines) == 5
    for word in ("simulated", "MaskBoard('cu32'", "no knife", "none listed yet"):
        assert any(word in line for line in lines)
    s.RE(s.scan(0.02))
    assert s.catalog
    assert "1 run, the last: scan 1 (hadamard_scan)\n" in repr(s)
    s.reconstruct(method="tv")
    assert "2 runs, the last: reconstruct\n" in repr(s)


def test_names_are_those_of_the_devices_and_of_scans_with_the_devices_filled_in(s):
    names = list_names(s)
    assert names["stage"] is s.stage
    assert "knife_edge_scan" not in names
    (uid,) = s.RE(names["dark_scan"](exposure_s=0.1, exposures=3))
    assert names["catalog"][uid].metadata["start"]["cxgi"]["purpose"] == "dark"
    assert len(names["catalog"]) == 1


def test_a_scan_by_name_takes_values_options_and_keys_of_options(s):
    (uid,) = run_line(s, """scan 0.02 exposure_s=0.5 md.sample="gold wire" md.operator=me validation=None""")
    start = s.catalog[uid].metadata["start"]
    assert (start["sample"], start["operator"], start["cxgi"]["exposure_s"]) == ("gold wire", "me", 0.5)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope 1", "%cxgi nope: there is no such scan: give one of scan, adaptive_scan"),
        ("dark_sacn exposure_s=1", r"there is no such scan: did you mean dark_scan\?"),
        ("scan 0.02 exposures=3", "exposures"),
        ("scan 0.02 exposre_s=3", r"^mask_scan takes no exposre_s: did you mean exposure_s\?$"),
        ("dark_scan exposre_s=3", r"^%cxgi dark_scan takes no exposre_s: did you mean exposure_s\?$"),
        ("resume_scan max_open=3", r"^%cxgi resume_scan takes no max_open: did you mean max_open_s\?$"),
        ("scan 0.02 1 2 3", "too many positional arguments"),
        ('scan "0.02', "close the quotes"),
        ("scan 5", "5"),
    ],
)
def test_what_cannot_be_run_is_one_error(s, line, said):
    with pytest.raises(ConfigError, match=said):
        run_line(s, line)
    assert s.RE.state == "idle"


def test_no_line_lists_the_scans(s, capsys):
    assert run_line(s, "  ") is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scan             Return the plan of one image with this beamline's devices"


def test_a_furnished_console_keeps_a_baseline_a_log_and_the_magic(s, tmp_path, capsys):
    shell = InteractiveShell()
    session.furnish_console(s, shell)
    done = shell.run_cell("%cxgi scan 0.02")
    assert done.success
    (uid,) = done.result
    run = s.catalog[uid]
    stored = run["baseline"].read()
    assert {"stage_tile", "shutter_state", "object_stage_state"} <= set(stored)
    assert not any(name.startswith("diode_current") for name in stored)
    assert len(stored["time"]) == 2
    assert len(read_exposures(run)) == 20
    logging.getLogger("cxgi_bluesky").info("looked at")
    assert "looked at" in (tmp_path / "logs" / "session.log").read_text()
    assert not shell.run_cell("%cxgi nope").success
    plan = shell.run_cell("scan(0.02)").result
    shown = shell.display_formatter.format(plan)[0]["text/plain"]
    assert shown == "mask_scan, a plan that has done nothing yet: RE(_) runs it"
    assert shell.run_cell("RE(_)").success
    assert not shell.run_cell("RE(scan(0.02, exposure_s=-1))").success  # known only when the engine has begun
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert shown.err.count("ConfigError: exposure_s -1 is no positive number of seconds") == 1
    log = (tmp_path / "logs" / "session.log").read_text()
    assert log.count("Run aborted") == log.count("Traceback") == 1


def test_a_second_furnishing_and_a_second_session_in_one_console_double_nothing(s, tmp_path, capsys):
    shell = InteractiveShell()
    session.furnish_console(s, shell)
    again = session.start(data=tmp_path, board="cu32", live=False, progress=False, engine=s.RE)
    assert again.catalog is not None
    session.furnish_console(again, shell)
    (uid,) = run_line(again, "dark_scan exposure_s=1")
    assert capsys.readouterr().out.count("Transient Scan ID: 1") == 1
    assert [start["uid"] for start in (run.metadata["start"] for run in again.catalog.values())] == [uid]
    assert len(again.catalog[uid]["baseline"].read()["time"]) == 2
    logging.getLogger("cxgi_bluesky").info("looked at once")
    assert (tmp_path / "logs" / "session.log").read_text().count("looked at once") == 1
    assert logging.getLogger("cxgi_bluesky").handlers.count(TERMINAL) == 1


def test_a_mask_scan_has_no_row_for_each_exposure_and_another_run_has(s, capsys):
    shell = InteractiveShell()
    session.furnish_console(s, shell)
    run_line(s, "scan 0.02")
    assert "seq_num" not in capsys.readouterr().out
    shell.run_cell("RE(bp.count([diode], 3))")
    shown = capsys.readouterr().out
    assert shown.count("seq_num") == 1
    assert re.search(r"\|\s+3 \|", shown)


@pytest.mark.long
def test_ctrl_c_twice_pauses_with_the_shutter_closed_and_says_what_can_be_typed(tmp_path):
    code = (
        "from cxgi_bluesky import session; from cxgi_bluesky.session.console import start_console; "
        f"start_console(session.start(data={str(tmp_path)!r}, board='cu32', live=False, time_scale=1.0))"
    )
    plain = {**os.environ, "TERM": "dumb", "IPY_TEST_SIMPLE_PROMPT": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
    console = pexpect.spawn(sys.executable, ["-c", code], timeout=PATIENCE_S, encoding="utf-8", env=plain)
    with console:
        console.expect_exact("Ctrl-C ")
        console.expect_exact("In [1]:")
        console.sendline("RE(scan(0.02, exposure_s=0.5))")
        console.expect(r"\b[2-9]/20 ")
        for _ in range(2):
            console.sendintr()
        console.expect_exact("PAUSED: the shutter is closed")
        console.expect_exact("RE.resume()")
        console.sendline("'it', 'is', shutter.state.get()")
        console.expect_exact("('it', 'is', 'closed')")
        console.sendline("RE.resume()")
        console.expect(r"Out\[\d+\]: \('[0-9a-f-]{36}',\)")
        console.sendline("RE(scan(0.02, exposure_s=0.5))")
        console.expect(r"\b[2-9]/20 ")
        console.sendintr()
        console.expect_exact("PAUSED: the shutter is closed")
        console.sendline("RE(dark_scan(exposure_s=1))")
        console.expect_exact("PAUSED: the shutter is closed")
        console.sendline("RE.abort('enough')")
        console.expect(r"Out\[\d+\]: \('[0-9a-f-]{36}',\)")
        assert "Traceback" not in console.before
        console.sendline("RE(scan(0.02, exposure_s=0.5))")
        console.expect(r"\b[2-9]/20 ")
        console.sendintr()
        console.expect_exact("PAUSED: the shutter is closed")
        console.sendline("exit()")
        console.expect_exact("The session is left")
        console.expect(pexpect.EOF)
    run, aborted, left = open_catalog(tmp_path).values()
    assert run.metadata["stop"]["exit_status"] == "success"
    assert aborted.metadata["stop"]["reason"] == "enough"
    assert left.metadata["stop"]["reason"] == "the session was left"
    assert len(read_exposures(find_run(open_catalog(tmp_path), run.metadata["start"]["uid"]))) == 20
