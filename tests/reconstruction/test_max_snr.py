"""The network is never told a sigma below those of its training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cxgi_bluesky.analysis.metrics import compare
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.reconstruction.api import reconstruct, reconstruct_many
from cxgi_bluesky.reconstruction.ch_mwcnn import predict
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import input_of, with_min_variance
from cxgi_bluesky.reconstruction.ch_mwcnn.training_domain import find_max_snr_db
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
from tests.conftest import signed_measurement

GOLD = block_mean(render_object("gold", 64, 4), 4).astype(np.float64)
FEW = PatternSet.from_fraction(64, 0.1875)


def sigma_at(snr_db):
    """Of the coefficients of the gold object, k = 0 left out of their rms."""
    exact = coefficients(GOLD, FEW.pattern_index)[1:]
    return math.sqrt((exact**2).sum() / FEW.count) / 10 ** (snr_db / 20)


@pytest.fixture
def unlimited(monkeypatch):
    return lambda: monkeypatch.setattr(predict, "find_max_snr_db", lambda card: math.inf)


def test_without_noise_it_is_told_the_least_sigma_of_its_training():
    exact = signed_measurement(GOLD, FEW)
    limited = with_min_variance(input_of(exact), 45.0)
    told = input_of(replace(exact, sigma=np.where(FEW.pattern_index == 0, 0.0, sigma_at(45.0))))
    torch.testing.assert_close(limited.variance, told.variance)


def test_without_noise_the_image_is_the_better_for_it(unlimited):
    exact = signed_measurement(GOLD, FEW, sigma=sigma_at(90.0))
    limited = reconstruct(exact, method="ch-mwcnn")
    (of_many,) = reconstruct_many([exact], method="ch-mwcnn")
    unlimited()
    as_measured = reconstruct(exact, method="ch-mwcnn")
    assert compare(limited.image, GOLD)["psnr_db"] > compare(as_measured.image, GOLD)["psnr_db"] + 0.5
    assert limited.parameters["max_snr_db"] == find_max_snr_db(load_network().card)
    assert of_many.parameters["max_snr_db"] == limited.parameters["max_snr_db"]
    assert "max_snr_db" not in as_measured.parameters


def test_a_noisy_measurement_is_left_alone_to_the_bit(unlimited):
    noisy = signed_measurement(GOLD, FEW, sigma=sigma_at(20.0))
    limited = reconstruct(noisy, method="ch-mwcnn")
    unlimited()
    np.testing.assert_array_equal(limited.image, reconstruct(noisy, method="ch-mwcnn").image)
    assert "max_snr_db" not in limited.parameters


def test_only_coefficients_below_it_are_raised_and_never_k_0():
    sigma = np.full(FEW.count, sigma_at(20.0))
    sigma[[0, 5]] = sigma_at(90.0)
    given = input_of(replace(signed_measurement(GOLD, FEW), sigma=sigma))
    raised = (with_min_variance(given, 45.0).variance != given.variance).flatten()
    assert raised.nonzero().flatten().tolist() == [FEW.pattern_index[5]]


@pytest.mark.parametrize("training", [None, {}, {"noise": {"snr_db": None}}, {"noise": {"snr_db": [0, "high"]}}])
def test_a_card_that_does_not_say_it_sets_no_limit(training):
    assert find_max_snr_db({} if training is None else {"training": training}) == math.inf


def test_the_shipped_card_says_it():
    assert math.isfinite(find_max_snr_db(load_network().card))
