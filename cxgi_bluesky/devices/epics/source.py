"""EpicsSource: whether there is beam at all; a scan waits while there is none."""

from __future__ import annotations

from typing import Any

from ophyd import EpicsSignalRO

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
        self.ready_value, self.at_least_ma, self.wait_s = ready_value, at_least_ma, wait_s
        self.timeouts = timeouts or Timeouts()
        super().__init__(prefix, **kwargs)
        self.ready = self.optional("ready", ready_pv, EpicsSignalRO, auto_monitor=True)
        self.current = self.optional("current", current_pv, EpicsSignalRO, auto_monitor=True)
