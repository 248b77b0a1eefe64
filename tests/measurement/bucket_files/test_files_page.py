"""The page on file formats says what is so: its examples write files that this package reads."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cxgi_bluesky.masks.orders import ORDERS
from cxgi_bluesky.measurement.bucket_files.read_write import SUFFIXES, read_buckets
from cxgi_bluesky.measurement.bucket_files.table import ATTRS, COLUMNS, FORMAT_VERSION, VERSION_KEY
from cxgi_bluesky.measurement.measurement import Measurement
from tests.test_docs import ROOT, python_blocks

PAGE = ROOT / "docs/reference/files.md"
EXAMPLES = python_blocks(PAGE)


@pytest.mark.parametrize(("example", "suffix"), list(zip(EXAMPLES, (".csv", ".npz", ".h5"), strict=True)))
def test_each_example_writes_a_file_without_this_package(tmp_path, monkeypatch, example, suffix):
    assert "cxgi_bluesky" not in example
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})
    table = read_buckets(tmp_path / f"buckets{suffix}")
    assert table.attrs() == {"size": 2, "coding": "signed", "unit": "pA"}
    np.testing.assert_array_equal(Measurement.from_file(tmp_path / f"buckets{suffix}").coefficient, [10, 1, -2.5, 0.5])


def test_the_page_names_every_column_word_order_and_suffix():
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    assert {*COLUMNS, *ATTRS, VERSION_KEY} <= named
    for name in (*ORDERS, *SUFFIXES):
        assert f"`{name}`" in text
    assert f"version of this format: {FORMAT_VERSION}." in text
