"""Board files: YAML in and out, and the ones that come with the package.

`MaskBoard` checks what a board may be; here is only how it is written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from ..errors import CxgiError, FileFormatError
from .orders import ORDERS, SEEDED, ranking

OPTIONAL = {"alignment", "fiducials"}
_SUFFIXES = (".yaml", ".yml")


def list_shipped_boards() -> list[str]:
    """Names of the boards that come with the package."""
    return sorted(f.name.removesuffix(".yaml") for f in _data().iterdir() if f.name.endswith(".yaml"))


def _data() -> Traversable:
    return files(__package__) / "data"


def board_path(name_or_path: str | Path) -> str | Path:
    """File of a shipped board by its name, or the file itself; `CxgiError` for an unknown name."""
    if str(name_or_path) in list_shipped_boards():
        return str(_data() / f"{name_or_path}.yaml")
    if not str(name_or_path).endswith(_SUFFIXES):
        names = ", ".join(list_shipped_boards())
        raise FileFormatError(f"board {name_or_path!r} is unknown: choose {names} or give a .yaml file")
    return name_or_path


def to_yaml_text(values: Mapping[str, Any]) -> str:
    """A board's plain values as the text of a board file."""
    return yaml.safe_dump(abbreviate_tiles(values), sort_keys=False)


def abbreviate_tiles(values: Mapping[str, Any]) -> dict[str, Any]:
    """A board's plain values, the tiles of a full board as the name of their order."""
    order = _find_full_order(values["pattern_index"], values["size"])
    return {**values, "pattern_index": values["pattern_index"] if order is None else {"order": order}}


def check_names(data: Any, known: Set[str]) -> None:
    """Raise `CxgiError` unless `data` is a mapping with exactly the known names; OPTIONAL ones may be left out.

    Parameters
    ----------
    data : object
        Content of a board file.
    known : set of str
        Names of all values of a board.
    """
    if not isinstance(data, dict):
        raise FileFormatError(
            "a board file holds a mapping of names to values: see the boards that ship with the package"
        )
    unknown, missing = set(data) - known, known - set(data) - OPTIONAL
    if unknown or missing:
        raise FileFormatError(f"board: unknown {sorted(unknown)}, missing {sorted(missing)}: it needs {sorted(known)}")


def parse_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a board file in a board's types; the alignment is left as it is.

    Raises
    ------
    TypeError, KeyError, ValueError, CxgiError
        For a value that is not of its type, or an unknown order.
    """
    values = dict(data)
    if isinstance(values["pattern_index"], dict):
        values["pattern_index"] = ranking(values["pattern_index"]["order"], int(values["size"])).tolist()
    for name in ("pattern_index", "open_tile", "metal_tile"):
        values[name] = tuple(int(v) for v in values[name])
    values["fiducials"] = tuple((int(row), int(column)) for row, column in values.get("fiducials", ()))
    for name in ("pixel_um", "tile_pitch_um", "d_r", "aperture_um"):
        values[name] = float(values[name])
    return values


def _find_full_order(pattern_index: list[int], size: int) -> str | None:
    """The order whose full ranking the tiles follow, if there is one."""
    if len(pattern_index) < size**2:
        return None
    for order in (name for name in ORDERS if name not in SEEDED):
        try:
            if pattern_index == ranking(order, size).tolist():
                return order
        except CxgiError:
            continue  # an order that does not know this size
    return None
