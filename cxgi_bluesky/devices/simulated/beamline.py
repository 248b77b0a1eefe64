"""Soft devices over the simulated physics: the same interfaces as the real ones, no hardware."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ophyd import Component, SoftPositioner
from ophyd.status import Status, StatusBase

from ...analysis.knife_edge import KnifeGeometry
from ...masks.board import Alignment, MaskBoard, load_board
from ...masks.tile_maps import FineTileMaps
from ...simulation.base import SimulationControls
from ...simulation.beamline import BeamlineSimulation, SimulationParameters, simulation_parameters
from ...simulation.objects.registry import render_object
from ...simulation.optics import Blade
from ..base import Named, Settings
from ..beamline import Beamline
from ..diode import Diode
from ..knife import Knife
from ..object_stage import ObjectStage
from ..shutter import Shutter
from ..stage import MaskStage


def finish_after(seconds: float, device: object, action: Any = None) -> StatusBase:
    """Status of something that takes its time and then acts.

    Parameters
    ----------
    seconds : float
        Real time until the action (s); 0: at once, without a thread.
    device : ophyd Device
        Whose status it is.
    action : callable, optional
        Without arguments; what it raises is the status's error. By default nothing is done.
    """
    status = Status(obj=device)

    def finish() -> None:
        try:
            if action is not None:
                action()
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()

    if seconds <= 0:
        finish()
    else:
        timer = threading.Timer(seconds, finish)
        timer.daemon = True
        timer.start()
    return status


class SimulatedAxis(Named, SoftPositioner):
    """An axis, there at once."""

    kind_labels = frozenset({"motors"})

    def describe(self) -> dict[str, Any]:
        """Description with exact type and precision."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "number", "dtype_numpy": "<f8", "precision": 4}
        return keys


class SimulatedMaskStage(MaskStage):
    """Mask stage that moves the simulated board."""

    x = Component(SimulatedAxis, egu="mm", init_pos=0.0, kind="normal")
    y = Component(SimulatedAxis, egu="mm", init_pos=0.0, kind="normal")

    def __init__(self, *args: Any, simulation: SimulationControls, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.x.subscribe(lambda value, **_: simulation.move_x(value), event_type=self.x.SUB_READBACK, run=False)
        self.y.subscribe(lambda value, **_: simulation.move_y(value), event_type=self.y.SUB_READBACK, run=False)
        self.tile.move(0)


class SimulatedShutter(Shutter):
    """Shutter of the simulation."""

    def __init__(self, *args: Any, simulation: SimulationControls, **kwargs: Any) -> None:
        self._simulation = simulation
        super().__init__(*args, **kwargs)

    def _command(self, opened: bool) -> StatusBase:
        return finish_after(0, self, self._simulation.open_shutter if opened else self._simulation.close_shutter)

    @property
    def _is_open(self) -> bool:
        return self._simulation.shutter_open

    @property
    def _open_s(self) -> float:
        return self._simulation.shutter_open_s

    @property
    def _openings(self) -> int:
        return self._simulation.openings


class SimulatedDiode(Diode):
    """Diode of the simulation; an exposure takes `time_scale` times its real duration."""

    def __init__(self, *args: Any, simulation: SimulationControls, time_scale: float, **kwargs: Any) -> None:
        self._simulation = simulation
        self._time_scale = time_scale
        self._exposure = object()
        super().__init__(*args, **kwargs)

    def settings(self) -> Settings:
        """Numbers of the simulated detector, and how fast its time passes."""
        detector = self._simulation.detector
        return {
            **super().settings(),
            "readings": (detector.readings, ""),
            "electrometer_fa": (detector.electrometer_fa, "fA"),
            "background_pa": (detector.background_pa, "pA"),
            "photon_energy_kev": (detector.photon_energy_kev, "keV"),
            "time_scale": (self._time_scale, ""),
        }

    def trigger(self) -> StatusBase:
        """Expose once; an exposure that was interrupted is forgotten."""
        self._exposure = object()
        begun = self._exposure
        return finish_after(self._time_scale * self.exposure_s.get(), self, lambda: self._end_of(begun))

    def _end_of(self, exposure: object) -> None:
        if exposure is self._exposure:
            self._expose()

    def _expose(self) -> None:
        current, sigma = self._simulation.expose(self.exposure_s.get())
        self.current.put(current)
        self.sigma.put(sigma)


class SimulatedObjectStage(ObjectStage):
    """Object of the simulation, in or out at once."""

    def __init__(self, *args: Any, simulation: SimulationControls, **kwargs: Any) -> None:
        self._simulation = simulation
        super().__init__(*args, **kwargs)

    def _command(self, inside: bool) -> StatusBase:
        def move() -> None:
            self._simulation.object_in = inside

        return finish_after(0, self, move)

    @property
    def _is_in(self) -> bool:
        return self._simulation.object_in


KNIFE_GEOMETRY = KnifeGeometry(source_knife_mm=50.0, knife_slit_mm=400.0, slit_um=20.0)
KNIFE_TRAVEL_UM = 2000.0


class SimulatedKnife(Knife):
    """Blade in the beam of the simulation; at the lower end of its travel it is out of the beam.

    Parameters
    ----------
    geometry : KnifeGeometry
        Where it really stands, and the slit behind it.
    """

    edge = Component(
        SimulatedAxis, egu="um", limits=(-KNIFE_TRAVEL_UM, KNIFE_TRAVEL_UM), init_pos=-KNIFE_TRAVEL_UM, kind="hinted"
    )

    def __init__(
        self, *args: Any, simulation: BeamlineSimulation, geometry: KnifeGeometry = KNIFE_GEOMETRY, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)

        def follow(value: float, **_: Any) -> None:
            simulation.blades[self.axis] = Blade(value, geometry)

        self.geometry = geometry
        self.edge.subscribe(follow, event_type=self.edge.SUB_READBACK, run=False)


@dataclass(frozen=True, kw_only=True)
class SimulatedBeamline(Beamline):
    """Soft devices and the simulation behind them."""

    simulation: SimulationControls


@dataclass(frozen=True, kw_only=True)
class SimulatedMaskBeamline(SimulatedBeamline):
    """Soft devices and the simulation of a mask board behind them."""

    simulation: BeamlineSimulation

    @property
    def board(self) -> MaskBoard:
        """The board on the stage, as its file has it."""
        board: MaskBoard = self.stage.board  # type: ignore[assignment]
        return board


def simulated_beamline(
    board: MaskBoard | str = "au64",
    object_name: str = "gold",
    *,
    seed: int = 0,
    time_scale: float = 0.0,
    object_parameters: Mapping[str, Any] | None = None,
    etched: bool = False,
    parameters: SimulationParameters | None = None,
    tile_maps: FineTileMaps | None = None,
    true_alignment: Alignment | None = None,
) -> SimulatedMaskBeamline:
    """A simulated beamline with one object in it.

    Parameters
    ----------
    board : MaskBoard or str
        A board, or the name or file of one.
    object_name : str
        A name of `simulation.objects.OBJECTS` such as "gold", "CAS" or "gear:diameter_px=20", or the path of a
        square image of the transmission.
    seed : int
        Seed of all noise.
    time_scale : float
        Real seconds per simulated second of exposure; 0 = as fast as it can.
    object_parameters : mapping, optional
        Parameters of the object (`render_object`), such as material and spectrum of an image that
        is a thickness.
    etched : bool
        Whether the board has the errors of its etching, or masks as designed.
    parameters : SimulationParameters, optional
        By default those of the board.
    tile_maps : FineTileMaps, optional
        Measured transmission of the tiles, in place of the board's design.
    true_alignment : Alignment, optional
        How the board really lies on the stage; by default as its file has it.
    """
    board = board if isinstance(board, MaskBoard) else load_board(board)
    parameters = parameters or simulation_parameters(board, etched=etched)
    object_map = render_object(object_name, board.size, parameters.subpixels, **(object_parameters or {}))
    mounted = board if true_alignment is None else replace(board, alignment=true_alignment)
    simulation = BeamlineSimulation(mounted, object_map, parameters, seed=seed, tile_maps=tile_maps)
    return SimulatedMaskBeamline(
        stage=SimulatedMaskStage(name="stage", board=board, simulation=simulation),
        shutter=SimulatedShutter(name="shutter", simulation=simulation),
        diode=SimulatedDiode(name="diode", simulation=simulation, time_scale=time_scale),
        object_stage=SimulatedObjectStage(name="object_stage", simulation=simulation),
        simulation=simulation,
    )
