from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.bucket_files.table import BucketTable
from cxgi_bluesky.measurement.measurement import Measurement
from tests.measurement.bucket_files.test_formats import FULL


def test_a_table_is_its_own_and_cannot_be_changed():
    bucket = np.ones(3)
    table = BucketTable([0, 5, 2], bucket)
    bucket[0] = 7
    assert table.bucket[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        table.bucket[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        table.pattern_index[0] = 7
    assert len(table) == 3
    assert BucketTable([0, 5, 2], bucket, size=8).fraction == 3 / 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"source": "a\0b"}, "is no text"),
        ({"source": b"\xff"}, "no UTF-8"),
        ({"source": "\ud800"}, "no UTF-8"),
        ({"source": "x" * 10_001}, "10001 characters"),
        ({"unit": 3}, "unit 3 is no text"),
        ({"dark": []}, "dark has 0 values"),
        ({"bucket": [[1], [1, 2]]}, "bucket is no array of numbers"),
        ({"bucket": None}, "bucket holds object, not numbers"),
        ({"pattern_index": [0, 2**53 + 1]}, "is no whole number"),
        ({"pattern_index": [0, 2**20]}, "pattern_index 1048576 is outside"),
        ({"seed": 1}, "seed 1 with order None"),
    ],
)
def test_what_cannot_be_is_refused(words, message):
    with pytest.raises(CxgiError, match=message):
        BucketTable(**{"pattern_index": [0, 1], "bucket": [1.0, 2.0], **words})


def test_white_space_of_text_is_made_single():
    table = BucketTable([0], [1.0], source="  a\t b\r\n\u2028c  ", unit=" ")
    assert table.source == "a b\n\nc"
    assert table.unit is None


def test_the_caller_adds_words_and_may_not_contradict():
    table = BucketTable([0, 1], [1.0, 2.0], size=8, d_r=0.8)
    more = table.with_attrs(size=8, coding="signed", order=None, d_r=0.7, dark=0.2)
    assert more.attrs() == {"size": 8, "coding": "signed", "d_r": 0.7, "dark": 0.2}
    with pytest.raises(CxgiError, match="size 16 was given, but the file says 8"):
        table.with_attrs(size=16)
    with pytest.raises(CxgiError, match="seed 4 was given, but the file says 3"):
        FULL.with_attrs(seed=4)


# ---------------------------------------------------------------- from_file


def test_what_neither_says_is_asked_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("pattern_index,bucket\n0,3\n1,4\n")
    with pytest.raises(CxgiError, match=r"a\.csv: the file does not say its size and coding: give size=N \(--size N\)"):
        Measurement.from_file(path)
    with pytest.raises(CxgiError, match=r"does not say its coding: give coding='signed'"):
        Measurement.from_file(path, size=2)
    m = Measurement.from_file(path, size=2, coding="binary")
    np.testing.assert_array_equal(m.coefficient, [3, 5])
    assert (m.source["d_r"], m.source["dark"]) == (1.0, 0.0)


def test_the_file_says_and_the_caller_overrides_d_r_and_dark(tmp_path):
    path = tmp_path / "a.csv"
    words = "# cxgi_buckets: 1\n# size: 2\n# coding: binary\n# d_r: 0.5\n# dark: 1\n"
    path.write_text(words + "pattern_index,bucket\n0,3\n1,4\n")
    np.testing.assert_allclose(Measurement.from_file(path).coefficient, [2, (2 * 3 - 1.5 * 2) / 0.5])
    np.testing.assert_allclose(Measurement.from_file(path, d_r=1.0, dark=0.0).coefficient, [3, 5])
    np.testing.assert_allclose(Measurement.from_file(path, size=2, coding="binary", dark=0).coefficient[0], 3)
    np.testing.assert_allclose(Measurement.from_csv(path, size=2, coding="binary").coefficient[0], 2)
    with pytest.raises(CxgiError, match=r"a\.csv: coding 'signed' was given, but the file says 'binary'"):
        Measurement.from_file(path, coding="signed")
    with pytest.raises(CxgiError, match=r"a\.csv: size 4 was given, but the file says 2"):
        Measurement.from_csv(path, size=4, coding="binary")
    with pytest.raises(CxgiError, match=r"a\.csv: d_r 7"):
        Measurement.from_file(path, d_r=7)


def test_an_open_bucket_stands_in_for_pattern_0(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("pattern_index,bucket\n1,4\n")
    m = Measurement.from_file(path, size=2, coding="binary", open_bucket=(3.0, 0.0))
    np.testing.assert_array_equal(m.coefficient, [3, 5])
