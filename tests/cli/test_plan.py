"""``cxgi plan``: a table and a call, or one line that says why not."""

from __future__ import annotations

import json

import pytest

from cxgi_bluesky.cli.plan import MASK_CHOICES
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.reconstruction.planning import plan_measurement
from cxgi_bluesky.reconstruction.planning.budget import MASK_KNOWLEDGE
from cxgi_bluesky.simulation.base import Detector

LIGHT = ("--current-pA", "5")


def answer(capsys, *arguments):
    assert main(["plan", *LIGHT, *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_and_the_call_are_printed(capsys):
    assert main(["plan", *LIGHT, "--time", "20min", "--resolve", "10um"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("au64: 64 x 64 pixels of 10 um, D_r 83%, masks perfect; 5 pA, 20min")
    assert sum(line.endswith("<- best") for line in lines) == 1
    assert any(line.startswith("s.RE(s.scan(pattern_set=s.pattern_set(") for line in lines)
    assert max(len(line) for line in lines) <= 120


def test_json_has_what_the_function_returns(capsys):
    found = answer(capsys, "--time", "20min", "--resolve", "10um", "--masks", "reference")
    made = plan_measurement("au64", current_pa=5.0, detector=Detector(), time_s=1200.0, masks="reference", line_um=10.0)
    assert found["best"]["psnr_db"] == pytest.approx(made.best.expected.psnr_db)
    assert found["best"]["call"] == made.call(made.best)
    assert len(found["alternatives"]) == len(made.alternatives())
    assert found["notes"] == list(made.notes)


def test_options_reach_the_plan(capsys):
    base = answer(capsys, "--time", "1h")["best"]
    changes = [("--electrometer-fA", "200"), ("--photon-keV", "60"), ("--contrast", "0.3"), ("--overhead", "2s")]
    for change in changes:
        assert answer(capsys, "--time", "1h", *change)["best"]["psnr_db"] < base["psnr_db"]
    assert answer(capsys, "--time", "1h", "--transmission", "0.1")["best"]["noise_db"] > base["noise_db"]
    assert "max_open_s=3600" in answer(capsys, "--open-time", "60min")["best"]["call"]
    assert answer(capsys, "--time", "1h", "--board", "cu32")["size"] == 32


@pytest.mark.parametrize("text", ["1200", "1200s", "20 min", "1.2e3s", "1200000ms"])
def test_times_may_be_written_in_several_units(capsys, text):
    assert answer(capsys, "--time", text)["best"] == answer(capsys, "--time", "20min")["best"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--time", "1s"], "the smallest, 96 patterns of"),
        (["--time", "20 parsec"], "--time '20 parsec': give a number and one of ms, s, min, h"),
        (["--time=-5s"], "--time '-5s'"),
        (["--time", "nan"], "--time 'nan'"),
        ([], "either --time or --open-time"),
        (["--time", "1h", "--open-time", "1h"], "either --time or --open-time"),
        (["--time", "1h", "--resolve", "5um"], "it can resolve 10 um"),
        (["--time", "1h", "--resolve", "10furlong"], "--resolve '10furlong'"),
        (["--time", "1h", "--board", "au65"], "board 'au65' is unknown"),
        (["--time", "1h", "--photon-keV", "0"], "--photon-keV 0"),
        (["--time", "1h", "--current-pA", "nan"], "current nan pA"),
    ],
)
def test_what_cannot_be_planned_ends_with_status_2_and_one_line(capsys, arguments, words):
    assert main(["plan", *LIGHT, *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_missing_current_is_told_with_where_it_comes_from(capsys):
    assert main(["plan", "--time", "1h"]) == 2
    assert "--current-pA is missing: give what the diode reads" in capsys.readouterr().err


def test_the_command_offers_the_masks_of_the_planner():
    assert MASK_CHOICES == MASK_KNOWLEDGE
