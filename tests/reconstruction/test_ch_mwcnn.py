from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cxgi_bluesky.analysis.metrics import affine_fit, psnr
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import estimate_uncertainty, reconstruct, reconstruct_many
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import input_of, normalize, prepare
from cxgi_bluesky.reconstruction.ch_mwcnn.layers import orthonormal_hadamard
from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig
from cxgi_bluesky.reconstruction.ch_mwcnn.predict import ch_mwcnn, ch_mwcnn_many, run_network
from cxgi_bluesky.reconstruction.ch_mwcnn.training_domain import find_etched_sizes, list_warnings
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import SCHEMA, SHIPPED_WEIGHTS, load_network, save_weights
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
from tests.conftest import signed_measurement, smooth_image

TINY = NetworkConfig(widths=(4, 4, 4), passes=2, sigma_widths=(4, 4, 4))
KNOWN = {"shortest": 24, "noise_share": 0.6, "zero_level": [-0.5, 40.0], "etched_masks": True}


def cas(size: int) -> np.ndarray:
    return block_mean(render_object("CAS", size, 4), 4)


@pytest.fixture
def tiny_weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, CHMWCNN(TINY), {"known": {**KNOWN, "sizes": [16, 32]}})
    return path


def test_orthonormal_transform_is_its_own_inverse():
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthonormal_hadamard(orthonormal_hadamard(images)), images, atol=1e-5, rtol=0)


def test_normalisation_is_undone_by_mean_and_deviation():
    image = torch.from_numpy(smooth_image(16)).float()[None, None]
    coefficients = orthonormal_hadamard(image)
    ones = torch.ones_like(coefficients)
    n = normalize(coefficients, ones, 0.01 * ones)
    unit = orthonormal_hadamard(n.coefficients)
    assert float(unit.mean()) == pytest.approx(0, abs=1e-5)
    assert float(unit.std(correction=0)) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(unit * n.deviation + n.mean, image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [32, 64])
def test_beats_the_zero_filled_inverse_on_an_object_it_never_saw(size):
    m = signed_measurement(cas(size), PatternSet.from_fraction(size, 0.1875), sigma=0.5)
    network, zero_filled = (reconstruct(m, method=name).image for name in ("ch-mwcnn", "inverse"))
    assert psnr(network, cas(size)) > psnr(zero_filled, cas(size)) + 2


def test_unit_and_offset_of_the_buckets_do_not_matter():
    m = signed_measurement(cas(32), PatternSet.from_fraction(32, 0.3), sigma=0.5)
    many = replace(m, coefficient=m.coefficient * 1e6, sigma=m.sigma * 1e6)
    one, other = (run_network(load_network().network, prepare(x).given)[0] for x in (m, many))
    np.testing.assert_allclose(other / 1e6, one, atol=1e-3)
    assert psnr(affine_fit(one, cas(32)), cas(32)) >= psnr(one, cas(32)) - 1e-9


def test_exact_full_data_is_kept():
    m = signed_measurement(cas(32), sigma=1e-3)
    assert psnr(reconstruct(m, method="ch-mwcnn").image, cas(32)) > 35


def test_same_picture_twice():
    m = signed_measurement(cas(32), PatternSet.from_fraction(32, 0.2), sigma=0.5)
    one, two = (reconstruct(m, method="ch-mwcnn").image for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_says_which_weights_it_used():
    result = reconstruct(signed_measurement(cas(32), sigma=1.0), method="ch-mwcnn")
    assert result.parameters["weights_sha256"] == load_network().sha256
    assert len(load_network().sha256) == 64


def test_shipped_weights_are_small_and_have_a_card():
    assert SHIPPED_WEIGHTS.stat().st_size < 10e6
    card = load_network().card
    assert {32, 64} <= set(card["known"]["sizes"])
    assert (SHIPPED_WEIGHTS.parent / "MODEL_CARD.md").exists()


def test_a_size_the_weights_do_not_know(tiny_weights):
    with pytest.raises(
        CxgiError, match=r"size 16 is unknown to the network's weights \(they know \[32, .*\]\): use method tv"
    ):
        reconstruct(signed_measurement(smooth_image(16)), method="ch-mwcnn")
    reconstruct(signed_measurement(smooth_image(16)), method="ch-mwcnn", weights=tiny_weights)


def test_weights_round_trip(tiny_weights):
    loaded = load_network(tiny_weights)
    torch.manual_seed(0)
    original = CHMWCNN(TINY)
    m = signed_measurement(smooth_image(16), sigma=0.1)
    np.testing.assert_allclose(run_network(loaded.network, input_of(m)), run_network(original, input_of(m)), atol=5e-3)


def test_truncated_weights_are_refused(tiny_weights):
    tiny_weights.write_bytes(tiny_weights.read_bytes()[:-100])
    with pytest.raises(CxgiError, match=r"tiny\.safetensors cannot be read"):
        load_network(tiny_weights)


def test_missing_weights_are_refused(tmp_path):
    with pytest.raises(CxgiError, match="cannot be read"):
        load_network(tmp_path / "none.safetensors")


def test_weights_of_another_schema_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"schema": "other-9"})
    with pytest.raises(CxgiError, match="schema 'other-9'"):
        load_network(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    network = CHMWCNN(TINY)
    network.config = replace(TINY, widths=(8, 8, 8))
    save_weights(path, network, {"known": {**KNOWN, "sizes": [32]}})
    with pytest.raises(CxgiError, match="do not fit"):
        load_network(path)


def test_a_pickle_is_never_opened(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "evil.safetensors")
    with pytest.raises(CxgiError, match="cannot be read"):
        load_network(tmp_path / "evil.safetensors")


def described(path, words, tensors=None):
    """A weights file with these words of itself."""
    tensors = CHMWCNN(TINY).state_dict() if tensors is None else tensors
    save_file({name: t.contiguous() for name, t in tensors.items()}, path, {"cxgi": json.dumps(words)})
    return path


WORDS = {"schema": SCHEMA, "network": TINY.to_dict(), "card": {"known": {**KNOWN, "sizes": [32]}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": None}, "network is None"),
        ({"network": {}}, "network is {}"),
        ({"network": {**TINY.to_dict(), "depth": 3}}, "depth is unknown"),
        ({"network": {**TINY.to_dict(), "widths": [4, 4]}}, "incomplete or wrong"),
        ({"network": {**TINY.to_dict(), "widths": [4, 4, 10**9]}}, "1000000000 is no whole number from 1 to 4096"),
        ({"network": {**TINY.to_dict(), "passes": 2.5}}, "2.5 is no whole number"),
        ({"network": {**TINY.to_dict(), "widths": [4, 4, 4096]}}, "do not fit"),
        ({"card": []}, r"card is \[\]"),
        ({"card": {}}, r"card is \{\}"),
        ({"card": {"step": 4}}, "known is missing"),
        ({"card": {"known": {}}}, "known is {}"),
        ({"card": {"known": KNOWN}}, "no known.sizes"),
        ({"card": {"known": {**KNOWN, "sizes": [32], "zero_level": 3}}}, "known.zero_level of the card is 3"),
        ({"card": {**WORDS["card"], "sigma_law": {"constant": 1}}}, "is no law of sigma"),
    ],
)
def test_a_broken_description_is_one_clear_error(change, message, tmp_path):
    load_network(described(tmp_path / "whole.safetensors", WORDS))
    path = described(tmp_path / "a.safetensors", {**WORDS, **change})
    with pytest.raises(CxgiError, match=f"weights .*a.safetensors .*{message}") as refused:
        load_network(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", ["network", "card"])
def test_a_description_that_lacks_a_part_is_refused(missing, tmp_path):
    path = described(tmp_path / "a.safetensors", {name: part for name, part in WORDS.items() if name != missing})
    with pytest.raises(CxgiError, match=f"{missing} is missing"):
        load_network(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    tensors = {**CHMWCNN(TINY).state_dict(), "first.power.law": torch.tensor([1.0, value, 1.0])}
    path = described(tmp_path / "a.safetensors", WORDS, tensors)
    with pytest.raises(CxgiError, match=r"not finite \(first.power.law\)"):
        load_network(path)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (json.dumps({"sha256": "0" * 64}), "sha256 .*, their model card tiny.json says 000000000000"),
        ("{", "tiny.json of the weights has no readable sha256"),
        ("[]", "tiny.json of the weights has no readable sha256"),
        ("{}", "tiny.json of the weights has no readable sha256"),
    ],
)
def test_weights_that_are_not_those_of_their_card_are_refused(card, message, tiny_weights):
    digest = load_network(tiny_weights).sha256
    beside = tiny_weights.with_suffix(".json")
    beside.write_text(json.dumps({"sha256": digest}))
    assert load_network(tiny_weights).sha256 == digest
    beside.write_text(card)
    with pytest.raises(CxgiError, match=message):
        load_network(tiny_weights)


def test_the_shipped_weights_need_their_card(tmp_path, monkeypatch):
    copied = tmp_path / SHIPPED_WEIGHTS.name
    copied.write_bytes(SHIPPED_WEIGHTS.read_bytes())
    load_network(copied)
    monkeypatch.setattr("cxgi_bluesky.reconstruction.ch_mwcnn.weights.SHIPPED_WEIGHTS", copied)
    with pytest.raises(CxgiError, match="lost their model card"):
        load_network()


# ---------------------------------------------------------------- many at once


def test_many_at_once_are_each_as_alone_and_in_their_order():
    fifth, few = PatternSet.from_fraction(32, 0.2), PatternSet.from_fraction(64, 0.1)
    many = [
        signed_measurement(cas(32), fifth, sigma=0.5),
        signed_measurement(cas(64), few, sigma=0.5),
        signed_measurement(smooth_image(32), fifth, sigma=2.0),
    ]
    together = ch_mwcnn_many(many)
    for measurement, (image, found) in zip(many, together, strict=True):
        alone, told = ch_mwcnn(measurement)
        np.testing.assert_allclose(image, alone, atol=0.02 * np.ptp(alone))
        assert found == told


def test_begins_with_the_picture_it_is_given(tiny_weights):
    truth = cas(32)
    scan = signed_measurement(truth, PatternSet.from_fraction(32, 0.2), sigma=2.0)
    own, given = (ch_mwcnn(scan, weights=tiny_weights, initial=initial)[0] for initial in (None, truth))
    assert psnr(given, truth) > psnr(own, truth) + 6


def test_the_former_name_of_the_initial_image_warns(tiny_weights):
    scan = signed_measurement(cas(32), PatternSet.from_fraction(32, 0.2), sigma=2.0)
    expected, _ = ch_mwcnn(scan, weights=tiny_weights, initial=cas(32))
    with pytest.warns(FutureWarning, match="begin is now initial"):
        image, _ = ch_mwcnn(scan, weights=tiny_weights, begin=cas(32))
    np.testing.assert_array_equal(image, expected)


def test_no_measurement_gives_no_picture():
    assert ch_mwcnn_many([]) == []
    assert reconstruct_many([]) == []


@pytest.mark.parametrize("method", ["ch-mwcnn", "tv"])
def test_many_reconstructions_are_those_of_each_alone(method, tiny_weights):
    options = {"weights": tiny_weights} if method == "ch-mwcnn" else {}
    scans = [signed_measurement(cas(32), PatternSet.from_fraction(32, 0.2), sigma=s) for s in (0.5, 2.0)]
    for scan, together in zip(scans, reconstruct_many(scans, method=method, **options), strict=True):
        alone = reconstruct(scan, method=method, **options)
        np.testing.assert_allclose(together.image, alone.image, atol=0.02 * np.ptp(alone.image))
        assert (together.method, together.exposures, together.parameters) == (method, len(scan), alone.parameters)
        assert together.quality["data_misfit"] == pytest.approx(alone.quality["data_misfit"], rel=0.05)


# ---------------------------------------------------------------- beyond the training


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"patterns": 16}, ("16 patterns, the network was trained on scans from 24 on",)),
        ({"sigma": 2000.0}, ("errors make up",)),
        ({"offset": 100.0}, ("contrast (rms over mean)",)),
        ({"offset": -100.0}, ("is the dark level right?",)),
    ],
)
def test_data_unlike_the_training_are_named(tiny_weights, change, words):
    patterns = PatternSet(32, change.get("patterns", 300))
    m = signed_measurement(cas(32) + change.get("offset", 0.0), patterns, sigma=change.get("sigma", 0.5))
    result = reconstruct(m, method="ch-mwcnn", weights=tiny_weights)
    assert len(result.cautions) == len(words)
    for caution, word in zip(result.cautions, words, strict=True):
        assert word in caution


def test_masks_with_errors_are_named_where_the_training_had_none(tmp_path):
    known = {**KNOWN, "sizes": [32]}
    given = input_of(signed_measurement(cas(32), sigma=0.5))
    assert list_warnings(known, given, model_error=True) == ()
    assert "perfect ones only" in list_warnings({**known, "etched_masks": False}, given, model_error=True)[0]


def test_masks_with_errors_are_named_at_sizes_where_the_training_had_none():
    card = {"training": {"boards": {"count": {"32": 24, "64": 18, "16": 0}}}}
    assert find_etched_sizes(card) == (32, 64)
    assert find_etched_sizes({}) is None
    known = {**KNOWN, "sizes": [32, 64, 128]}
    for size, named in ((32, False), (64, False), (128, True)):
        given = input_of(signed_measurement(cas(size), sigma=0.5))
        found = list_warnings(known, given, model_error=True, etched_sizes=find_etched_sizes(card))
        assert bool(found) == named
        assert list_warnings(known, given, model_error=False, etched_sizes=find_etched_sizes(card)) == ()
        assert list_warnings(known, given, model_error=True) == ()
    assert "trained on perfect ones only at 128 pixels (with errors at 32, 64)" in found[0]


@pytest.mark.parametrize(
    ("noise", "most", "words"),
    [
        (0.0004, 0.0001, "errors make up 0.04% of the coefficients' power, trained up to 0.01%"),
        (0.9504, 0.95, "errors make up 95.04% of the coefficients' power, trained up to 95%"),
        (99.9, 0.95, r"errors are larger than the coefficients \(100 times their power\), trained up to 95%"),
    ],
)
def test_shares_of_noise_are_told_with_digits_that_say_something(noise, most, words, monkeypatch):
    given = input_of(signed_measurement(cas(32), sigma=0.5))
    monkeypatch.setattr("cxgi_bluesky.reconstruction.ch_mwcnn.training_domain.noise_share", lambda given: noise)
    (found,) = list_warnings({**KNOWN, "noise_share": most}, given, model_error=False)
    assert re.search(words, found)


def test_the_gaps_of_a_selection_are_among_the_cautions(tiny_weights):
    scan = signed_measurement(cas(32), PatternSet.from_fraction(32, 0.5, "natural"), sigma=0.5)
    assert "16 of the 32 row sequencies" in reconstruct(scan, method="ch-mwcnn", weights=tiny_weights).cautions[0]


# ---------------------------------------------------------------- uncertainty


def test_weights_that_never_learned_their_uncertainty_say_none(tiny_weights):
    m = signed_measurement(cas(32), PatternSet.from_fraction(32, 0.3), sigma=0.5)
    with pytest.raises(CxgiError, match="trained without uncertainty"):
        estimate_uncertainty(m, method="ch-mwcnn", kind="error", weights=tiny_weights)
    result = reconstruct_and_check(m, method="ch-mwcnn", weights=tiny_weights, details=True)
    assert result.uncertainty is None


def test_uncertainty_covers_about_two_thirds_and_grows_with_the_noise():
    sigmas = []
    for noise in (0.2, 20.0):
        m = signed_measurement(cas(64), PatternSet.from_fraction(64, 0.1875), sigma=noise)
        result = reconstruct_and_check(m, method="ch-mwcnn", details=True)
        assert result.uncertainty_kind == "error"
        assert 0.45 < np.mean(np.abs(result.image - cas(64)) < result.uncertainty) < 0.9
        sigmas.append(float(result.uncertainty.mean()))
    assert sigmas[1] > 1.2 * sigmas[0]


def test_the_kind_of_uncertainty_that_the_network_has_is_named():
    with pytest.raises(CxgiError, match="error for tv, ch-mwcnn"):
        estimate_uncertainty(signed_measurement(cas(32)), method="ch-mwcnn", kind="noise")
