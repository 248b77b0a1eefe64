"""Several real processes that talk over gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from cxgi_bluesky.training.config import ObjectConfig, TrainingConfig
from cxgi_bluesky.training.distributed import Processes, is_first_process
from cxgi_bluesky.training.loop import train
from cxgi_bluesky.training.validation import CHECKPOINT, HISTORY, read_history
from tests import warm
from tests.patience import PATIENCE_S
from tests.training.tiny import tiny

VANISH = """
import os
from cxgi_bluesky.training.distributed import join_processes
with join_processes() as processes:
    processes.together(lambda: None)
    os._exit(9)
"""


def written(config: TrainingConfig, folder: Path) -> Path:
    words = {**config.to_dict(), "cache": config.cache}
    for part in (words, words["objects"], words["boards"]):
        for key in ("sizes", "count", "patterns"):
            if key in part:
                part[key] = {int(size): value for size, value in part[key].items()}
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(words))
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def begun(rank: int, port: int, *arguments: str) -> warm.Popen:
    """One of two processes, without a launcher that would end it when the other has."""
    place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment = {**os.environ, **place, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return warm.Popen([sys.executable, *arguments], env=environment, **pipes)


def ended(*processes: warm.Popen) -> list[tuple[int, str, str]]:
    """Exit status, stdout and stderr of each; all are ended in any case."""
    try:
        found = [(p, *p.communicate(timeout=PATIENCE_S)) for p in processes]
        return [(p.returncode, out, err) for p, out, err in found]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.long
def test_two_processes_train_as_one_does(tmp_path):
    config = tiny(tmp_path, batch=1, sizes={64: 0.5, 32: 0.5}, objects=ObjectConfig({64: 6}))
    train(config, tmp_path / "one", report=lambda text: None)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = ["-m", "cxgi_bluesky.cli", "train", str(written(config, tmp_path)), "--out", str(tmp_path / "two")]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *command], capture_output=True, text=True, timeout=PATIENCE_S, env=one_thread)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 2 of 6") == 1  # the first one speaks for all
    assert "2 processes" in done.stdout
    ours, theirs = (read_history(tmp_path / name / HISTORY) for name in ("one", "two"))
    assert [line["step"] for line in theirs] == [2, 4, 6]
    for line, other in zip(ours, theirs, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], abs=2e-5)
        assert other["psnr_db"] == pytest.approx(line["psnr_db"], abs=2e-3)
    one, two = (load_file(tmp_path / name / CHECKPOINT) for name in ("one", "two"))
    for name, value in one.items():
        if not name.startswith("optimiser."):
            atol = 1e-2 * config.learning_rate  # AdamW makes steps of that size of the smallest gradients
            torch.testing.assert_close(two[name], value, rtol=0, atol=atol, msg=name)


@pytest.mark.long
def test_what_the_first_cannot_do_ends_all_with_its_message(tmp_path):
    path = written(tiny(tmp_path), tmp_path)
    path.write_text(path.read_text().replace("folder: null", f"folder: {tmp_path / 'nothing'}"))
    port, words = free_port(), ["-m", "cxgi_bluesky.cli", "train", str(path), "--out", str(tmp_path / "out")]
    for status, _, err in ended(*(begun(rank, port, *words) for rank in (0, 1))):
        assert status == 2
        assert "holds no image" in err
        assert "Traceback" not in err


def test_a_process_that_dies_ends_the_others(tmp_path):
    port, path = free_port(), written(tiny(tmp_path), tmp_path)
    first = begun(0, port, "-m", "cxgi_bluesky.cli", "train", str(path), "--out", str(tmp_path / "out"))
    (status, _, err), _ = ended(first, begun(1, port, "-c", VANISH))
    assert status == 2
    assert "another process of this training has ended" in err


def test_without_a_launcher_there_is_one_process(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert is_first_process()
    loss, parameter = torch.tensor(2.0), torch.nn.Parameter(torch.ones(2))
    assert Processes().add_up(loss, [parameter]) is loss
    assert Processes().together(lambda: 5) == Processes().first_then_others(lambda: 5) == 5
