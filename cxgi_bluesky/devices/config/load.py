"""Reading and checking a beamline file; nothing connects here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

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
from ..epics.signals import Timeouts, end_callbacks_before_channels, wait_for_connections, wait_for_return
from ..epics.single_axis import EpicsKnife, EpicsObjectStage
from ..epics.source import EpicsSource
from ..epics.stage import EpicsAxesStage, EpicsMaskStage, EpicsPositionerStage
from .models import TOP, check_block, check_together


@dataclass(frozen=True)
class BeamlineFile:
    """A beamline file, checked: blocks with all their keys, and the board.

    Attributes
    ----------
    path : Path
    words : dict
        Blocks and values as in the file, defaults included, PVs without the prefix.
    board : MaskBoard
    """

    path: Path
    words: dict[str, Any]
    board: MaskBoard

    def pv(self, name: Any) -> Any:
        """Whole name of a PV; None stays None."""
        return None if name is None else f"{self.words['prefix']}{name}"


def read_beamline_file(path: str | Path) -> BeamlineFile:
    """Read and check a beamline file.

    Raises
    ------
    CxgiError
        If it cannot be read, or for the first key that is unknown, missing or wrong.
    """
    path = Path(path)
    words = read_yaml_file(path, "beamline file")
    try:
        checked = check_block(words, TOP, "")
        check_together(checked)
        _check_data(checked["data"])
        return BeamlineFile(path, checked, _board(checked["board"], path.parent))
    except CxgiError as error:
        raise ConfigError(f"beamline file {path}: {error}") from error


def _board(name: str, folder: Path) -> MaskBoard:
    """The board: one that ships with the package, or a file beside the beamline file."""
    try:
        return load_board(name if name in list_shipped_boards() else str(folder / name))
    except CxgiError as error:
        raise ConfigError(f"board {name!r}: {error}") from error


def _check_data(data: str | None) -> None:
    if data is not None and "://" in data and not data.startswith(("http://", "https://")):
        raise ConfigError(
            f"data {data!r}: give the path of a folder, or the address of a Tiled server, http://host:port"
        )


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
    return example_path(str(name_or_path)) if str(name_or_path) in examples() else Path(name_or_path)


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
    """`load_beamline` of a file that was read before.

    Parameters
    ----------
    file : BeamlineFile
        As read and checked.
    connect : bool, optional
        Wait until every PV has answered (default True).
    """
    timeouts = Timeouts(**file.words["timeouts"])
    try:
        shutter = _shutter(file, timeouts)
        beamline = EpicsBeamline(
            stage=_stage(file, timeouts),
            shutter=shutter,
            diode=_diode(file, timeouts),
            object_stage=_object_stage(file, timeouts),
            knife=_knife(file, timeouts),
            source=_source(file, timeouts),
            data=file.words["data"],
        )
    except CxgiError as error:
        raise ConfigError(f"beamline file {file.path}: {error}") from error
    end_callbacks_before_channels()
    if connect:
        wait_for_connections(beamline.all_devices, timeouts.connection_s)
        shutter.check_text()
    return beamline


def _stage(file: BeamlineFile, timeouts: Timeouts) -> EpicsAxesStage:
    words = dict(file.words["stage"])
    limits, velocity_mm_s = words.pop("limits_mm"), words.pop("velocity_mm_s")
    x, y = words.pop("x"), words.pop("y")
    shared: dict[str, Any] = {
        "name": "stage",
        "board": file.board,
        "x_limits_mm": limits["x"],
        "y_limits_mm": limits["y"],
        "timeouts": timeouts,
        **words,
    }
    if isinstance(x, str) and isinstance(y, str):
        return EpicsMaskStage(x_pv=file.pv(x), y_pv=file.pv(y), velocity_mm_s=velocity_mm_s, **shared)
    if isinstance(x, str) or isinstance(y, str):
        raise ConfigError("stage.x and stage.y: give two motor records, or setpoint and readback of both")
    if velocity_mm_s is not None:
        raise ConfigError(
            f"stage.velocity_mm_s {velocity_mm_s:g}: axes without a motor record have no velocity, leave it out"
        )
    pvs = [AxisPvs(**{name: file.pv(pv) for name, pv in axis.items()}) for axis in (x, y)]
    return EpicsPositionerStage(x_pvs=pvs[0], y_pvs=pvs[1], **shared)


def _shutter(file: BeamlineFile, timeouts: Timeouts) -> EpicsShutter:
    words = dict(file.words["shutter"])
    barrier = words.pop("second_barrier")
    times = {key: words.pop(key) for key in ("opening_s", "closing_s", "settle_s", "max_open_s")}
    names = ("readback", "command", "open_pulse", "close_pulse", "permit", "max_open", "reset")
    pvs: dict[str, Any] = {key: file.pv(value) if key in names else value for key, value in words.items()}
    return EpicsShutter(
        name="shutter",
        pvs=ShutterPvs(**pvs),
        times=ShutterTimes(**times),
        barrier=None if barrier is None else _barrier(file, barrier, timeouts),
        timeouts=timeouts,
    )


def _barrier(file: BeamlineFile, words: dict[str, Any], timeouts: Timeouts) -> EpicsBarrier:
    pvs: dict[str, Any] = {"command_pv": file.pv(words["command"]), "readback_pv": file.pv(words["readback"])}
    rest = {key: words[key] for key in ("close_value", "closed_value", "closing_s")}
    return EpicsBarrier(name="second_barrier", timeouts=timeouts, **pvs, **rest)


def _diode(file: BeamlineFile, timeouts: Timeouts) -> EpicsDiode:
    words = {key: value for key, value in file.words["diode"].items() if value is not None}
    kind = words.pop("class")
    shared: dict[str, Any] = {"name": "diode", "monitor": _monitor(file), "timeouts": timeouts}
    if kind == "keithley":
        return KeithleyDiode(file.pv(words.pop("pvs")), **words, **shared)
    if kind == "quadem":
        return QuadEMDiode(file.pv(words.pop("pvs")), **words, **shared)
    if kind == "scaler":
        return ScalerDiode(scaler_pv=file.pv(words.pop("record")), **words, **shared)
    names = ("acquire", "value", "spread", "exposure", "overload")
    pvs: dict[str, Any] = {f"{key}_pv": file.pv(words.pop(key)) for key in names if key in words}
    return GenericDiode(**pvs, **words, **shared)


def _monitor(file: BeamlineFile) -> Monitor | None:
    words = file.words["monitor"]
    return None if words is None else Monitor(str(file.pv(words["value"])), words["unit"])


def _object_stage(file: BeamlineFile, timeouts: Timeouts) -> EpicsObjectStage | None:
    if file.words["object_stage"] is None:
        return None
    words = dict(file.words["object_stage"])
    return EpicsObjectStage(name="object_stage", motor_pv=file.pv(words.pop("motor")), timeouts=timeouts, **words)


def _knife(file: BeamlineFile, timeouts: Timeouts) -> EpicsKnife | None:
    if file.words["knife"] is None:
        return None
    words = dict(file.words["knife"])
    return EpicsKnife(name="knife", motor_pv=file.pv(words.pop("motor")), timeouts=timeouts, **words)


def _source(file: BeamlineFile, timeouts: Timeouts) -> EpicsSource | None:
    if file.words["source"] is None:
        return None
    words = dict(file.words["source"])
    pvs: dict[str, Any] = {"ready_pv": file.pv(words.pop("ready")), "current_pv": file.pv(words.pop("current"))}
    return EpicsSource(name="source", timeouts=timeouts, **pvs, **words)
