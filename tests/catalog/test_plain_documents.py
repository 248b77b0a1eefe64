"""Runs of other plans are stored whatever is in them: what cannot be kept becomes text, and a warning says so."""

from __future__ import annotations

import math
from datetime import date

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.plans import count
from ophyd import Signal

from cxgi_bluesky.catalog import RunStore, find_run, writer_of
from cxgi_bluesky.catalog.journal import journal_files, journal_folder
from cxgi_bluesky.measurement.plain_values import plain_or_text
from tests.conftest import ALONE, small_scan

ODD = {
    "barcode": (12345678901234567890, "12345678901234567890"),
    "flux": (1e17, "1e+17"),
    "gain": (float("inf"), "inf"),
    "noise": (float("nan"), None),
    "raw": (b"\xff1", "\\xff1"),
    "name": ("a\udcff", "a\\udcff"),
    "map": ({"x": [0, 2**60]}, {"x": [0, str(2**60)]}),
    "what": (slice(3), "slice(None, 3, None)"),
}


@pytest.fixture
def stored(RE, catalog, folder):
    """Run a plan; what the catalog has of it. No journal is left."""
    RE.subscribe(RunStore(writer_of(catalog)))

    def run(plan, **metadata):
        (uid,) = RE(plan, **metadata)
        assert journal_files(journal_folder(folder)) == []
        return find_run(catalog, uid)

    return run


def given() -> dict:
    return {name: value for name, (value, _) in ODD.items()} | {"day": date(2026, 1, 2)}


def check_kept(kept, caplog) -> None:
    assert {name: kept[name] for name in ODD} == {name: text for name, (_, text) in ODD.items()}
    assert kept["day"] == "2026-01-02"
    (line,) = [record.getMessage() for record in caplog.records if "kept as text" in record.getMessage()]
    assert [name for name in (*ODD, "day") if name in line] == [*ODD]


def test_metadata_of_another_plan(stored, caplog):
    run = stored(count([Signal(name="a", value=1)]), **given())
    check_kept(run.metadata["start"], caplog)


def test_metadata_of_the_engine_in_a_scan_of_ours(stored, RE, beamline, caplog):
    RE.md |= given()
    check_kept(stored(small_scan(beamline, 4, **ALONE)).metadata["start"], caplog)


class Configured(Signal):
    """A device whose configuration has what JSON has not."""

    def read_configuration(self):
        return {name: {"value": value, "timestamp": 1.0} for name, value in given().items()}

    def describe_configuration(self):
        return {name: {"source": "x", "dtype": "string", "shape": []} for name in given()}


def test_configuration_of_a_device(stored, caplog):
    run = stored(count([Configured(name="a", value=1)]))
    assert "configuration" in caplog.text
    (configuration,) = [d["configuration"]["a"]["data"] for name, d in run.documents() if name == "descriptor"]
    assert {name: configuration[name] for name in ODD} == {name: text for name, (_, text) in ODD.items()}


def test_readings_stay_the_numbers_they_are(stored, caplog):
    signal = Signal(name="a", value=0.5)

    @bpp.run_decorator()
    def plan():
        for value in (0.5, math.nan, math.inf, 1e17):
            signal.put(value)  # set() would wait for NaN to be NaN
            yield from bps.trigger_and_read([signal])

    values = stored(plan())["primary"].read()["a"].values
    np.testing.assert_array_equal(values, [0.5, math.nan, math.inf, 1e17])
    assert "kept as text" not in caplog.text


@pytest.mark.parametrize(
    ("reading", "text"), [(b"\xff", "\\xff"), ("\udcff", "\\udcff"), (date(2026, 1, 2), "2026-01-02")]
)
def test_readings_that_are_no_numbers_end_no_run(stored, reading, text):
    signal = Signal(name="a", value="good")
    signal.describe = lambda: {"a": {"source": "x", "dtype": "string", "shape": []}}

    @bpp.run_decorator()
    def plan():
        for value in ("good", reading):
            signal.put(value)  # set() would wait for NaN to be NaN
            yield from bps.trigger_and_read([signal])

    run = stored(plan())
    assert run["primary"].read()["a"].values.tolist() == ["good", text]
    assert run.metadata["stop"]["exit_status"] == "success"


def test_keys_that_become_the_same_text_lose_nothing():
    assert plain_or_text({1: "a", "1": "b", None: "c"}, "")[0] == {"1'": "a", "1": "b", "None": "c"}


def test_what_lies_within_itself_ends():
    value: dict = {}
    value["self"] = [value]
    plain, changed = plain_or_text(value, "")
    assert len(changed) == 1
    assert plain["self"][0]["self"]
