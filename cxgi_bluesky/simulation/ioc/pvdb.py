"""All PVs of the IOC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .beam import Barrier, ShutterGroup, SourceGroup
from .beamline import Bench, Reading
from .control import CounterGroup, FaultGroup, SettingsGroup, Silence
from .detectors import DiodeGroup, Exposer, KeithleyGroup, ScalerGroup
from .motor import MotorGroup
from .options import IocOptions
from .tetramm import TetrammGroup


@dataclass(frozen=True)
class Groups:
    """The PVs, by name in `pvdb`, and those groups that others act on."""

    bench: Bench
    pvdb: dict[str, Any]
    motors: list[MotorGroup]
    shutter: ShutterGroup
    barrier: Barrier
    source: SourceGroup
    keithley: KeithleyGroup
    settings: SettingsGroup

    async def begin(self) -> None:
        """Bring everything into its first state."""
        for motor in self.motors:
            await motor.begin()
        await self.shutter.begin()
        await self.barrier.begin()
        await self.source.begin()
        await self.keithley.begin()
        await self.settings.begin()


def make_groups(options: IocOptions, silence: Silence) -> Groups:
    """The PVs of some options.

    Parameters
    ----------
    options : IocOptions
    silence : Silence
        The server's gate, by which its fault PV makes it silent.

    Raises
    ------
    CxgiError
        For an unknown board or object.
    """
    bench, p = Bench(options), options.prefix
    counters = CounterGroup(f"{p}COUNT:", bench=bench)

    async def publish_exposure(reading: Reading | None) -> None:
        await counters.publish()
        if reading is not None:
            await diode.i0.write(reading.i0_pa)

    def make_exposer() -> Exposer:
        return Exposer(bench, publish_exposure)

    diode = DiodeGroup(p, exposer=make_exposer())
    keithley = KeithleyGroup(f"{p}KEITHLEY:", bench=bench, exposer=make_exposer())
    shutter = ShutterGroup(f"{p}SHUTTER:", bench=bench, on_change=counters.publish)
    barrier = Barrier(f"{p}SAFETY:", bench=bench)
    source = SourceGroup(f"{p}SOURCE:", bench=bench)
    settings = SettingsGroup(p, bench=bench)
    records: dict[str, MotorGroup] = {}
    motors = [MotorGroup(f"{p}{name}", bench=bench, axis=axis, records=records) for name, axis in bench.axes.items()]
    groups: list[Any] = [
        *motors,
        shutter,
        barrier,
        source,
        diode,
        keithley,
        TetrammGroup(f"{p}TETRAMM:", bench=bench, exposer=make_exposer()),
        ScalerGroup(f"{p}SCALER1", exposer=make_exposer()),
        counters,
        FaultGroup(f"{p}FAULT:", bench=bench, shutter=shutter, silence=silence),
        settings,
    ]
    pvdb = {name: pv for group in groups for name, pv in group.pvdb.items()}
    return Groups(bench, pvdb, motors, shutter, barrier, source, keithley, settings)
