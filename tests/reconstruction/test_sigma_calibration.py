"""The scale of an image's sigma, asked of patterns that are held back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import initial_images, input_of
from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig
from cxgi_bluesky.reconstruction.ch_mwcnn.sigma_calibration import (
    SigmaLaw,
    _draw_masks,
    _without,
    evidence,
    log_sigma_to_scale,
)
from cxgi_bluesky.training.losses import fit_law
from cxgi_bluesky.training.measurements import Batch
from tests.conftest import signed_measurement, smooth_image

FEW = PatternSet.from_fraction(32, 0.2)
TWICE = SigmaLaw(np.log(2), 0, 0, 0, 0, -1, 1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CHMWCNN(NetworkConfig(widths=(4, 4, 4), passes=1, sigma_widths=(4, 4, 4))).eval()


def looked_at(network, given):
    """All that a law is asked with."""
    initial = initial_images(given)
    with torch.inference_mode():
        image, log_sigma = network(given, initial, with_sigma=True)
    return network, given, initial, image, log_sigma


def test_a_law_scales_the_whole_image(network):
    asked = looked_at(network, input_of(signed_measurement(smooth_image(32), FEW, sigma=1.0)))
    with torch.inference_mode():
        scaled = log_sigma_to_scale(TWICE, *asked)
    torch.testing.assert_close(torch.exp(scaled), 2 * torch.exp(asked[-1]))
    assert log_sigma_to_scale(None, *asked) is asked[-1]


def test_too_few_patterns_are_not_asked(network):
    asked = looked_at(network, input_of(signed_measurement(smooth_image(32), PatternSet(32, 60), sigma=1.0)))
    with torch.inference_mode():
        torch.testing.assert_close(log_sigma_to_scale(TWICE, *asked), asked[-1])


def test_factors_stay_in_the_range_of_the_fit():
    law = SigmaLaw(0.0, 1.0, 0.0, 0.0, 0.0, -0.5, 0.7)
    found = torch.tensor([[-9.0, 0, 0, 0], [0.2, 0, 0, 0], [9.0, 0, 0, 0]])
    torch.testing.assert_close(law.log_factors(found), torch.tensor([-0.5, 0.2, 0.7]))


def test_the_unit_of_the_buckets_does_not_matter(network):
    one = signed_measurement(smooth_image(32), FEW, sigma=1.0)
    thousand = replace(one, coefficient=1000 * one.coefficient, sigma=1000 * one.sigma)
    with torch.inference_mode():
        first, second = (evidence(*looked_at(network, input_of(m))) for m in (one, thousand))
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)


def test_a_finer_object_is_predicted_worse(network):
    smooth = smooth_image(32)
    fine = smooth + 0.5 * np.random.default_rng(0).random((32, 32))
    with torch.inference_mode():
        easy, hard = (
            evidence(*looked_at(network, input_of(signed_measurement(o, FEW, sigma=0.1)))) for o in (smooth, fine)
        )
    assert hard[0, 0] > easy[0, 0]


def test_an_eighth_is_held_back_and_never_the_open_pattern():
    given = input_of(signed_measurement(smooth_image(32), FEW, sigma=1.0))
    held = _draw_masks(given.measured[0])
    assert (held.sum(dim=(1, 2, 3)) == (len(FEW.pattern_index) - 1) // 8).all()
    assert (held <= given.measured).all()
    assert held[..., 0, 0].sum() == 0
    assert not torch.equal(held[0], held[1])


def test_without_some_patterns_it_is_the_measurement_of_the_others():
    whole = signed_measurement(smooth_image(32), FEW, sigma=1.0)
    given = input_of(whole)
    held = _draw_masks(given.measured[0])[0]
    part = _without(given, held)
    expected = input_of(whole.take(np.flatnonzero(held.ravel().numpy()[whole.pattern_index] == 0)))
    torch.testing.assert_close(part.coefficients, expected.coefficients, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(part.variance * part.measured, expected.variance, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(part.zero_level, expected.zero_level, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(part.deviation * given.deviation, expected.deviation)


@pytest.mark.parametrize("words", [None, {"constant": 1.0}, {**TWICE.to_dict(), "noise": "much"}, "a law"])
def test_a_card_whose_law_is_none_is_refused(words):
    with pytest.raises(CxgiError, match="is no law of sigma"):
        SigmaLaw.from_dict(words)


def test_a_law_with_numbers_that_are_not_finite_is_refused():
    with pytest.raises(CxgiError, match="not finite"):
        SigmaLaw.from_dict({**TWICE.to_dict(), "least": float("nan")})


def test_the_fitted_law_tells_images_apart_for_which_the_network_says_the_same(network):
    batches, rng = [], np.random.default_rng(1)
    for _ in range(30):
        truth = smooth_image(32) + rng.uniform(0, 0.5) * rng.random((32, 32))
        given = input_of(signed_measurement(truth, FEW, sigma=0.5, seed=int(rng.integers(1000))))
        batches.append(Batch(torch.from_numpy(truth).float()[None, None], given))
    with torch.inference_mode():
        before = [off(None, network, batch) for batch in batches[20:]]
        law = fit_law(network, batches[:20])
        after = [off(law, network, batch) for batch in batches[20:]]
    assert np.mean(after) < 0.6 * np.mean(before)
    assert fit_law(network, batches[:19]) is None


def off(law, network, batch) -> float:
    """How far the share of covered pixels is from 68 %."""
    asked = looked_at(network, batch.given)
    sigma = torch.exp(log_sigma_to_scale(law, *asked)) * batch.given.deviation
    error = asked[3] * batch.given.deviation + batch.given.mean - batch.truth
    return abs(float((error.abs() < sigma).float().mean()) - 0.68)
