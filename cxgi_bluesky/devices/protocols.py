"""What plans need of devices: protocols, which any class may fulfil, checked where a plan or a beamline file takes one.

The base classes beside this fulfil them, and so does what knows nothing of ophyd and has these names.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Configurable, HasName, HasParent, Movable, Pausable, Readable, Stoppable, Triggerable
from typing_extensions import get_protocol_members

from ..errors import ConfigError
from ..masks.speckle_board import Board


@runtime_checkable
class NamedMovable(HasName, Movable[Any], Protocol):
    """Something that a plan sets."""


class Gettable(Protocol):
    """Something with a present value, such as a signal."""

    def get(self) -> Any:
        """Return the value."""


@runtime_checkable
class TileStage(Readable[Any], HasParent, Protocol):
    """A mask stage: moved by tile number, and read with every exposure.

    It may have `checks_arrival`: whether the end of a move is its arrival at the tile; else a plan looks.

    Attributes
    ----------
    board : MaskBoard or SpeckleBoard
        On the stage.
    tile : NamedMovable
        Set to the number of a tile; its name is the data key of the nearest tile, from the readback.
    tile_distance_um : HasName
        Its name is the data key of the distance to the nearest tile's centre (um).
    pattern_index : HasName
        Its name is the data key of the nearest tile's pattern; -1: a reference tile.
    in_position_um : float
        Largest distance at which a tile may be exposed (um).
    """

    board: Board
    tile: NamedMovable
    tile_distance_um: HasName
    pattern_index: HasName
    in_position_um: float


@runtime_checkable
class AlignableStage(TileStage, Configurable[Any], Protocol):
    """A mask stage that also goes to places beside its tiles.

    Attributes
    ----------
    x, y : HasName
        Their names are the data keys of the readbacks (mm).
    xy : Movable
        Set to x and y (mm); its ``check_value`` refuses what is beyond the limits.
    """

    x: HasName
    y: HasName
    xy: Any

    @property
    def hints(self) -> Any:
        """As of any device of Bluesky."""


@runtime_checkable
class StageAxis(Readable[Any], Movable[Any], Protocol):
    """An axis of a mask stage, in mm, sync or async: set to a position, reads it back under its own name.

    What it has besides is used: ``check_value``, ``stop``, ``stage``, ``unstage``, and its configuration.
    """


@runtime_checkable
class BeamShutter(NamedMovable, HasParent, Stoppable, Pausable, Protocol):
    """A shutter: set to "open" and "closed"; ``stop``, ``pause`` and ``close`` close it, and raise if it stays open.

    A status of ``set`` ends when the readback agrees. It may have `longest_open_s`: when something else closes it (s).

    Attributes
    ----------
    open_s, openings : Gettable
        Seconds open, and number of openings, that only grow.
    """

    open_s: Gettable
    openings: Gettable

    def close(self) -> None:
        """Close, and return only when the readback is closed."""


@runtime_checkable
class BucketDetector(Readable[Any], Triggerable, HasParent, Protocol):
    """A bucket detector: triggered once for each exposure, then read.

    It may have the data keys `sigma_name` (one standard deviation of the bucket) and `i0_name` (incident intensity);
    `fault`, what the last exposure lacks, as a text, and `straggler`, to be triggered and waited for then.

    Attributes
    ----------
    bucket_name : str
        Data key of the bucket; its description may have a unit (pA).
    exposure_s : NamedMovable
        Set to the exposure time (s).
    """

    bucket_name: str
    exposure_s: NamedMovable


@runtime_checkable
class ObjectMover(NamedMovable, HasParent, Protocol):
    """What moves the object: set to "in" and "out"."""


@runtime_checkable
class KnifeBlade(Readable[Any], HasParent, Protocol):
    """A blade on one axis across the beam.

    Attributes
    ----------
    edge : NamedMovable
        Set to a position (um); its name is the data key of the readback, its ``check_value`` refuses what is beyond.
    axis : {"x", "y"}
        Along which it moves.
    in_position_um : float
        Largest distance from where it was sent at which an exposure counts (um).
    target_um : float
        Where it was sent to last (um).
    """

    edge: Any
    axis: str
    in_position_um: float

    @property
    def target_um(self) -> float:
        """Where it was sent to last."""


@runtime_checkable
class PatternRecorder(Readable[Any], Triggerable, HasParent, Protocol):
    """A camera that records reference patterns, as `PatternCamera` says."""

    exposure_s: NamedMovable
    frame: NamedMovable
    asset: Any
    recorded: Any
    size: tuple[int, int]

    def configure(self, d: dict[str, Any]) -> Any:
        """Begin an asset."""


# ---------------------------------------------------------------- checks


def check_device(device: Any, kind: Any, where: str) -> None:
    """Raise `ConfigError` unless a device has all that plans need of its kind, naming what it lacks.

    Parameters
    ----------
    device : Any
    kind : type
        One of the protocols here.
    where : str
        Parameter of the plan, or key of the beamline file.
    """
    lacking = [name for name in sorted(get_protocol_members(kind)) if not _has(device, name, kind)]
    if lacking:
        raise ConfigError(
            f"{where}: {_show(device)} lacks {', '.join(map(repr, lacking))}, which every {kind.__name__} has"
        )


def _has(device: Any, name: str, kind: Any) -> bool:
    """Whether it is there; properties are not asked, as they may ask the hardware."""
    if inspect.isfunction(inspect.getattr_static(kind, name, None)):
        return callable(getattr(device, name, None))
    missing = object()
    return inspect.getattr_static(device, name, missing) is not missing or hasattr(device, name)


def _show(device: Any) -> str:
    shown = repr(device)
    return type(device).__name__ if shown == object.__repr__(device) else shown
