"""Processes that compute: on this machine, or those of a Dask cluster. Both take functions as an executor does.

What goes to them and comes back is pickled: they are processes of the user's own, and a Dask cluster runs whatever
it is sent by nature. Nothing of others is read that way.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import Any, Protocol

from ..errors import ConfigError, name_missing_extra

logger = logging.getLogger(__name__)

MAX_LOCAL = 4  # more wait for the one process that stores
IMPORTS = ["bluesky_tiled_plugins", "tiled.server.app"]  # the longest ones that start no threads of Python
ANSWER_S = 30.0  # so long a scheduler may take to answer, and to have its first worker


class Workers(Protocol):
    """Processes that compute.

    Attributes
    ----------
    count : int
        How many tasks they do at once.
    """

    count: int

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a function of a module called by one of them."""

    def has_died(self, error: BaseException) -> bool:
        """Return whether an error of a task says that its process has ended; others take its place then."""

    def report_missing(self) -> None:
        """Warn if there are none left, for whoever waits long."""

    def describe(self) -> str:
        """Describe them for a user."""


def check_workers(scheduler: str | None, count: int | None) -> None:
    """Check what can be before anything is opened.

    Parameters
    ----------
    scheduler : str or None
    count : int or None
        As for `open_workers`.

    Raises
    ------
    CxgiError
        If dask.distributed is not installed, or a number of workers is given for a cluster, or is not positive.
    """
    if scheduler is None:
        if count is not None and count < 1:
            raise ConfigError(f"{count} workers: give at least 1")
        return
    if count is not None:
        raise ConfigError(f"{count} workers at {scheduler}: a cluster has the workers that were started for it")
    with name_missing_extra():
        import distributed  # noqa: F401


@contextmanager
def open_workers(scheduler: str | None = None, *, count: int | None = None) -> Iterator[Workers]:
    """Start processes on this machine, or connect to the scheduler of a Dask cluster.

    Parameters
    ----------
    scheduler : str, optional
        Its address, such as "tcp://127.0.0.1:8786" (default: processes here).
    count : int, optional
        Of the processes here (default: one a core, four at most).

    Raises
    ------
    CxgiError
        If the scheduler does not answer or has no workers.
    """
    if scheduler is None:
        local = _LocalWorkers(count or min(len(os.sched_getaffinity(0)), MAX_LOCAL))
        try:
            yield local
        finally:
            local.close()
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"scheduler {scheduler} does not answer ({error}): start one (dask scheduler), or give its address"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER_S)
        except TimeoutError as error:
            raise ConfigError(
                f"scheduler {scheduler} has no workers: start some, dask worker {scheduler} --nthreads 1"
            ) from error
        yield _ClusterWorkers(client, scheduler)


class _LocalWorkers:
    """Processes of this machine; after one has died all are replaced."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor = self._start()

    def _start(self) -> Executor:
        # A fork of this process would inherit its threads and databases. One of a process that has the imports alone
        # begins soon.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTS)
        resource_tracker.ensure_running()  # which lets Ctrl-C through at its own start
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # Ctrl-C is for this process alone
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        environment = dict(os.environ)
        return ProcessPoolExecutor(self.count, mp_context=context, initializer=_begin_worker, initargs=(environment,))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return self._executor.submit(function, *arguments)
        except BrokenExecutor:
            self._replace()
            return self._executor.submit(function, *arguments)

    def _replace(self) -> None:
        self.close()
        self._executor = self._start()
        try:
            self._executor.submit(os.getpid).result()
        except BrokenExecutor as error:
            raise ConfigError(
                "worker processes end as they begin, see above: in a script, start them below "
                'if __name__ == "__main__":'
            ) from error

    def has_died(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def report_missing(self) -> None:
        """Those that die are replaced."""

    def describe(self) -> str:
        return f"{self.count} process{'es' if self.count > 1 else ''} on this machine"

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


class _ClusterWorkers:
    """Workers of a Dask cluster: its scheduler gives the tasks of one that died to others, three times."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._executor, self._address = client, client.get_executor(), address
        self.count = max(1, sum(client.nthreads().values()))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        submitted: Future[Any] = self._executor.submit(function, *arguments)
        return submitted

    def has_died(self, error: BaseException) -> bool:
        from distributed import KilledWorker

        return isinstance(error, KilledWorker)

    def report_missing(self) -> None:
        if not self._client.nthreads():
            logger.warning("the cluster at %s has no worker left: start some, or end this with Ctrl-C", self._address)

    def describe(self) -> str:
        return f"{self.count} worker{'s' if self.count > 1 else ''} at {self._address}"


def _begin_worker(environment: dict[str, str]) -> None:
    """Begin a process of this machine: one thread, and ended with the process that began it."""
    from threadpoolctl import threadpool_limits

    os.environ.clear()  # of the process that is forked, which has that of the first call
    os.environ.update(environment)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    threadpool_limits(1)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
