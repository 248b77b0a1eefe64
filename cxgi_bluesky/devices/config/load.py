"""Reading and checking a beamline file, and the devices that it names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._files.yaml_file import read_yaml_file
from ...errors import ConfigError, CxgiError
from ...masks.board import MaskBoard, load_board
from ...masks.board_files import list_shipped_boards
from ..beamline import Beamline
from ..epics.axes import AxisPvs
from ..epics.diode import EpicsDiode, Monitor
from ..epics.diodes import GenericDiode, ScalerDiode
from ..epics.keithley import KeithleyDiode
from ..epics.quadem import QuadEMDiode
from ..epics.shutter import EpicsBarrier, EpicsShutter, ShutterPvs, ShutterTimes
from ..epics.signals import (
    Timeouts,
    end_callbacks_before_channels,
    give_timeouts,
    wait_for_connections,
    wait_for_return,
)
from ..epics.single_axis import EpicsKnife, EpicsObjectStage
from ..epics.source import EpicsSource
from ..epics.stage import EpicsMaskStage, EpicsPositionerStage
from ..movable_stage import MovableMaskStage
from ..protocols import BeamShutter, BucketDetector, KnifeBlade, ObjectMover, StageAxis, TileStage
from .own import make_own_device

if TYPE_CHECKING:
    from .models import BeamlineConfig


@dataclass(frozen=True)
class BeamlineFile:
    """A beamline file, checked, and its board.

    Attributes
    ----------
    path : Path
    config : BeamlineConfig
        Blocks and values as in the file, defaults included, PVs without the prefix.
    board : MaskBoard
    """

    path: Path
    config: BeamlineConfig
    board: MaskBoard

    @property
    def timeouts(self) -> Timeouts:
        """Of all devices."""
        return Timeouts(**dict(self.config.timeouts))

    def pv(self, name: str | None) -> str | None:
        """Whole name of a PV; None stays None."""
        return None if name is None else f"{self.config.prefix}{name}"


def read_beamline_file(path: str | Path) -> BeamlineFile:
    """Read and check a beamline file.

    Raises
    ------
    CxgiError
        If it cannot be read, or for the first key that is unknown, missing or wrong.
    """
    from pydantic import ValidationError

    from .models import BeamlineConfig, first_error

    path = Path(path)
    content = read_yaml_file(path, "beamline file")
    try:
        config = BeamlineConfig.model_validate(content)
        return BeamlineFile(path, config, _load_board(config.board, path.parent))
    except ValidationError as error:
        raise ConfigError(f"beamline file {path}: {first_error(error)}") from None
    except CxgiError as error:
        raise ConfigError(f"beamline file {path}: {error}") from error


def _load_board(name: str, folder: Path) -> MaskBoard:
    """The board: one that ships with the package, or a file beside the beamline file."""
    try:
        return load_board(name if name in list_shipped_boards() else str(folder / name))
    except CxgiError as error:
        raise ConfigError(f"board {name!r}: {error}") from error


# ---------------------------------------------------------------- loading


class EpicsBeamline(Beamline):
    """A beamline whose devices may lose their IOC."""

    def wait_for_return(self) -> None:
        """Wait until all PVs are connected; returns at once if they are.

        Raises
        ------
        CxgiError
            Naming the PVs that have not come back within half a minute.
        """
        wait_for_return(self.all_devices)


_EXAMPLES = files(__package__) / "examples"


def examples() -> list[str]:
    """Names of the example files that come with the package."""
    return sorted(f.name.removesuffix(".yml") for f in _EXAMPLES.iterdir() if f.name.endswith(".yml"))


def example_path(name: str) -> Path:
    """File of an example; `CxgiError` for an unknown name."""
    if name not in examples():
        raise ConfigError(f"example {name!r} of a beamline file is unknown: choose {', '.join(examples())}")
    return Path(str(_EXAMPLES / f"{name}.yml"))


def beamline_path(name_or_path: str | Path) -> Path:
    """The file itself, or that of an example by its name."""
    if str(name_or_path) in examples():
        return example_path(str(name_or_path))
    path = Path(name_or_path)
    if str(path) in {f"{name}.yml" for name in examples()} and not path.exists():
        raise ConfigError(f"there is no beamline file {path} here: give {path.stem} for the example, or copy it first")
    return path


def load_beamline(path: str | Path, *, connect: bool = True) -> Beamline:
    """The devices of a beamline file.

    Parameters
    ----------
    path : path or str
        Beamline file, or the name of an example.
    connect : bool
        Wait until every PV has answered.

    Returns
    -------
    Beamline
        For plans and ``session.start(beamline=...)``.

    Raises
    ------
    CxgiError
        If the file is not right, PVs do not answer within ``timeouts.connection_s``, or the shutter's readback is a
        text where the file has numbers.
    """
    return make_beamline(read_beamline_file(beamline_path(path)), connect=connect)


def make_beamline(file: BeamlineFile, *, connect: bool = True) -> Beamline:
    """`load_beamline` of a file that was read before; code of classes that it names runs here, not in the reading.

    Parameters
    ----------
    file : BeamlineFile
        As read and checked.
    connect : bool, optional
        Wait until every PV has answered (default True).
    """
    try:
        shutter = _make_shutter(file)
        beamline = EpicsBeamline(
            stage=_make_stage(file),
            shutter=shutter,
            diode=_make_diode(file),
            object_stage=_make_or_own(file, EpicsObjectStage, "object_stage", ObjectMover),
            knife=_make_or_own(file, EpicsKnife, "knife", KnifeBlade),
            source=_make_device(file, EpicsSource, "source", file.config.source),
            data=file.config.data,
            export=file.config.export,
            publish=file.config.publish,
            pva=file.config.pva,
        )
    except CxgiError as error:
        raise ConfigError(f"beamline file {file.path}: {error}") from error
    end_callbacks_before_channels()
    if connect:
        wait_for_connections(beamline.all_devices, file.timeouts.connection_s)
        if isinstance(shutter, EpicsShutter):
            shutter.check_text()
    return beamline


def _arguments(file: BeamlineFile, block: Any, suffix: str = "_pv") -> dict[str, Any]:
    """Arguments of a device, those that its block has: PVs with the file's prefix, by names with a suffix."""
    from .models import Pv

    given = {key: value for key, value in block if value is not None}
    pvs = {key for key, value in given.items() if isinstance(value, Pv)}
    return {f"{key}{suffix}" if key in pvs else key: file.pv(v) if key in pvs else v for key, v in given.items()}


def _make_device(file: BeamlineFile, make: Any, name: str, block: Any) -> Any:
    """A device whose arguments are the keys of its block; None without a block."""
    return block and make(name=name, timeouts=file.timeouts, **_arguments(file, block))


def _make_own(file: BeamlineFile, key: str, block: Any, kind: Any, **given: Any) -> Any:
    """A device of a class of the user's; its EPICS signals, if it has some, get the file's time-outs."""
    device = make_own_device(key, block, kind, file.path.parent, name=key.replace(".", "_"), **given)
    give_timeouts(device, file.timeouts)
    return device


def _is_own(block: Any) -> bool:
    return hasattr(block, "path")


def _make_stage(file: BeamlineFile) -> TileStage:
    block: Any = file.config.stage
    if _is_own(block):
        own: TileStage = _make_own(file, "stage", block, TileStage, board=file.board)
        return own
    given = _arguments(file, block)
    limits = given.pop("limits_mm")
    given |= {"name": "stage", "board": file.board}
    given |= {"x_limits_mm": limits.x, "y_limits_mm": limits.y}
    if _is_own(block.x):
        movables = {axis: _make_own(file, f"stage.{axis}", given.pop(axis), StageAxis) for axis in "xy"}
        return MovableMaskStage(**movables, **given)
    given["timeouts"] = file.timeouts
    if "x_pv" in given:
        return EpicsMaskStage(**given)
    x, y = (AxisPvs(**_arguments(file, given.pop(axis), suffix="")) for axis in "xy")
    return EpicsPositionerStage(x_pvs=x, y_pvs=y, **given)


def _make_or_own(file: BeamlineFile, make: Any, name: str, kind: Any) -> Any:
    """As `_make_device`, or a device of a class of the user's, which is to be of a kind."""
    block = getattr(file.config, name)
    return _make_own(file, name, block, kind) if _is_own(block) else _make_device(file, make, name, block)


def _make_shutter(file: BeamlineFile) -> BeamShutter:
    if _is_own(file.config.shutter):
        own: BeamShutter = _make_own(file, "shutter", file.config.shutter, BeamShutter)
        return own
    given = _arguments(file, file.config.shutter, suffix="")
    barrier = _make_device(file, EpicsBarrier, "second_barrier", given.pop("second_barrier", None))
    times = ShutterTimes(**{time.name: given.pop(time.name) for time in fields(ShutterTimes) if time.name in given})
    return EpicsShutter(name="shutter", pvs=ShutterPvs(**given), times=times, barrier=barrier, timeouts=file.timeouts)


def _make_diode(file: BeamlineFile) -> BucketDetector:
    if _is_own(file.config.diode):
        own: BucketDetector = _make_own(file, "diode", file.config.diode, BucketDetector)
        return own
    given, monitor = _arguments(file, file.config.diode), file.config.monitor
    kinds: dict[str, type[EpicsDiode]] = {
        "keithley": KeithleyDiode, "quadem": QuadEMDiode, "scaler": ScalerDiode, "generic": GenericDiode,
    }  # fmt: skip
    make = kinds[given.pop("kind")]
    if "prefix_pv" in given:
        given["prefix"] = given.pop("prefix_pv")
    if monitor is not None:
        given["monitor"] = Monitor(str(file.pv(monitor.value)), monitor.unit)
    return make(name="diode", timeouts=file.timeouts, **given)
