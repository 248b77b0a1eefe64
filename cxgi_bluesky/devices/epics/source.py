"""EpicsSource: whether there is beam at all; a scan waits while there is none."""

from __future__ import annotations

from typing import Any

from ophyd import EpicsSignalRO

from ...errors import ScanError
from .signals import EpicsDevice, Timeouts


class EpicsSource(EpicsDevice):
    """Source of the beam: a ready signal, a current, or both.

    Parameters
    ----------
    ready_pv : str, optional
        Binary: beam is ready at `ready_value`.
    ready_value : {1, 0}
    current_pv : str, optional
        Ring or tube current (mA).
    at_least_ma : float, optional
        Below it a scan waits; needed with `current_pv`.
    wait_s : float
        Wait after it has come back.
    timeouts : Timeouts

    Raises
    ------
    CxgiError
        If there is no signal, or one lacks its number.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        ready_pv: str | None = None,
        ready_value: int = 1,
        current_pv: str | None = None,
        at_least_ma: float | None = None,
        wait_s: float = 5.0,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        if ready_pv is None and current_pv is None:
            raise ScanError("a source needs ready, current or both: give a PV, or leave the source out")
        if (current_pv is None) != (at_least_ma is None):
            raise ScanError("current and at_least_ma of a source belong together: give both or neither")
        if ready_value not in (0, 1):
            raise ScanError(f"ready_value {ready_value!r} of a source: give 0 or 1")
        self.ready_value, self.at_least_ma, self.wait_s = ready_value, at_least_ma, wait_s
        self.timeouts = timeouts or Timeouts()
        super().__init__(prefix, **kwargs)
        self.ready = self.optional("ready", ready_pv, EpicsSignalRO, auto_monitor=True)
        self.current = self.optional("current", current_pv, EpicsSignalRO, auto_monitor=True)
