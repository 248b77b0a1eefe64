from __future__ import annotations

import math

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.outliers import (
    DRIFT,
    INTENSITY,
    NOT_A_NUMBER,
    REPEATS,
    SPREAD,
    Exposure,
    select_valid,
    valid_open,
)
from tests.measurement.test_exposures import ALL, run_documents


def exposures(count=40, seed=0):
    """Heavy-tailed buckets with shot noise told to 25 %, one every second."""
    rng = np.random.default_rng(seed)
    buckets = 10 + 3 * rng.standard_t(2, size=count).clip(-3, 20)
    return {
        k: [Exposure(float(b), float(0.02 * math.sqrt(b) * rng.uniform(0.75, 1.25)), 1.0, float(k))]
        for k, b in enumerate(buckets)
    }


def opened(levels):
    return [Exposure(level, 0.02, 1.0, 10.0 * i - 0.5) for i, level in enumerate(levels)]


STEADY = opened([10.0, 10.1, 10.0, 9.9, 10.0])


def test_nothing_is_left_out_of_an_honest_scan_however_heavy_its_tails():
    for seed in range(20):
        good, reasons = select_valid(exposures(seed=seed), STEADY)
        assert not reasons
        assert len(good) == 40


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Exposure(math.nan, 0.05, 1.0, 7.0), NOT_A_NUMBER),
        (Exposure(9.0, 0.05, math.nan, 7.0), NOT_A_NUMBER),
        (Exposure(9.0, 0.5, 1.0, 7.0), SPREAD),
        (Exposure(9.0, 0.05, 0.6, 7.0), INTENSITY),
        (Exposure(9.0, 0.05, 0.0, 7.0), INTENSITY),
        (Exposure(9.0, 0.05, -1.0, 7.0), INTENSITY),
    ],
)
def test_a_faulty_exposure_is_named_with_its_reason(fault, reason):
    good, reasons = select_valid({**exposures(), 7: [fault]}, STEADY)
    assert reasons == {7: reason}
    assert 7 not in good


def test_a_faulty_exposure_that_was_repeated_costs_nothing():
    sound = exposures()[7][0]
    good, reasons = select_valid({**exposures(), 7: [sound, Exposure(9.0, 0.5, 1.0, 7.5)]}, STEADY)
    assert not reasons
    assert good[7] == sound


def test_of_two_that_differ_the_last_wins_and_of_three_the_odd_one_is_dropped():
    one, two, odd = (Exposure(b, 0.05, 1.0, t) for b, t in ((9.0, 1.0), (9.05, 2.0), (15.0, 3.0)))
    assert select_valid({1: [one, odd]}, [])[0][1] == odd
    assert select_valid({1: [one, two, odd]}, [])[0][1] == two
    assert select_valid({1: [one, odd, two]}, [])[0][1] == two
    all_different = [one, odd, Exposure(20.0, 0.05, 1.0, 4.0)]
    assert select_valid({1: all_different}, [])[1] == {1: REPEATS}


def test_what_was_exposed_while_the_source_jumped_is_left_out():
    good, reasons = select_valid(exposures(60), opened([10.0, 10.0, 8.0, 8.0, 8.0, 8.0, 8.0]))
    assert set(reasons.values()) == {DRIFT}
    assert sorted(reasons) == list(range(10, 20))
    assert len(good) == 50


@pytest.mark.parametrize("levels", [[10.0, 9.7, 9.4, 9.1, 8.8], [10.0, 9.0, 8.1, 7.3, 6.6], [10.0, 7.0]])
def test_a_drift_is_no_jump_however_fast(levels):
    assert not select_valid(exposures(), opened(levels))[1]


def test_a_source_that_jumps_all_the_time_costs_no_scan():
    assert not select_valid(exposures(), opened([10.0, 8.0, 10.5, 7.5, 10.0]))[1]


def test_noisy_open_exposures_are_kept():
    rng = np.random.default_rng(3)
    noisy = [Exposure(10 + float(n), 1.0, 1.0, float(t)) for t, n in enumerate(rng.normal(size=40))]
    assert len(valid_open(noisy)) == 40


def test_the_dark_is_taken_off_before_levels_are_compared():
    events = [(*e, 0.01, 1.0, 10.0 * i) for i, e in enumerate(ALL)]
    events = [(s, k, b + 60.0, *more) for s, k, b, *more in events] + [("dark", -1, 60.0, 0.01, 1.0, -5.0)]
    opens = [10.0, 10.0, 10.0, 10.0, 8.0, 8.0]
    events += [("open", -1, 60.0 + level, 0.01, 1.0, 30.0 * i - 5) for i, level in enumerate(opens)]
    m = Measurement.from_documents(run_documents(events))
    assert m.source["left_out_because"] == {DRIFT: [9, 10, 11]}


def test_when_everything_is_left_out_the_reason_is_told():
    events = [("primary", k, None, 0.01, 1.0, float(k)) for k in range(16)]
    with pytest.raises(CxgiError, match=r"all 16 exposures were left out: not a number \(16\)"):
        Measurement.from_documents(run_documents(events))


def test_an_open_exposure_alone_between_two_that_agree_is_the_faulty_one():
    levels = [10.0, 10.0, 4.0, 10.0, 10.0]
    assert [e.bucket for e in valid_open(opened(levels))] == [10.0] * 4
    assert not select_valid(exposures(), opened(levels))[1]


def test_a_fluctuating_source_with_a_monitor_is_no_fault():
    rng = np.random.default_rng(1)
    stream = {k: [Exposure(9.0 * i0, 0.05, float(i0), float(k))] for k, i0 in enumerate(rng.uniform(0.6, 1.4, 60))}
    assert not select_valid(stream, [])[1]


def test_left_out_patterns_are_listed_by_reason_in_the_measurement():
    events = [(*e, 0.01, 1.0, float(i)) for i, e in enumerate(ALL)]
    events[5] = ("primary", 5, None, 0.01, 1.0, 5.0)
    events[9] = ("primary", 9, events[9][2], 0.9, 1.0, 9.0)
    m = Measurement.from_documents(run_documents(events))
    assert m.source["left_out"] == [5, 9]
    assert m.source["left_out_because"] == {NOT_A_NUMBER: [5], SPREAD: [9]}
    assert not {5, 9} & set(m.pattern_index)


def test_a_snapshot_keeps_its_own_repeats():
    live = Exposures()
    events = [(*e, 0.01, 1.0, float(i)) for i, e in enumerate(ALL)]
    for name, document in run_documents([*events, ("primary", 3, 99.0, 5.0, 1.0, 20.0)]):
        if name == "event" and document["data"]["b"] == 99.0:
            before = live.snapshot()
        live(name, document)
    for collected in (before, live):  # the wild repeat is dropped by its own spread
        assert 3 in Measurement.from_exposures(collected).pattern_index
    np.testing.assert_array_equal(*(Measurement.from_exposures(x).coefficient for x in (before, live)))
