"""Keys of a block of a beamline file: what a value may be, and one clear error if it is something else."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, CxgiError
from ..epics.arrivals import LATE_S, MAX_LATE_S
from ..epics.diode import PA_PER_UNIT
from ..epics.diodes import CHANNELS
from ..epics.keithley import RATES
from ..epics.shutter import MAX_CLOSING_S

Check = Callable[[Any], Any]
_REQUIRED = object()


@dataclass(frozen=True)
class Key:
    """A key's check, which returns the value or raises ValueError with the remedy, and its default."""

    check: Check
    default: Any = _REQUIRED

    @property
    def required(self) -> bool:
        """Whether the key may not be left out."""
        return self.default is _REQUIRED


def check_block(words: Any, keys: Mapping[str, Key], where: str) -> dict[str, Any]:
    """Checked values of a block, defaults included.

    Parameters
    ----------
    words : mapping
        As the file says.
    keys : mapping of str to Key
    where : str
        Place of the block in the file, "" for the top.

    Raises
    ------
    CxgiError
        For the first key that is unknown, missing or wrong: key, value and remedy.
    """
    if not isinstance(words, dict):
        raise ConfigError(f"{where or 'beamline file'} {words!r}: give keys with values: {', '.join(keys)}")
    for key in words:
        if key not in keys:
            raise ConfigError(f"{_path(where, key)} {words[key]!r}: unknown key, {_likely(str(key), keys)}")
    missing = [key for key, rule in keys.items() if rule.required and key not in words]
    if missing:
        raise ConfigError(f"{_path(where, missing[0])} is missing: {_remedy(keys[missing[0]])}")
    return {
        key: _check(words[key], rule, _path(where, key)) if key in words else rule.default for key, rule in keys.items()
    }


def _check(value: Any, rule: Key, path: str) -> Any:
    if value is None and not rule.required:
        return rule.default
    try:
        return rule.check(value)
    except ValueError as error:
        if isinstance(error, CxgiError):
            raise
        raise ConfigError(f"{path} {value!r}: {error}") from None


def _path(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _likely(key: str, keys: Mapping[str, Key]) -> str:
    near = difflib.get_close_matches(key, keys, n=1)
    return f"did you mean {near[0]}?" if near else f"it may have {', '.join(keys)}"


def _remedy(rule: Key) -> str:
    """What a key wants, from its own words for something that it surely refuses."""
    try:
        rule.check(object())
    except ValueError as error:
        return str(error)
    return "give it"


# ---------------------------------------------------------------- values
def text(value: Any) -> str:
    """Any words."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text")
    return value


def pv(value: Any) -> str:
    """Name of a PV, without the file's prefix."""
    if not isinstance(value, str) or not value or any(c.isspace() for c in value):
        raise ValueError("give the name of a PV, without blanks")
    return value


def record(value: Any) -> str:
    """Name of a record, whose fields are found by themselves."""
    if "." in pv(value):
        raise ValueError("give the name of the record alone, without a field")
    return str(value)


def number(*, above: float = -math.inf, least: float = -math.inf, most: float = math.inf) -> Check:
    """A finite number within bounds.

    Parameters
    ----------
    above : float, optional
        Bound that is excluded itself (default: none).
    least, most : float, optional
        Bounds that are allowed themselves (default: none).

    Returns
    -------
    callable
        Takes a value and returns it as float, or raises ValueError with the remedy.
    """
    bounds = [f"more than {above:g}"] if above > -math.inf else []
    bounds += [f"at least {least:g}"] if least > -math.inf else []
    bounds += [f"at most {most:g}"] if most < math.inf else []
    remedy = f"give a number{' of ' if bounds else ''}{' and '.join(bounds)}"

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(remedy + _hint_of_yaml(value))
        if not (value > above and least <= value <= most):
            raise ValueError(remedy)
        return float(value)

    return check


def _hint_of_yaml(value: Any) -> str:
    """YAML reads 1e4 as a word: it wants a point and a sign."""
    try:
        return f" (YAML takes {value!r} for a word: write {float(value)!r})" if isinstance(value, str) else ""
    except ValueError:
        return ""


def whole(least: int, most: int) -> Check:
    """A whole number within bounds.

    Parameters
    ----------
    least, most : int
        Bounds, allowed themselves.

    Returns
    -------
    callable
        Takes a value and returns it, or raises ValueError with the remedy.
    """

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"give a whole number from {least} to {most}")
        return value

    return check


def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise ValueError("give true or false")
    return value


def level(value: Any) -> int | float | str:
    """Value of a PV: a number, or the word of an enum."""
    if isinstance(value, bool):
        raise ValueError(
            "give a number or the word of the enum in quotation marks (YAML reads On and Off as true, false)"
        )
    if not isinstance(value, int | float | str) or value == "":
        raise ValueError("give a number, or the word of the enum")
    return value


def one_of(*choices: Any) -> Check:
    """One of a few values."""

    def check(value: Any) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError(f"choose {', '.join(map(str, choices))}")
        return value

    return check


def span(value: Any) -> tuple[float, float]:
    """Two numbers, the lower one first."""
    remedy = "give two numbers, the lower one first, such as [-20, 20]"
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(remedy)
    low, high = (number()(v) if isinstance(v, int | float) else None for v in value)
    if low is None or high is None or not low < high:
        raise ValueError(remedy)
    return low, high


def scales(value: Any) -> dict[int, float]:
    """Full scales by the value of a range PV."""
    good = (
        isinstance(value, dict)
        and value
        and all(isinstance(k, int) and isinstance(v, int | float) and 0 < v < math.inf for k, v in value.items())
    )
    if not good:
        raise ValueError("give full scales in A by the value of the range, the smallest first, such as {1: 1.2e-7}")
    if list(value.values()) != sorted(value.values()):
        raise ValueError("give the smallest full scale first")
    return {k: float(v) for k, v in value.items()}


def block(keys: Mapping[str, Key], where: str) -> Check:
    """A block of keys in another.

    Parameters
    ----------
    keys : mapping of str to Key
        What the block may hold.
    where : str
        Place of the block in the file, such as ``stage.limits_mm``.

    Returns
    -------
    callable
        `check_block` of a value.
    """

    def check(value: Any) -> dict[str, Any]:
        return check_block(value, keys, where)

    return check


# ---------------------------------------------------------------- schema


VERSION = 1
MAX_MOVE_S = 110.0  # plans wait 120 s

_seconds = number(least=0)
_time_out = number(above=0)
_shutter_time = number(above=0, most=MAX_CLOSING_S)
_unit = one_of(*PA_PER_UNIT)
_length_um = number(above=0)
_move_time = number(above=0, most=MAX_MOVE_S)

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
_EVERY_DIODE = {"late_s": Key(number(least=0, most=MAX_LATE_S), LATE_S)}
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


# ---------------------------------------------------------------- consistency


def check_together(words: dict[str, Any]) -> None:
    """Raise `CxgiError` for the first two keys that contradict each other.

    Parameters
    ----------
    words : dict
        A beamline file whose keys were checked one by one.
    """
    _check_axes(words)
    _check_shutter(words["shutter"])


def _check_axes(words: dict[str, Any]) -> None:
    """No two axes may be driven by the same PV."""
    driven: dict[str, str] = {}
    for place, pv in _axes(words):
        if pv in driven:
            raise ConfigError(f"{place} {pv!r}: {driven[pv]} is the same, give each axis a PV of its own")
        driven[pv] = place


def _axes(words: dict[str, Any]) -> list[tuple[str, str]]:
    axes = [(f"stage.{axis}", words["stage"][axis]) for axis in ("x", "y")]
    axes += [(f"{name}.motor", words[name]["motor"]) for name in ("object_stage", "knife") if words[name] is not None]
    return [(place, pv["setpoint"] if isinstance(pv, dict) else pv) for place, pv in axes]


def _check_shutter(shutter: dict[str, Any]) -> None:
    for one, other in (("opened_value", "closed_value"), ("open_value", "close_value")):
        if shutter[one] == shutter[other] and (shutter["command"] is not None or one == "opened_value"):
            raise ConfigError(f"shutter.{one} {shutter[one]!r}: {other} is the same, one of the two is wrong")
    if shutter["max_open_s"] is not None and shutter["max_open"] is None:
        raise ConfigError(
            f"shutter.max_open_s {shutter['max_open_s']:g}: give max_open, the PV of the IOC's timer that enforces it"
        )
    barrier = shutter["second_barrier"] or {}
    for key in ("command", "readback"):
        if barrier and barrier[key] == shutter[key]:
            raise ConfigError(
                f"shutter.second_barrier.{key} {barrier[key]!r}: it is the shutter's own, give what stops the "
                "beam when the shutter does not"
            )
