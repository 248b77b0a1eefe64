"""``cxgi align`` and a session's way to a new board file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cxgi_bluesky import session
from cxgi_bluesky.analysis.board_alignment.run import alignment_from_run
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.masks.board import load_board
from tests.plans.test_align import fiducial_board, line_on, turned, worst_um


@pytest.fixture
def aligned(tmp_path):
    """A session that has aligned its board: how the plate lies, the session and the run's uid."""
    board = fiducial_board()
    lies = turned(board, 0.3, -0.4, 0.7, mirrored="in place")
    s = session.start(beamline=line_on(board, lies), data=tmp_path / "data", live=False, progress=False)
    (uid,) = s.RE(s.align_board(1.0, points=4))
    return lies, s, uid


def test_a_session_finds_the_alignment_and_the_command_writes_the_board(aligned, tmp_path, capsys):
    lies, s, uid = aligned
    fit = alignment_from_run(s.catalog[uid])
    assert worst_um(fit, lies) < s.board.pixel_um / 4
    words = ["align", uid[:8], "--out", str(tmp_path / "new.yaml"), "--data", str(tmp_path / "data")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == uid
    assert told["alignment"]["mirrored"] is True
    assert told["aligned_board_sha256"] == load_board(tmp_path / "new.yaml").sha256
    assert load_board(tmp_path / "new.yaml") == replace(s.board, alignment=fit.alignment)
    assert main(words) == 2
    assert "exists: an old board file is kept" in capsys.readouterr().err
    assert main([words[0], uid[:8], "--data", words[-1]]) == 0
    out = capsys.readouterr().out
    assert "back to front; worst tile" in out
    assert "fiducial (-5, 4): " in out


@pytest.mark.parametrize("words", ["1,2", "1,2,three,4", "1,2,3,4,mirror", ""])
def test_an_alignment_on_the_command_line_that_is_none(words, capsys):
    pytest.importorskip("caproto")
    assert main(["ioc", f"--true-alignment={words}"]) == 2
    assert "give X0_MM,Y0_MM,ROTATION_DEG,SCALE" in capsys.readouterr().err


def test_an_option_by_its_earlier_name_works_and_names_the_new_one(capsys):
    pytest.importorskip("caproto")
    assert main(["ioc", "--lies-as=1,2,three,4"]) == 2
    said = capsys.readouterr().err
    assert "--lies-as is now --true-alignment" in said
    assert "--true-alignment 1,2,three,4: give X0_MM,Y0_MM" in said
