"""Tables of text are read right where that is certain, else refused."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxgi_bluesky._files.text_table import columns_of, numbers_of
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.bucket_files.plain_lists import read_list
from cxgi_bluesky.measurement.bucket_files.read_write import read_buckets
from cxgi_bluesky.simulation.spectrum import read_spectrum

INDEX, BUCKET = [0.0, 1.0, 2.0], [10.5, 1.0, -2.5]


def read(text):
    return columns_of("a.csv", text, ("pattern_index", "bucket"), ("sigma",), whole=("pattern_index",))


@pytest.mark.parametrize(
    "text",
    [
        "pattern_index,bucket\n0,10.5\n1,1\n2,-2.5\n",
        "pattern_index;bucket\n0;10.5\n1;1\n2;-2.5\n",
        "pattern_index\tbucket\r\n0\t10.5\r\n1\t1\r\n2\t-2.5\r\n",
        "pattern_index   bucket\n0 10.5\n 1  1\n2   -2.5\n",
        '"pattern_index" "bucket"\n0 10.5\n1 1\n2 -2.5\n',
        "pattern_index;bucket\n0;10,5\n1;1\n2;-2,5\n",
        "pattern_index\tbucket\n0\t10,5\n1\t1\n2\t-2,5E+00\n",
        'pattern_index,bucket\n0,"10,5"\n1,"1,0"\n2,"-2,5"\n',
        "# a remark\n\nBucket,note,Pattern_Index\n10.5,a,0\n\n1,b,1\n# another\n-2.5,,2\n",
        ",pattern_index,bucket\n0,0,10.5\n1,1,1.0\n2,2,-2.5\n",
    ],
)
def test_tables_whose_meaning_is_certain(text):
    columns = read(text)
    assert (columns["pattern_index"].tolist(), columns["bucket"].tolist()) == (INDEX, BUCKET)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("pattern_index,bucket\n0,1\n1,10,5\n", "line 3 has 3 cells, the header 2: .*decimal points"),
        ("pattern_index,bucket\n0,10,5\n1,10,5\n", "line 2 has 3 cells, the header 2"),
        ("pattern_index,bucket\n0,1\n1\n", "line 3 has 1 cells, the header 2"),
        ("pattern_index,bucket\n0,1,\n1,1,\n", "line 2 has 3 cells, the header 2"),
        ("pattern_index,bucket,bucket\n0,10,1\n1,2,1\n", "line 1: bucket names 2 columns: keep one"),
        ("pattern_index,bucket,Bucket\n0,10,1\n1,2,1\n", "line 1: bucket names 2 columns: keep one"),
        ("pattern_index bucket\nr1 0 10.5\nr2 1 3\n", "line 2 has 3 cells, the header 2"),
        ("pattern_index;bucket\n0;1,234\n1;2,345\n", "line 2: '1,234' may be thousands or a decimal comma"),
        ("pattern_index;bucket\n0;1,5\n1;2.5\n", "line 2: '1,5' may be thousands or a decimal comma"),
        ("pattern_index;bucket\n0;1,5\n1;1,2,3\n", "line 3: bucket '1,2,3' is no number"),
        ("pattern_index,bucket\n0,1_0\n1,1\n", "line 2: bucket '1_0' is no number"),
        ("pattern_index,bucket\n0,\u0661\n1,1\n", "line 2: bucket '\u0661' is no number"),
        ("pattern_index,bucket\n0,\n1,1\n", "line 2: bucket '' is no number"),
        ("# x\npattern_index,bucket\n\n0,1\n1.5,1\n", "line 5: pattern_index 1.5 is no whole number"),
        ("pattern_index,bucket\ninf,1\n", "line 2: pattern_index inf is no whole number"),
        ('pattern_index,bucket\n0,"1\n', "line 2 is no row of a table"),
        ("", "is empty"),
    ],
)
def test_others_are_refused_with_their_line(rows, complaint):
    with pytest.raises(CxgiError, match=complaint):
        read(rows)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("decimal_comma", "line 5 has 3 cells, the header 2"),
        ("column_named_twice", "line 4: bucket names 2 columns"),
    ],
)
def test_files_of_buckets(tmp_path, name, complaint):
    head = "# cxgi_buckets: 1\n# size: 2\n# coding: signed\n"
    rows = {
        "decimal_comma": "pattern_index,bucket\n0,10,5\n1,1,0\n2,2,5\n3,4,5\n",
        "column_named_twice": "pattern_index,bucket,bucket\n0,1,10\n1,2,1\n2,3,-2.5\n3,4,0.5\n",
    }
    (tmp_path / "a.csv").write_text(head + rows[name])
    with pytest.raises(CxgiError, match=complaint):
        read_buckets(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text", ["10.5,1\n-2.5,3\n", "10.5;1\n-2.5;3\n", "10.5\t1\n-2.5\t3\n", "10.5 1\n -2.5   3\n", "10,5;1\n-2,5;3\n"]
)
def test_bare_numbers(text):
    np.testing.assert_array_equal(numbers_of("a.txt", text), [[10.5, 1.0], [-2.5, 3.0]])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10,5\n1,0\n2,5\n4,5\n", "line 1: a decimal comma, or two numbers"),
        ("10,51\n1,07\n2,5\n", "line 2: a decimal comma, or two numbers"),
        ("1,234;5\n2,345;6\n", "may be thousands"),
        ("1.5\n1_0\n", "line 2 is no list of numbers"),
        ("1 2\n3\n", "line 2 has 1 numbers, the lines before it 2"),
        ("bucket\n1\n", "line 1 is no list of numbers .*a bare list has no header"),
    ],
)
def test_bare_numbers_that_are_refused(tmp_path, text, complaint):
    with pytest.raises(CxgiError, match=complaint):
        numbers_of("a.txt", text)


def test_pairs_with_decimal_commas_are_never_read_as_whole_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("10,5\n1,0\n2,5\n4,5\n")
    with pytest.raises(CxgiError, match="a decimal comma, or two numbers"):
        read_list(tmp_path / "a.csv", "pairs", size=2, order="natural", seed=None, coding=None)
    (tmp_path / "b.csv").write_text("10, 5\n1, 0\n2, 5\n4, 5\n")
    table = read_list(tmp_path / "b.csv", "pairs", size=2, order="natural", seed=None, coding=None)
    assert table.bucket.tolist() == [10, 1, 2, 4]


def test_a_spectrum_with_decimal_commas_is_not_read_as_twice_as_many_lines(tmp_path):
    (tmp_path / "a.csv").write_text("energy_keV,photons\n10,5,20,3\n30,5,10,1\n")
    with pytest.raises(CxgiError, match="line 2 has 4 cells, the header 2"):
        read_spectrum(tmp_path / "a.csv")


NUMBERS = st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=20)


@given(NUMBERS, st.sampled_from([",", ";", "\t", " "]), st.booleans())
def test_what_is_written_is_read_whatever_the_separator(values, separator, faultless):
    rows = [f"{index}{separator}{value!r}" for index, value in enumerate(values)]
    text = "\n".join([f"pattern_index{separator}bucket", *([] if faultless else ["# a remark"]), *rows])
    assert read(text)["bucket"].tolist() == values


@given(st.text(alphabet='0123456789.,;eE+-_"# \tnaif\npattern_index,bucket', max_size=60))
def test_any_text_is_read_or_refused(text):
    for reader in (lambda: read("pattern_index,bucket\n" + text), lambda: read(text), lambda: numbers_of("a", text)):
        with suppress(CxgiError):
            reader()


CELLS = st.sampled_from(
    ["0", "1", "2.5", "-3e2", " 4 ", "", "x", "nan", "1e999", '"7"', "1_0", "0x10", "#", "1;2", "1 2"]
)
LINES = st.lists(CELLS, max_size=4).map(",".join)


@given(
    names=st.permutations(["pattern_index", "bucket", "sigma", "note"]),
    lines=st.lists(LINES | st.sampled_from(["# remark", "  ", "\t"]), max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    indexed=st.booleans(),
)
@example(names=["pattern_index", "bucket"], lines=["0,1", "1,2"], end="\n", indexed=False)
def test_the_fast_way_finds_what_the_slow_way_finds_or_nothing(names, lines, end, indexed):
    lines = [f"{k},{k}.5,0.1,{line}" for k, line in enumerate(lines)] if indexed else lines
    text = end.join(["# remark", ",".join(names), *lines, ""])
    try:
        fast = read(text)
    except CxgiError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxgi_bluesky._files.text_table._read_at_once", lambda *_: None)
        slow = read(text)
    assert list(fast) == list(slow)
    for name, column in fast.items():
        np.testing.assert_array_equal(column, slow[name])
