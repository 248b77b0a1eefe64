from __future__ import annotations

import json

import pytest

from benchmarks.paper import run
from benchmarks.paper.__main__ import build_parser
from cxgi_bluesky.cli.program import main
from tests.benchmarks.paper import synthetic


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["fig9"], "fig9"), (["--seeds", "0"], "seeds 0"), (["fig2", "--processes", "0"], "processes 0")],
)
def test_a_request_that_cannot_be_met(arguments, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments, parser=build_parser()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert named in said.err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file" / "out")], parser=build_parser()) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "--out" in said


def test_page_json_and_picture_of_a_figure(capsys, tmp_path, monkeypatch):
    asked = []

    def scanned(jobs, **options):  # the scans themselves take minutes
        asked.extend(jobs)
        return synthetic.results(1)

    monkeypatch.setattr(run, "run_jobs", scanned)
    assert main(["fig2", "--seeds", "1", "--out", str(tmp_path), "--json"], parser=build_parser()) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("out") == str(tmp_path)
    assert json.loads((tmp_path / "reproduction.json").read_text()) == answer
    assert {job.figure for job in asked} == {"fig2"}
    assert (tmp_path / "reproduction.md").read_text().count("fig2.png") == 1
    assert (tmp_path / "reproduction" / "fig2.png").stat().st_size > 10_000
