"""A process that ends closes the shutter first: by a signal (SIGTERM; SIGHUP of a dropped connection) or by itself.

Ctrl-C is the RunEngine's own. A process that is killed (SIGKILL), or whose machine fails, can do nothing: the IOC's
open-time limit is for that.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.util import Finalize, _run_finalizers  # type: ignore[attr-defined]
from typing import Any
from weakref import WeakKeyDictionary

from bluesky import RunEngine

from ..devices.shutter import CLOSED

logger = logging.getLogger(__name__)

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
ABORT_S = 30.0  # for the plan's own end, its last document included
QUEUES_S = 10.0  # for what a child has written to queues

_engines: WeakKeyDictionary[Any, RunEngine] = WeakKeyDictionary()  # by their shutters


def close_at_end(engine: RunEngine, shutter: Any) -> None:
    """Have the end of the process abort what the engine runs and close the shutter.

    Signals that the program handles by itself stay its own, and so do all of them outside the main thread. A child
    of `multiprocessing`, such as the worker of a queue, is another matter: it inherits handlers that are about its
    parent, and ends without `atexit`.

    Parameters
    ----------
    engine : RunEngine
    shutter : Shutter
        Closed when the process ends.
    """
    is_child = parent_process() is not None
    if is_child:
        Finalize(None, _close_those_that_are_open, exitpriority=0)
    atexit.unregister(_close_those_that_are_open)
    atexit.register(_close_those_that_are_open)  # again: before what the devices of this session do at the end
    _engines[shutter] = engine
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if is_child or signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end)


def close_now() -> None:
    """Close what is not closed, and leave it alone at the end of the process: its IOC is ended before."""
    _close_those_that_are_open()
    _engines.clear()


def _end(number: int, _: Any) -> None:
    """Abort the scan, close the shutter, then end by the signal."""
    name = signal.Signals(number).name
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # a second one must not come between
    _leave_dead_terminal()
    logger.warning("%s: the scan is aborted and the shutter closed", name)
    for engine in set(_engines.values()):
        abort(engine, f"the process was asked to end ({name})")
    close_now()
    if parent_process() is not None:
        _empty_queues()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _empty_queues() -> None:
    """Let go what a child has written to queues: who dies within leaves them locked, and its parent would hang."""
    thread = threading.Thread(target=_run_finalizers, name="empty-queues", daemon=True)
    thread.start()
    thread.join(QUEUES_S)


def _leave_dead_terminal() -> None:
    """Redirect output of a terminal that hung up: printing to it would fail, also in the RunEngine's abort."""
    for output in (1, 2):
        try:
            os.write(output, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)


def abort(engine: RunEngine, reason: str) -> None:
    """Abort what an engine runs, and wait for its end, `ABORT_S` at most; what goes wrong is logged.

    Parameters
    ----------
    engine : RunEngine
    reason : str
        For the stop document.
    """
    deadline = time.monotonic() + ABORT_S
    try:
        if engine.state != "idle":
            engine.abort(reason)
        while engine.state != "idle" and time.monotonic() < deadline:
            time.sleep(0.02)
    except Exception:
        logger.exception("the scan could not be aborted")


def _close_those_that_are_open() -> None:
    for shutter in list(_engines):
        try:
            state = getattr(shutter, "state", None)  # a shutter of the user's own may have none
            if state is None or state.get() != CLOSED:
                logger.warning("%s is closed, as the process ends", shutter.name)
                shutter.close()
        except Exception:
            logger.exception("%s could not be closed at the end of the process: CHECK IT NOW", shutter.name)
