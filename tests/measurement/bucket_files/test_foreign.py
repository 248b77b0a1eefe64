from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.measurement.bucket_files.plain_lists import read_list

RANKED = ranking("zig-zag", 4)
VALUES = np.arange(16) * 1.25 - 7


def write(path, numbers):
    if path.suffix == ".npy":
        np.save(path, numbers)
    elif path.suffix == ".npz":
        np.savez(path, anything=numbers)
    else:
        np.savetxt(path, numbers, delimiter="," if path.suffix == ".csv" else " ", header="a remark")
    return path


def bring_in(path, layout="list", **words):
    return read_list(path, layout, **{"size": 4, "order": "zig-zag", "seed": None, "coding": "signed", **words})


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".dat", ".npy", ".npz"])
@pytest.mark.parametrize("shape", [(16,), (1, 16), (16, 1)])
def test_the_kth_bucket_belongs_to_the_kth_of_the_order(tmp_path, suffix, shape):
    table = bring_in(write(tmp_path / f"a{suffix}", VALUES.reshape(shape)))
    np.testing.assert_array_equal(table.pattern_index, RANKED)
    np.testing.assert_array_equal(table.bucket, VALUES)
    assert table.attrs() == {"size": 4, "coding": "signed", "order": "zig-zag"}


def test_fewer_buckets_are_the_first_of_the_order(tmp_path):
    path = write(tmp_path / "a.npy", VALUES[:5])
    table = bring_in(path, order="random", seed=7, coding="binary")
    np.testing.assert_array_equal(table.pattern_index, ranking("random", 4, 7)[:5])
    assert (table.order, table.seed, table.coding) == ("random", 7, "binary")


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".npy", ".npz"])
@pytest.mark.parametrize("arrange", [lambda p: p.ravel(), lambda p: p, lambda p: p.T, lambda p: p.reshape(1, -1)])
def test_pairs_are_positive_first(tmp_path, suffix, arrange):
    pairs = np.stack([VALUES, 10 - VALUES], axis=1)
    table = bring_in(write(tmp_path / f"a{suffix}", arrange(pairs)), "pairs", coding=None)
    np.testing.assert_array_equal(table.pattern_index, RANKED)
    np.testing.assert_array_equal(table.bucket, VALUES)
    np.testing.assert_array_equal(table.bucket_complement, 10 - VALUES)
    assert table.coding == "complementary"


@pytest.mark.parametrize(
    ("numbers", "layout", "words", "message"),
    [
        (VALUES, "list", {"size": None}, r"a bare list does not say its size: give size=N \(--size N\)"),
        (VALUES, "list", {"order": None}, r"does not say in which order .*--order natural: .* or zig-zag, cake"),
        (VALUES, "list", {"coding": None}, "give --coding signed or --coding binary"),
        (VALUES, "list", {"coding": "complementary"}, "single buckets with coding 'complementary'"),
        (VALUES, "pairs", {"coding": "signed"}, "pairs have coding 'complementary', not 'signed'"),
        (VALUES, "heap", {}, "layout 'heap' is unknown: choose list or pairs"),
        (VALUES, "list", {"size": 2}, "16 buckets are more than the 4 patterns of size 2"),
        (np.tile(VALUES, 4), "pairs", {"coding": None}, "32 pairs are more than the 16 patterns"),
        (VALUES, "list", {"order": "random"}, "take a seed"),
        (VALUES, "list", {"size": 5}, "5 is not a power of two"),
        (VALUES.reshape(8, 2), "list", {}, r"\(8, 2\) is a table, .*\(--layout pairs"),
        (VALUES[:5], "pairs", {"coding": None}, "5 numbers are no pairs"),
        (VALUES[:4].reshape(2, 2), "pairs", {"coding": None}, "2 x 2 table may hold the pairs in its rows or"),
        (VALUES.reshape(4, 4), "pairs", {"coding": None}, r"\(4, 4\) is no table of pairs"),
        (np.stack([np.arange(16), VALUES], 1), "pairs", {"coding": None}, "first column counts the rows"),
        (np.where(VALUES > 5, np.nan, VALUES), "list", {}, r"bucket of pattern_index \d+ is nan"),
    ],
)
def test_nothing_is_guessed(tmp_path, numbers, layout, words, message):
    path = write(tmp_path / "a.npy", numbers)
    with pytest.raises(CxgiError, match=message) as caught:
        bring_in(path, layout, **words)
    assert str(path) in str(caught.value) or "layout" in message or "take a seed" in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "bucket\n1\n2\n", r"line 1 is no list of numbers .*a bare list has no header"),
        ("a.csv", "1,2\n3\n", "line 2 has 1 numbers, the lines before it 2"),
        ("a.csv", "1,,2\n", "line 1 is no list of numbers"),
        ("a.txt", "", r"shape \(0,\) is no list"),
        ("a.txt", "# only a remark\n", r"shape \(0,\) is no list"),
        ("a.npy", "no array", "cannot be read as NPY"),
        ("a.npz", "no archive", "cannot be read as NPZ"),
        ("a.h5", "", "has the suffix '.h5': a bare list ends with .csv"),
        ("a.mat", "", "has the suffix '.mat'"),
    ],
)
def test_files_that_hold_no_list(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CxgiError, match=message) as caught:
        bring_in(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_that_hold_no_list(tmp_path):
    np.savez(tmp_path / "two.npz", a=VALUES, b=VALUES)
    np.save(tmp_path / "text.npy", np.array(["1", "2"]))
    np.save(tmp_path / "objects.npy", np.array([1, None]))
    np.save(tmp_path / "cube.npy", np.ones((2, 2, 2)))
    np.savez(tmp_path / "archive", VALUES)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    for name, message in {
        "two.npz": r"has 2 arrays \(a, b\): save the list alone",
        "text.npy": "the list holds <U1, not numbers",
        "objects.npy": "cannot be read as NPY",
        "cube.npy": r"shape \(2, 2, 2\) is no list",
        "archive.npy": "is an NPZ file",
        "missing.npy": "No such file",
        "missing.txt": "No such file",
    }.items():
        with pytest.raises(CxgiError, match=message) as caught:
            bring_in(tmp_path / name)
        assert name in str(caught.value)
