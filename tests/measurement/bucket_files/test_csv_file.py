from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxgi_bluesky._files import text_table
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.bucket_files.read_write import read_buckets, write_buckets
from tests.measurement.bucket_files.test_formats import FULL, same

PLAIN = "pattern_index,bucket\n0,3\n1,4\n"


def write(tmp_path, text: str) -> Path:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    return path


def test_a_plain_file_says_nothing_beside_its_columns(tmp_path):
    table = read_buckets(write(tmp_path, PLAIN))
    assert table.attrs() == {}
    assert list(table.columns()) == ["pattern_index", "bucket"]
    assert table.fraction is None


def test_comments_are_words_only_where_the_version_is_named(tmp_path):
    remarks = "# size: 64\n# made by: hand\n# no colon\n# note: x\n"
    assert read_buckets(write(tmp_path, remarks + PLAIN)).attrs() == {}
    said = read_buckets(write(tmp_path, "# free remark\n#size:32\n\n# cxgi_buckets: 1\n" + PLAIN)).attrs()
    assert said == {"size": 32}
    assert read_buckets(write(tmp_path, "# cxgi_buckets: 1\n" + PLAIN + "# size: 32\n")).attrs() == {}


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    text = "\ufeff# cxgi_buckets: 1\r\n# size: 2\r\n" + PLAIN.replace("\n", "\r\n")
    table = read_buckets(write(tmp_path, text))
    assert table.size == 2
    np.testing.assert_array_equal(table.bucket, [3, 4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# cxgi_buckets: 1\n# d-r: .8\n" + PLAIN, "line 2: 'd-r' is unknown: say size, coding, d_r"),
        ("# cxgi_buckets: 1\n# size: 2\n# size: 4\n" + PLAIN, "line 3: size is said twice"),
        ("# cxgi_buckets: 3\n# new_word: 1\n" + PLAIN, "cxgi_buckets is 3, this release reads version 1"),
        ("# cxgi_buckets: 1\n# patterns: 3\n" + PLAIN, "says patterns: 3 and has 2: it was cut short"),
        ("# cxgi_buckets: 1\n# patterns: 2\n" + PLAIN[:-1], "the last without a line end: it was cut short"),
        (PLAIN + "3," + "x" * 500 + "\n", "line 4: bucket 'x{100}' is no number; "),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    with pytest.raises(CxgiError, match=message) as caught:
        read_buckets(write(tmp_path, text))
    assert "a.csv" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_good_file_takes_the_fast_way(tmp_path, monkeypatch):
    text = write_buckets(tmp_path / "a.csv", FULL).read_text(encoding="utf-8")
    found = []
    at_once = text_table._read_at_once
    monkeypatch.setattr(text_table, "_read_at_once", lambda *a: (found.append(at_once(*a)), found[-1])[1])
    same(read_buckets(write(tmp_path, text)), FULL)
    same(read_buckets(write(tmp_path, text.replace("\n7,", "\n# a remark among the rows\n7,"))), FULL)
    assert [one is not None for one in found] == [True, False]


def test_the_text_is_plain(tmp_path):
    lines = write_buckets(tmp_path / "a.csv", FULL).read_text(encoding="utf-8").splitlines()
    assert lines[:4] == ["# cxgi_buckets: 1", "# patterns: 64", "# size: 8", "# coding: complementary"]
    assert lines[9:12] == [
        "# source: gold edge, night shift",
        "# source: second line: Ångström",
        "pattern_index,bucket,sigma,bucket_complement",
    ]
