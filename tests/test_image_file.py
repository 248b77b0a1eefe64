from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.image_file import enlargement, read_image_file
from cxgi_bluesky.reconstruction.result import grey_values
from tests.conftest import smooth_image


def test_numbers_come_back_as_they_were(tmp_path):
    image = smooth_image(16)
    np.save(tmp_path / "a.npy", image)
    tifffile.imwrite(tmp_path / "a.tif", image.astype(np.float32), photometric="minisblack")
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.npy").image, image)
    np.testing.assert_allclose(read_image_file(tmp_path / "a.tif").image, image, rtol=1e-6)
    assert not read_image_file(tmp_path / "a.npy").stretched


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_a_saved_picture_is_reduced_to_its_own_pixels(tmp_path, size):
    image = smooth_image(size, seed=3)
    Image.fromarray(grey_values(image)).save(tmp_path / "a.png")
    file = read_image_file(tmp_path / "a.png")
    assert (file.enlarged_by, file.image.shape, file.stretched) == (512 // size, (size, size), True)
    np.testing.assert_allclose(file.image, grey_values(image, pixels=size) / 255)


def test_pictures_that_were_not_enlarged_stay(tmp_path):
    rng = np.random.default_rng(0)
    assert enlargement(rng.integers(0, 255, (512, 512))) == 1
    assert enlargement(np.kron(rng.integers(0, 255, (8, 8)), np.ones((8, 8)))) == 1  # 64 x 64: not our size
    assert enlargement(np.ones((512, 512))) == 1
    assert enlargement(rng.integers(0, 255, (40, 60))) == 1


def test_depths_of_grey(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "rgb.png")
    for name in ("8.png", "16.png", "rgb.png"):
        np.testing.assert_allclose(read_image_file(tmp_path / name).image, grey / 255)
    Image.fromarray(grey > 100).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_image_file(tmp_path / "1.png").image, grey > 100)


def test_what_cannot_be_read(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.dstack([grey, grey, grey // 2])).save(tmp_path / "colour.png")
    np.save(tmp_path / "cube.npy", np.zeros((3, 16, 16)))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 16, 16), dtype=np.float32), photometric="minisblack")
    for name in ("a.png", "a.npy", "a.tiff"):
        (tmp_path / name).write_bytes(b"not an image")
    for name, message in {
        "colour.png": "colour picture",
        "cube.npy": r"shape \(3, 16, 16\)",
        "words.npy": "no array of real numbers",
        "pickle.npy": "cannot be read",
        "stack.tif": r"shape \(3, 16, 16\)",
        "a.png": "cannot be read as an image",
        "a.npy": "cannot be read as an image",
        "a.tiff": "cannot be read as an image",
        "none.npy": "cannot be read as an image",
        "a.jpg": "no known image",
    }.items():
        with pytest.raises(CxgiError, match=message):
            read_image_file(tmp_path / name)
