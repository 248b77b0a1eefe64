from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suite import workload
from cxgi_bluesky.masks.transform import walsh_hadamard_2d


def test_five_images_of_the_stated_size_and_range():
    images = workload.truths()
    assert tuple(images) == ("camera", "astronaut", "coins", "shepp_logan", "CAS")
    for image in images.values():
        assert image.shape == (64, 64)
        assert (image.min(), image.max()) == (0.0, 1.0)


def test_the_letters_are_binary_and_fit_their_box():
    letters = workload.truths()["CAS"]
    assert set(np.unique(letters)) == {0.0, 1.0}
    rows, columns = np.nonzero(letters)
    assert np.ptp(columns) + 1 == round(0.94 * 64)
    assert np.ptp(rows) + 1 <= 27
    assert abs(rows.min() + rows.max() - 63) <= 1  # centred
    assert abs(columns.min() + columns.max() - 63) <= 1


def test_the_truths_are_made_alike_and_cannot_be_written():
    first = {name: image.copy() for name, image in workload.truths().items()}
    workload.truths.cache_clear()
    for name, image in workload.truths().items():
        np.testing.assert_array_equal(image, first[name])
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0] = 2.0


@pytest.mark.parametrize("order", ["zig-zag", "variable-density"])
def test_768_patterns_and_seeds_only_where_they_count(order):
    one, two = workload.pattern_set(order, 0), workload.pattern_set(order, 1)
    assert (one.count, one.size) == (768, 64)
    assert (one == two) == (order == "zig-zag")


@pytest.mark.parametrize("snr_db", [30.0, 20.0])
def test_the_noise_has_the_stated_level(snr_db):
    image = workload.truths()["coins"]
    patterns = workload.pattern_set("zig-zag", 0)
    made = workload.measure(image, patterns, snr_db=snr_db, seed=3)
    exact = walsh_hadamard_2d(image).ravel()[patterns.pattern_index]
    rms = np.sqrt(np.mean(exact[patterns.pattern_index != 0] ** 2))
    np.testing.assert_allclose(20 * np.log10(rms / made.sigma), snr_db)
    noise = (made.coefficient - exact) / made.sigma
    assert abs(noise.mean()) < 4 / np.sqrt(768)
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * 768)
    assert made.scale == "transmission"


def test_the_same_seed_is_the_same_measurement():
    image, patterns = workload.truths()["camera"], workload.pattern_set("zig-zag", 0)
    first, again, other = (workload.measure(image, patterns, snr_db=30.0, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.coefficient, again.coefficient)
    assert (first.coefficient != other.coefficient).all()
