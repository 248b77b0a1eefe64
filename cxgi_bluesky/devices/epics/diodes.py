"""Detectors without a driver of their own: a PV to acquire and a PV of the value, or a scaler record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ophyd import EpicsScaler, EpicsSignal, EpicsSignalRO, FormattedComponent, Kind

from ..base import Settings
from .diode import OVERFLOW, PA_PER_UNIT, EpicsDiode, Reading
from .signals import put_and_complete

MARGIN_S = 10.0


class GenericDiode(EpicsDiode):
    """Writes `acquire_value` to a PV with put-completion, then reads the value.

    Parameters
    ----------
    acquire_pv, value_pv : str
    spread_pv : str, optional
        One standard deviation of the value; without it sigma is NaN, and the noise is estimated from open exposures.
    exposure_pv : str, optional
        Exposure time (s), written when it changes; without it the detector's own time counts, whatever a plan asks for.
    overload_pv : str, optional
        1: the value is overloaded.
    unit : str
        Of value and spread.
    acquire_value : int
    kwargs
        Of `EpicsDiode`.

    """

    acquire = FormattedComponent(EpicsSignal, "{self._acquire_pv}", kind=Kind.omitted)
    value = FormattedComponent(EpicsSignalRO, "{self._value_pv}", kind=Kind.omitted)

    def __init__(
        self,
        prefix: str = "",
        *,
        acquire_pv: str,
        value_pv: str,
        spread_pv: str | None = None,
        exposure_pv: str | None = None,
        overload_pv: str | None = None,
        unit: str = "pA",
        acquire_value: int = 1,
        **kwargs: Any,
    ) -> None:
        self._acquire_pv, self._value_pv, self._acquire_value = acquire_pv, value_pv, acquire_value
        self.unit, self._factor = unit, PA_PER_UNIT[unit]
        super().__init__(prefix, **kwargs)
        self.spread = self.optional("spread", spread_pv, EpicsSignalRO)
        self.exposure = self.optional("exposure", exposure_pv)
        self.overloaded = self.optional("overloaded", overload_pv, EpicsSignalRO)
        self._written_s: float | None = None

    def settings(self) -> Settings:
        """Which PVs, and their unit."""
        return {
            **super().settings(),
            "acquire_pv": (self._acquire_pv, ""),
            "acquire_value": (self._acquire_value, ""),
            "value_pv": (self._value_pv, ""),
            "value_unit": (self.unit, ""),
        }

    def stage(self) -> list[object]:
        """Stage; the exposure time is written anew, as others may have changed it."""
        self._written_s = None
        return super().stage()

    def _measure(self, exposure_s: float) -> Reading:
        if self.exposure is not None and exposure_s != self._written_s:
            put_and_complete(self.exposure, exposure_s, self.timeouts.write_s)
            self._written_s = exposure_s
        self._note()
        put_and_complete(self.acquire, self._acquire_value, exposure_s + MARGIN_S)
        return self._reading()

    @property
    def results(self) -> tuple[Any, ...]:
        """Signals that are read after an exposure."""
        return tuple(signal for signal in (self.value, self.spread, self.overloaded) if signal is not None)

    def _reading(self) -> Reading:
        """All that the IOC has of the exposure, in the time of one answer."""
        asked = {"value": self.value, "spread": self.spread, "overload": self.overloaded, "i0": self._monitor_signal}
        signals = {name: signal for name, signal in asked.items() if signal is not None}
        values = dict(zip(signals, map(float, self.arrivals.take(*signals.values())), strict=True))
        overload = abs(values["value"]) >= OVERFLOW or bool(values.get("overload"))
        sigma_pa = self._factor * values.get("spread", math.nan)
        return Reading(self._factor * values["value"], sigma_pa, overload, values.get("i0"))


# ---------------------------------------------------------------- scaler


CHANNELS = 32


class ScalerDiode(EpicsDiode):
    """Counts of a channel over the exposure as a mean current.

    Parameters
    ----------
    scaler_pv : str
        Scaler record.
    channel : int
        2 to 32; channel 1 is the record's clock.
    counts_per_pa_s : float
        Counts per second for one pA.
    counting : bool
        Each count is a photon: sigma is the root of the counts. Else sigma is NaN, as a converter's pulses do not
        show the noise, which is then estimated from the open exposures.
    kwargs
        Of `EpicsDiode`.
    """

    scaler = FormattedComponent(EpicsScaler, "{self._scaler_pv}", kind=Kind.omitted)

    def __init__(
        self,
        prefix: str = "",
        *,
        scaler_pv: str,
        channel: int = 2,
        counts_per_pa_s: float,
        counting: bool = False,
        **kwargs: Any,
    ) -> None:
        self._scaler_pv, self._counts_per_pa_s, self._counting = scaler_pv, counts_per_pa_s, counting
        self.channel = channel
        super().__init__(prefix, **kwargs)
        self.counts = getattr(self.scaler.channels, f"chan{channel}")
        self.scaler.stage_sigs.clear()
        self.stage_sigs[self.scaler.count_mode] = "OneShot"

    def settings(self) -> Settings:
        """Channel, and what a count means."""
        return {
            **super().settings(),
            "channel": (self.channel, ""),
            "counts_per_pa_s": (self._counts_per_pa_s, "counts/(pA s)"),
            "counting": (self._counting, ""),
        }

    def list_configured_parts(self) -> Iterator[Any]:
        """Also the preset time and the clock's frequency."""
        yield from super().list_configured_parts()
        yield from (self.scaler.preset_time, self.scaler.freq)

    def stage(self) -> list[object]:
        """Stage; the preset time is put back afterwards."""
        self.stage_sigs[self.scaler.preset_time] = self.scaler.preset_time.get()
        return super().stage()

    @property
    def results(self) -> tuple[Any, ...]:
        """Signals that are read after an exposure."""
        return self.counts, self.scaler.time

    def _measure(self, exposure_s: float) -> Reading:
        if not math.isclose(float(self.scaler.preset_time.get()), exposure_s, rel_tol=1e-6):
            put_and_complete(self.scaler.preset_time, exposure_s, self.timeouts.write_s)
        self._note()
        put_and_complete(self.scaler.count, 1, exposure_s + MARGIN_S)
        counts, seconds = map(float, self.arrivals.take(self.counts, self.scaler.time))
        if not seconds > 0:
            return Reading(math.nan, math.nan)
        per_count = 1 / (self._counts_per_pa_s * seconds)
        sigma = math.sqrt(max(counts, 1.0)) * per_count if self._counting else math.nan
        return Reading(counts * per_count, sigma)

    def _abort(self) -> None:
        self.scaler.count.put(0)
