"""EpicsShutter: a beam shutter with command and readback, a permit and a backup shutter.

This is no safety system; the facility's personnel safety system is.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from ophyd import EpicsSignal, EpicsSignalRO, FormattedComponent, Kind, Staged
from ophyd.status import StatusBase

from ...errors import ScanError
from ..base import Settings
from ..shutter import Shutter, ShutterError
from ..status import in_background
from .shutter_counter import OpenCount
from .signals import (
    POLL_S,
    EpicsDevice,
    Timeouts,
    enum_label,
    equals,
    is_comparable,
    put_with_callback,
    read_uncached,
    read_uncached_with_time,
    wait_for_return,
)

Value = int | float | str


class EpicsBarrier(EpicsDevice):
    """Backup shutter: one command and a readback that confirms it. Nothing here opens it again; people do.

    Parameters
    ----------
    command_pv, readback_pv : str
    close_value, closed_value : int, float or str
        What to write, and the value of the readback then: a number or a label of its enum.
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
        """Whether the readback, asked of the IOC now, is closed."""
        return equals(self.readback, read_uncached(self.readback), self.closed_value)

    def close(self, *, patient: bool = True) -> None:
        """Stop the beam, and return only when the readback confirms it.

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
                    f"{self.readback.pvname} says {enum_label(self.readback, self.readback.get())} "
                    f"{self.closing_s:g} s after {self.command.pvname} was set to {self.close_value!r}"
                )
            time.sleep(min(POLL_S, 0.05))


# ---------------------------------------------------------------- shutter pvs


MAX_CLOSING_S = 9.0  # shutter and backup shutter together: plans wait 10 s for a shutter


@dataclass(frozen=True)
class ShutterPvs:
    """PVs of a shutter, and what their values mean: numbers, or labels of an enum.

    Either `command` (with `open_value`, `close_value`) or `open_pulse` and `close_pulse` (which get `pulse_value`).
    """

    readback: str
    command: str | None = None
    open_pulse: str | None = None
    close_pulse: str | None = None
    open_value: Value = 1
    close_value: Value = 0
    pulse_value: Value = 1
    opened_value: Value = 1
    closed_value: Value = 0
    permit: str | None = None
    permit_value: Value = 1
    max_open: str | None = None
    reset: str | None = None


@dataclass(frozen=True)
class ShutterTimes:
    """Longest times (s) to open and to close, a wait after opening, and the most that the IOC lets it be open."""

    opening_s: float = 3.0
    closing_s: float = 3.0
    settle_s: float = 0.0
    max_open_s: float | None = None


# ---------------------------------------------------------------- shutter


logger = logging.getLogger(__name__)


class OvertakenError(ShutterError):
    """A newer command has come while it opened."""


@dataclass(eq=False)
class _Turn:
    """A command, with what is known of the exposure that it began, if it is an opening.

    Attributes
    ----------
    forgotten : bool
        The plan was ended or paused: that a newer command overtook this one is no error.
    exposing : bool
        It opened, and no newer command had come by then.
    closed_itself : bool
        The shutter was seen closed after that.
    """

    forgotten: bool = False
    exposing: bool = False
    closed_itself: bool = False


_MARGIN_S = 0.5


class EpicsShutter(EpicsDevice, Shutter):
    """Shutter whose state is that of its readback; everything but "closed" counts as open.

    A close that fails goes to the backup shutter, then is an alarm: `ShutterError`, and no opening until
    `reset_alarm`. A shutter that was found closed at the end of an exposure (permit withdrawn, the IOC's own timer)
    is a `ShutterError` too, as the bucket of that exposure is wrong.

    Parameters
    ----------
    pvs : ShutterPvs
    times : ShutterTimes
    barrier : EpicsBarrier, optional
        Backup shutter.
    timeouts : Timeouts
    """

    readback = FormattedComponent(EpicsSignalRO, "{self.pvs.readback}", auto_monitor=True, kind=Kind.omitted)

    def __init__(
        self,
        prefix: str = "",
        *,
        pvs: ShutterPvs,
        times: ShutterTimes | None = None,
        barrier: EpicsBarrier | None = None,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        self.pvs, self.times, self.barrier = pvs, times or ShutterTimes(), barrier
        self.longest_open_s = self.times.max_open_s
        self.timeouts = (timeouts or Timeouts()).quick
        self.timeout_s = self.times.closing_s + (barrier.closing_s if barrier else 0.0) + 3 * self.timeouts.read_s
        self.alarm: str | None = None
        self._turn = _Turn()  # of the latest command
        self._taking_turn = threading.Lock()
        self._sending = threading.Lock()
        self._changed = threading.Event()
        self._count = OpenCount()
        self._barrier_seen_open = False
        super().__init__(prefix, **kwargs)
        self.command = self.optional("command", pvs.command)
        self.open_pulse = self.optional("open_pulse", pvs.open_pulse)
        self.close_pulse = self.optional("close_pulse", pvs.close_pulse)
        self.permit = self.optional("permit", pvs.permit, EpicsSignalRO)
        self.max_open = self.optional("max_open", pvs.max_open)
        self.reset = self.optional("reset", pvs.reset)
        if self.max_open is not None and self.times.max_open_s is not None:
            self.stage_sigs[self.max_open] = self.times.max_open_s
        self.readback.subscribe(self._readback_changed, run=False)

    def settings(self) -> Settings:
        """PVs, what their values mean, times, and the backup shutter."""
        pvs = asdict(self.pvs).items()
        own: Settings = {key if key.endswith("_value") else f"{key}_pv": (value, "") for key, value in pvs}
        own |= {key: (value, "s") for key, value in asdict(self.times).items()}
        if self.barrier is not None:
            own["second_barrier"] = (self.barrier.command.pvname, "")
        return {**super().settings(), **own}

    # ------------------------------------------------------------ state

    def _means_open(self, value: Any) -> bool:
        return not equals(self.readback, value, self.pvs.closed_value)

    @property
    def _is_open(self) -> bool:
        return self._means_open(self.readback.get())

    @property
    def _open_s(self) -> float:
        return self._count.seconds

    @property
    def _openings(self) -> int:
        return self._count.openings

    def check_text(self) -> None:
        """Raise `CxgiError` if the readback is a text, and numbers are expected of it: it would never be closed."""
        value, known = self._ask(), (self.pvs.opened_value, self.pvs.closed_value)
        if isinstance(value, str) and not any(isinstance(k, str) or equals(self.readback, value, k) for k in known):
            raise ScanError(
                f"{self.readback.pvname} says {value!r}, a text, and opened_value and closed_value of the shutter are "
                f'{known[0]!r} and {known[1]!r}: give its texts in the beamline file, such as "Open" and "Closed"'
            )

    def _readback_changed(self, value: Any = None, timestamp: float | None = None, **_: Any) -> None:
        """Count, and wake whoever waits; called for each update of the readback."""
        self._note(value, timestamp or 0.0)
        self._changed.set()

    def _ask(self) -> Any:
        """Value of the readback now, asked of the IOC; a late answer to another is asked for again."""
        value, timestamp = read_uncached_with_time(self.readback)
        if self._count.is_late(timestamp):
            value, timestamp = read_uncached_with_time(self.readback)
            if self._count.set_back(timestamp):
                self._count.forget_times()
        self._note(value, timestamp)
        return value

    def _note(self, value: Any, timestamp: float) -> None:
        """Count, once the labels of the readback are known."""
        if not is_comparable(self.readback, value, self.pvs.closed_value):
            return
        turn = self._turn
        if self._count.note(self._means_open(value), timestamp) and turn.exposing:
            turn.closed_itself = True

    # ------------------------------------------------------------ commands

    def _command(self, opened: bool) -> StatusBase:
        if opened:
            self._refuse_with_alarm()
            turn, _ = self._take_turn()
            opening_s = self.times.opening_s + self.timeout_s + self.times.settle_s
            return in_background(self, lambda: self._open_unless_stopped(turn), opening_s + _MARGIN_S)
        turn, opening = self._take_turn()
        opening.forgotten = True  # a plan waits until it is open, unless it was ended
        return in_background(self, lambda: self._close_after_exposure(turn, opening), self.timeout_s + _MARGIN_S)

    def _take_turn(self) -> tuple[_Turn, _Turn]:
        """The turn of a new command, and that of the one before it, which it overtakes."""
        with self._taking_turn:
            before, self._turn = self._turn, _Turn()
            return self._turn, before

    def close(self) -> None:
        """Close, and return only when the readback is closed; else as `set`.

        Raises
        ------
        ShutterError
        """
        self._take_turn()  # whoever closes in this way stores no exposure
        closing = in_background(self, self._close, self.timeout_s + _MARGIN_S)
        try:
            closing.wait(timeout=self.timeout_s + 2 * _MARGIN_S)
        except ShutterError:
            raise
        except Exception:  # the command itself hangs
            self._raise_alarm(f"did not take the command to close within {self.timeout_s:g} s")

    def stage(self) -> list[object]:
        """Stage, unless there is an alarm, and count from the state of the readback now."""
        self._refuse_with_alarm()
        self._ask()
        self._barrier_seen_open = False
        return super().stage()

    def stop(self, *, success: bool = False) -> None:
        """Close. With `success`, as in a pause, an opening under way is forgotten: the plan makes it again."""
        self._turn.forgotten = self._turn.forgotten or success
        self.close()

    def pause(self) -> None:
        """Close, and forget an opening under way."""
        self.stop(success=True)

    def unstage(self) -> list[object]:
        """Close, then unstage; that it did not close is reported first."""
        try:
            self.close()
        except Exception:
            self._staged = Staged.partially  # the next staging finishes it
            if self._connected:
                self._put_back()
            raise
        return super(Shutter, self).unstage()

    def _put_back(self) -> None:
        try:
            super(Shutter, self).unstage()
        except Exception:
            logger.exception("%s: could not be unstaged", self.name)

    def _send(self, opened: bool) -> None:
        """Command it; whoever waits is woken when the record has done its work."""
        self._changed.clear()
        if self.command is not None:
            put_with_callback(self.command, self.pvs.open_value if opened else self.pvs.close_value, self._changed)
        else:
            put_with_callback(self.open_pulse if opened else self.close_pulse, self.pvs.pulse_value, self._changed)

    def _open_unless_stopped(self, turn: _Turn) -> None:
        try:
            self._open(turn)
        except OvertakenError:
            if not turn.forgotten:
                raise

    def _open(self, turn: _Turn) -> None:
        self._check_permit()
        self._check_barrier()
        with self._sending:
            if turn is not self._turn:
                raise OvertakenError(f"{self.name} was closed while it was to open")
            self._send(True)
        reached = self._wait_until(self.pvs.opened_value, self.times.opening_s, turn)
        if not reached:
            self._close()
            raise ShutterError(
                f"{self.name} did not open within {self.times.opening_s:g} s ({self._reading()}); it was closed again: "
                "check the shutter"
            )
        time.sleep(self.times.settle_s)
        turn.exposing = turn is self._turn

    def _close_after_exposure(self, turn: _Turn, opening: _Turn) -> None:
        """Close; an error if it had closed by itself before."""
        # its monitor may still be on its way
        closed_itself = opening.exposing and (opening.closed_itself or self._is_closed_now())
        self._close()
        if closed_itself and turn is self._turn:  # not by a stop that came meanwhile, as of an abort
            raise ShutterError(
                f"{self.name} closed by itself during the exposure, which is not stored: see its permit"
                f"{' (' + self.permit.pvname + ')' if self.permit is not None else ''} and the IOC's open-time limit"
            )

    def _is_closed_now(self) -> bool:
        """Whether the IOC reports closed; if it does not answer, closing will show it."""
        try:
            return self.readback.connected and equals(self.readback, self._ask(), self.pvs.closed_value)
        except Exception:
            return False

    def _close(self) -> None:
        try:
            if self.alarm is not None and not self._connected:
                raise ConnectionError(f"{self.readback.pvname} is not connected")
            with self._sending:
                self._send(False)
            closed = self._wait_until(self.pvs.closed_value, self.times.closing_s, turn=None)
            reason = f"did not close within {self.times.closing_s:g} s ({self._reading()})" if not closed else ""
        except Exception as error:  # an IOC that does not answer
            closed, reason = False, f"could not be closed ({error})"
        if not closed:
            self._raise_alarm(reason)

    @property
    def _connected(self) -> bool:
        """Whether the command could be sent now: once an IOC has gone, nobody waits for it again."""
        return all(s.connected for s in (self.command, self.close_pulse, self.readback) if s is not None)

    def _wait_until(self, wanted: Value, timeout_s: float, turn: _Turn | None) -> bool:
        """Whether the readback reaches a value in time; gives up when a newer command has come (`turn`)."""
        deadline, unanswered = time.monotonic() + timeout_s, 0
        while True:
            self._changed.wait(min(POLL_S, max(deadline - time.monotonic(), 0.0)))
            self._changed.clear()
            try:
                if equals(self.readback, self._ask(), wanted):
                    return True
            except TimeoutError:
                unanswered += 1  # a busy IOC may owe one answer, one that is gone does not get a second chance
                if unanswered > 1 or not self.readback.connected:
                    raise
                continue
            if turn is not None and turn is not self._turn:
                raise OvertakenError(f"{self.name} was closed while it opened")
            if time.monotonic() >= deadline:
                return False

    def _reading(self) -> str:
        return f"{self.readback.pvname} says {enum_label(self.readback, self.readback.get())}"

    # ------------------------------------------------------------ permit and alarm

    def _check_permit(self) -> None:
        if self.permit is not None and not equals(
            self.permit, value := read_uncached(self.permit), self.pvs.permit_value
        ):
            raise ShutterError(
                f"{self.name} may not open: {self.permit.pvname} says {enum_label(self.permit, value)}; "
                "get the permit, then go on"
            )

    def _check_barrier(self) -> None:
        """Once after each staging and alarm: behind a forgotten backup shutter all buckets would be dark ones."""
        if self.barrier is None or self._barrier_seen_open:
            return
        if self.barrier.is_closed:
            raise ShutterError(
                f"{self.name} does not open: its second barrier is closed ({self.barrier.readback.pvname}), there is "
                "no beam; open the barrier by hand, then go on"
            )
        self._barrier_seen_open = True

    def _refuse_with_alarm(self) -> None:
        if self.alarm is not None:
            raise ShutterError(f"{self.name} does not open: {self.alarm}. Mend it, then {self.name}.reset_alarm()")

    def _raise_alarm(self, reason: str) -> None:
        """Close the backup shutter, then raise the alarm that stays."""
        if self.barrier is None:
            barrier = "there is no second barrier: stop the beam by hand now"
        else:
            try:
                self.barrier.close(patient=self.alarm is None)
                barrier = f"second barrier {self.barrier.name} has stopped the beam"
            except Exception as error:
                barrier = f"second barrier {self.barrier.name} FAILED too ({error}): stop the beam by hand now"
        level = logging.CRITICAL if self.alarm is None else logging.ERROR
        self.alarm = f"it {reason}; {barrier}"
        logger.log(level, "%s: %s", self.name, self.alarm)
        raise ShutterError(f"{self.name} ALARM: {self.alarm}; it opens no more before {self.name}.reset_alarm()")

    def reset_alarm(self) -> None:
        """Let it open again, once it is mended; a backup shutter stays as it is.

        Raises
        ------
        ShutterError
            If its readback is not closed.
        CxgiError
            If its IOC does not answer within half a minute.
        """
        wait_for_return([self] if self.barrier is None else [self, self.barrier])
        if not equals(self.readback, self._ask(), self.pvs.closed_value):
            raise ShutterError(f"{self.name}: the alarm stays, {self._reading()}: close it first")
        if self.reset is not None:
            self.reset.put(1)
        self.alarm, self._barrier_seen_open = None, False
        logger.warning("%s: alarm reset; its second barrier, if it was closed, is to be opened by hand", self.name)
