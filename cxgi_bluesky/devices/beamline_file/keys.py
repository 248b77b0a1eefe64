"""Keys of a block of a beamline file: what a value may be, and one clear error if it is something else."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import CxgiError

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
        raise CxgiError(f"{where or 'beamline file'} {words!r}: give keys with values: {', '.join(keys)}")
    for key in words:
        if key not in keys:
            raise CxgiError(f"{_path(where, key)} {words[key]!r}: unknown key, {_likely(str(key), keys)}")
    missing = [key for key, rule in keys.items() if rule.required and key not in words]
    if missing:
        raise CxgiError(f"{_path(where, missing[0])} is missing: {_remedy(keys[missing[0]])}")
    return {
        key: _checked(words[key], rule, _path(where, key)) if key in words else rule.default
        for key, rule in keys.items()
    }


def _checked(value: Any, rule: Key, path: str) -> Any:
    if value is None and not rule.required:
        return rule.default
    try:
        return rule.check(value)
    except ValueError as error:
        if isinstance(error, CxgiError):
            raise
        raise CxgiError(f"{path} {value!r}: {error}") from None


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
    """A finite number within bounds."""
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
    """A whole number within bounds."""

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
    """A block of keys in another."""

    def check(value: Any) -> dict[str, Any]:
        return check_block(value, keys, where)

    return check
