"""What plans take: devices, and values that a Python caller gives as objects and a queue as text, numbers and dicts.

Queues (bluesky-queueserver, blueapi) read a plan's annotations: they must be types, not text, and builtin ones for
all that a queue carries. `for_queues` makes them so when the module is loaded; type checkers read the source, in
which the objects stand too.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce, wraps
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, Union, get_args, get_origin, get_type_hints

from bluesky.utils import MsgGenerator
from typing_extensions import is_protocol

from ..devices.protocols import check_device
from ..errors import ConfigError, suggest_name
from ..masks.pattern_set import PatternSet
from ..masks.speckle_board import Board
from ..masks.speckle_files import find_speckles
from ..masks.speckle_set import BASIS, AnyPatternSet

GivenPatterns = AnyPatternSet | dict[str, Any]
GivenBoard = Board | str | None

_CARRIED = (str, int, float, bool, list, dict, Literal)
_Arguments = ParamSpec("_Arguments")


def for_queues(plan: Callable[_Arguments, MsgGenerator[Any]]) -> Callable[_Arguments, MsgGenerator[Any]]:
    """Let queues take a plan (a decorator): annotations that resolve, devices by name, and devices that are checked.

    The plan that is made raises `CxgiError`, before anything moves, for a device that lacks what its annotation has
    or is given twice, and for arguments that it does not have, or lacks.
    """
    hints = get_type_hints(plan)
    kinds = {name: kind for name, hint in hints.items() if (kind := _device_class(hint)) is not None}
    signature = inspect.signature(plan)

    @wraps(plan)
    def run_checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> MsgGenerator[Any]:
        _check_devices(kinds, bind_arguments(plan.__name__, signature, args, kwargs))
        return (yield from plan(*args, **kwargs))

    seen = {name: _as_carried(hint) for name, hint in hints.items()}
    parameters = [p.replace(annotation=seen[name]) for name, p in signature.parameters.items()]
    custom = {name: _device_annotation(hints[name]) for name in kinds}
    vars(run_checked).update(
        __signature__=signature.replace(parameters=parameters, return_annotation=seen["return"]),
        _custom_parameter_annotation_={"parameters": custom},  # what queueserver's own decorator would leave here
    )
    run_checked.__annotations__ = seen
    return run_checked


def bind_arguments(
    name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Bind the values of a call to the names of what it takes.

    Parameters
    ----------
    name : str
        Of what is called.
    signature : inspect.Signature
        Its own.
    args : sequence
        Values without a name.
    kwargs : mapping
        Values by name.

    Raises
    ------
    CxgiError
        For a name that is unknown, with the one that was likely meant; for values that are missing or too many.
    """
    takes = signature.parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        for key in kwargs:
            if key not in takes:
                likely = suggest_name(key, takes, f"it takes {', '.join(takes)}")
                raise ConfigError(f"{name} takes no {key}: {likely}")
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise ConfigError(f"{name}: {error}; it takes {', '.join(takes)}") from None


def rebuild_patterns(given: GivenPatterns) -> AnyPatternSet:
    """The patterns themselves, from themselves or from the dict of `to_dict`.

    Raises
    ------
    CxgiError
        If the dict names no patterns, or recorded ones that are not there.
    """
    if not isinstance(given, dict):
        return given
    if given.get("basis") == BASIS:
        if not isinstance(given.get("count"), int):
            raise ConfigError(f"pattern set {given!r} lacks count, the number of recorded patterns to use")
        return find_speckles(given)
    return PatternSet.from_dict(given)


def _members(hint: Any) -> tuple[Any, ...]:
    """Of a union its members, else the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _as_carried(hint: Any) -> Any:
    """What a queue carries of a union of it and of objects: ``PatternSet | dict[str, Any]`` becomes the dict."""
    carried = [one for one in _members(hint) if (get_origin(one) or one) in _CARRIED]
    if not carried:
        return hint
    return reduce(operator.or_, [*carried, *(one for one in _members(hint) if one is NoneType)])


def _device_class(hint: Any) -> Any:
    """The kind of device that is annotated, a protocol; None for anything else."""
    found = [one for one in _members(hint) if is_protocol(one)]
    return found[0] if found else None


def _device_annotation(hint: Any) -> dict[str, Any]:
    """Queueserver: any device of the start-up by its name, so that it refuses an unknown one when a plan is added."""
    optional = NoneType in _members(hint)
    return {"annotation": "typing.Optional[Device]" if optional else "Device", "devices": {"Device": [":^.+$"]}}


def _check_devices(kinds: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    taken: dict[int, str] = {}
    for name, kind in kinds.items():
        device = given.get(name)
        if isinstance(device, str):
            raise ConfigError(f"{name}: no device is called {device!r}, give the name of a {kind.__name__}")
        if device is None:
            continue
        check_device(device, kind, name)
        if (other := taken.setdefault(id(device), name)) != name:
            raise ConfigError(f"{name}: {device.name} is the {other} already, give another device")
