"""What commands look like at a terminal, in files and in pipes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cxgi_bluesky import session
from cxgi_bluesky.catalog import list_runs
from cxgi_bluesky.cli._echo import Echo
from cxgi_bluesky.cli._progress import Step, format_seconds, recall_duration, remember_duration
from cxgi_bluesky.cli.program import main
from tests.cli.terminal import COLOUR, ESCAPE, cxgi_at_terminal, run_at_terminal, without_escapes

WORK = """
import time
from cxgi_bluesky.cli._echo import Echo, fit_to_terminal
fit_to_terminal()
echo = Echo(quiet={quiet})
with echo.working("developing the film", total={total}) as step:
    for _ in range(3):
        time.sleep(0.4)
        step.advance()
    echo("three pictures")
echo("WARNING: do not trust them")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with a scan and an image of it."""
    folder = tmp_path_factory.mktemp("terminal")
    s = session.start(sim=True, board="cu32", live=False, progress=False, data=folder)
    (uid,) = s.RE(s.scan(0.02, exposure_s=1.0))
    s.reconstruct(uid, method="inverse")
    return folder


def work(cache, *, total=3, quiet=False, **environment):
    words = [sys.executable, "-c", WORK.format(total=total, quiet=quiet)]
    return run_at_terminal(words, XDG_CACHE_HOME=str(cache), **environment)[0]


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("columns", [100, 40])
def test_uids_are_whole_at_any_width(data, columns):
    text, status = cxgi_at_terminal("runs", data=data, columns=columns)
    assert status == 0
    rows, _ = list_runs(data)
    for row in rows:
        assert f"\n{row['uid'][:8]}  " in without_escapes(text)
    shown, _ = cxgi_at_terminal("show", rows[0]["uid"], data=data, columns=columns)
    assert rows[0]["uid"] in without_escapes(shown)


def test_a_table_in_a_pipe_is_plain_and_a_row_is_a_line(data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["runs", "--data", str(data)]) == 0
    count, header, *rows = capsys.readouterr().out.splitlines()
    assert count == f"2 of 2 runs in {data}"
    assert header.split() == ["run", "scan", "when", "status", "what"]
    assert [len(rows), "\x1b" in "".join(rows)] == [2, False]
    assert rows[0].endswith("scan, board cu32, 20 of 20 patterns")
    assert all(row == row.rstrip() for row in rows)
    Echo().table(("a", "b"), [("x" * 200, "two\nlines \x1b[31m")])
    assert capsys.readouterr().out.splitlines()[1] == "x" * 200 + "  two lines \\x1b[31m"


def test_quiet_leaves_the_result(data, capsys):
    assert main(["runs", "--quiet", "--data", str(data)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "run", *(row["uid"][:8] for row in list_runs(data)[0])
    ]  # fmt: skip
    assert main(["runs", "--quiet", "--json", "--data", str(data)]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 2


# ---------------------------------------------------------------- colours and characters


def test_colours_are_few_and_can_be_switched_off(data):
    coloured, status = cxgi_at_terminal("show", "-99", data=data)
    assert status == 2
    assert COLOUR.search(coloured)
    plain, _ = cxgi_at_terminal("show", "-99", data=data, NO_COLOR="1")
    assert not COLOUR.search(plain)
    dumb, _ = cxgi_at_terminal("runs", data=data, TERM="dumb")
    assert not ESCAPE.search(dumb)


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"PYTHONIOENCODING": "ascii"}])
def test_terminals_without_unicode_get_none(tmp_path, locale):
    text = work(tmp_path, **locale)
    assert "left" in text
    assert text.isascii()


def test_what_a_pipe_cannot_encode_is_escaped():
    code = "from cxgi_bluesky.cli._echo import Echo, fit_to_terminal; fit_to_terminal(); Echo()('5 \\u00b5m')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={"PYTHONIOENCODING": "ascii"}, check=True
    )
    assert done.stdout == b"5 \\xb5m\n"


# ---------------------------------------------------------------- progress


def test_progress_says_what_is_left_and_leaves_nothing_behind(tmp_path):
    text = work(tmp_path)
    assert "developing the film" in text
    assert "s left" in without_escapes(text)
    above, _, below = text.partition("three pictures")
    assert above.endswith("\r\x1b[2K")  # in the place of the progress, which comes back below
    assert "developing the film" in below
    assert "\x1b[2K" in below.rpartition("developing the film")[2]  # at last it is wiped out
    assert without_escapes(text).endswith("WARNING: do not trust them\n")


def test_quiet_shows_no_progress_but_warnings(tmp_path):
    assert without_escapes(work(tmp_path, quiet=True)) == "three pictures\nWARNING: do not trust them\n"


def test_one_step_is_expected_to_take_as_long_as_the_last_time(tmp_path):
    assert "so far" in work(tmp_path, total=None)
    (file,) = tmp_path.rglob("durations.json")
    assert json.loads(file.read_text())["developing the film"] >= 1.2
    file.write_text(json.dumps({"developing the film": 1000}))
    assert "16 min" in work(tmp_path, total=None)
    file.write_text("[broken")
    assert "so far" in work(tmp_path, total=None)


def test_what_is_piped_does_not_land_on_the_terminal(tmp_path):
    out = tmp_path / "out.txt"
    code = WORK.format(total=3, quiet=False)
    text, _ = run_at_terminal(["bash", "-c", f"'{sys.executable}' -c '{code}' > {out}"], XDG_CACHE_HOME=str(tmp_path))
    assert out.read_text() == "three pictures\nWARNING: do not trust them\n"
    assert "developing" in text
    assert "pictures" not in text


def test_durations_that_cannot_be_kept_are_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember_duration("training", 100.0)
    assert recall_duration("training") is None


def test_earlier_work_does_not_count():
    step = Step(total=1000)
    step.reach(500)
    assert step.left_s is None
    step.reach(600)
    assert 0 < step.left_s < 3600 * step.elapsed_s
    step.reach(1000)
    assert str(step) == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_are_easy_to_read(seconds, text):
    assert format_seconds(seconds) == text
