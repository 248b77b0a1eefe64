"""What all EPICS devices share: time-outs on every signal, signals that only some beamlines have, complete writes.

ophyd waits for ever by default: a device that is made here calls `give_timeouts` when it is complete.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from epics import ca
from ophyd import Device, EpicsSignal, Staged, cl
from ophyd.signal import EpicsSignalBase, ReadTimeoutError

from ...errors import ScanError

logger = logging.getLogger(__name__)

RETURN_S = 30.0  # an IOC that was started again is searched for ever more seldom; about 10 s are usual
RECONNECTION_S = 0.5  # a channel that was lost is waited for so long: closing a shutter must go on to the next barrier
POLL_S = 0.25  # a readback is asked for so often when it sends nothing by itself


@dataclass(frozen=True)
class Timeouts:
    """Longest waits (s) for the first connection, for a reading, and for a written value to be confirmed."""

    connection_s: float = 5.0
    read_s: float = 3.0
    write_s: float = 10.0

    @property
    def quick(self) -> Timeouts:
        """For what must close: an IOC that keeps silent is soon given up."""
        return replace(self, read_s=min(self.read_s, 1.0))


class EpicsDevice(Device):
    """A device whose signals all have time-outs; `timeouts` is set before ``super().__init__``."""

    timeouts = Timeouts()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.extra_signals: dict[str, Any] = {}
        super().__init__(*args, **kwargs)
        give_timeouts(self, self.timeouts)

    def stage(self) -> list[object]:
        """Stage; what an unstaging without the IOC has left is put back first."""
        finish_unstaging(self)
        return list(super().stage())

    def optional(self, attr: str, pv: str | None, kind: type[Any] = EpicsSignal, **options: Any) -> Any:
        """A signal that only some beamlines have; None without a PV.

        Parameters
        ----------
        attr : str
            Name of the signal within the device.
        pv : str or None
            Name of the PV.
        kind : type, optional
            Class of the signal (default EpicsSignal).
        **options
            For that class.
        """
        if pv is None:
            return None
        signal = kind(pv, name=f"{self.name}_{attr}", **options)
        self.extra_signals[attr] = signal
        give_timeouts(signal, self.timeouts)
        return signal

    def destroy(self) -> None:
        """Let go of all PVs."""
        for signal in self.extra_signals.values():
            signal.destroy()
        super().destroy()


@cache
def end_callbacks_before_channels() -> None:
    """Let no update come in while the process ends; called when there are devices, as atexit runs the latest first.

    Signals let go of their channels then, and libca crashes when an update makes somebody ask for one of them.
    """
    if cl.name == "pyepics":
        atexit.register(cl.get_dispatcher().stop)


def epics_signals(device: Any) -> dict[str, Any]:
    """All EPICS signals of a device by their names in it, those of its parts and the optional ones included.

    What is no device of ophyd has none.
    """
    if isinstance(device, EpicsSignalBase):
        return {"": device}
    walks = device.walk_signals(include_lazy=False) if hasattr(device, "walk_signals") else ()
    signals = {walk.dotted_name: walk.item for walk in walks}
    signals |= getattr(device, "extra_signals", {})
    return {name: signal for name, signal in signals.items() if isinstance(signal, EpicsSignalBase)}


def pv_names(signal: Any) -> list[str]:
    """Names of the PVs behind a signal: what it reads, and what it writes if that is another."""
    return list(dict.fromkeys([signal.pvname, getattr(signal, "setpoint_pvname", signal.pvname)]))


def give_timeouts(device: Any, timeouts: Timeouts) -> None:
    """Time-outs for every EPICS signal of a device; ophyd has them as arguments of signals that it makes itself.

    Parameters
    ----------
    device : ophyd Device or EpicsSignal
    timeouts : Timeouts
        Longest waits (s).
    """
    for signal in epics_signals(device).values():
        signal._connection_timeout = min(timeouts.connection_s, RECONNECTION_S)
        signal._timeout = timeouts.read_s
        signal._write_timeout = timeouts.write_s


def find_unconnected(devices: list[Any], timeout_s: float) -> list[Any]:
    """Signals that are not connected when the time is over; all are waited for at once.

    Parameters
    ----------
    devices : list of ophyd Device
    timeout_s : float
        Longest wait (s); 0: look once.
    """
    deadline = time.monotonic() + timeout_s
    waiting = [signal for device in devices for signal in epics_signals(device).values()]
    while (waiting := [s for s in waiting if not s.connected]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return waiting


def silent_pvs(signal: Any) -> list[str]:
    """Of a signal's one or two PVs those that are not connected."""
    return [pv for pv in pv_names(signal) if not signal._connection_states.get(pv, False)]


def wait_for_connections(devices: list[Any], timeout_s: float) -> None:
    """Wait until every PV has answered.

    Parameters
    ----------
    devices : list of ophyd Device
    timeout_s : float
        Longest wait (s).

    Raises
    ------
    CxgiError
        Naming the PVs that have not.
    """
    if missing := find_unconnected(devices, timeout_s):
        raise ScanError(
            f"no answer from {_some_pvs(missing)} within {timeout_s:g} s: "
            "run `cxgi check` on the beamline file; is the IOC up, and EPICS_CA_ADDR_LIST right?"
        )
    for device in devices:
        for axis in _axes(device):  # ophyd waits for a first monitor, which may be missed on a channel that others use
            axis._pos_changed(value=read_uncached(axis.user_readback))
        if hasattr(device, "wait_for_connection"):
            device.wait_for_connection(timeout=timeout_s)


def _axes(device: Any) -> list[Any]:
    """Real axes of a device."""
    parts = [part for _, part in device.walk_subdevices()] if hasattr(device, "walk_subdevices") else []
    parts += getattr(device, "movables", {}).values()
    return [part for part in parts if hasattr(part, "user_readback") and hasattr(part, "_pos_changed")]


def wait_for_return(devices: list[Any], timeout_s: float = RETURN_S) -> None:
    """Wait for PVs that were connected before: their IOC may just have been started again.

    Parameters
    ----------
    devices : list of ophyd Device
    timeout_s : float, optional
        Longest wait (s; default 30).

    Raises
    ------
    CxgiError
        Naming the PVs that have not come back.
    """
    if missing := find_unconnected(devices, 0.0):
        logger.warning("waiting for %s, at most %g s", _some_pvs(missing), timeout_s)
        wait_for_connections(devices, timeout_s)


def _some_pvs(signals: list[Any]) -> str:
    names = [pv for signal in signals for pv in silent_pvs(signal)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def finish_unstaging(device: Any) -> None:
    """Unstage a device again that could not be unstaged whole, as its IOC was gone: it would refuse to be staged."""
    if device._staged is Staged.partially:
        device.unstage()


def put_with_callback(signal: Any, value: Any, completed: threading.Event) -> None:
    """Write with put-completion.

    Parameters
    ----------
    signal : EpicsSignal
    value : int, float or str
        In the unit of the PV.
    completed : threading.Event
        Set when the record has done its work.
    """
    signal.put(value, use_complete=True, callback=lambda **_: completed.set())


def wait_for_record(signal: Any, value: Any, completed: threading.Event, timeout_s: float) -> None:
    """Wait until a record has done what was written to it.

    Parameters
    ----------
    signal : EpicsSignal
    value : int, float or str
        What was written, for the message.
    completed : threading.Event
        That of `put_with_callback`.
    timeout_s : float
        Longest wait (s).

    Raises
    ------
    TimeoutError
        Naming the PV: it has not in time, or its IOC has gone, which is not waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not completed.wait(min(POLL_S, max(deadline - time.monotonic(), 0.0))):
        if not signal.connected:
            raise TimeoutError(f"{signal.setpoint_pvname}: the IOC has gone while {value!r} was written")
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{signal.setpoint_pvname}: writing {value!r} was not completed within {timeout_s:g} s")


def put_and_complete(signal: Any, value: Any, timeout_s: float) -> None:
    """Write with put-completion and wait for it; errors as `wait_for_record`.

    Parameters
    ----------
    signal : EpicsSignal
    value : int, float or str
        In the unit of the PV.
    timeout_s : float
        Longest wait (s).
    """
    completed = threading.Event()
    put_with_callback(signal, value, completed)
    wait_for_record(signal, value, completed, timeout_s)


def read_uncached(signal: Any) -> Any:
    """The value asked of the IOC now, not the last one that it sent; readings that follow are at least as new.

    An answer that is missing while the IOC is connected is asked for once more: an exposure is not lost for it.
    """
    return _ask_twice(_ask, signal)


def _ask_twice(ask: Callable[[Any], Any], signal: Any) -> Any:
    try:
        return ask(signal)
    except TimeoutError:
        if not signal.connected:
            raise
        logger.info("%s has not answered, and is asked once more", signal.pvname)
        return ask(signal)


def _ask(signal: Any) -> Any:
    with _asking_anew_after_failure(signal):
        return signal.get(use_monitor=False)


@contextmanager
def _asking_anew_after_failure(signal: Any) -> Iterator[None]:
    """A request that could not be sent, as the IOC has just gone, is for pyepics on its way for ever.

    It would send no other, and each reading would end in a time-out, also when the IOC is back.
    """
    try:
        yield
    except Exception:
        requests: Any = getattr(ca.get_cache(signal.pvname), "get_results", {}) if cl.name == "pyepics" else {}
        for kind, result in list(requests.items()):
            if result[0] is ca.GET_PENDING:
                requests[kind] = [None]
        raise


def read_uncached_together(*signals: Any) -> list[Any]:
    """`read_uncached` values of several signals, in the time of one: all are asked for before any is waited for.

    pyepics sends no second request for what is already on its way.
    """
    _request(signals)
    return [read_uncached(signal) for signal in signals]


def _request(signals: Sequence[Any]) -> None:
    """Ask for values and time stamps, and wait for nothing."""
    for signal in signals if cl.name == "pyepics" else ():
        if signal.connected:
            pv = signal._read_pv
            with _asking_anew_after_failure(signal):
                ca.get_with_metadata(pv.chid, ftype=pv.ftype, wait=False)


def read_together(*signals: Any) -> list[tuple[Any, float]]:
    """As `read_uncached_together`, each value with its time stamp (`read_uncached_with_time`)."""
    _request(signals)
    return [_ask_twice(read_uncached_with_time, signal) for signal in signals]


def read_uncached_with_time(signal: Any) -> tuple[Any, float]:
    """The value asked of the IOC now, and when it came to be so by the IOC's clock (s; 0 if it does not give it).

    Raises
    ------
    TimeoutError
        As signals do.
    """
    signal.wait_for_connection(timeout=signal.connection_timeout)
    with _asking_anew_after_failure(signal):
        answer = signal._read_pv.get_with_metadata(form="time", timeout=signal.timeout, use_monitor=False)
        if answer is None:
            raise ReadTimeoutError(f"{signal.pvname} did not answer within {signal.timeout:g} s")
    return answer["value"], float(answer.get("timestamp") or 0.0)


def equals(signal: Any, value: Any, wanted: Any) -> bool:
    """Whether a value of a signal is the wanted one.

    Parameters
    ----------
    signal : EpicsSignal
        Knows the labels of its enum.
    value : int, float or str
        Its value.
    wanted : int, float or str
        A number, a label of its enum, or a text.
    """
    if isinstance(value, str) and not isinstance(wanted, str):
        return value.strip() == f"{wanted:g}"
    if isinstance(wanted, str) and not isinstance(value, str):
        labels = signal.enum_strs or ()
        return 0 <= int(value) < len(labels) and labels[int(value)] == wanted
    return bool(value == wanted)


def is_comparable(signal: Any, value: Any, wanted: Any) -> bool:
    """Whether `equals` can compare yet: a first update may come before the labels of its enum.

    Parameters
    ----------
    signal : EpicsSignal
    value : int, float, str or None
        Its value; None: nothing yet.
    wanted : int, float or str
        As in `equals`.
    """
    return value is not None and not (isinstance(wanted, str) and not isinstance(value, str) and not signal.enum_strs)


def enum_label(signal: Any, value: Any) -> str:
    """A value as people know it: the label of an enum, else the number.

    Parameters
    ----------
    signal : EpicsSignal
        Knows the labels of its enum.
    value : int, float or str
        Its value.
    """
    labels = getattr(signal, "enum_strs", None) or ()
    return str(labels[int(value)]) if labels and 0 <= int(value) < len(labels) else str(value)
