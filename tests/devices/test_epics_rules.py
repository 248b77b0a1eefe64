"""What EPICS devices refuse before they connect to anything."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from cxgi_bluesky.devices.diagnostics.passive import Finding, format_table
from cxgi_bluesky.devices.epics.diode import pa_per
from cxgi_bluesky.devices.epics.diodes import GenericDiode, ScalerDiode
from cxgi_bluesky.devices.epics.keithley import KeithleyDiode
from cxgi_bluesky.devices.epics.quadem import QuadEMDiode
from cxgi_bluesky.devices.epics.shutter import EpicsShutter, ShutterPvs, ShutterTimes
from cxgi_bluesky.devices.epics.single_axis import EpicsObjectStage
from cxgi_bluesky.devices.epics.source import EpicsSource
from cxgi_bluesky.errors import CxgiError


@pytest.mark.parametrize(
    ("pvs", "times", "message"),
    [
        ({"readback": "r"}, {}, "either a command PV or both"),
        ({"readback": "r", "open_pulse": "o"}, {}, "either a command PV or both"),
        ({"readback": "r", "command": "c", "open_pulse": "o", "close_pulse": "p"}, {}, "either a command PV or both"),
        ({"readback": "r", "command": "c"}, {"opening_s": 0.0}, "opening_s 0 s"),
        ({"readback": "r", "command": "c"}, {"closing_s": 9.5}, "closing_s of shutter and barrier 9.5 s"),
    ],
)
def test_shutters_that_do_not_go_together(pvs, times, message):
    with pytest.raises(CxgiError, match=message):
        EpicsShutter(name="shutter", pvs=ShutterPvs(**pvs), times=ShutterTimes(**times))


def test_shutter_and_barrier_must_close_before_the_plan_gives_up():
    barrier = SimpleNamespace(closing_s=5.0)
    with pytest.raises(CxgiError, match="closing_s of shutter and barrier 10 s"):
        EpicsShutter(
            name="shutter",
            pvs=ShutterPvs(readback="r", command="c"),
            times=ShutterTimes(closing_s=5),
            barrier=barrier,
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GenericDiode(name="d", acquire_pv="a", value_pv="v", unit="V"), "unit 'V'"),
        (lambda: KeithleyDiode("k:", name="d", rate="sluggish"), "rate 'sluggish'"),
        (lambda: KeithleyDiode("k:", name="d", start_range=9), "start_range 9"),
        (lambda: QuadEMDiode("q:", name="d", channel=5), "channel 5"),
        (lambda: ScalerDiode(name="d", scaler_pv="s", channel=1, counts_per_pa_s=1.0), "channel 1 .* clock"),
        (lambda: ScalerDiode(name="d", scaler_pv="s", counts_per_pa_s=0.0), "counts_per_pa_s 0"),
        (lambda: EpicsObjectStage(name="o", motor_pv="m", in_mm=1.0, out_mm=1.0), "in_mm 1 and out_mm 1"),
        (lambda: EpicsSource(name="s"), "needs ready, current or both"),
        (lambda: EpicsSource(name="s", current_pv="c"), "belong together"),
        (lambda: EpicsSource(name="s", ready_pv="r", ready_value=2), "ready_value 2"),
    ],
)
def test_impossible_words(make, message):
    with pytest.raises(CxgiError, match=message):
        make()


def test_units_of_current():
    assert [pa_per(unit) for unit in ("A", "nA", "pA")] == [1e12, 1e3, 1.0]


def test_the_table_has_one_line_for_each_finding():
    lines = format_table(
        [Finding("stage.x", "no answer", "check"), Finding("diode", "wrong unit", "mend")]
    ).splitlines()
    assert lines[0].split("  ") != lines[1].split("  ")
    assert [line.split()[0] for line in lines] == ["where", "stage.x", "diode"]


def test_neither_the_package_nor_the_command_line_imports_epics():
    code = (
        "import sys, cxgi_bluesky; from cxgi_bluesky.cli import build_parser; build_parser(); "
        "print([m for m in sys.modules if m.split('.')[0] in ('epics', 'ophyd', 'caproto')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
