from __future__ import annotations

import os
import time

import numpy as np
import pytest
from PIL import Image

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.random_objects import PHOTOGRAPHS, _font_files, _photographs, _random_word
from cxgi_bluesky.training.config import ObjectConfig
from cxgi_bluesky.training.data import TrainingData, object_pool, random_crop, read_own_images
from tests.training.tiny import tiny

GAPS = ObjectConfig(families={"gaps": 1.0})


def ramp(rows: int, columns: int) -> np.ndarray:
    """Every pixel's value tells its place."""
    return np.arange(rows * columns, dtype=float).reshape(rows, columns) / (rows * columns - 1)


@pytest.fixture
def folder(tmp_path):
    """Stripes of one period that nothing drawn has, as .npy and .png."""
    place = tmp_path / "mine"
    place.mkdir()
    stripes = (np.indices((90, 120))[1] % 2).astype(float)
    np.save(place / "a.npy", 5 + 3 * stripes)
    Image.fromarray((255 * stripes[:80]).astype(np.uint8)).save(place / "b.png")
    (place / "notes.txt").write_text("not an image")
    return place


def test_own_images_are_read_and_stretched(folder):
    images = read_own_images(str(folder))
    assert [image.shape for image in images] == [(90, 120), (80, 120)]
    for image in images:
        assert (image.min(), image.max()) == (0, 1)


def test_crops_lie_anywhere_and_are_never_enlarged():
    image, rng = ramp(60, 100).astype(np.float32), np.random.default_rng(0)
    places, steps = [], []
    for _ in range(200):
        crop = random_crop(rng, image, 32)
        assert crop is not None
        assert crop.shape == (32, 32)
        assert (crop.min(), crop.max()) == (0, 1)
    ones = np.zeros((60, 100), np.float32)
    ones[:5, 90:] = 1  # in the top right corner: not met along the diagonal
    places = [random_crop(rng, ones, 20) is not None for _ in range(200)]
    assert 5 < sum(places) < 195
    fine = (np.indices((60, 100)).sum(axis=0) % 2).astype(np.float32)
    steps = [random_crop(rng, fine, 60) for _ in range(5)]  # the shorter side: each pixel stays one
    for crop in steps:
        assert crop is not None
        assert set(np.unique(crop)) == {0.0, 1.0}


def test_a_small_image_is_enlarged_and_a_flat_part_is_none():
    rng = np.random.default_rng(0)
    crop = random_crop(rng, ramp(8, 8).astype(np.float32), 32)
    assert crop is not None
    assert crop.shape == (32, 32)
    assert random_crop(rng, np.full((50, 50), 0.5, np.float32), 32) is None


def test_large_images_are_averaged_down(tmp_path):
    np.save(tmp_path / "large.npy", ramp(2100, 2500))
    (image,) = read_own_images(str(tmp_path))
    assert image.shape == (1050, 1250)


def test_batches_have_as_many_own_images_as_asked_for(folder, tmp_path):
    def striped(share: float) -> float:
        objects = ObjectConfig(count={32: 8}, families={"texture": 1.0}, folder=str(folder), folder_share=share)
        config = tiny(tmp_path, objects=objects, batch=10, sizes={32: 1.0})
        truth = np.concatenate([TrainingData.from_config(config).batch(step).truth[:, 0].numpy() for step in range(3)])
        steps = (np.abs(np.diff(truth, axis=k)).mean(axis=(1, 2)) for k in (1, 2))
        down, across = steps
        return float(np.mean(np.maximum(down, across) > 20 * np.minimum(down, across) + 1e-9))

    assert striped(0.0) == 0
    assert striped(1.0) > 0.2  # where the whole period fits: coarser crops average it to grey, which is flat
    assert 0.05 < striped(0.3) < striped(1.0)


def test_each_size_takes_the_next_larger_objects(tmp_path):
    config = tiny(tmp_path, objects=ObjectConfig(count={16: 4, 64: 4}), sizes={16: 0.3, 32: 0.3, 64: 0.4}, batch=4)
    data = TrainingData.from_config(config)
    seen = {batch.truth.shape[-1]: len(batch.truth) for batch in map(data.batch, range(40))}
    assert seen == {16: 8, 32: 8, 64: 4}


def test_batches_follow_from_seed_and_step(tmp_path):
    data = TrainingData.from_config(tiny(tmp_path))
    again = TrainingData.from_config(tiny(tmp_path))
    np.testing.assert_array_equal(data.batch(3).truth, again.batch(3).truth)
    np.testing.assert_array_equal(data.batch(3).given.coefficients, again.batch(3).given.coefficients)
    assert not np.array_equal(data.batch(3).given.zero_level, data.batch(4).given.zero_level)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "holds no image"),
        ("flat.npy", np.ones((9, 9)), "flat.npy of objects.folder is flat"),
        ("nan.npy", np.array([[1.0, np.nan]] * 2), "nan.npy of objects.folder has values that are NaN"),
        ("broken.png", b"no image", "broken.png cannot be read"),
    ],
)
def test_images_that_cannot_be_used_are_named(name, content, message, tmp_path):
    if name is not None and isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif name is not None:
        np.save(tmp_path / name, content)
    with pytest.raises(CxgiError, match=message):
        read_own_images(str(tmp_path))


def test_objects_are_drawn_once_and_a_damaged_file_is_named(tmp_path):
    told: list[str] = []
    pool = object_pool(3, 16, 1, tmp_path, GAPS, told.append)
    np.testing.assert_array_equal(pool, object_pool(3, 16, 1, tmp_path, GAPS, told.append))
    assert len(told) == 1
    kept = next(tmp_path.glob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:300])
    with pytest.raises(CxgiError, match=r"objects .*npy cannot be read .*drawn anew"):
        object_pool(3, 16, 1, tmp_path, GAPS)


def test_leftovers_are_removed_before_drawing_once_they_are_old(tmp_path):
    ages_s = {
        ".objects-16-3-1-abc.7.part.npy": 3700.0,
        ".objects-32-3-1-abc.7.part.npy": 3500.0,  # somebody may be at it
        ".board-16.7.part.npz": 3700.0,
    }
    for name, age_s in ages_s.items():
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    object_pool(3, 16, 1, tmp_path, GAPS)
    assert [name for name in ages_s if (tmp_path / name).exists()] == list(ages_s)[1:]


def test_nothing_that_networks_are_judged_on_is_drawn():
    assert not {"camera", "astronaut", "coins", "shepp_logan_phantom"} & set(PHOTOGRAPHS)
    assert len(_photographs()) == len(PHOTOGRAPHS)
    fonts = [font.name for font in _font_files()]
    assert len(fonts) > 10
    assert not any(name.startswith(("DejaVuSans-Bold", "DejaVuSansMono-Bold")) for name in fonts)


def test_random_words_never_hold_the_stencils_letters(monkeypatch):
    from cxgi_bluesky.simulation import random_objects

    monkeypatch.setattr(random_objects, "_ALPHABET", "CASca")  # without the rule one word in nine would hold them
    rng = np.random.default_rng(0)
    words = [_random_word(rng, 5) for _ in range(500)]
    assert max(map(len, words)) == 5
    assert not any("CAS" in word.upper() for word in words)
