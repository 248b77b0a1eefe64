from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import SCHEMA, load_network
from cxgi_bluesky.training import validation as checking
from cxgi_bluesky.training.boards import BoardRanges
from cxgi_bluesky.training.checkpoint import TrainingState
from cxgi_bluesky.training.config import BoardConfig, ObjectConfig, TrainingConfig
from cxgi_bluesky.training.data import TrainingData
from cxgi_bluesky.training.distributed import Processes
from cxgi_bluesky.training.loop import begin, find_device, learning_rate, one_step, train
from cxgi_bluesky.training.losses import uncertainty_losses
from cxgi_bluesky.training.validation import Scores, add_line, curves, make_checks, read_history, score_case
from tests.training.tiny import (
    NETWORK,
    NO_BOARDS,
    assert_same_state,
    assert_same_weights,
    begun_with,
    quiet,
    state_of,
    tiny,
)

pytestmark = pytest.mark.usefixtures("quick_curves")

ONE_BOARD = BoardConfig(count={16: 1}, patterns={16: 40}, none=0.5, reference=0.4, ranges=BoardRanges(), seed=300)


def test_a_training_writes_all_its_files_and_says_so(finished):
    config, out, told = finished
    assert {path.name for path in out.iterdir()} == {
        "ch_mwcnn.safetensors",
        "ch_mwcnn.json",
        "checkpoint.safetensors",
        "history.jsonl",
        "curves.png",
    }
    history = read_history(out / checking.HISTORY)
    assert [line["step"] for line in history] == [2, 4, 6]
    assert set(history[0]["psnr_db"]) == {"16, 18.75 %", "32, 18.75 %", "32, 6.25 %"}
    assert "covered" in history[-1]
    assert "covered" not in history[1]
    words = "\n".join(told)
    for expected in ("draws 8 objects", "8 of 32 x 32", "begins, to step 6", "step 4 of 6", "PSNR", "left", str(out)):
        assert expected in words
    train(config, out, report=told.append)
    assert told[-1].startswith("nothing to do: step 6 of 6 is done")


def test_the_same_configuration_gives_the_same_weights(stopped_once, tmp_path):
    config, out = stopped_once
    train(config, tmp_path, report=quiet, stop_at=2)
    assert_same_state(out, tmp_path)
    assert_same_weights(out, tmp_path)
    train(replace(config, seed=8), tmp_path / "other", report=quiet, stop_at=2)
    one, other = state_of(out), state_of(tmp_path / "other")
    assert not torch.equal(one["network.first.power.law"], other["network.first.power.law"])


@pytest.mark.parametrize("stops", [(2, 4)])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(stops, finished, tmp_path):
    config, out, _ = finished
    for stop in (*stops, 0):
        train(config, tmp_path, report=quiet, stop_at=stop)
    assert_same_state(out, tmp_path)
    assert_same_weights(out, tmp_path)
    ours, theirs = ([{**line, "seconds": 0} for line in read_history(f / checking.HISTORY)] for f in (tmp_path, out))
    assert ours == theirs


def test_the_card_has_the_digest_of_the_weights(finished):
    config, out, _ = finished
    card = json.loads((out / "ch_mwcnn.json").read_text())
    assert card["sha256"] == hashlib.sha256((out / checking.WEIGHTS).read_bytes()).hexdigest()
    assert card["schema"] == SCHEMA
    assert card["training"] == config.to_dict()
    assert card["step"] == 6
    assert card["has_sigma"] is True
    assert card["known"]["sizes"] == [16, 32]
    assert card["known"]["etched_masks"] is False
    last = read_history(out / checking.HISTORY)[-1]
    assert card["check"]["psnr_db"] == last["psnr_db"]
    assert card["check"]["covered"] == last["covered"]
    inside = load_network(out / checking.WEIGHTS)
    assert inside.sha256 == card["sha256"]
    assert inside.card == {name: value for name, value in card.items() if name not in ("sha256", "weights")}


def test_the_weights_reconstruct(finished):
    _, out, _ = finished
    image = np.outer(np.hanning(16), np.hanning(16))
    index = PatternSet(16, 100).pattern_index
    values = walsh_hadamard_2d(image).ravel()[index]
    measurement = Measurement.from_buckets(16, index, values, coding="signed", sigma=np.full(100, 0.01))
    made = reconstruct(measurement, method="ch-mwcnn", weights=out / checking.WEIGHTS)
    assert np.corrcoef(made.image.ravel(), image.ravel())[0, 1] > 0.9


def test_training_lowers_the_loss(tmp_path):
    wrong = CHMWCNN(NETWORK).eval()
    wrong.passes[0].up1[-1].bias.data.fill_(0.2)  # untrained it leaves the image that it begins with as it is
    begun = begun_with(wrong, tmp_path)
    config = tiny(
        tmp_path, steps=20, uncertainty_steps=0, batch=4, sizes={32: 1.0}, check_every=10, warm_up=3, start=begun
    )
    train(config, tmp_path, report=quiet)
    first, second = (line["psnr_db"] for line in read_history(tmp_path / checking.HISTORY))
    for name, batches in make_checks(config).items():
        assert second[name] > score_case(wrong, batches, with_sigma=False).psnr_db + 0.1
    assert sum(second.values()) > sum(first.values()) - 0.5


def test_doubt_is_trained_to_cover_and_leaves_the_pictures(finished, tmp_path):
    config, _, _ = finished
    wrong = CHMWCNN(NETWORK)
    wrong.doubt.up1[-1].bias.data[0] = 6.0
    config = replace(config, steps=1, uncertainty_steps=30, batch=2, check_every=30, warm_up=3, learning_rate=0.06)
    config = replace(config, start=begun_with(wrong, tmp_path))
    train(config, tmp_path, report=quiet, stop_at=1)
    before = load_network(tmp_path / checking.WEIGHTS).network
    checks = make_checks(config)
    wrong = [score_case(before, batches, with_sigma=True).covered for batches in checks.values()]
    train(config, tmp_path, report=quiet)
    line = read_history(tmp_path / checking.HISTORY)[-1]
    assert np.mean([abs(x - 0.68) for x in line["covered"].values()]) < np.mean([abs(x - 0.68) for x in wrong])
    after = load_network(tmp_path / checking.WEIGHTS).network
    for name, value in before.state_dict().items():
        if not name.startswith("doubt."):
            assert torch.equal(value, after.state_dict()[name]), name


def test_the_pinball_loss_is_least_where_sigma_covers_68_percent(finished):
    config, out, _ = finished
    network, batch = load_network(out / checking.WEIGHTS).network, make_checks(config)["32, 18.75 %"][0]
    shares = []
    for parameter in network.doubt.parameters():
        parameter.data.zero_()  # the same sigma everywhere, set by the last bias
    bias = network.doubt.up1[-1].bias
    for level in np.linspace(-4, 4, 21):
        bias.data[0] = level
        covered = score_case(network, [batch], with_sigma=True).covered
        shares.append((float(uncertainty_losses(network, batch).mean().detach()), covered))
    assert min(shares)[1] == pytest.approx(0.68, abs=0.1)


def test_the_best_weights_are_kept_and_the_doubt_begins_with_them(finished, tmp_path, monkeypatch):
    config, _, _ = finished
    scores = {2: 20.0, 4: 10.0}  # the first check is the best one
    steps = iter([2, 2, 2, 4, 4, 4, 6, 6, 6])
    monkeypatch.setattr(checking, "score_case", lambda *_, **__: Scores(scores.get(next(steps), 5.0), 0.7, 0.5))
    train(config, tmp_path, report=quiet, stop_at=4)
    kept, card = load_network(tmp_path / checking.WEIGHTS), json.loads((tmp_path / "ch_mwcnn.json").read_text())
    assert card["step"] == kept.card["step"] == 2
    train(config, tmp_path, report=quiet)
    last = load_network(tmp_path / checking.WEIGHTS)
    assert last.card["step"] == 6
    for name, value in kept.network.state_dict().items():
        if not name.startswith("doubt."):
            assert torch.equal(value, last.network.state_dict()[name]), name


def test_curves_show_the_history(finished):
    config, out, _ = finished
    with Image.open(out / checking.CURVES) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    lines = read_history(out / checking.HISTORY)
    of_psnr, of_loss, of_share = curves(lines, config.steps).axes
    for axes, key, number in ((of_psnr, "psnr_db", 3), (of_share, "covered", 1)):
        drawn = {line.get_label(): line for line in axes.get_lines()}
        assert set(drawn) == set(lines[-1][key])
        for name, curve in drawn.items():
            told = [line for line in lines if key in line]
            assert list(curve.get_xdata()) == [line["step"] for line in told]
            assert list(curve.get_ydata()) == [line[key][name] for line in told]
            assert len(told) == number
    (loss,) = of_loss.get_lines()
    assert list(loss.get_ydata()) == [line["loss"] for line in lines[:2]]  # that of the images
    assert "not trained yet" in curves(lines[:1], config.steps).axes[2].texts[0].get_text()


def test_history_that_a_stop_has_overtaken_is_written_anew(tmp_path):
    path = tmp_path / "h.jsonl"
    for step in (1, 2, 3):
        add_line(path, {"step": step, "loss": 0.0})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in add_line(path, {"step": 2, "loss": 1.0})] == [1, 2]
    assert read_history(path)[-1]["loss"] == 1.0
    assert read_history(tmp_path / "none") == []


def test_a_bad_batch_is_left_out_and_many_end_the_training(finished, tmp_path, monkeypatch):
    config, _, _ = finished
    state = begin(config, tmp_path)
    batch = make_checks(config)["32, 18.75 %"][0]
    broken = replace(batch, truth=torch.full_like(batch.truth, math.nan))
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    assert math.isnan(one_step(state, broken, config, Processes()))
    assert state.step == 1
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert math.isfinite(one_step(state, batch, config, Processes()))
    monkeypatch.setattr("cxgi_bluesky.training.loop._MAX_SKIPPED", 1)
    monkeypatch.setattr("cxgi_bluesky.training.data.simulate", lambda *_, **__: broken)
    with pytest.raises(CxgiError, match="step 1: the last 1 losses are not finite: lower learning_rate"):
        train(config, tmp_path, report=quiet)


def test_the_average_moves_slowly_and_at_once_in_the_beginning():
    network = CHMWCNN(NETWORK)
    state = TrainingState(network, torch.optim.AdamW(network.parameters()))
    parameter = network.first.power.law
    state.update_average(0.9, 0)
    parameter.data += 1
    start = state.average["first.power.law"].clone()
    state.update_average(0.9, 10_000)
    torch.testing.assert_close(state.average["first.power.law"] - start, torch.full((3,), 0.1))


def test_what_the_uncertainty_was_before_its_training_is_soon_forgotten(tmp_path):
    config = tiny(tmp_path, steps=5000, uncertainty_steps=10, average=0.999)
    state, name = begin(config, tmp_path), "doubt.up1.2.weight"
    state.update_average(config.average, 0)
    before = state.average[name].clone()
    state.step = config.steps
    one_step(state, TrainingData.from_config(config).batch(0), config, Processes())
    trained, kept = state.network.state_dict()[name], state.average[name]
    assert (kept - trained).norm() < 0.3 * (trained - before).norm()


def test_learning_rate_warms_up_and_decays_in_both_parts():
    config = TrainingConfig(steps=1000, uncertainty_steps=500, warm_up=100)
    rates = [learning_rate(step, config) for step in range(1500)]
    for part in (rates[:1000], rates[1000:]):
        assert np.argmax(part) in (99, 100)
        assert part[0] < 0.02 * config.learning_rate
        assert part[-1] < 2 * config.last_learning_rate


def test_checks_are_of_boards_and_objects_that_training_never_meets(tmp_path):
    config = tiny(tmp_path, boards=ONE_BOARD, sizes={16: 0.7, 32: 0.3})
    told: list[str] = []
    checks = make_checks(config, told.append)
    assert set(checks) == {
        "16, 18.75 %",
        "32, 18.75 %",
        "16, 6.25 %",
        "etched, nothing known",
        "etched, reference scan",
    }
    data = TrainingData.from_config(config, told.append)
    assert sum(text.startswith("board ") for text in told) == 3  # two for the checks, one to train on
    objects = {pool[number].numpy().tobytes() for pool in data.pools.values() for number in range(len(pool))}
    for batch in checks["32, 18.75 %"]:
        for image in batch.truth[:, 0].numpy():
            assert np.round(image * 255).astype(np.uint8).tobytes() not in objects
    kinds = {float(data.batch(step).given.mask_uncertainty.mean()) for step in range(30)}
    assert {0.5, 1.0} < kinds


def test_sizes_without_boards_have_perfect_masks(tmp_path):
    config = tiny(tmp_path, boards=NO_BOARDS, sizes={32: 1.0}, objects=ObjectConfig(count={32: 3}))
    assert not [name for name in make_checks(config) if "etched" in name]


def test_a_folder_that_cannot_be_made_is_named(finished, tmp_path):
    config, _, _ = finished
    (tmp_path / "file").write_text("")
    with pytest.raises(CxgiError, match=r"folder .*cannot be made .*another --out"):
        train(config, tmp_path / "file" / "out", report=quiet)


def test_the_number_of_threads_is_as_before_afterwards(tmp_path):
    before, meanwhile = torch.get_num_threads(), []

    def report_and_end(text: str) -> None:
        meanwhile.append(torch.get_num_threads())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path), tmp_path, threads=before + 1, report=report_and_end)
    assert meanwhile == [before + 1]
    assert torch.get_num_threads() == before
    with pytest.raises(CxgiError, match="threads 0"):
        train(tiny(tmp_path), tmp_path, threads=0)


def test_without_a_graphics_card_the_processor_is_taken_or_the_wish_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto").type == find_device("cpu").type == "cpu"
    with pytest.raises(CxgiError, match="torch finds no graphics card"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto").type == find_device("cuda").type == "cuda"
    assert find_device("auto", processes=2).type == "cpu"
    with pytest.raises(CxgiError, match="2 processes cannot share"):
        find_device("cuda", processes=2)
