from __future__ import annotations

import json
import os

import pytest

from benchmarks.suite.__main__ import build_parser
from benchmarks.suite.timing import THREAD_VARIABLES, milliseconds, one_thread
from cxgi_bluesky.cli.program import main

FAST = ["quality", "--seeds", "1", "--methods", "inverse", "--orders", "zig-zag"]


def run(arguments):
    """What `python -m benchmarks.suite` ends with."""
    return main(arguments, parser=build_parser())


def test_one_json_object_and_the_same_in_the_file(tmp_path, capsys):
    out, page = tmp_path / "bench.json", tmp_path / "table.md"
    assert run([*FAST, "--json", "--out", str(out), "--markdown", str(page)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == json.loads(out.read_text())
    assert [row["snr_db"] for row in answer["quality"]["rows"]] == [30.0, 20.0]
    assert "speed" not in answer
    assert f"{answer['quality']['rows'][0]['psnr_db']:.2f}" in page.read_text()


def test_without_json_the_tables_are_shown(capsys):
    assert run(FAST) == 0
    assert "| zig-zag | 30 dB | inverse |" in capsys.readouterr().out


def test_every_order_is_run_by_default(capsys):
    from cxgi_bluesky.masks.orders import ORDERS

    assert run(["quality", "--seeds", "1", "--methods", "inverse", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["quality"]["rows"]
    assert [row["order"] for row in rows[::2]] == list(ORDERS)


def test_one_table_of_the_network(tmp_path, capsys):
    page = tmp_path / "table.md"
    arguments = ["--seeds", "1", "--orders", "zig-zag", "--tables", "trust", "--markdown", str(page)]
    assert run(["network", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["network"]
    assert "anchor" not in found
    assert [row["method"] for row in found["trust"]["rows"]] == ["tv", "ch-mwcnn"]
    assert all(row["cases"] == 5 and row["shuffled"] == 0 for row in found["trust"]["rows"])
    assert "| tv | 5 |" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quality", "--methods", "magic"], "method 'magic' is unknown"),
        (["quality", "--orders", "magic"], "order 'magic' is unknown"),
        (["quality", "--seeds", "0"], "0 seeds"),
        (["measured"], "give --measured FOLDER"),
        (["measured", "--measured", "nowhere"], "folder nowhere does not exist"),
        (["quality", "--measured", "."], "--measured does not apply to quality"),
        (["quality", "--tables", "trust"], "--tables does not apply to quality"),
        (["network", "--methods", "tv"], "--methods does not apply to network"),
        (["network", "--tables", "magic"], "table 'magic' is unknown"),
        (["network", "--weights", "nowhere"], "weights nowhere cannot be read"),
        (["quality", "--out", "nowhere/a.json"], "folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_met_is_one_line_and_status_2(arguments, message, capsys):
    assert run([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert message in json.loads(captured.out)["error"]
    assert message in captured.err


def test_one_thread_inside_and_as_before_outside(monkeypatch):
    import torch
    from threadpoolctl import threadpool_info

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    threads = torch.get_num_threads()
    with one_thread():
        assert {os.environ[name] for name in THREAD_VARIABLES} == {"1"}
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "MKL_NUM_THREADS" not in os.environ
    assert torch.get_num_threads() == threads


def test_repeats_follow_the_time_of_one_run():
    calls = []
    timed = milliseconds(lambda: calls.append(1), budget_s=0.1)
    assert timed["repeats"] == 30 == len(calls) - 1
    assert 0 < timed["min_ms"] <= timed["ms"] <= timed["max_ms"]
