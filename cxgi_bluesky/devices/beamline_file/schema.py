"""The keys of a beamline file; docs/how-to/write-a-beamline-file.md says what they mean."""

from __future__ import annotations

from typing import Any

from ..epics.arrivals import LATE_S, LONGEST_LATE_S
from ..epics.diode import PA_PER_UNIT
from ..epics.keithley import RATES
from ..epics.scaler import CHANNELS
from ..epics.shutter_pvs import LONGEST_CLOSING_S
from .keys import Check, Key, block, check_block, flag, level, number, one_of, pv, record, scales, span, text, whole

VERSION = 1
LONGEST_MOVE_S = 110.0  # plans wait 120 s

_seconds = number(least=0)
_time_out = number(above=0)
_shutter_time = number(above=0, most=LONGEST_CLOSING_S)
_unit = one_of(*PA_PER_UNIT)
_length_um = number(above=0)
_move_time = number(above=0, most=LONGEST_MOVE_S)

TIMEOUTS = {
    "connection_s": Key(_time_out, 5.0),
    "read_s": Key(_time_out, 3.0),
    "write_s": Key(_time_out, 10.0),
}
LIMITS = {"x": Key(span, None), "y": Key(span, None)}
POSITIONER = {"setpoint": Key(pv), "readback": Key(pv), "stop": Key(pv, None)}


def axis(where: str) -> Check:
    """A motor record, or the PVs of an axis without."""

    def check(value: Any) -> str | dict[str, Any]:
        if isinstance(value, dict):
            return check_block(value, POSITIONER, where)
        try:
            return record(value)
        except ValueError as error:
            raise ValueError(f"{error}: a motor record; or setpoint and readback of an axis without") from None

    return check


STAGE = {
    "x": Key(axis("stage.x")),
    "y": Key(axis("stage.y")),
    "limits_mm": Key(block(LIMITS, "stage.limits_mm"), {"x": None, "y": None}),
    "in_position_um": Key(_length_um, None),
    "settle_s": Key(_seconds, 0.0),
    "move_timeout_s": Key(_move_time, 60.0),
    "velocity_mm_s": Key(number(above=0), None),
}
BARRIER = {
    "command": Key(pv),
    "readback": Key(pv),
    "close_value": Key(level, 0),
    "closed_value": Key(level, 0),
    "closing_s": Key(_shutter_time, 3.0),
}
SHUTTER = {
    "readback": Key(pv),
    "command": Key(pv, None),
    "open_pulse": Key(pv, None),
    "close_pulse": Key(pv, None),
    "open_value": Key(level, 1),
    "close_value": Key(level, 0),
    "pulse_value": Key(level, 1),
    "opened_value": Key(level, 1),
    "closed_value": Key(level, 0),
    "permit": Key(pv, None),
    "permit_value": Key(level, 1),
    "max_open": Key(pv, None),
    "max_open_s": Key(number(above=0), None),
    "reset": Key(pv, None),
    "opening_s": Key(_shutter_time, 3.0),
    "closing_s": Key(_shutter_time, 3.0),
    "settle_s": Key(_seconds, 0.0),
    "second_barrier": Key(block(BARRIER, "shutter.second_barrier"), None),
}
_EVERY_DIODE = {"late_s": Key(number(least=0, most=LONGEST_LATE_S), LATE_S)}
_WITH_RANGES = {"max_repeats": Key(whole(0, 10), 2), "range_settle_s": Key(_seconds, 0.1), **_EVERY_DIODE}
DIODES: dict[str, dict[str, Key]] = {
    "keithley": {
        "pvs": Key(pv),
        "rate": Key(one_of(*RATES), "slow"),
        "start_range": Key(whole(0, 7), None),
        "line_hz": Key(one_of(50, 60), 50),
        "unit": Key(_unit, "A"),
        **_WITH_RANGES,
    },
    "quadem": {
        "pvs": Key(pv),
        "channel": Key(whole(1, 4), 1),
        "unit": Key(_unit, "A"),
        "full_scale_a": Key(scales, None),
        **_WITH_RANGES,
    },
    "scaler": {
        "record": Key(record),
        "channel": Key(whole(2, CHANNELS), 2),
        "counts_per_pa_s": Key(number(above=0)),
        "counting": Key(flag, False),
        **_EVERY_DIODE,
    },
    "generic": {
        "acquire": Key(pv),
        "value": Key(pv),
        "spread": Key(pv, None),
        "exposure": Key(pv, None),
        "overload": Key(pv, None),
        "acquire_value": Key(whole(-32768, 32767), 1),
        "unit": Key(_unit, "pA"),
        **_EVERY_DIODE,
    },
}
MONITOR = {"value": Key(pv), "unit": Key(_unit, "pA")}
OBJECT_STAGE = {
    "motor": Key(record),
    "in_mm": Key(number()),
    "out_mm": Key(number()),
    "in_position_um": Key(_length_um, 10.0),
    "settle_s": Key(_seconds, 0.0),
    "move_timeout_s": Key(_move_time, 60.0),
    "limits_mm": Key(span, None),
}
KNIFE = {
    "motor": Key(record),
    "axis": Key(one_of("x", "y")),
    "in_position_um": Key(_length_um, 1.0),
    "settle_s": Key(_seconds, 0.0),
    "move_timeout_s": Key(_move_time, 60.0),
    "limits_mm": Key(span, None),
}
SOURCE = {
    "ready": Key(pv, None),
    "ready_value": Key(one_of(0, 1), 1),
    "current": Key(pv, None),
    "at_least_ma": Key(number(above=0), None),
    "wait_s": Key(_seconds, 5.0),
}


def diode(value: Any) -> dict[str, Any]:
    """The diode's block: its `class` says which keys it has."""
    words = dict(value) if isinstance(value, dict) else value
    kind = words.pop("class", None) if isinstance(words, dict) else None
    if kind not in DIODES:
        raise ValueError(f"its class must be one of {', '.join(DIODES)}, and is {kind!r}")
    return {"class": kind, **block(DIODES[kind], "diode")(words)}


TOP = {
    "version": Key(one_of(VERSION)),
    "name": Key(text),
    "prefix": Key(lambda value: "" if value == "" else pv(value), ""),
    "board": Key(text),
    "data": Key(text, None),
    "timeouts": Key(block(TIMEOUTS, "timeouts"), {key: rule.default for key, rule in TIMEOUTS.items()}),
    "stage": Key(block(STAGE, "stage")),
    "shutter": Key(block(SHUTTER, "shutter")),
    "diode": Key(diode),
    "monitor": Key(block(MONITOR, "monitor"), None),
    "object_stage": Key(block(OBJECT_STAGE, "object_stage"), None),
    "knife": Key(block(KNIFE, "knife"), None),
    "source": Key(block(SOURCE, "source"), None),
}
