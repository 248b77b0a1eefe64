"""What goes into a file comes out of it, in every format; what is wrong with a file is said."""

from __future__ import annotations

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import ORDERS, SEEDED
from cxgi_bluesky.measurement.bucket_files.read_write import SUFFIXES, read_buckets, write_buckets
from cxgi_bluesky.measurement.bucket_files.table import BucketTable
from cxgi_bluesky.measurement.measurement import Measurement

FULL = BucketTable(
    np.random.default_rng(1).permutation(64),
    np.random.default_rng(2).normal(size=64),
    sigma=np.full(64, 0.5),
    bucket_complement=np.random.default_rng(3).normal(size=64),
    size=8,
    coding="complementary",
    d_r=0.83,
    dark=0.1,
    order="random",
    seed=3,
    unit="pA",
    source="gold edge, night shift\nsecond line: Ångström",
)


def same(a: BucketTable, b: BucketTable) -> bool:
    assert a.attrs() == b.attrs()
    assert list(a.columns()) == list(b.columns())
    for name, column in a.columns().items():
        np.testing.assert_array_equal(column, b.columns()[name])
        assert column.dtype == b.columns()[name].dtype
    return True


finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@st.composite
def tables(draw) -> BucketTable:
    size = draw(st.sampled_from([None, 2, 8]))
    index = draw(st.lists(st.integers(0, (size or 1024) ** 2 - 1), min_size=1, max_size=12, unique=True))
    column = st.lists(finite, min_size=len(index), max_size=len(index))
    complement = draw(st.none() | column)
    codings = [None, "binary", "signed"] if complement is None else [None, "complementary"]
    order = draw(st.none() | st.sampled_from(list(ORDERS)))
    return BucketTable(
        index,
        draw(column),
        sigma=draw(st.none() | column.map(np.abs)),
        bucket_complement=complement,
        size=size,
        coding=draw(st.sampled_from(codings)),
        d_r=draw(st.none() | st.floats(0, 1, exclude_min=True)),
        dark=draw(st.none() | finite),
        order=order,
        seed=draw(st.none() | st.integers(0, 2**63 - 1)) if order in SEEDED else None,
        unit=draw(st.none() | words),
        source=draw(st.none() | words),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(table=tables())
def test_every_table_comes_back_exactly(tmp_path_factory, suffix, table):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    write_buckets(path, table, overwrite=True)
    same(read_buckets(path), table)


@pytest.mark.parametrize("suffix", [".CSV", ".Npz", ".H5", ".HDF5"])
def test_suffixes_in_capitals(tmp_path, suffix):
    path = write_buckets(tmp_path / f"a{suffix}", FULL)
    assert os.listdir(tmp_path) == [f"a{suffix}"]
    same(read_buckets(path), FULL)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_says_all_that_a_measurement_needs(tmp_path, suffix):
    path = write_buckets(tmp_path / f"a{suffix}", FULL)
    m = Measurement.from_file(path)
    np.testing.assert_allclose(m.coefficient, (FULL.bucket - FULL.bucket_complement) / 0.83)
    np.testing.assert_allclose(m.sigma, np.sqrt(2) * 0.5 / 0.83)
    told = {"file": str(path), "order": "random", "order_seed": 3, "unit": "pA", "file_source": FULL.source}
    assert told.items() <= m.source.items()


def test_no_format_keeps_python_objects(tmp_path):
    with np.load(write_buckets(tmp_path / "a.npz", FULL), allow_pickle=False) as archive:
        assert {archive[name].dtype.kind for name in archive.files} <= set("ifU")
    with h5py.File(write_buckets(tmp_path / "a.h5", FULL)) as file:
        group = file["buckets"]
        assert {group[name].dtype.kind for name in group} <= set("if")
        assert group["bucket"].attrs["units"] == group["sigma"].attrs["units"] == b"pA"
        assert group["bucket"].fletcher32
        assert {h5py.check_string_dtype(group.attrs.get_id(n).dtype).length for n in ("coding", "order")} == {13, 6}


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_replaced_only_when_allowed(tmp_path, suffix):
    path = write_buckets(tmp_path / f"a{suffix}", FULL)
    other = replace(FULL, source="another")
    with pytest.raises(CxgiError, match="exists already"):
        write_buckets(path, other)
    same(read_buckets(path), FULL)
    write_buckets(path, other, overwrite=True)
    same(read_buckets(path), other)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_place_that_cannot_be_written(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(CxgiError, match="cannot be written"):
        write_buckets(tmp_path / f"folder{suffix}", FULL, overwrite=True)
    assert os.listdir(tmp_path) == [f"folder{suffix}"]
    with pytest.raises(CxgiError, match=r"folder .*no does not exist"):
        write_buckets(tmp_path / "no" / f"a{suffix}", FULL)


@pytest.mark.parametrize("name", ["a.txt", "a.npy", "a", "a.h5.gz"])
def test_an_unknown_suffix(tmp_path, name):
    for act in (lambda p: write_buckets(p, FULL), read_buckets, Measurement.from_file):
        with pytest.raises(CxgiError, match=r"unknown suffix .* \.csv, \.npz, \.h5, \.hdf5"):
            act(tmp_path / name)
