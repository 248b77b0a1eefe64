"""A simulated measurement is what a `Measurement` of the same buckets would give the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.normalization import Buckets
from cxgi_bluesky.measurement.reference import with_reference
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import input_of
from cxgi_bluesky.reconstruction.error_model.common_mode import without_common_error
from cxgi_bluesky.simulation.random_objects import random_object
from cxgi_bluesky.training.config import NoiseConfig, SamplingConfig
from cxgi_bluesky.training.measurements import Batch, _drift, random_selection, simulate, without_common
from tests.training.tiny import small_board

QUIET = NoiseConfig(snr_db=(130.0, 130.0), drift=0.0, sigma_error=0.0)
SOME = SamplingConfig((0.15, 0.3), usual_share=0.0, short_share=0.0)


def objects(count: int, size: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(np.stack([random_object(rng, size, {"phantom": 1.0}) for _ in range(count)]))[:, None]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def indices(batch: Batch, number: int) -> np.ndarray:
    return np.flatnonzero(batch.given.measured[number].ravel().numpy())


def assert_same_input(batch: Batch, number: int, measurement: Measurement, tolerance: float = 2e-4) -> None:
    ours, theirs = batch.given.part(slice(number, number + 1)), input_of(measurement)
    for name in ("coefficients", "measured", "zero_level", "mask_uncertainty", "mean", "deviation"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=tolerance, atol=tolerance, msg=name)


def signed(image: np.ndarray, index: np.ndarray) -> Measurement:
    """With the sigma that 130 dB are."""
    values = walsh_hadamard_2d(image.astype(float)).ravel()[index]
    sigma = np.sqrt(np.sum(values[index != 0] ** 2) / len(index)) * 10**-6.5
    return Measurement.from_buckets(len(image), index, values, coding="signed", sigma=np.full(len(index), sigma))


def binary(image: np.ndarray, rows: np.ndarray, index: np.ndarray, d_r: float) -> Buckets:
    """Buckets of an image behind masks W_k."""
    t0, values = 1 - d_r, rows @ image.ravel().astype(float)
    opened = float(image.sum())
    bucket = np.where(index == 0, opened, ((1 - t0) * values + (1 + t0) * opened) / 2)
    source = {"raw_uids": ["run"], "left_out": [], "left_out_because": {}}
    return Buckets(index, bucket, np.full(len(index), 1e-6), np.arange(len(index)), source=source)


def reduced(b: Buckets, size: int, d_r: float) -> Measurement:
    return Measurement.from_buckets(
        size, b.pattern_index, b.bucket, coding="binary", sigma=b.sigma, d_r=d_r, source=b.source
    )


def test_perfect_masks_give_what_a_measurement_gives():
    images = objects(8, 32)
    batch = simulate(images, "perfect", generator(), sampling=SOME, noise=QUIET)
    kinds = set()
    for number, image in enumerate(images[:, 0].numpy()):
        index, doubted = indices(batch, number), float(batch.given.mask_uncertainty[number])
        measurement = signed(image, index)
        if doubted == 0:
            ours = batch.given.variance[number].ravel()[index]
            torch.testing.assert_close(ours, input_of(measurement).variance.ravel()[index], rtol=1e-3, atol=0)
        else:
            measurement = replace(measurement, source={"coding": "binary"})
            if doubted == 0.5:
                measurement = replace(measurement, pattern_error=0.01)
            measurement, error = without_common_error(measurement)
            assert error.constant != 0 or error.edges != 0
        assert_same_input(batch, number, measurement)
        kinds.add(doubted)
    assert kinds == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("masks", ["none", "reference"])
def test_etched_masks_give_what_a_measurement_gives(masks):
    board, images = small_board(), objects(4, 16)
    batch = simulate(images, masks, generator(), sampling=SOME, noise=QUIET, board=board)
    row_of = {int(k): row for row, k in enumerate(board.pattern_index.tolist())}
    for number, image in enumerate(images[:, 0].numpy()):
        index = indices(batch, number)
        rows = [row_of[int(k)] for k in index]
        hung = board.masks[rows].double().numpy()
        buckets = binary(image, hung, index, board.d_r)
        if masks == "reference":
            even = binary(np.ones((16, 16)), hung, index, board.d_r)
            measurement = replace(reduced(with_reference(buckets, even), 16, board.d_r), pattern_error=0.01)
        else:
            measurement = reduced(buckets, 16, board.d_r)
        measurement, _ = without_common_error(measurement)
        assert_same_input(batch, number, measurement, tolerance=1e-3)


def test_noise_has_the_level_that_it_claims():
    images, noise = objects(8, 64), NoiseConfig((20.0, 20.0), sigma_error=0.0)
    batch = simulate(images, "perfect", generator(), sampling=SOME, noise=noise)
    g = batch.given
    for number in torch.nonzero(g.mask_uncertainty == 0).ravel().tolist():
        index = indices(batch, number)
        true = walsh_hadamard_2d(images[number, 0].numpy().astype(float)).ravel()[index] / 64
        measured = (g.coefficients[number] * g.deviation[number]).ravel().numpy()[index]
        error, signal = (measured - true)[index != 0], true[index != 0]
        claimed = float(g.variance[number].ravel()[index[1]].sqrt() * g.deviation[number].squeeze())
        assert error.std() == pytest.approx(claimed, rel=0.1)
        assert 20 * np.log10(np.sqrt(np.mean(signal**2)) / error.std()) == pytest.approx(20, abs=1)
    assert (g.mask_uncertainty == 0).any()


def test_the_noise_that_the_network_is_told_may_be_wrong_half_the_time():
    images = objects(1, 16).expand(400, -1, -1, -1)
    right, wrong = (
        simulate(images, "perfect", generator(), sampling=SOME, noise=replace(QUIET, sigma_error=e)).given
        for e in (0.0, 0.5)
    )
    ratio = torch.log(wrong.variance / right.variance)[:, 0, 0, 0] / 2
    assert float((ratio.abs() < 1e-4).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(ratio[ratio.abs() > 1e-4].std()) == pytest.approx(0.5, rel=0.15)


def test_the_common_error_of_a_batch_is_that_of_each_measurement():
    images, size = objects(3, 32), 32
    sizes = [(0.4, 0.0), (0.1, 0.3), (0.0, 0.0)]
    chosen = random_selection(generator(), size, torch.full((3,), 0.4)).measured
    values = torch.from_numpy(np.stack([walsh_hadamard_2d(i.astype(float)) for i in images[:, 0].numpy()]))[:, None]
    values = (values.float() / size + 0.2) * chosen
    constant, edges = (torch.tensor(c)[:, None, None, None] for c in zip(*sizes, strict=True))
    cleaned = without_common(values, chosen, constant, edges)
    for number, (common, of_edges) in enumerate(sizes):
        index = np.flatnonzero(chosen[number].ravel().numpy())
        coefficient = values[number].ravel().double().numpy()[index] * size
        measurement = Measurement(size, index, coefficient, np.ones(len(index)), sigma_common=common * size)
        level = of_edges * size / abs(coefficient[0]) if of_edges else 0.0
        if of_edges:
            measurement = replace(measurement, source={"coding": "binary"})
        expected, error = without_common_error(measurement, level)
        assert (error.constant, error.edges) != (0, 0) or sizes[number] == (0.0, 0.0)
        found = cleaned[number].ravel().double().numpy()[index] * size
        np.testing.assert_allclose(found, expected.coefficient, rtol=2e-4, atol=2e-3)


def test_drift_is_smooth_along_the_scan_and_as_large_as_said():
    chosen = random_selection(generator(), 32, torch.full((64,), 1.0))
    drift = _drift(chosen, generator(1), 0.01)
    assert drift[:, 0, 0, 0].abs().max() == 0
    assert float(drift.flatten(1).std(dim=1).max()) <= 0.0101
    course = torch.zeros(64, 1024).scatter_(1, chosen.rank.flatten(1), drift.flatten(1))[:, 1:]
    assert float((course.diff(dim=1).std(dim=1) / course.std(dim=1)).median()) < 0.5


def test_an_object_of_which_nothing_is_seen_harms_nothing():
    images = torch.zeros(8, 1, 16, 16)
    images[..., ::2] = 1  # one pattern, the finest: not among the first
    given = simulate(images, "perfect", generator(), sampling=SOME, noise=QUIET).given
    assert torch.isfinite(given.coefficients).all()
    assert torch.isfinite(given.variance).all()
