"""Properties of the network's layers, whatever its weights."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import sequency
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import NetworkInput, join, normalize
from cxgi_bluesky.reconstruction.ch_mwcnn.layers import (
    OCTAVES,
    DataConsistency,
    MaskErrorFit,
    PowerLaw,
    orthonormal_hadamard,
    sampling_summary,
    tables,
)
from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig, noise_level, position_maps

TINY = {"widths": (4, 4, 4), "passes": 2, "sigma_widths": (4, 4, 4)}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def given(size: int = 32, batch: int = 2, *, share: float = 0.3, variance: float = 0.01) -> NetworkInput:
    """A noise-free measurement of random images, k = 0 and a random share of the others measured."""
    images = torch.rand(batch, 1, size, size, generator=generator())
    measured = (torch.rand(batch, 1, size, size, generator=generator()) < share).float()
    measured[..., 0, 0] = 1
    return normalize(orthonormal_hadamard(images), measured, torch.full_like(images, variance))


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
@pytest.mark.parametrize("size", [32, 64])
def test_runs_with_any_orthogonal_wavelet(wavelet, size):
    network = CHMWCNN(NetworkConfig(wavelet=wavelet, **TINY))
    image, log_sigma = network(given(size), with_sigma=True)
    assert image.shape == log_sigma.shape == (2, 1, size, size)
    assert torch.isfinite(image).all()
    assert torch.isfinite(log_sigma).all()


def test_a_wavelet_that_cannot_be_inverted_is_refused():
    with pytest.raises(CxgiError, match="not orthogonal"):
        CHMWCNN(NetworkConfig(wavelet="bior2.2", **TINY))(given())


def test_the_picture_does_not_bend_to_its_own_doubt():
    network = CHMWCNN(NetworkConfig(**TINY))
    _, log_sigma = network(given(), with_sigma=True)
    log_sigma.sum().backward()
    assert all(p.grad is None for name, p in network.named_parameters() if not name.startswith("doubt"))
    assert any(p.grad is not None for p in network.doubt.parameters())


def test_begins_with_the_picture_of_total_variation_pulled_to_the_data():
    network, measured = CHMWCNN(NetworkConfig(**TINY)), given()
    for unet in network.passes:
        unet.up1[-1].weight.data.zero_()  # nothing is added
    initial = torch.randn(2, 1, 32, 32, generator=generator())
    image, _ = network(measured, initial)
    expected = initial
    for consistency in network.consistency:
        expected = expected + consistency(expected, measured)
    torch.testing.assert_close(image, expected)


def test_an_image_of_a_batch_does_not_depend_on_the_others():
    network = CHMWCNN(NetworkConfig(**TINY))
    both = given(batch=2)
    with torch.inference_mode():
        together, _ = network(both)
        alone, _ = network(both.part(slice(1, 2)))
        again, _ = network(join([both.part(slice(0, 1)), both.part(slice(1, 2))]))
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, again, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_half_precision_is_nearly_the_same(wavelet, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.reconstruction.ch_mwcnn.network.processor_has_bfloat16", lambda: True)
    network = CHMWCNN(NetworkConfig(wavelet=wavelet, **TINY)).eval()
    running = deepcopy(network).for_running()
    assert next(running.passes[0].down1.parameters()).dtype == torch.bfloat16
    with torch.inference_mode():
        (image, sigma), (other, other_sigma) = (one(given(), with_sigma=True) for one in (network, running))
    torch.testing.assert_close(image, other, atol=0.02, rtol=0)
    torch.testing.assert_close(sigma, other_sigma, atol=0.05, rtol=0)


def test_data_consistency_with_exact_data_gives_what_was_measured_and_leaves_the_rest():
    exact = given(variance=0.0)
    image = torch.randn(2, 1, 32, 32, generator=generator())
    pulled = orthonormal_hadamard(image + DataConsistency()(image, exact))
    before = orthonormal_hadamard(image)
    m = exact.measured.bool()
    torch.testing.assert_close(pulled[m], exact.coefficients[m], atol=1e-4, rtol=0)
    torch.testing.assert_close(pulled[~m], before[~m], atol=1e-4, rtol=0)


def test_data_consistency_trusts_noisy_data_less():
    image = torch.zeros(2, 1, 32, 32)
    with torch.inference_mode():
        pulls = [float(DataConsistency()(image, given(variance=v)).square().mean()) for v in (0.0, 0.1, 1.0, 100.0)]
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[-1] < 0.01 * pulls[0]


@pytest.mark.parametrize("doubted", [0.0, 0.5, 1.0])
def test_common_errors_of_masks_are_told_from_the_residuals(doubted):
    g = replace(given(share=0.5, variance=1e-9), mask_uncertainty=torch.full((2,), doubted))
    others = g.measured.clone()
    others[..., 0, 0] = 0
    image = torch.randn(2, 1, 32, 32, generator=generator())
    error = others * (0.3 - 0.8 * tables(32).edges)
    found = MaskErrorFit()(error, image, g.measured, g)
    torch.testing.assert_close(found, error * (doubted > 0), atol=0.02, rtol=0)


def test_an_edge_lets_through_what_lies_behind_it():
    """Over-etching by d moves each edge, so that the excess is d times what the object passes along the edges."""
    size, d = 32, 1e-3
    image = torch.zeros(1, 1, size, size)
    image[..., 8:24, :] = 1  # a horizontal band
    matrix = (tables(size).hadamard * size**0.5).round()
    steps = (matrix[:, 1:] != matrix[:, :-1]).float()
    band = image[0, 0]
    down = steps @ ((band[1:] + band[:-1]) / 2).sum(dim=1)  # along horizontal edges, for each row pattern
    across = steps @ ((band[:, 1:] + band[:, :-1]) / 2).sum(dim=0)
    excess = d * (down[:, None] + across[None, :])[None, None]
    g = given(size, batch=1, share=1.0, variance=1e-8)
    g = replace(g, mask_uncertainty=torch.ones(1))
    excess[..., 0, 0] = 0
    with torch.inference_mode():
        found = MaskErrorFit()(excess, image - image.mean(), g.measured, g)
    assert float((found - excess).square().mean() / excess.square().mean()) < 1e-3


def test_powers_follow_the_size():
    law = PowerLaw((1.0, 1.5, 0.5))
    small, large = law(32), law(64)
    s32, s64 = (torch.as_tensor(sequency(size)).argsort() for size in (32, 64))
    same = large[s64][:, s64][:32, :32] / small[s32][:, s32]
    torch.testing.assert_close(same, torch.full((32, 32), 4.0))


def test_the_summary_of_sampling_tells_octaves():
    size = 64
    whole = sampling_summary(torch.ones(1, 1, size, size))
    torch.testing.assert_close(whole, torch.ones(1, OCTAVES**2))
    s = torch.as_tensor(sequency(size))
    coarse = ((s[:, None] < size // 2) & (s[None, :] < size // 2)).float()[None, None]
    summary = sampling_summary(coarse).reshape(OCTAVES, OCTAVES)
    torch.testing.assert_close(summary[:-1, :-1], torch.ones(OCTAVES - 1, OCTAVES - 1))
    assert float(summary[-1].sum() + summary[:, -1].sum()) == 0


def test_places_are_0_at_no_border_and_lie_within_limits():
    maps = position_maps(32)
    assert maps.shape == (1, 4, 32, 32)
    assert float(maps.abs().max()) <= 1
    torch.testing.assert_close(maps, maps.flip(2).flip(3))


def test_noise_level_is_in_deviations_of_the_image():
    g = given(variance=0.01)
    expected = 0.1 / g.deviation[:, 0, 0, 0]
    torch.testing.assert_close(noise_level(g), expected)


DEEPER = {**TINY, "repeats": 2, "blocks": 1, "memory": True}


def test_passes_may_be_repeated_be_deeper_and_remember():
    torch.manual_seed(0)
    network = CHMWCNN(NetworkConfig(**DEEPER))
    assert NetworkConfig.from_dict(network.config.to_dict()) == network.config
    assert len(network.consistency) == 2 * 2 + 1
    image, _ = network(given())
    image.sum().backward()
    assert all(p.grad is not None for name, p in network.passes.named_parameters())
    with torch.no_grad():
        first = network.passes[0].down1[0].weight
        first[:, -4:] += 1  # what is remembered, which the first pass has not
        changed, _ = network(given())
        assert not torch.equal(changed, image)
        running, _ = deepcopy(network).for_running()(given())
    torch.testing.assert_close(running, changed, atol=0.05, rtol=0)


def test_a_configuration_from_before_they_could_be_is_read():
    known = {"wavelet": "haar", "widths": [4, 4, 4], "passes": 2, "sigma_widths": [4, 4, 4]}
    assert NetworkConfig.from_dict(known) == NetworkConfig(**TINY)
    with pytest.raises(CxgiError, match="-1 is no whole number from 0"):
        NetworkConfig.from_dict({**known, "blocks": -1})
