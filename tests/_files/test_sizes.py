"""Small files that would fill the memory, and HDF5 files that point elsewhere, are refused before they are read."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest
import tifffile

from cxgi_bluesky._files.image_file import read_image_file
from cxgi_bluesky.catalog.nexus_file import read_run_file
from cxgi_bluesky.devices.config.load import read_beamline_file
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.speckle_set import SpeckleSet
from cxgi_bluesky.masks.tile_maps import TileMaps
from cxgi_bluesky.measurement.bucket_files.plain_lists import read_list
from cxgi_bluesky.measurement.bucket_files.read_write import read_buckets
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network
from cxgi_bluesky.training.config import read_config

LIST_OPTIONS = {"size": 8, "order": "natural", "seed": None, "coding": "signed"}
YAML_READERS = [load_board, read_beamline_file, read_config]


def refused(read, path, message: str) -> None:
    with pytest.raises(CxgiError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_array_that_unpacks_to_8_gb(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, cxgi_buckets=1, pattern_index=[0])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bucket.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
        for _ in range(40):  # a 200th of it is enough to be too much
            member.write(bytes(10**6))
    refused(read_buckets, path, "array bucket has 40000128 bytes, at most")


def test_a_list_that_says_it_is_huge(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
        file.truncate(10**9)
    refused(lambda path: read_list(path, "list", **LIST_OPTIONS), path, "has 1000000000 bytes, at most")


def test_a_text_file_of_gigabytes(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(4 * 10**9)
    refused(read_buckets, path, "more than 64000000 bytes")


@pytest.mark.parametrize("text", ["1\n" * 2_200_001, "1, " * 10_000_001, "1 2 3 4 5\n" * 1_400_000])
def test_a_text_file_of_millions_of_numbers(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text)
    refused(
        lambda path: read_list(path, "list", **LIST_OPTIONS),
        path,
        "2200000 lines or 10000000 numbers, or too many of both",
    )


def test_weights_of_gigabytes(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.truncate(4 * 10**9)
    refused(load_network, path, "have more than 256000000 bytes")


def test_a_tiff_whose_pages_lie_in_a_circle(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for side in (16, 8, 12):  # of one size, the library itself finds the circle
            file.write(np.zeros((side, side), np.uint8), metadata=None)
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0], file.pages[-1]
        where = last.offset + 2 + 12 * len(last.tags)  # of the next page, 0 if there is none
    content = bytearray(path.read_bytes())
    content[where : where + 4] = first.offset.to_bytes(4, "little")
    path.write_bytes(content)
    refused(read_image_file, path, "has damaged pages .*circular")


def test_a_number_of_endless_digits(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("9" * 300_000 + "x\n")
    refused(lambda path: read_list(path, "list", **LIST_OPTIONS), path, "is no list of numbers")


@pytest.mark.parametrize("read", YAML_READERS)
def test_brackets_without_end(tmp_path, read):
    path = tmp_path / "a.yaml"
    path.write_text("a: " + "[" * 100_000)
    refused(read, path, "nested too deeply")


@pytest.mark.parametrize("read", YAML_READERS)
def test_aliases_of_aliases(tmp_path, read):
    path = tmp_path / "a.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path.write_text("\n".join(lines))
    refused(read, path, "its aliases make more than")
    path.write_text("a: &a [*a]")
    refused(read, path, "its aliases make more than")


@pytest.mark.parametrize("read", YAML_READERS)
def test_a_large_yaml_file(tmp_path, read):
    path = tmp_path / "a.yaml"
    path.write_text("# " + "x" * 1_000_000)
    refused(read, path, "more than 1000000 bytes")


# ---------------------------------------------------------------- HDF5

KINDS = {  # group, attributes, dataset that is replaced, reader
    "buckets": ({"cxgi_buckets": 1}, {"pattern_index": [0]}, "bucket", read_buckets),
    "tile_maps": ({"cxgi_tile_maps": 1, "size": 8, "subpixels": 1}, {"pattern_index": [0]}, "maps", TileMaps.from_file),
    "entry/documents": ({"cxgi_run": 1}, {}, "lines", read_run_file),
    "speckles": ({"cxgi_speckles": 1, "pixel_um": 1.0, "sha256": "0"}, {}, "patterns", SpeckleSet.open),
}
SHAPE = (1, 8, 8)


def external_link(group, name):
    group[name] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(group, name):
    group[name] = h5py.SoftLink("/elsewhere")


def external_storage(group, name):
    group.create_dataset(name, SHAPE, "f4", external=[("/etc/passwd", 0, 256)])


def virtual(group, name):
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[0] = h5py.VirtualSource("other.h5", "data", SHAPE[1:])
    group.create_virtual_dataset(name, layout)


def huge(group, name):
    group.create_dataset(name, (1, 40_000, 40_000), "f4", chunks=(1, 1000, 1000), compression="gzip")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external_link, "is a link into 'other.h5'"),
        (soft_link, "is a link to '/elsewhere'"),
        (external_storage, "has its numbers in other files"),
        (virtual, "has its numbers in other files"),
        (huge, "at most"),
    ],
)
def test_datasets_that_lie_elsewhere_or_fill_the_memory(tmp_path, kind, make, message):
    attributes, datasets, name, read = KINDS[kind]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group(kind)
        group.attrs.update(attributes)
        for other, values in datasets.items():
            group[other] = values
        make(group, name)
    refused(read, tmp_path / "a.h5", message)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_that_lies_elsewhere(tmp_path, kind):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        external_link(file, kind)
    refused(KINDS[kind][-1], tmp_path / "a.h5", "is a link into 'other.h5'")
