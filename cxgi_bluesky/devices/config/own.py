"""Devices of classes that a beamline file names by their dotted paths: imported, made, checked for what they lack."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, missing_extra, suggest_name
from ..ophyd_async import is_async
from ..protocols import StageAxis, check_device

if TYPE_CHECKING:
    from .models import OwnBlock


def make_own_device(key: str, block: OwnBlock, kind: Any, folder: Path, **given: Any) -> Any:
    """Make a device of a class of the user's; its code runs, with what its module imports.

    Parameters
    ----------
    key : str
        Of the block, as in the beamline file.
    block : OwnBlock
        Dotted path of the class, and its keyword arguments.
    kind : type
        Protocol that the device must fulfil.
    folder : Path
        Of the beamline file, where modules are looked for last.
    **given
        Arguments beside those of the file: the name, for a stage the board.

    Raises
    ------
    CxgiError
        In one line that names the key: if there is no such class, it takes other arguments, or the device lacks
        something.
    """
    make = _find_class(f"{key}.class {block.path!r}", block.path, folder)
    try:
        device = make(**{**given, **block.options})
    except Exception as error:
        takes = f"it takes {inspect.signature(make)}" if isinstance(error, TypeError) else "see its arguments"
        raise ConfigError(f"{key}.options: {block.path} cannot be made ({_show(error)}): {takes}") from error
    check_device(device, kind, key)
    if kind is not StageAxis and is_async(device):
        raise ConfigError(f"{key}: {block.path} is an async device, which only axes of the stage may be: wrap it")
    return device


def _find_class(what: str, path: str, folder: Path) -> Any:
    module_name, _, name = path.rpartition(".")
    if (added := str(folder.absolute())) not in sys.path:
        sys.path.append(added)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if (extra := missing_extra(error)) is not None:
            raise ConfigError(f"{what}: {extra}") from error
        lost = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if lost is not None and f"{module_name}.".startswith(f"{lost}."):
            raise ConfigError(f"{what}: there is no module {lost!r} in PYTHONPATH or {added}") from error
        raise ConfigError(f"{what}: {module_name} cannot be imported ({_show(error)}): correct it") from error
    found = getattr(module, name, None)
    if found is None:
        likely = suggest_name(name, vars(module), f"see {getattr(module, '__file__', module_name)}")
        raise ConfigError(f"{what}: {module_name} has no {name}, {likely}")
    if not callable(found):
        raise ConfigError(f"{what}: it is no class, but {found!r}")
    return found


def _show(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
