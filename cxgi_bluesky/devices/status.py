"""Actions of devices that wait for hardware: statuses whose work is done in the background, and that always end.

ophyd starts a thread for each status that has a time-out, and each action needs one more. Here the threads of actions
are kept and used again, and one thread looks after the time-outs of all: a millisecond less an exposure
(docs/reference/exposure-overhead.md), which ophyd's own statuses would cost again.
"""

from __future__ import annotations

import atexit
import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from bluesky import protocols
from ophyd.status import Status, StatusBase
from ophyd.utils import InvalidState, StatusTimeoutError, WaitTimeoutError

Job = Callable[[], None]


class _Worker:
    """A thread that does one job after another; one that hangs in a job is never idle again, and not missed."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="cxgi device work")
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            _idle.append(self)

    def end(self) -> None:
        """End an idle thread."""
        self._jobs.put(None)
        self._thread.join(1.0)

    def begin(self, job: Job) -> None:
        """Do this next."""
        self._jobs.put(job)


_idle: list[_Worker] = []


@atexit.register
def _end_idle_threads() -> None:
    """Before libca ends, which was begun before this: it should have no threads of ours then."""
    while _idle:
        _idle.pop().end()


def _begin(job: Job) -> None:
    """Begin a job at once, in an idle thread or a new one."""
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.begin(job)


class _Watchdog:
    """Ends statuses whose actions are overdue; a thread that sleeps until the first of them may be."""

    def __init__(self) -> None:
        self._due: dict[StatusBase, tuple[float, str]] = {}
        self._wakes = -math.inf  # when the thread looks again
        self._sooner = threading.Condition()
        self._started = False

    def watch(self, status: StatusBase, timeout_s: float, name: str) -> None:
        """End the status with a `TimeoutError` unless it is forgotten by then.

        Parameters
        ----------
        status : StatusBase
        timeout_s : float
            Time that it has (s).
        name : str
            Of the device, for the message.
        """
        due = time.monotonic() + timeout_s
        with self._sooner:
            self._due[status] = due, f"{name}: no end within {timeout_s:g} s"
            if not self._started:
                threading.Thread(target=self._look, daemon=True, name="cxgi device watchdog").start()
                self._started = True
            elif due < self._wakes:
                self._sooner.notify()

    def forget(self, status: StatusBase) -> None:
        """Its action has ended."""
        with self._sooner:
            self._due.pop(status, None)

    def _look(self) -> None:
        while True:
            for status, message in self._overdue():
                _begin(partial(fail, status, TimeoutError(message)))  # callbacks may take their time

    def _overdue(self) -> list[tuple[StatusBase, str]]:
        """Wait until there are some; they are forgotten."""
        with self._sooner:
            while not (found := [(s, message) for s, (due, message) in self._due.items() if due <= time.monotonic()]):
                self._wakes = min((due for due, _ in self._due.values()), default=math.inf)
                self._sooner.wait(min(self._wakes - time.monotonic(), threading.TIMEOUT_MAX))
            for status, _ in found:
                del self._due[status]
            return found


_watchdog = _Watchdog()


def in_background(device: Any, action: Job, timeout_s: float) -> StatusBase:
    """Status of an action that waits for hardware, in another thread; what it raises is the status's error.

    An action that hangs ends its status with a `TimeoutError` all the same, when the time is over.

    Parameters
    ----------
    device : ophyd Device
        Whose status it is.
    action : callable
        Without arguments; what it returns is not used.
    timeout_s : float
        Longest time of the action (s).
    """
    status = Status(obj=device)

    def run() -> None:
        try:
            action()
        except Exception as error:
            fail(status, error)
        else:
            finish(status)
        finally:
            _watchdog.forget(status)

    _watchdog.watch(status, timeout_s, device.name)
    _begin(run)
    return status


def finish(status: StatusBase) -> None:
    """Success, unless the status has ended already."""
    with suppress(InvalidState):
        status.set_finished()


def fail(status: StatusBase, error: Exception) -> None:
    """Failure, unless the status has ended already.

    Parameters
    ----------
    status : StatusBase
    error : Exception
        Why it has failed; a time-out of a status becomes a `TimeoutError`.
    """
    if isinstance(error, StatusTimeoutError | WaitTimeoutError):
        error = TimeoutError(str(error))  # a status does not take these two, which mean its own time-outs
    with suppress(InvalidState):
        status.set_exception(error)


def wait_for(result: Any, timeout_s: float) -> None:
    """Wait for a status of any kind; what is none, such as the list of ophyd's ``stage()``, is not waited for.

    Parameters
    ----------
    result : bluesky Status or Any
    timeout_s : float
        Longest wait (s).

    Raises
    ------
    TimeoutError
        If it has not ended by then; else what it has failed with.
    """
    if not isinstance(result, protocols.Status):
        return
    done = threading.Event()
    result.add_callback(lambda _: done.set())
    if not done.wait(timeout_s):
        raise TimeoutError(f"no end within {timeout_s:g} s")
    if (error := result.exception(0.0)) is not None:
        raise error
