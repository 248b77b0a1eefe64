"""Plain values: what JSON and every catalog keep as it is. Everything else is refused, or kept as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, time
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from ..errors import ConfigError

MAX_WHOLE = 2**53 - 1  # JSON's largest certain whole number; catalogs cut off what is larger, also of floats
MAX_DEPTH = 50
_SHOWN = 60  # characters of a value in a message

Otherwise = Callable[[str, Any, str], Any]
"""What becomes of a value that cannot be kept: takes its name, itself and why; returns another, or raises."""


def require_plain(value: Any, name: str) -> Any:
    """The value with dates, paths, uuids as text, numpy's values as numbers and lists, sets as sorted lists.

    Parameters
    ----------
    value : object
        Mappings, lists, tuples and sets are walked.
    name : str
        For messages.

    Returns
    -------
    None, bool, int, float, str, list, tuple or dict

    Raises
    ------
    CxgiError
        For the first value that would not be read back as it is: bytes, text that is no UTF-8, whole numbers beyond
        2^53, infinity and NaN, keys that are no text, other objects, values nested deeper than `MAX_DEPTH`.
    """
    return _plain(value, name, _refuse, 0)


def plain_or_text(value: Any, name: str) -> tuple[Any, dict[str, str]]:
    """As `require_plain`, but what cannot be kept becomes text, NaN None.

    Parameters
    ----------
    value : object
        Mappings, lists, tuples and sets are walked.
    name : str
        Of the value, from which the names in `changed` are made.

    Returns
    -------
    value : None, bool, int, float, str, list, tuple or dict
    changed : dict
        Names of the values that cannot be kept, to why.
    """
    changed: dict[str, str] = {}

    def note(name: str, value: Any, why: str) -> Any:
        changed[name] = why
        return _text(value)

    return _plain(value, name, note, 0), changed


def _refuse(name: str, value: Any, why: str) -> Any:
    raise ConfigError(f"{name} {_show(value)} {why}, which cannot be kept: give text, finite numbers, lists, mappings")


def _show(value: Any) -> str:
    shown = ascii(_text(value) if isinstance(value, list | dict | tuple) else value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _text(value: Any) -> str | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    try:
        text = str(value)
    except Exception as error:  # an object of somebody else, or one within itself
        text = f"{type(value).__name__} without text ({type(error).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any, name: str, otherwise: Otherwise, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if depth > MAX_DEPTH:
        return otherwise(name, value, f"lies more than {MAX_DEPTH} levels deep")
    if hasattr(value, "tolist"):  # numpy's, and the like; before the numbers, of which some are subclasses
        return _plain_of_array(value, name, otherwise, depth)
    if isinstance(value, int | float):
        return _plain_number(value, name, otherwise)
    if isinstance(value, str):
        return value if is_utf8(value) else otherwise(name, value, "is no UTF-8")
    if isinstance(value, Mapping):
        return _plain_mapping(value, name, otherwise, depth)
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{name}[{number}]", otherwise, depth + 1) for number, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, set | frozenset):
        return _sort([_plain(item, name, otherwise, depth + 1) for item in value])
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, PurePath | UUID):
        return _plain(str(value), name, otherwise, depth)
    return otherwise(name, value, f"is {type(value).__name__}")


def _plain_number(value: float, name: str, otherwise: Otherwise) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return otherwise(name, value, "is not finite")
    if abs(value) > MAX_WHOLE and value == int(value):
        return otherwise(name, value, "is a whole number beyond 2^53")
    return value


def _plain_of_array(value: Any, name: str, otherwise: Otherwise, depth: int) -> Any:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":
        return np.asarray(value).astype(str).tolist()
    items = value.tolist()
    if kind == "b" or (kind in "iuf" and _is_plain(value)):
        return items
    if type(items) is type(value):
        return otherwise(name, value, f"is {type(value).__name__}")
    return _plain(items, name, otherwise, depth + 1)


def _is_plain(numbers: Any) -> bool:
    """Whether all numbers of an array are finite, and none is beyond 2^53."""
    array = np.asarray(numbers)
    return array.dtype.itemsize <= 8 and bool((array <= MAX_WHOLE).all() and (array >= -MAX_WHOLE).all())


def _plain_mapping(value: Mapping[Any, Any], name: str, otherwise: Otherwise, depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        text = key
        if not (isinstance(key, str) and is_utf8(key)):
            text = str(otherwise(f"{name or 'metadata'}: the key", key, "is no text"))
            while text in value or text in plain:
                text += "'"
        plain[text] = _plain(item, f"{name}.{text}" if name else text, otherwise, depth + 1)
    return plain


def _sort(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:  # of several kinds
        return sorted(items, key=repr)


def is_utf8(text: str) -> bool:
    """Whether a text can be written down: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
