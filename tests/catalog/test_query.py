"""Conditions on runs: what they choose is what Python would, and what they cannot mean is refused."""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxgi_bluesky.catalog.query import MAX_CHARACTERS, choose_runs
from cxgi_bluesky.catalog.run_index import IndexedRun
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import ConfigError

NUMBERS, TEXTS = st.integers(-3, 3) | st.floats(-3, 3), st.sampled_from(["", "leaf", "leaf wing", "bone"])


def run_of(uid="1", *, exit_status="success", **start):
    return IndexedRun({"uid": uid, **start}, None if exit_status is None else {"exit_status": exit_status})


def chosen(condition, *runs):
    return [run.start["uid"] for run in choose_runs(condition, runs)]


# ---------------------------------------------------------------- as Python would


def comparisons():
    orders = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    number = st.sampled_from(["scan_id", "cxgi.exposure_s"]) | NUMBERS.map(repr)
    text = st.sampled_from(["sample", "cxgi.board.id"]) | TEXTS.map(repr)
    pairs = st.builds("{} {} {}".format, number, orders, number) | st.builds("{} {} {}".format, text, orders, text)
    chains = st.builds("{} {} {} {} {}".format, number, orders, number, orders, number)
    within = st.builds("{} {} {}".format, text, st.sampled_from(["in", "not in"]), text)
    lists = st.builds("{} in {!r}".format, text, st.lists(TEXTS, max_size=3).map(tuple))
    return pairs | chains | within | lists


CONDITIONS = st.recursive(
    comparisons(),
    lambda inner: (
        st.builds("({}) {} {}".format, inner, st.sampled_from(["and", "or"]), inner) | inner.map("not ({})".format)
    ),
    max_leaves=6,
)
STARTS = st.fixed_dictionaries(
    {
        "scan_id": st.integers(-3, 3),
        "sample": TEXTS,
        "cxgi": st.fixed_dictionaries({"exposure_s": NUMBERS, "board": st.fixed_dictionaries({"id": TEXTS})}),
    }
)


def by_python(condition, start):
    block = SimpleNamespace(exposure_s=start["cxgi"]["exposure_s"], board=SimpleNamespace(**start["cxgi"]["board"]))
    return eval(condition, {"__builtins__": {}}, {**start, "cxgi": block})


@given(CONDITIONS, st.lists(STARTS, max_size=4))
def test_a_condition_chooses_what_python_would(condition, starts):
    runs = [run_of(str(number), **start) for number, start in enumerate(starts)]
    assert chosen(condition, *runs) == [str(n) for n, start in enumerate(starts) if by_python(condition, start)]


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    with suppress(ConfigError):
        choose_runs(text, [run_of(sample="leaf")])


# ---------------------------------------------------------------- runs and dates


def test_a_run_without_the_name_has_none_there():
    runs = run_of("1", sample="leaf"), run_of("2")
    assert chosen('sample == "leaf"', *runs) == ["1"]
    assert chosen('sample != "leaf"', *runs) == ["2"]
    assert chosen('sample < "z"', *runs) == ["1"]
    assert chosen("sample == None", *runs) == ["2"]


def test_values_of_other_kinds_are_never_equal_or_ordered():
    runs = run_of("1", sample=3), run_of("2", sample="leaf"), run_of("3", sample=True)
    assert chosen("sample == 3", *runs) == ["1"]
    assert chosen("sample > 0", *runs) == ["1"]
    assert chosen("sample == True", *runs) == ["3"]


def test_time_is_compared_with_dates_and_moments_here():
    noon = time.mktime((2026, 11, 1, 12, 0, 0, 0, 0, -1))
    run = run_of(time=noon)
    assert chosen('"2026-11-01" <= time < "2026-11-02"', run) == ["1"]
    assert chosen('time > "2026-11-01 12:00:01"', run) == []
    assert chosen(f"time >= {noon}", run) == ["1"]


def test_the_exit_status_is_that_of_the_stop_document():
    runs = run_of("1"), run_of("2", exit_status="abort"), run_of("3", exit_status=None)
    assert chosen('exit_status in ("abort", "unfinished")', *runs) == ["2", "3"]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ('smaple == "leaf"', "did you mean sample"),
        ("exposure_s > 1", "did you mean cxgi.exposure_s"),
        ("sample == leaf", "texts are written in quotes"),
        ('sample = "leaf"', "equality is =="),
        ('sample > "a" and', "write it like"),
        ("sample", "is no comparison"),
        ("__import__('os').system('true')", "is no comparison"),
        ("sample == open('x')", "neither a name nor"),
        ("sample == 1 + 1", "neither a name nor"),
        ("[x for x in sample] == 1", "neither a name nor"),
        ("sample.upper == 1", "no run has the name sample.upper"),
        ("sample is None", "write sample == None"),
        ('scan_id == "7"', "scan_id, which is a number with '7', which is a text"),
        ("cxgi == 7", "a group of names"),
        ('time > "yesterday"', "is no date"),
        ('time == "2026-11-01"', '"2026-11-01" <= time'),
        ("not " * MAX_CHARACTERS + "scan_id == 1", "at most"),
        ("(" * 1000 + "1" + ")" * 1000, "cannot be read"),
        ("not " * 2000 + "scan_id == 1", "cannot be read"),
    ],
)
def test_what_is_no_condition_is_refused(condition, message):
    with pytest.raises(ConfigError) as caught:
        choose_runs(condition, [run_of(sample="leaf", scan_id=7, time=1.0, cxgi={"exposure_s": 1.0})])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_runs_lists_those_that_meet_it(tmp_path, capsys):
    from tests.session.test_many_runs import store_scans

    _, good, bad = store_scans(tmp_path, 2)
    assert main(["runs", "--query", 'sample == "leaf"', "--last", "2", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 of 3 runs in ")
    assert (bad[:8] in said, good[0][:8] in said) == (True, False)
    assert main(["runs", "--query", 'sample == "bone"', "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("0 of 0 runs in ")
