"""Keys of a beamline file that are right each by itself, and do not go together."""

from __future__ import annotations

from typing import Any

from ...errors import CxgiError


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
            raise CxgiError(f"{place} {pv!r}: {driven[pv]} is the same, give each axis a PV of its own")
        driven[pv] = place


def _axes(words: dict[str, Any]) -> list[tuple[str, str]]:
    axes = [(f"stage.{axis}", words["stage"][axis]) for axis in ("x", "y")]
    axes += [(f"{name}.motor", words[name]["motor"]) for name in ("object_stage", "knife") if words[name] is not None]
    return [(place, pv["setpoint"] if isinstance(pv, dict) else pv) for place, pv in axes]


def _check_shutter(shutter: dict[str, Any]) -> None:
    for one, other in (("opened_value", "closed_value"), ("open_value", "close_value")):
        if shutter[one] == shutter[other] and (shutter["command"] is not None or one == "opened_value"):
            raise CxgiError(f"shutter.{one} {shutter[one]!r}: {other} is the same, one of the two is wrong")
    if shutter["max_open_s"] is not None and shutter["max_open"] is None:
        raise CxgiError(
            f"shutter.max_open_s {shutter['max_open_s']:g}: give max_open, the PV of the IOC's timer that enforces it"
        )
    barrier = shutter["second_barrier"] or {}
    for key in ("command", "readback"):
        if barrier and barrier[key] == shutter[key]:
            raise CxgiError(
                f"shutter.second_barrier.{key} {barrier[key]!r}: it is the shutter's own, give what stops the "
                "beam when the shutter does not"
            )
