"""TetrAMM as quadEM names its records: as much of it as ophyd.quadem.TetrAMM needs for a reading of channel 1.

Current1 is the diode and Current2 the monitor, in A; Sigma is that of the samples, not of their mean. The statistics
may come later than Acquire ends, as those of plugins that are not waited for.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from .beamline import Bench, take_within
from .detectors import Exposer, be_busy

A_PER_PA = 1e-12
SAMPLE_S = 1e-5
CONTINUOUS, MULTIPLE, SINGLE = MODES = ["Continuous", "Multiple", "Single"]
TRIGGERS = ["Free run", "Ext. trig.", "Ext. bulb", "Ext. gate"]
RANGES = ["+- 120 uA", "+- 120 nA"]
FULL_A = [120e-6, 120e-9]
ENUM, STRING = ChannelType.ENUM, ChannelType.STRING


def _type_of(value: Any) -> Any:
    """EPICS strings for texts, where caproto would take arrays of characters."""
    return STRING if isinstance(value, str) else type(value)


def _pair(name: str, value: Any, *, minimum: float | None = None, **options: Any) -> dict[str, Any]:
    """A setting and its readback; numbers below the minimum are not taken."""

    async def put(self: Any, instance: Any, value: Any) -> Any:
        if minimum is not None:
            take_within(value, minimum)
        await getattr(self, f"{name}_rbv").write(value)
        return value

    return {
        f"{name}_set": pvproperty(value=value, name=name, put=put, **options),
        f"{name}_rbv": pvproperty(value=value, name=f"{name}_RBV", read_only=True, **options),
    }


PLUGINS = ["Current1", "Current2", "Current3", "Current4", "SumAll", "image1"]
SETTINGS: dict[str, Any] = {
    **_pair("AcquireMode", SINGLE, dtype=ENUM, enum_strings=MODES),
    **_pair("AveragingTime", 1.0, minimum=SAMPLE_S, units="s", precision=4),
    **_pair("IntegrationTime", 0.0, units="s", precision=4),
    **_pair("NumAcquire", 1, minimum=1),
    **_pair("ValuesPerRead", 10, minimum=1),
    **_pair("Range", RANGES[1], dtype=ENUM, enum_strings=RANGES),
    **_pair("ReadFormat", "Binary", dtype=ENUM, enum_strings=["Binary", "ASCII"]),
    **_pair("NumChannels", "4", dtype=ENUM, enum_strings=["1", "2", "4"]),
    **_pair("Geometry", "Diamond", dtype=ENUM, enum_strings=["Diamond", "Square", "Square (CC)"]),
    **_pair("Resolution", 24),
    **_pair("PingPong", 0),
    **_pair("BiasState", "Off", dtype=ENUM, enum_strings=["Off", "On"]),
    **_pair("BiasInterlock", "Off", dtype=ENUM, enum_strings=["Off", "On"]),
    **_pair("BiasVoltage", 0.0, units="V", precision=1),
    "TriggerMode": pvproperty(value=TRIGGERS[0], dtype=ENUM, enum_strings=TRIGGERS, name="TriggerMode"),
    **{
        word: pvproperty(value=value, dtype=_type_of(value), name=word, read_only=True)
        for word, value in {
            "Model": "TetrAMM", "Firmware": "simulated", "HVSReadback": 0, "HVVReadback": 0.0, "HVIReadback": 0.0,
            "SampleTime_RBV": 10 * SAMPLE_S, "NumAverage_RBV": 0, "NumAcquired": 0, "RingOverflows": 0,
        }.items()
    },
    **{word: pvproperty(value=0, name=word) for word in ("ReadData", "Reset")},
    **{
        f"{word}{end}": pvproperty(value=value, dtype=_type_of(value), name=f"{word}{end}")
        for ends, records in (
            ("1234", {"CurrentName": "", "CurrentOffset": 0.0, "ComputeCurrentOffset": 0, "CurrentScale": 1.0}),
            ("XY", {"PositionOffset": 0.0, "ComputePosOffset": 0, "PositionScale": 1.0}),
        )
        for end in ends
        for word, value in records.items()
    },
}  # fmt: skip


def _plugin(name: str) -> dict[str, Any]:
    """A plugin: what staging sets, and the statistics."""
    at = f"{name}:"
    switches = {"EnableCallbacks": ["Disable", "Enable"], "BlockingCallbacks": ["No", "Yes"]}
    return {
        **{
            f"{name}_{word}{end}": pvproperty(
                value=strings[1], dtype=ENUM, enum_strings=strings, name=f"{at}{word}{end}"
            )
            for word, strings in switches.items()
            for end in ("", "_RBV")
        },
        f"{name}_port": pvproperty(value=f"TetrAMM_{name}", dtype=STRING, name=f"{at}PortName_RBV", read_only=True),
        f"{name}_type": pvproperty(
            value="NDPluginStdArrays" if name == "image1" else "NDPluginStats",
            name=f"{at}PluginType_RBV",
            dtype=STRING,
            read_only=True,
        ),
        f"{name}_source": pvproperty(value="TetrAMM", dtype=STRING, name=f"{at}NDArrayPort"),
        f"{name}_source_rbv": pvproperty(value="TetrAMM", dtype=STRING, name=f"{at}NDArrayPort_RBV", read_only=True),
        f"{name}_mean": pvproperty(value=0.0, units="A", precision=15, name=f"{at}MeanValue_RBV", read_only=True),
        f"{name}_sigma": pvproperty(value=0.0, units="A", precision=15, name=f"{at}Sigma_RBV", read_only=True),
    }


class TetrammGroup(PVGroup):
    """The records; Acquire is 1 until all is acquired, and a put to it completes then."""

    async def _put_acquire(self, instance: Any, value: Any) -> None:
        self._run += 1
        if not value:
            self.exposer.stop()
            raise SkipWrite
        await be_busy(instance, self._acquire(self._run))

    acquire = pvproperty(value=0, name="Acquire", put=_put_acquire)
    averaged = pvproperty(value=0, name="NumAveraged_RBV", read_only=True)
    locals().update(SETTINGS)
    for plugin in PLUGINS:
        locals().update(_plugin(plugin))

    def __init__(self, prefix: str, *, bench: Bench, exposer: Exposer, **kwargs: Any) -> None:
        self.bench, self.exposer = bench, exposer
        self._run = 0
        self._publishing: set[asyncio.Task[None]] = set()
        super().__init__(prefix, **kwargs)

    async def _acquire(self, run: int) -> None:
        mode = self._value("AcquireMode_rbv")
        count = {CONTINUOUS: None, MULTIPLE: self._value("NumAcquire_rbv"), SINGLE: 1}[mode]
        for number in itertools.count(1):
            if run != self._run or (count is not None and number > count):
                return
            if not await self._read():
                return
            await self.attr_pvdb["NumAcquired"].write(number)

    def _value(self, name: str) -> Any:
        return self.attr_pvdb[name].value

    async def _read(self) -> bool:
        """One averaged reading; False if it was made void."""
        seconds = self._value("AveragingTime_rbv")
        reading = await self.exposer.expose(seconds)
        if reading is None:
            return False
        samples = max(1, round(seconds / (SAMPLE_S * self._value("ValuesPerRead_rbv"))))
        full = FULL_A[RANGES.index(self._value("Range_rbv"))]
        mean = reading.current_pa * A_PER_PA
        await self.averaged.write(samples)
        statistics = {
            "Current1_mean": full if reading.overload else max(-full, min(mean, full)) if mean == mean else mean,
            "Current1_sigma": 0.0 if reading.overload else reading.spread_pa * A_PER_PA * math.sqrt(samples),
            "Current2_mean": reading.i0_pa * A_PER_PA,
        }
        if late_s := self.bench.faults.tetramm_late_s:
            self._publish_later(statistics, late_s)
        else:
            await self._publish(statistics)
        return True

    async def _publish(self, statistics: dict[str, float], late_s: float = 0.0) -> None:
        await asyncio.sleep(late_s)
        for name, value in statistics.items():
            await self.attr_pvdb[name].write(value)

    def _publish_later(self, statistics: dict[str, float], late_s: float) -> None:
        task = asyncio.ensure_future(self._publish(statistics, late_s))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)
