"""GenericDiode: any detector with a PV to acquire and a PV of the value."""

from __future__ import annotations

import math
from typing import Any

from ophyd import EpicsSignal, EpicsSignalRO, FormattedComponent, Kind

from ..configuration import Settings
from .diode import OVERFLOW, EpicsDiode, Reading, pa_per
from .signals import put_and_complete

MARGIN_S = 10.0


class GenericDiode(EpicsDiode):
    """Writes `acquire_value` to a PV with put-completion, then reads the value.

    Parameters
    ----------
    acquire_pv, value_pv : str
    spread_pv : str, optional
        One standard deviation of the value; without it sigma is NaN, and the noise is told from the open exposures.
    exposure_pv : str, optional
        Exposure time (s), written when it changes; without it the detector's own time counts, whatever a plan says.
    overload_pv : str, optional
        1: the value is overloaded.
    unit : str
        Of value and spread.
    acquire_value : int
    kwargs
        Of `EpicsDiode`.

    Raises
    ------
    CxgiError
        For an unknown unit.
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
        self.unit, self._factor = unit, pa_per(unit)
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
        """All that the IOC tells of the exposure, in the time of one answer."""
        asked = {"value": self.value, "spread": self.spread, "overload": self.overloaded, "i0": self._monitor_signal}
        signals = {name: signal for name, signal in asked.items() if signal is not None}
        told = dict(zip(signals, map(float, self.arrivals.take(*signals.values())), strict=True))
        overload = abs(told["value"]) >= OVERFLOW or bool(told.get("overload"))
        sigma_pa = self._factor * told.get("spread", math.nan)
        return Reading(self._factor * told["value"], sigma_pa, overload, told.get("i0"))
