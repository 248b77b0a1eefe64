"""What is behind the PVs: motors, shutters, source and diode over the simulation, their faults and counts."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from caproto import SkipWrite

from ...analysis.knife_edge import KnifeGeometry
from ...masks.board import load_board
from ..beamline import BeamlineSimulation, SimulationParameters, simulation_parameters
from ..objects.registry import render_object
from ..optics import Blade
from ..source import intensity_drift
from .axis import Axis
from .clock import Clock, Stopwatch
from .options import IocOptions

STEP_DUE = 1 - 1e-6
MAX_NUMBER, ABOVE_0 = sys.float_info.max, math.ulp(0.0)  # the largest number, and the smallest above 0


def take_within(value: float, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> None:
    """Let a PV be as it is (`SkipWrite`) where it is to get a number outside low..high, infinity or NaN.

    Parameters
    ----------
    value : float
        What is written to it.
    low, high : float, optional
        Both included; by default all numbers.
    """
    if not low <= value <= high:
        raise SkipWrite


class ServedSimulation(BeamlineSimulation):
    """A `BeamlineSimulation` whose light follows the source's current.

    Attributes
    ----------
    source_share : float
        Current of the source over its full one.
    intensity : float
        Light of the last exposure over the mean of a full source, drift included.
    drift_due : float
        Steps of the drift that are to be made before the next exposure; a short reading is less than one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source_share = 1.0
        self.intensity = 1.0
        self.drift_due = 0.0
        self._drift = self._with_source(self._drift)

    def restart_noise(self, seed: int) -> None:
        """Begin all noise anew, the drift too."""
        self._rng = np.random.default_rng(seed)
        self._drift = self._with_source(intensity_drift(self._rng, self.parameters.drift_rms))

    def _with_source(self, drift: Iterator[float]) -> Iterator[float]:
        value = None
        while True:
            while value is None or self.drift_due > STEP_DUE:
                value = next(drift)
                self.drift_due = max(self.drift_due - 1, 0.0)
            self.intensity = value * self.source_share
            yield self.intensity


def make_served_beamline(options: IocOptions) -> ServedSimulation:
    """Make the simulation of some options.

    Raises
    ------
    CxgiError
        For a board or object that is unknown.
    """
    board = load_board(options.board)
    parameters = _parameters(simulation_parameters(board, etched=options.etched), options)
    object_map = render_object(options.object_name, board.size, parameters.subpixels)
    if options.true_alignment is not None:
        board = replace(board, alignment=options.true_alignment)
    return ServedSimulation(board, object_map, parameters, seed=options.seed)


def _parameters(parameters: SimulationParameters, options: IocOptions) -> SimulationParameters:
    diode: dict[str, Any] = {"background_pa": options.dark_pa, "electrometer_fa": options.electrometer_fa}
    detector = replace(parameters.detector, **{name: value for name, value in diode.items() if value is not None})
    asked = {name: getattr(options, name) for name in ("open_pa", "stage_rms_um", "drift_rms")}
    return replace(parameters, detector=detector, **{n: v for n, v in asked.items() if v is not None})


# ---------------------------------------------------------------- bench


OBJECT_REACH_MM = 5.0  # further away than this the object is out of the beam
KNIFE_GEOMETRY = KnifeGeometry(source_knife_mm=50.0, knife_slit_mm=400.0, slit_um=20.0)
KNIFE_OUT_MM = -2.0
STAGE_MARGIN_MM = 5.0
CROSSED = {"STAGE:X": "STAGE:Y", "STAGE:Y": "STAGE:X"}
STAGE_MARGIN_TILES = 4
I0_PA = 1000.0
WHOLE = 1e-3  # of an exposure: less than this is the clock's


@dataclass
class Faults:
    """Faults that are asked for; see the how-to."""

    stuck: bool = False
    lost_um: float = 0.0
    short_um: float = 0.0
    short_moves: int = 0
    crossed: bool = False
    shutter_delay_s: float = 0.0
    tetramm_late_s: float = 0.0
    shutter_fail: str = "none"
    reading: str = "none"
    readings: int = 0
    dip: float = 0.5  # share of the source's intensity that is left in a dip
    overload_range: int = 0  # of the Keithley when the overload began; a higher one is not overloaded


@dataclass
class Counts:
    """What the IOC counted since the last reset; the open seconds are the shutter's stopwatch."""

    openings: int = 0
    exposures: int = 0
    dark_exposures: int = 0
    moves: int = 0


@dataclass(frozen=True)
class Reading:
    """One exposure: mean current and its standard error, the monitor's current (pA).

    With `overload` the electrometer reports that its range was exceeded, and the current is what it would have been.
    """

    current_pa: float
    spread_pa: float
    i0_pa: float
    overload: bool = False


class Bench:
    """State of the simulated beamline; the PVs act on it.

    Attributes
    ----------
    simulation : ServedSimulation
    clock : Clock
    axes : dict of str to Axis
        By PV name.
    faults, counts
    open, lit : Stopwatch
        Whether the shutter is open; whether the beam passes source, backup shutter and shutter.
    """

    def __init__(self, options: IocOptions) -> None:
        self.options = options
        self.simulation: ServedSimulation = make_served_beamline(options)
        self.clock = Clock(options.time_scale)
        self.open, self.lit = Stopwatch(self.clock), Stopwatch(self.clock)
        self.faults, self.counts = Faults(tetramm_late_s=options.tetramm_late_s), Counts()
        self.source_on = True
        self.keithley_range = 0
        self.barrier_open = True
        self.seed(options.seed, simulation=False)
        self.axes = {axis.name: axis for axis in self._axes()}
        for name in ("STAGE:X", "STAGE:Y"):
            self.axes[name].put(self.axes[name].position, arrived=True)

    def seed(self, seed: int, *, simulation: bool = True) -> None:
        """Begin all noise anew.

        Parameters
        ----------
        seed : int
        simulation : bool, optional
            Whether the noise of the simulation begins anew too; True by default.
        """
        if simulation:
            self.simulation.restart_noise(seed)
        self._rng = np.random.default_rng([seed, 1])
        self.encoder_rng = np.random.default_rng([seed, 2])
        for axis in getattr(self, "axes", {}).values():
            axis.rng = self.encoder_rng

    # ------------------------------------------------------------ motors

    def _axes(self) -> list[Axis]:
        board = load_board(self.options.board)  # the stage does not know how the board really lies
        positions = np.array(
            [board.position_mm(tile) for tile in range(board.tile_count)] + [board.place_mm(f) for f in board.fiducials]
        )
        margin = max(STAGE_MARGIN_MM, STAGE_MARGIN_TILES * board.tile_pitch_um / 1000)
        low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
        x, y = board.position_mm(0)
        axes = [
            Axis("STAGE:X", x, float(low[0]), float(high[0]), self._stage_x),
            Axis("STAGE:Y", y, float(low[1]), float(high[1]), self._stage_y),
            Axis("OBJECT:X", 0.0, -25.0, 25.0, self._object),
            Axis("KNIFE:Y", KNIFE_OUT_MM, KNIFE_OUT_MM, -KNIFE_OUT_MM, self._knife, velocity=1.0),
        ]
        for axis in axes:
            axis.rng = self.encoder_rng
        return axes

    def _stage_x(self, true_mm: float, arrived: bool) -> None:
        if arrived:
            self.simulation.move_x(true_mm)
        else:
            self.simulation.x_mm = true_mm

    def _stage_y(self, true_mm: float, arrived: bool) -> None:
        if arrived:
            self.simulation.move_y(true_mm)
        else:
            self.simulation.y_mm = true_mm

    def _object(self, true_mm: float, arrived: bool) -> None:
        self.simulation.object_in = abs(true_mm) <= OBJECT_REACH_MM

    def _knife(self, true_mm: float, arrived: bool) -> None:
        if true_mm <= KNIFE_OUT_MM:
            self.simulation.blades.pop("y", None)
        else:
            self.simulation.blades["y"] = Blade(1000 * true_mm, KNIFE_GEOMETRY)

    def begin_move(self, axis: Axis, target: float, *, previous: float) -> tuple[Axis, float]:
        """Count a move; the axis that will move, and where to (mm).

        Without faults these are `axis` and `target`. With crossed wires the other axis goes as far as this one should
        from its `previous` target. Steps that are to be lost are lost here.

        Parameters
        ----------
        axis : Axis
            That was sent.
        target : float
            Where to (mm).
        previous : float
            Its target before (mm).
        """
        self.counts.moves += 1
        moved = self._find_axis(axis)
        end = target if moved is axis else moved.position + target - previous
        if end == moved.position:
            return moved, end
        upwards = math.copysign(1e-3, end - moved.position)
        if self.faults.lost_um:
            moved.slip -= upwards * self.faults.lost_um
            self.faults.lost_um = 0.0
        return moved, end - upwards * self._short_um(moved)

    def _find_axis(self, axis: Axis) -> Axis:
        """The axis whose motor hangs on a record's wires."""
        return self.axes[CROSSED.get(axis.name, axis.name)] if self.faults.crossed else axis

    def _short_um(self, axis: Axis) -> float:
        """How far from its end a move of an axis is to stop."""
        faults, short_um = self.faults, self.faults.short_um
        if not short_um or axis.name not in CROSSED:
            return 0.0
        if faults.short_moves:
            faults.short_moves -= 1
            if not faults.short_moves:
                faults.short_um = 0.0
        return short_um

    # ------------------------------------------------------------ light

    def set_shutter(self, opened: bool) -> None:
        """Set whether the shutter is open."""
        self.counts.openings += opened and not self.open.running
        self.open.set(opened)
        self.light()

    def light(self) -> None:
        """Let the beam through if source, barrier and shutter do."""
        lit = self.open.running and self.barrier_open and self.source_on
        self.lit.set(lit)
        if lit:
            self.simulation.open_shutter()
        else:
            self.simulation.close_shutter()

    def source_share(self) -> float:
        """Current of the source over its full one."""
        if not self.source_on:
            return 0.0
        lifetime_s = 3600 * self.options.source_lifetime_h
        return math.exp(-self.clock.now() / lifetime_s) if lifetime_s else 1.0

    def source_ma(self) -> float:
        """Current of the source as its meter reads it."""
        return self.options.source_ma * self.source_share() * (1 + 1e-4 * float(self._rng.normal()))

    def reset_counts(self) -> None:
        """Count from 0."""
        self.counts = Counts()
        self.open.reset()

    # ------------------------------------------------------------ exposures

    async def expose(self, exposure_s: float, *, drift_steps: float = 1.0) -> Reading:
        """Integrate for `exposure_s` simulated seconds; light that came only part of the time counts for that part.

        Parameters
        ----------
        exposure_s : float
            Exposure time (s).
        drift_steps : float, optional
            Steps of the source's drift, 1 by default: one an exposure; readings that together are an exposure share it.

        Returns
        -------
        Reading
        """
        open_before, lit_before = self.open.seconds, self.lit.seconds
        await self.clock.spend(exposure_s)
        if self.open.seconds - open_before > WHOLE * exposure_s:
            self.counts.exposures += 1
        else:
            self.counts.dark_exposures += 1
        self.simulation.drift_due += drift_steps
        return self._faulty(self._read(exposure_s, (self.lit.seconds - lit_before) / exposure_s))

    def _read(self, exposure_s: float, lit_share: float) -> Reading:
        dip = self.faults.dip if self.faults.reading == "dip" else 1.0
        self.simulation.source_share = dip * max(self.source_share(), 0.0)
        share = 1.0 if lit_share > 1 - WHOLE else 0.0 if lit_share < WHOLE else lit_share
        parts = [(part, lit) for part, lit in ((share, True), (1 - share, False)) if part > 0]
        current = variance = i0 = 0.0
        was_open = self.simulation.shutter_open
        for part, lit in parts:
            self.simulation.shutter_open = lit
            mean, sigma = self.simulation.expose(part * exposure_s)
            current, variance = current + part * mean, variance + (part * sigma) ** 2
            i0 += part * I0_PA * self.simulation.intensity * lit
        self.simulation.shutter_open = was_open
        detector = self.simulation.parameters.detector
        noise = math.sqrt(detector.variance_pa2(i0, exposure_s))
        return Reading(current, math.sqrt(variance), i0 + noise * float(self._rng.normal()))

    def _faulty(self, reading: Reading) -> Reading:
        kind = self.faults.reading
        if kind == "none":
            return reading
        if self.faults.readings:
            self.faults.readings -= 1
            if not self.faults.readings:
                self.faults.reading = "none"
        if kind == "nan":
            return Reading(math.nan, math.nan, reading.i0_pa)
        return replace(reading, overload=kind == "overload")
