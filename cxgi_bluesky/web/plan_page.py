"""The page to plan the next scan: from a form to the table of `cxgi plan`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, CxgiError
from ..masks.board_files import list_shipped_boards
from ..reconstruction.planning.budget import MASK_KNOWLEDGE, plan_measurement
from ..reconstruction.planning.report import LENGTHS_UM, SECONDS, parse_quantity, to_payload
from ..simulation.base import Detector

DEFAULTS = {
    "current_pA": "", "budget": "time", "amount": "20min", "resolve": "", "board": "au64", "masks": "perfect",
    "overhead": "20ms", "transmission": "0.5", "contrast": "1", "electrometer_fA": "20", "photon_keV": "17.6",
}  # fmt: skip
_LONGEST = 40  # characters of a field


def plan_from_form(query: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any] | None, str | None]:
    """Plan from the fields of the form; what cannot be met is told, never raised.

    Parameters
    ----------
    query : mapping
        Fields by name; empty for a form that was not filled in.

    Returns
    -------
    form : dict
        The fields as they stand, and ``boards`` and ``mask_choices`` that there are.
    plan : dict or None
        As `to_payload`.
    problem : str or None
        Why there is none.
    """
    given = {name: query.get(name, default)[:_LONGEST].strip() for name, default in DEFAULTS.items()}
    form = {**given, "boards": list_shipped_boards(), "mask_choices": MASK_KNOWLEDGE}
    if not query:
        return form, None, None
    try:
        if given["board"] not in form["boards"]:
            raise ConfigError(f"board {given['board']!r} is none of {', '.join(form['boards'])}: cxgi plan takes files")
        return form, _plan(tuple(given.items())), None
    except CxgiError as error:
        return form, None, str(error)


@functools.lru_cache(maxsize=64)
def _plan(fields: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    given = dict(fields)
    budget_s = parse_quantity("Budget", given["amount"], SECONDS, "20min")
    masks: Any = given["masks"]
    return to_payload(
        plan_measurement(
            given["board"],
            current_pa=_number("Current", given["current_pA"]),
            detector=Detector(
                photon_energy_kev=_above_0("Photon energy", given["photon_keV"]),
                electrometer_fa=_above_0("Electrometer noise", given["electrometer_fA"]),
            ),
            time_s=budget_s if given["budget"] == "time" else None,
            open_s=None if given["budget"] == "time" else budget_s,
            masks=masks,
            line_um=parse_quantity("Finest line", given["resolve"] or None, LENGTHS_UM, "10um"),
            overhead_s=parse_quantity("Overhead", given["overhead"], SECONDS, "20ms") or 0.0,
            transmission=_number("Transmission", given["transmission"]),
            contrast=_number("Contrast", given["contrast"]),
        )
    )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} {text!r}: give a number") from None


def _above_0(name: str, text: str) -> float:
    value = _number(name, text)
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} {text}: give a number above 0")
    return value
