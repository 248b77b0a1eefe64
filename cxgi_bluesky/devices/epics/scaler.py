"""ScalerDiode: a channel of a scaler record behind a current-to-frequency converter, or behind a counter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ophyd import EpicsScaler, FormattedComponent, Kind

from ...errors import CxgiError
from ..configuration import Settings
from .diode import EpicsDiode, Reading
from .signals import put_and_complete

CHANNELS = 32
MARGIN_S = 10.0


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
        tell the noise, which is then told from the open exposures.
    kwargs
        Of `EpicsDiode`.

    Raises
    ------
    CxgiError
        For an unknown channel or an impossible factor.
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
        if not 2 <= channel <= CHANNELS:
            raise CxgiError(f"channel {channel} of a scaler: choose 2 to {CHANNELS}, channel 1 is its clock")
        if not 0 < counts_per_pa_s < math.inf:
            raise CxgiError(f"counts_per_pa_s {counts_per_pa_s} is no positive number")
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

    def configured_parts(self) -> Iterator[Any]:
        """Also the preset time and the clock's frequency."""
        yield from super().configured_parts()
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
