"""QuadEMDiode: one channel of a quadEM electrometer (TetrAMM and its kin)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ophyd import Component, EpicsSignalRO, FormattedComponent, Kind
from ophyd.quadem import QuadEM, TetrAMM
from ophyd.status import StatusBase

from ..base import Settings
from .diode import PA_PER_UNIT, EpicsDiode, Reading
from .signals import read_uncached

SINGLE, FREE_RUN = 2, 0  # of AcquireMode and TriggerMode
FULL_SCALE_A = {1: 120e-9, 0: 120e-6}  # of a TetrAMM by the value of Range, the sensitive one first
NEAR_FULL_SCALE = 0.98
MARGIN_S = 10.0


class Electrometer(TetrAMM):
    """`ophyd.quadem.TetrAMM` without image and statistics: the PVs of the electrometer itself."""

    image = None
    current1 = None
    current2 = None
    current3 = None
    current4 = None
    sum_all = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super(QuadEM, self).__init__(*args, **kwargs)  # QuadEM's own wants the channels that are left out
        self._acquisition_signal = self.acquire
        self.stage_sigs.update(acquire=0, acquire_mode=SINGLE, trigger_mode=FREE_RUN, num_acquire=1)

    def trigger(self) -> StatusBase:
        """Acquire once. As ophyd's, which hands over None if the acquisition has ended before it returns."""
        self._status = status = self._status_type(self)
        self._acquisition_signal.put(1, wait=False)
        return status


class QuadEMDiode(EpicsDiode):
    """The mean current of a channel over the exposure; its spread from the readings that were averaged.

    Parameters
    ----------
    prefix : str
        Of the electrometer, such as ``XF:28IDC-BI{IM:02}EM180:``.
    channel : int
        1 to 4.
    unit : str
        Of ``CurrentN:MeanValue_RBV`` (A, unless the database scales it).
    full_scale_a : mapping, optional
        Full scale (A) by the value of ``Range``, from the most sensitive to the least: a mean within 2 % of it is an
        overload. By default those of a TetrAMM.
    kwargs
        Of `EpicsDiode`.
    """

    detector = Component(Electrometer, "", kind=Kind.omitted)
    mean_value = FormattedComponent(
        EpicsSignalRO, "{self.prefix}Current{self.channel}:MeanValue_RBV", kind=Kind.omitted
    )
    spread = FormattedComponent(EpicsSignalRO, "{self.prefix}Current{self.channel}:Sigma_RBV", kind=Kind.omitted)

    def __init__(
        self,
        prefix: str = "",
        *,
        channel: int = 1,
        unit: str = "A",
        full_scale_a: Mapping[int, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.channel, self.unit, self._factor = channel, unit, PA_PER_UNIT[unit]
        self._full_scale_a = dict(full_scale_a or FULL_SCALE_A)
        super().__init__(prefix, **{"ranges": tuple(self._full_scale_a), **kwargs})

    def settings(self) -> Settings:
        """Channel, unit and full scales, in the order of `ranges`."""
        return {
            **super().settings(),
            "channel": (self.channel, ""),
            "value_unit": (self.unit, ""),
            "full_scales": (tuple(self._full_scale_a.values()), "A"),
        }

    def list_configured_parts(self) -> Iterator[Any]:
        """Also what the electrometer is set to."""
        yield from super().list_configured_parts()
        detector = self.detector
        yield from (detector.em_range, detector.averaging_time, detector.values_per_read, detector.bias_voltage)

    @property
    def _range_signal(self) -> Any:
        return self.detector.em_range

    def stage(self) -> list[object]:
        """Stage; averaging time and range are put back afterwards."""
        for signal in (self.detector.averaging_time, self.detector.em_range):
            self.detector.stage_sigs[signal] = signal.get()
        return super().stage()

    @property
    def results(self) -> tuple[Any, ...]:
        """Signals that are read after an exposure."""
        return self.mean_value, self.spread

    def _measure(self, exposure_s: float) -> Reading:
        if not math.isclose(float(self.detector.averaging_time.get()), exposure_s, rel_tol=1e-3):
            self.detector.averaging_time.set(exposure_s).wait(timeout=self.timeouts.write_s)
        self._note()
        self.detector.trigger().wait(timeout=exposure_s + MARGIN_S)
        mean, spread = map(float, self.arrivals.take(self.mean_value, self.spread))
        mean_a = mean * self._factor * 1e-12
        averaged = max(
            float(read_uncached(self.detector.num_averaged)), 1.0
        )  # the same number again is not stamped anew
        sigma_pa = self._factor * spread / math.sqrt(averaged)
        full_scale_a = self._full_scale_a.get(int(self.detector.em_range.get()), math.inf)
        return Reading(1e12 * mean_a, sigma_pa, abs(mean_a) >= NEAR_FULL_SCALE * full_scale_a)

    def _abort(self) -> None:
        self.detector.acquire.put(0)
