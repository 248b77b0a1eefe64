"""Trainings that were stopped go on, and nothing finished is overwritten."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network
from cxgi_bluesky.training import validation as checking
from cxgi_bluesky.training.config import NoiseConfig
from cxgi_bluesky.training.loop import begin, train
from cxgi_bluesky.training.validation import write_weights
from tests.training.tiny import (
    NETWORK,
    quiet,
    state_of,
)

pytestmark = pytest.mark.usefixtures("quick_curves")


def test_another_configuration_is_noted(stopped):
    config, out = stopped
    told: list[str] = []
    train(replace(config, learning_rate=5e-3, noise=NoiseConfig(drift=0.01)), out, report=told.append)
    assert any("learning_rate 0.01 -> 0.005, noise.drift 0.003 -> 0.01" in text for text in told)
    (change,) = json.loads((out / "ch_mwcnn.json").read_text())["changed_while_training"]
    assert change == {"step": 2, "changed": {"learning_rate": [0.01, 0.005], "noise.drift": [0.003, 0.01]}}
    state = begin(replace(config, learning_rate=5e-3, noise=NoiseConfig(drift=0.01)), out)
    assert state.changes == [change]


def test_what_was_best_by_other_checks_is_not_the_best_of_these(stopped):
    config, out = stopped
    assert begin(replace(config, learning_rate=5e-3), out).best > 0
    assert begin(replace(config, sizes={32: 1.0}), out).best == -np.inf


def test_a_checkpoint_from_before_a_key_was_there_goes_on(stopped):
    config, out = stopped
    then = {name: value for name, value in config.to_dict().items() if name != "bfloat16"}
    then["network"] = {name: then["network"][name] for name in ("wavelet", "widths", "passes", "sigma_widths")}
    words = {"step": "2", "best": "1.0", "config": json.dumps(then)}
    save_file(load_file(out / checking.CHECKPOINT), out / checking.CHECKPOINT, words)
    state = begin(replace(config, bfloat16=True), out)
    assert (state.step, state.changes) == (2, [])


def test_a_checkpoint_and_a_card_with_the_old_name_of_uncertainty_steps_go_on(stopped):
    config, out = stopped
    then = {{"uncertainty_steps": "doubt_steps"}.get(name, name): value for name, value in config.to_dict().items()}
    metadata = {"step": "2", "best": "1.0", "config": json.dumps(then)}
    save_file(load_file(out / checking.CHECKPOINT), out / checking.CHECKPOINT, metadata)
    network = load_network(out / checking.WEIGHTS)
    write_weights(out, network.network, {**network.card, "training": then})
    assert load_network(out / checking.WEIGHTS).card["training"]["doubt_steps"] == 2
    state = begin(config, out)
    assert (state.step, state.changes) == (2, [])
    state = begin(replace(config, uncertainty_steps=9), out)
    assert state.changes == [{"step": 2, "changed": {"uncertainty_steps": [2, 9]}}]


@pytest.mark.parametrize("card", [None, "{", json.dumps({"sha256": "0" * 64})])
def test_a_stop_between_weights_and_card_is_mended_when_the_training_goes_on(card, stopped):
    config, out = stopped
    path = out / "ch_mwcnn.json"
    whole = path.read_text()
    path.unlink()
    if card is not None:
        path.write_text(card)
        with pytest.raises(CxgiError, match="model card"):
            load_network(out / checking.WEIGHTS)
    train(config, out, report=quiet, stop_at=2)
    assert json.loads(path.read_text()) == json.loads(whole)
    load_network(out / checking.WEIGHTS)


def test_weights_without_their_checkpoint_are_never_overwritten(stopped):
    config, out = stopped
    before = (out / checking.WEIGHTS).read_bytes()
    (out / checking.CHECKPOINT).unlink()
    with pytest.raises(CxgiError, match=r"ch_mwcnn.safetensors is of another .*gone.*bring the .*back, or choose"):
        train(config, out, report=quiet)
    assert (out / checking.WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("stop", [2, 6])
def test_weights_that_are_missing_are_written_again_from_the_checkpoint(stop, finished, stopped_once, tmp_path):
    config, out, _ = finished
    shutil.copytree(out if stop == config.all_steps else stopped_once[1], tmp_path, dirs_exist_ok=True)
    train(config, tmp_path, report=quiet, stop_at=stop)
    checkpoint = state_of(tmp_path)
    (tmp_path / checking.WEIGHTS).unlink()
    told: list[str] = []
    train(config, tmp_path, report=told.append, stop_at=stop)
    assert "ch_mwcnn.safetensors is missing" in told[0]
    assert any(f"is written again, of step {stop}" in text for text in told)
    again = load_network(tmp_path / checking.WEIGHTS)
    assert again.card["step"] == stop
    assert (again.sigma_law is not None) == (stop == config.all_steps)
    for name, value in again.network.state_dict().items():
        torch.testing.assert_close(value, checkpoint[f"average.{name}"].half().float())
    train(config, tmp_path, report=quiet)
    assert load_network(tmp_path / checking.WEIGHTS).card["step"] == config.all_steps


def test_weights_that_cannot_be_read_are_said_before_anything_is_drawn(stopped):
    config, out = stopped
    (out / checking.WEIGHTS).write_bytes(b"broken")
    told: list[str] = []
    with pytest.raises(CxgiError, match=r"cannot be read .*or take the file away"):
        train(config, out, report=told.append)
    assert told == []


def test_files_may_be_read_by_those_that_the_umask_lets(finished, drawn_curves, tmp_path):
    config, _, _ = finished
    before = os.umask(0o027)
    try:
        train(config, tmp_path, report=quiet, stop_at=2)
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {"0o640"}, modes


def test_other_images_of_ones_own_are_noted(finished, tmp_path):
    config, _, _ = finished
    folders = [tmp_path / name for name in ("one", "moved", "other")]
    for folder, rows in zip(folders, (20, 20, 30), strict=True):
        folder.mkdir()
        np.save(folder / "a.npy", np.indices((rows, 20)).sum(axis=0).astype(float))
    configs = [replace(config, objects=replace(config.objects, folder=str(folder))) for folder in folders]
    train(configs[0], tmp_path / "out", report=quiet, stop_at=2)
    assert begin(configs[1], tmp_path / "out").changes == []
    told: list[str] = []
    begin(configs[2], tmp_path / "out", told.append)
    assert "objects.folder the user's own images -> other images" in told[0]
    assert str(tmp_path) not in told[0]


def test_another_network_is_refused(stopped):
    config, out = stopped
    with pytest.raises(CxgiError, match=r"another network \(network.passes 1 -> 2\): train in another folder"):
        train(replace(config, network=replace(NETWORK, passes=2)), out, report=quiet)


def test_other_steps_are_refused_once_the_pictures_are_done(stopped):
    config, out = stopped
    train(replace(config, steps=8), out, report=quiet, stop_at=4)  # further on: the images go on
    with pytest.raises(CxgiError, match="is at step 4, and steps is now 3, was 8"):
        train(replace(config, steps=3), out, report=quiet)


@pytest.mark.parametrize("damage", ["cut", "empty", "no tensors", "other shape", "no words", "words"])
def test_a_damaged_checkpoint_is_one_clear_error(damage, stopped):
    config, out = stopped
    path = out / checking.CHECKPOINT
    words = {"step": "2", "best": "1.0", "config": json.dumps(config.to_dict())}
    tensors = load_file(path)
    if damage in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 3000 if damage == "cut" else 0])
    elif damage == "no tensors":
        save_file({}, path, words)
    elif damage == "other shape":
        save_file({**tensors, "network.first.power.law": torch.zeros(4)}, path, words)
    else:
        save_file(tensors, path, {} if damage == "no words" else {**words, "config": "[1"})
    with pytest.raises(CxgiError, match=r"checkpoint .*checkpoint.safetensors cannot be read .*: bring back"):
        train(config, out, report=quiet)


def test_a_checkpoint_holds_tensors_alone(stopped):
    """Safetensors have no place for code; the words beside them are JSON and numbers."""
    config, out = stopped
    header = (out / checking.CHECKPOINT).read_bytes()
    length = int.from_bytes(header[:8], "little")
    metadata = json.loads(header[8 : 8 + length])["__metadata__"]
    assert json.loads(metadata["config"]) == config.to_dict()
    assert int(metadata["step"]) == 2


def test_given_weights_are_the_start(finished, tmp_path):
    config, out, _ = finished
    state = begin(replace(config, start=str(out / checking.WEIGHTS)), tmp_path)
    given = load_network(out / checking.WEIGHTS).network.state_dict()
    assert all(torch.equal(value, given[name]) for name, value in state.network.state_dict().items())
    with pytest.raises(CxgiError, match=r"start .* is of another network"):
        begin(replace(config, start=str(out / checking.WEIGHTS), network=replace(NETWORK, passes=2)), tmp_path)
    told: list[str] = []
    with pytest.raises(CxgiError, match="weights nowhere cannot be read"):
        train(replace(config, start="nowhere", cache=str(tmp_path / "new")), tmp_path / "out", report=told.append)
    assert told == []  # nothing was drawn
