from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cxgi_bluesky.cli.program import main
from cxgi_bluesky.training.config import TrainingConfig, read_config
from tests.training.test_processes import written
from tests.training.tiny import tiny


def test_a_training_from_the_command_line(tmp_path, capsys):
    words = ["train", str(written(tiny(tmp_path, steps=2), tmp_path)), "--out", str(tmp_path / "out")]
    assert main([*words, "--stop-at", "2", "--json"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (answer["step"], answer["steps"], answer["finished"]) == (2, 4, False)
    assert set(answer["check"]["psnr_db"]) == {"16, 18.75 %", "32, 18.75 %", "32, 6.25 %"}
    assert "step 2 of 4" in captured.err
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "goes on at step 2" in said
    assert f"weights -> {tmp_path / 'out' / 'ch_mwcnn.safetensors'}" in said
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["finished"] is True
    assert all((tmp_path / "out" / path.rsplit("/", 1)[1]).exists() for path in answer["files"].values())


def test_the_example_is_a_configuration(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--example"])
    assert ended.value.code == 0
    path = tmp_path / "example.yml"
    path.write_text(capsys.readouterr().out)
    assert read_config(path) == TrainingConfig()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--threads", "0"], "--threads 0: give at least 1"),
        (["--stop-at", "-3"], "--stop-at -3: give a step"),
        ([], "step is unknown: choose of"),
    ],
)
def test_what_cannot_be_met_is_one_line_and_status_2(more, message, tmp_path, capsys):
    path = tmp_path / "c.yml"
    path.write_text(yaml.safe_dump({"step": 4}))
    assert main(["train", str(path), "--out", str(tmp_path / "out"), *more, "--json"]) == 2
    captured = capsys.readouterr()
    assert message in json.loads(captured.out)["error"]
    assert message in captured.err
    assert not (tmp_path / "out").exists()


def test_the_configuration_of_the_page_can_be_read(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "train-the-network.md").read_text(encoding="utf-8")
    path = tmp_path / "c.yml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    assert read_config(path).sizes == {32: 1.0}


def test_the_help_needs_no_torch():
    code = "import sys; from cxgi_bluesky.cli import build_parser; build_parser(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
