from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch

from cxgi_bluesky.patterns import ranking
from cxgi_bluesky.reconstruction.ch_mwcnn import load_network
from cxgi_bluesky.reconstruction.network import NetworkConfig, orthonormal_hadamard
from cxgi_bluesky.reconstruction.training import TrainingConfig, learning_rate, measure, random_selection, train

QUICK = TrainingConfig(steps=6, batch=4, objects=12, validation_objects=6, warm_up=2)
TINY = NetworkConfig(widths=(4, 4, 4), passes=1)


def test_training_writes_weights_and_goes_on_after_a_stop(tmp_path):
    lines: list[str] = []
    path = train(tmp_path, QUICK, TINY, report=lines.append)
    loaded = load_network(path)
    assert loaded.card["step"] == 6
    assert loaded.card["sizes"] == [32, 64]
    assert json.loads(lines[-1])["validation_psnr_db"] > 5
    lines.clear()
    train(tmp_path, replace(QUICK, steps=8), TINY, report=lines.append)
    assert [json.loads(line)["step"] for line in lines] == [8]
    assert load_network(path).card["step"] == 8


def test_training_lowers_the_loss(tmp_path):
    quick = {"learning_rate": 1e-2, "average": 0.5, "sizes": (32,), "size_weights": (1.0,)}
    config = TrainingConfig(steps=60, batch=8, objects=16, validation_objects=6, warm_up=5, **quick)
    lines: list[str] = []
    train(tmp_path / "long", config, TINY, report=lines.append)
    long = json.loads(lines[-1])["validation_psnr_db"]
    train(tmp_path / "short", replace(config, steps=1), TINY, report=lines.append)
    assert long > json.loads(lines[-1])["validation_psnr_db"] + 0.2


def test_selections_have_the_right_count_and_always_the_open_pattern():
    generator = torch.Generator().manual_seed(1)
    fraction = torch.tensor([0.05, 0.1875, 1.0])
    chosen = random_selection(generator, 3, 64, fraction)
    assert chosen.sum(dim=(1, 2, 3)).tolist() == [205, 768, 4096]
    assert chosen[:, 0, 0, 0].tolist() == [1, 1, 1]


def test_selections_without_jitter_include_the_known_orders():
    generator = torch.Generator().manual_seed(0)
    cake = np.zeros(1024)
    cake[ranking("cake-cutting", 32)[:192]] = 1
    seen = random_selection(generator, 64, 32, torch.full((64,), 0.1875)).reshape(64, -1).numpy()
    overlap = (seen * cake).sum(axis=1) / 192
    assert overlap.max() > 0.97
    assert overlap.min() < 0.9


def test_simulated_noise_has_the_level_it_claims():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 1, 64, 64, generator=generator)
    batch = measure(images, TrainingConfig(fraction=(0.5, 0.5), snr_db=(20.0, 20.0)), generator)
    noise = (batch.coefficients - orthonormal_hadamard(images)) * batch.measured
    ratio = noise.square().sum(dim=(1, 2, 3)) / (batch.variance * batch.measured).sum(dim=(1, 2, 3))
    torch.testing.assert_close(ratio, torch.ones(8), atol=0.25, rtol=0)


def test_learning_rate_warms_up_and_decays():
    config = TrainingConfig(steps=1000, warm_up=100)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert np.argmax(rates) in (99, 100)
    assert rates[0] < 0.02 * config.learning_rate
    assert rates[-1] < 2 * config.last_learning_rate
