from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cxgi_bluesky._files.image_file import enlargement, read_image_file
from cxgi_bluesky.errors import CxgiError
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
        "colour.png": "colour image",
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


GREY = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
def test_a_tiff_whose_zero_is_white_has_the_same_levels(tmp_path, dtype):
    image = GREY > 90 if dtype == "bool" else GREY.astype(dtype) * np.dtype(dtype).itemsize
    white = ~image
    tifffile.imwrite(tmp_path / "black.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "white.tif", white, photometric="miniswhite")
    black, white = (read_image_file(tmp_path / f"{name}.tif").image for name in ("black", "white"))
    np.testing.assert_array_equal(black, image)
    np.testing.assert_array_equal(white, image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_images_come_the_way_up_that_they_say(tmp_path, orientation, suffix):
    """Beside Pillow, which undoes what EXIF says, by the same numbers as TIFF's."""
    picture = Image.fromarray(GREY)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", extratags=[(274, 3, 1, orientation, True)])
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    values = read_image_file(tmp_path / f"a{suffix}").image * (255 if suffix == ".png" else 1)
    np.testing.assert_allclose(values, expected)


def test_grey_in_colours_palettes_and_few_bits(tmp_path):
    three, opaque = np.dstack([GREY] * 3), np.full_like(GREY, 255)[..., None]
    tifffile.imwrite(tmp_path / "rgb.tif", three, photometric="rgb")
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(three, -1, 0), photometric="rgb", planarconfig="separate")
    rgba = np.concatenate([three, opaque], axis=2)
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("rgb.tif", "planes.tif", "rgba.tif"):
        np.testing.assert_array_equal(read_image_file(tmp_path / name).image, GREY, err_msg=name)
    levels = np.repeat(np.arange(256, dtype=np.uint16) * 257, 3).reshape(256, 3).T
    tifffile.imwrite(tmp_path / "palette.tif", GREY[::-1], photometric="palette", colormap=levels[:, ::-1])
    np.testing.assert_array_equal(read_image_file(tmp_path / "palette.tif").image, (255.0 - GREY[::-1]) * 257)
    picture = Image.fromarray(GREY // 64)
    picture.putpalette(np.repeat(np.array([255, 170, 85, 0], np.uint8), 3).tobytes())
    picture.save(tmp_path / "palette.png", bits=2)
    np.testing.assert_allclose(read_image_file(tmp_path / "palette.png").image, 1 - (GREY // 64) / 3)
    Image.fromarray(np.dstack([GREY, opaque[..., 0]]), "LA").save(tmp_path / "opaque.png")
    np.testing.assert_allclose(read_image_file(tmp_path / "opaque.png").image, GREY / 255)


def test_what_cannot_be_honoured_is_refused(tmp_path):
    three, half = np.dstack([GREY] * 3), np.full_like(GREY, 128)
    Image.fromarray(np.dstack([GREY, half]), "LA").save(tmp_path / "alpha.png")
    Image.fromarray(GREY).save(tmp_path / "key.png", transparency=7)
    Image.fromarray(GREY).save(tmp_path / "moving.png", save_all=True, append_images=[Image.fromarray(half)])
    rgba = np.dstack([three, half])
    tifffile.imwrite(tmp_path / "alpha.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    other = np.dstack([GREY, half])
    tifffile.imwrite(tmp_path / "other.tif", other, photometric="minisblack", extrasamples=["unspecified"])
    tifffile.imwrite(tmp_path / "signed.tif", GREY.astype(np.int16), photometric="miniswhite")
    tifffile.imwrite(tmp_path / "cmyk.tif", rgba, photometric="separated")
    tifffile.imwrite(tmp_path / "colour.tif", np.dstack([GREY, GREY, half]), photometric="rgb")
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[:8, :8], photometric="minisblack")
    np.save(tmp_path / "huge.npy", np.zeros(0))
    header = (tmp_path / "huge.npy").read_bytes().replace(b"(0,), }", b"(90000, 90000), }")
    (tmp_path / "huge.npy").write_bytes(header)
    with (tmp_path / "huge.npy").open("r+b") as file:
        file.truncate(128 + 8 * 90000**2)  # a hole, which takes no space
    for name, message in {
        "alpha.png": "is transparent in places",
        "key.png": "is transparent in places",
        "moving.png": "is an animation",
        "alpha.tif": "is transparent in places",
        "other.tif": "neither grey, colour nor transparency",
        "signed.tif": "says that 0 is white, and holds int16",
        "cmyk.tif": "of the kind SEPARATED: save it in grey",
        "colour.tif": "is a colour image",
        "two.tif": "has 2 images: save the one that is meant alone",
        "huge.npy": "has 90000 x 90000 pixels, at most 32000000 are read",
    }.items():
        with pytest.raises(CxgiError, match=message):
            read_image_file(tmp_path / name)


def test_a_reduced_copy_beside_the_image_is_left_alone(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.tif").image, GREY)
