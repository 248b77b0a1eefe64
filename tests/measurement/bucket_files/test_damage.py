"""A file that is damaged, or holds what it may not, is refused in one line that names it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.bucket_files.read_write import SUFFIXES, read_buckets, write_buckets
from tests.measurement.bucket_files.test_formats import FULL

# ---------------------------------------------------------------- damage


def refused(path: Path, message: str) -> None:
    with pytest.raises(CxgiError, match=message) as caught:
        read_buckets(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe" * 50, b"PK\x03\x04 nothing", b"\x89HDF\r\n\x1a\n"])
def test_a_file_of_something_else(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    refused(tmp_path / f"a{suffix}", "cannot be read|is empty|lacks the column")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_missing(tmp_path, suffix):
    refused(tmp_path / f"a{suffix}", "cannot be read.*No such file")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_short_anywhere(tmp_path, suffix):
    path = write_buckets(tmp_path / f"a{suffix}", FULL)
    raw = path.read_bytes()
    for end in np.linspace(0, len(raw) - 1, 60).astype(int):
        path.write_bytes(raw[:end])
        refused(path, "cannot be read|is empty|lacks the column|cut short|is no number|no pattern was measured|says")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_one_wrong_bit_in_the_buckets_is_seen(tmp_path, suffix):
    path = write_buckets(tmp_path / f"a{suffix}", FULL)
    raw = bytearray(path.read_bytes())
    raw[raw.index(FULL.bucket.tobytes()) + 37] ^= 4
    path.write_bytes(raw)
    refused(path, "cannot be read")


# ---------------------------------------------------------------- what a file may not hold

FAULTS = [
    ({"cxgi_buckets": 2}, "cxgi_buckets is 2, this release reads version 1"),
    ({"cxgi_buckets": "one"}, "cxgi_buckets 'one' is no whole number"),
    ({"bucket": None}, "lacks the .*bucket"),
    ({"pattern_index": None}, "lacks the .*pattern_index"),
    ({"size": 12}, "size 12 is not a power of two"),
    ({"size": 4}, "pattern_index 16 is outside 0..15 for size 4"),
    ({"size": 8.5}, "size '?8.5'? is no whole number"),
    ({"coding": "ternary"}, "coding 'ternary' is unknown"),
    ({"coding": "complementary"}, "needs a bucket_complement"),
    ({"d_r": 1.5}, "d_r 1.5 is outside"),
    ({"d_r": "much"}, "d_r 'much' is no number"),
    ({"dark": float("inf")}, "dark inf is not finite"),
    ({"order": "spiral"}, "order 'spiral' is unknown"),
    ({"order": "natural", "seed": 1}, "seed 1 with order 'natural'"),
    ({"order": "random", "seed": -1}, "seed -1 is outside"),
]
COLUMN_FAULTS = [
    ({"bucket": np.arange(63.0)}, "bucket has 63 values for 64 patterns"),
    ({"sigma": np.arange(65.0)}, "sigma has 65 values for 64 patterns"),
    ({"sigma": -np.ones(64)}, "sigma -1.0 is negative"),
    ({"bucket": np.where(np.arange(64) == 5, np.nan, 1.0)}, r"bucket of pattern_index 5 is nan \(1 such\)"),
    ({"bucket": np.full(64, b"1.0")}, "bucket holds .*, not numbers"),
    ({"bucket": np.ones(64, dtype=complex)}, "bucket holds complex128|bucket holds .*, not numbers"),
    ({"bucket": np.ones((8, 8))}, r"bucket has shape \(8, 8\)"),
    ({"bucket": np.float64(3)}, r"bucket has shape \(\)"),
    ({"pattern_index": np.minimum(np.arange(64), 62)}, "pattern_index 62 is given 2 times"),
    ({"pattern_index": np.arange(64) + 0.5}, "pattern_index 0.5 is no whole number"),
    ({"pattern_index": np.arange(64) - 1}, "pattern_index -1 is"),
    ({"pattern_index": np.array([2**64 - 1] * 64, dtype=np.uint64)}, "is no whole number"),
    ({"pattern_index": [], "bucket": []}, "no pattern was measured"),
    ({"size": np.array([8, 8])}, "size has 2 values"),
]


def contents(changes: dict) -> dict:
    good = {"cxgi_buckets": 1, "pattern_index": np.arange(64), "bucket": np.ones(64), "size": 8, "coding": "signed"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def by_hand(path: Path, changes: dict) -> Path:
    """A file written without this package."""
    said = contents(changes)
    if path.suffix == ".npz":
        np.savez(path, **said)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            group = file.create_group("buckets")
            for name, value in said.items():
                (group if name in ("pattern_index", "bucket", "sigma") else group.attrs)[name] = value
    else:
        columns = {name: np.asarray(value) for name, value in said.items() if np.ndim(value)}
        lines = [f"# {name}: {value}" for name, value in said.items() if name not in columns] + [",".join(columns)]
        path.write_text("\n".join([*lines, *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".h5"])
@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_words_that_cannot_be(tmp_path, suffix, changes, message):
    refused(by_hand(tmp_path / f"bad{suffix}", changes), message)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(("changes", "message"), COLUMN_FAULTS)
def test_columns_that_cannot_be(tmp_path, suffix, changes, message):
    refused(by_hand(tmp_path / f"bad{suffix}", changes), message)


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".h5"])
def test_what_the_format_does_not_name_is_left_alone(tmp_path, suffix):
    path = by_hand(tmp_path / f"a{suffix}", {} if suffix == ".csv" else {"operator": "night shift"})
    assert read_buckets(path).attrs() == {"size": 8, "coding": "signed"}


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_other_number_types_and_shapes(tmp_path, suffix):
    table = read_buckets(
        by_hand(
            tmp_path / f"a{suffix}",
            {
                "pattern_index": np.arange(64, dtype=">u2").reshape(1, 64),
                "bucket": np.arange(64, dtype=np.float32).reshape(64, 1),
                "size": np.float32(8),
                "coding": np.bytes_("signed"),
            },
        )
    )
    assert (table.size, table.coding) == (8, "signed")
    np.testing.assert_array_equal(table.bucket, np.arange(64.0))
    assert table.pattern_index.dtype == np.int64


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("name", ["bucket", "size"])
def test_nothing_is_unpickled(tmp_path, name):
    trap = np.empty(64 if name == "bucket" else (), dtype=object)
    trap[...] = Trap(tmp_path / "trace")
    np.savez(tmp_path / "bad.npz", **contents({name: trap}))
    refused(tmp_path / "bad.npz", f"array {name} cannot be read .*Python objects")
    (tmp_path / "raw.npz").write_bytes(trap.dumps())
    refused(tmp_path / "raw.npz", "cannot be read as NPZ")
    assert not (tmp_path / "trace").exists()


def test_a_single_array_is_no_table(tmp_path):
    with (tmp_path / "a.npz").open("wb") as stream:
        np.save(stream, np.ones(4))
    refused(tmp_path / "a.npz", "holds a single array")
    np.savez(tmp_path / "b.npz", buckets=np.ones(4))
    refused(tmp_path / "b.npz", "lacks the array cxgi_buckets, pattern_index, bucket")


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = np.ones(3)
    refused(tmp_path / "a.h5", r"holds no table of buckets.*the file has entry")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["buckets"] = np.ones(3)
    refused(tmp_path / "b.h5", "holds no table of buckets")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_group("buckets").attrs["cxgi_buckets"] = 1
        file["buckets/pattern_index"] = [0]
        file.create_group("buckets/bucket")
    refused(tmp_path / "c.h5", "/buckets/bucket is a group")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        del file["buckets/bucket"]
        file["buckets/bucket"] = ["a"]
    refused(tmp_path / "c.h5", "/buckets/bucket holds object")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        del file["buckets/bucket"]
        file["buckets"].create_dataset("bucket", shape=(2**40,), chunks=(1024,), dtype="f8")
    refused(tmp_path / "c.h5", "has 1099511627776 numbers, at most 1048576 are read")


def test_units_that_disagree(tmp_path):
    path = by_hand(tmp_path / "a.h5", {"sigma": np.ones(64)})
    with h5py.File(path, "a") as file:
        file["buckets/bucket"].attrs["units"] = "pA"
        file["buckets/sigma"].attrs["units"] = "fA"
    refused(path, "bucket in pA, sigma in fA")
