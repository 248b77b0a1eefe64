"""EpicsBarrier: what stops the beam when the shutter does not: a safety shutter to close, or a source to switch off."""

from __future__ import annotations

import time
from typing import Any

from ophyd import EpicsSignal, EpicsSignalRO, FormattedComponent, Kind

from ..shutter import ShutterError
from .signals import POLL_S, EpicsDevice, Timeouts, fresh, says, word_of

Value = int | float | str


class EpicsBarrier(EpicsDevice):
    """Second barrier: one command and a readback that confirms it. Nothing here opens it again; people do.

    Parameters
    ----------
    command_pv, readback_pv : str
    close_value, closed_value : int, float or str
        What to write, and what the readback says then: a number or a word of its enum.
    closing_s : float
        Longest time from the command to the readback.
    timeouts : Timeouts
    """

    command = FormattedComponent(EpicsSignal, "{self._command_pv}", kind=Kind.omitted)
    readback = FormattedComponent(EpicsSignalRO, "{self._readback_pv}", kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        command_pv: str,
        readback_pv: str,
        close_value: Value = 0,
        closed_value: Value = 0,
        closing_s: float = 3.0,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        self._command_pv, self._readback_pv = command_pv, readback_pv
        self.close_value, self.closed_value, self.closing_s = close_value, closed_value, closing_s
        self.timeouts = (timeouts or Timeouts()).quick
        super().__init__(prefix, **kwargs)

    @property
    def is_closed(self) -> bool:
        """Whether the readback, asked of the IOC now, says closed."""
        return says(self.readback, fresh(self.readback), self.closed_value)

    def close(self, *, patient: bool = True) -> None:
        """Stop the beam, and return only when the readback says so.

        Parameters
        ----------
        patient : bool
            Wait a little for a connection that was lost.

        Raises
        ------
        ShutterError
            If it does not within `closing_s`.
        """
        if not (patient or self.command.connected):
            raise ShutterError(f"{self.command.pvname} is not connected")
        deadline = time.monotonic() + self.closing_s
        self.command.put(self.close_value)
        while not self.is_closed:
            if time.monotonic() > deadline:
                raise ShutterError(
                    f"{self.readback.pvname} says {word_of(self.readback, self.readback.get())} "
                    f"{self.closing_s:g} s after {self.command.pvname} was set to {self.close_value!r}"
                )
            time.sleep(min(POLL_S, 0.05))
