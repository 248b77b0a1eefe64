"""What every plan writes into its start document, and checks before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from event_model import DocumentNames, schema_validators

from ..devices.protocols import BucketDetector, TileStage
from ..errors import ConfigError
from ..masks.board import MaskBoard, load_board
from ..masks.pattern_set import ChosenSet
from ..masks.speckle_board import Board
from ..masks.speckle_set import AnyPatternSet
from ..measurement.plain_values import require_plain
from ..measurement.schema import SCHEMA, RunMetadata
from ..measurement.validation import ValidationDraws
from .arguments import GivenBoard


def board_on(stage: TileStage, board: GivenBoard) -> Board:
    """The board, if it is the one on the stage, else `CxgiError`.

    Parameters
    ----------
    stage : TileStage
    board : MaskBoard, SpeckleBoard, str or None
        A board, or its name or file; None: the stage's own.
    """
    if board is None:
        return stage.board
    board = load_board(board) if isinstance(board, str) else board
    if board.sha256 != stage.board.sha256:
        raise ConfigError(
            f"board {board.name!r} is not the one of {stage.name} ({stage.board.name!r}): give stage.board"
        )
    return board


def mask_board_on(stage: TileStage, board: GivenBoard) -> MaskBoard:
    """The mask board, if it is the one on the stage, else `CxgiError`.

    Parameters
    ----------
    stage : TileStage
    board : MaskBoard, SpeckleBoard, str or None
        As in `board_on`.
    """
    found = board_on(stage, board)
    if not isinstance(found, MaskBoard):
        raise ConfigError(f"board {found.name!r} has no etched tiles: this plan needs a mask board")
    return found


def check_fits(board: Board, pattern_set: AnyPatternSet | ChosenSet) -> None:
    """Raise `CxgiError` if the patterns are not of the board's size.

    Parameters
    ----------
    board : MaskBoard or SpeckleBoard
    pattern_set : PatternSet or SpeckleSet
    """
    if pattern_set.size != board.size:
        raise ConfigError(f"pattern set of size {pattern_set.size} on board {board.name!r} of size {board.size}")


def check_raster(board: Board, pattern_set: AnyPatternSet | ChosenSet, arguments: dict[str, Any]) -> None:
    """Raise `CxgiError` if a raster of these patterns on this board is impossible: size, exposure time, counts.

    Parameters
    ----------
    board : MaskBoard or SpeckleBoard
    pattern_set : PatternSet or SpeckleSet
    arguments : dict
        Of the plan, by their names: `exposure_s` (s), and counts, whose names end in ``exposures`` or ``every``.
    """
    check_fits(board, pattern_set)
    check_exposure(arguments["exposure_s"])
    check_counts(**{name: count for name, count in arguments.items() if name.endswith(("exposures", "every"))})


def check_exposure(exposure_s: float) -> None:
    """Raise `CxgiError` for an impossible exposure time."""
    if not is_positive(exposure_s):
        raise ConfigError(f"exposure_s {exposure_s!r} is no positive number of seconds")


def is_positive(seconds: Any) -> bool:
    """Whether it is a finite number above zero."""
    return isinstance(seconds, Real) and 0 < float(seconds) < float("inf")


def is_count(value: Any) -> bool:
    """Whether it is a whole number, 0 or more."""
    return isinstance(value, Integral) and int(value) >= 0


def check_counts(**counts: int) -> None:
    """Raise `CxgiError` for a negative number of exposures."""
    for name, count in counts.items():
        if not is_count(count):
            raise ConfigError(f"{name} {count!r}: give a whole number of exposures, 0 or more")


def start_metadata(
    plan_name: str,
    purpose: str,
    devices: list[Any],
    arguments: dict[str, Any],
    *,
    diode: BucketDetector,
    stage: TileStage | None = None,
    board: Board | None = None,
    pattern_set: AnyPatternSet | ChosenSet | None = None,
    points: int | None = None,
    links: dict[str, str | None] | None = None,
    draws: ValidationDraws | None = None,
) -> dict[str, Any]:
    """Start document of a plan that reads buckets (event schema 1).

    Parameters
    ----------
    plan_name : str
    purpose : str
        What the run is for, such as "image" or "reference".
    devices : list of ophyd Device
        All that the plan uses.
    arguments : dict
        Of the plan, plain values by their names; `exposure_s` (s) among them.
    diode : BucketDetector
        Bucket detector.
    stage : TileStage, optional
        Mask stage, where there is one.
    board : MaskBoard or SpeckleBoard, optional
        The board on the stage.
    pattern_set : PatternSet, ChosenSet or SpeckleSet, optional
        What is measured.
    points : int, optional
        Steps of the scan (default: one for each pattern).
    links : dict of str to str or None, optional
        Uids of other runs, by their keys; those that are None are left out.
    draws : ValidationDraws, optional
        Of the validation patterns.
    """
    block: dict[str, Any] = {
        **bucket_metadata(diode, stage),
        **{name: uid for name, uid in (links or {}).items() if uid is not None},
    }
    if board is not None:
        block["board"] = {**board_metadata(board), "d_r": board.d_r}
    if pattern_set is not None:
        block["pattern_set"] = pattern_set.to_dict()
    if draws is not None:
        block["validation"] = draws.to_dict()
    axis = None if stage is None else stage.tile
    if points is None and pattern_set is not None:
        points = pattern_set.count
    return start_document(plan_name, purpose, devices, arguments, detector=diode, axis=axis, points=points, **block)


def bucket_metadata(diode: BucketDetector, stage: TileStage | None = None) -> dict[str, Any]:
    """Metadata of every run that reads buckets: names of the data keys, and the unit.

    Parameters
    ----------
    diode : BucketDetector
        Bucket detector.
    stage : TileStage, optional
        Mask stage: with it, the data key of ``pattern_index`` is named.
    """
    return {
        "fields": {
            "pattern_index": stage.pattern_index.name if stage is not None else None,
            **bucket_fields(diode),
            "i0": getattr(diode, "i0_name", None),
        },
        "bucket_unit": _describe(diode)[diode.bucket_name].get("units", "pA"),
    }


def bucket_fields(diode: BucketDetector) -> dict[str, str | None]:
    """Data keys of the bucket and its sigma, None for one that has no sigma; `CxgiError` if it has no such keys."""
    names = {"bucket": diode.bucket_name, "sigma": getattr(diode, "sigma_name", None)}
    keys = _describe(diode)
    for field, name in names.items():
        if name is not None and name not in keys:
            raise ConfigError(f"{field}_name of {diode.name} is {name!r}: give one of its data keys, {', '.join(keys)}")
    return names


def _describe(diode: BucketDetector) -> dict[str, Any]:
    described: Any = diode.describe()
    return dict(described)


def board_metadata(board: Board) -> dict[str, Any]:
    """Metadata of every run on a board; of one that is mounted back to front, that too."""
    metadata = {"id": board.name, "sha256": board.sha256, "pixel_um": board.pixel_um, "metal": board.metal}
    return {**metadata, "mirrored": True} if board.mirrored else metadata


def start_document(
    plan_name: str,
    purpose: str,
    devices: list[Any],
    arguments: dict[str, Any],
    *,
    detector: Any,
    axis: Any = None,
    points: int | None = None,
    **block: Any,
) -> dict[str, Any]:
    """Start document of any plan here.

    Parameters
    ----------
    plan_name : str
    purpose : str
        What the run is for, such as "image" or "reference".
    devices : list of ophyd Device
        All that the plan uses.
    arguments : dict
        Of the plan, plain values by their names; `exposure_s` (s) among them.
    detector : ophyd Device
        Diode or camera.
    axis : ophyd positioner, optional
        What the plan steps along.
    points : int, optional
        Steps along the axis.
    **block
        Further attributes of `RunMetadata`, which is stored as the block ``cxgi``.
    """
    metadata: dict[str, Any] = {
        "plan_name": plan_name,
        "plan_args": {**arguments, "devices": [d.name for d in devices]},
        "detectors": [detector.name],
        "cxgi": {
            "schema": SCHEMA,
            **RunMetadata(purpose=purpose, mode="step", exposure_s=arguments["exposure_s"], **block).to_dict(),
        },
    }
    if axis is not None:
        metadata["motors"] = [axis.name]
    if axis is not None and points is not None:
        metadata["num_points"] = points
        metadata["hints"] = {"dimensions": [([axis.name], "primary")]}
    return metadata


# ---------------------------------------------------------------- metadata of the user

_OF_THE_ENGINE = ("uid", "time", "scan_id", "plan_type")
_OF_BOTH = ("plan_name", "hints")  # a key of the plan that the user may give too


def with_user_metadata(metadata: dict[str, Any], md: Mapping[str, Any] | None) -> dict[str, Any]:
    """A plan's start document with what the user adds; all of it plain values (`require_plain`).

    Parameters
    ----------
    metadata : dict
        Of the plan.
    md : mapping, optional
        Of the user: keys of their own; ``hints``, which are added to the plan's; another ``plan_name``.

    Raises
    ------
    CxgiError
        For a key that belongs to the plan or the RunEngine, a value that cannot be kept, or one that the format of
        documents (event-model) has otherwise.
    """
    theirs = require_plain({} if md is None else md, "md")
    if not isinstance(theirs, dict):
        raise ConfigError(f"md {md!r}: give a mapping of names to values")
    taken = next((key for key in theirs if key in {*metadata, *_OF_THE_ENGINE} - {*_OF_BOTH}), None)
    if taken is not None:
        raise ConfigError(f"md has a key {taken!r}: that is written by the plan, choose another key")
    _check_form(theirs)
    hints = {**metadata.get("hints", {}), **theirs.get("hints", {})}
    whole: dict[str, Any] = require_plain(metadata, "")
    return {**whole, **theirs, **({"hints": require_plain(hints, "hints")} if hints else {})}


def _check_form(md: dict[str, Any]) -> None:
    """Raise `CxgiError` for what the RunEngine would refuse only when it opens the run."""
    if not isinstance(md.get("plan_name", ""), str):
        raise ConfigError(f"md['plan_name'] {md['plan_name']!r} is no text: give a name")
    for key, value in md.items():
        validator = schema_validators[DocumentNames.start]
        problem = next(validator.iter_errors({"uid": "", "time": 0.0, key: value}), None)
        if problem is not None:
            raise ConfigError(f"md[{key!r}] is not as event-model has it ({problem.message[:200]}): choose another key")
