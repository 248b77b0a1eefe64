"""Images of many runs: worker processes read the runs and make the images, this process stores them.

Reading a run and storing an image take most of the time, not making it. So the workers read from the data folder or
the server by themselves. Storing is left to the one writer that a process has for a catalog (decision 19): workers
that stored would wait for the same lock.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import __version__
from .._files.file_lock import hold_lock
from ..catalog import choose_runs, data_folder, data_location, find_run, open_catalog, read_all_runs
from ..catalog.open import is_server
from ..catalog.writer import waiting_starts
from ..errors import ConfigError, CxgiError, StorageError
from ..measurement.documents import cxgi_block
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from ..reconstruction.registry import find_method
from ..reconstruction.result import Reconstruction
from .reconstruct_run import ImageRequest
from .workers import Workers, check_workers, open_workers

logger = logging.getLogger(__name__)

BATCH = 8  # runs that the network takes together
AHEAD = 3  # tasks per worker that are handed out: the next ones are there while results are stored
LOOK_S = 20.0  # without any result: are there workers?
OTHER_WEIGHTS = "the worker has another weights file at that path: bring the same to every machine"
DIED = "its worker process ended while it was at work, twice: killed, or out of memory?"


@dataclass(frozen=True)
class ManyImages:
    """What became of the runs.

    Attributes
    ----------
    made : dict of str to str
        Uid of the derived run that was stored, by uid of the run.
    skipped : list of str
        Uids of runs that had such an image already.
    failed : dict of str to str
        Reason, in one line, by uid of the run.
    """

    made: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def reconstruct_runs(
    data: str | Path | None = None,
    runs: str | Sequence[str] = 'cxgi.purpose == "image"',
    *,
    method: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    again: bool = False,
    progress: bool = True,
    catalog: Any = None,
    reference_uid: str | None = None,
    dark_uid: str | None = None,
    details: bool = False,
    residual: bool = False,
    **options: Any,
) -> ManyImages:
    """Reconstruct many runs, and store each image as a derived run, once.

    Runs that have an image of the same method, parameters, weights and version of this package are left out. A run
    that fails is tried a second time, as is one whose worker process dies.

    Parameters
    ----------
    data : path or str, optional
        As for `open_catalog`. Workers read there: a folder must be at the same place on their machine, a server's key
        in their environment.
    runs : str or sequence of str, optional
        Condition on the runs (`choose_runs`), or their whole uids (default: every scan of an image). Runs that are no
        scan of an image, or have not ended, are left out.
    method : str, optional
        As in `reconstruct_run` (default "tv", for a speckle run "correlation").
    scheduler : str, optional
        Address of a Dask scheduler, such as "tcp://127.0.0.1:8786" (default: processes on this machine).
    workers : int, optional
        Number of processes on this machine (default: one a core, four at most).
    again : bool, optional
        Make images that are there already too (default False).
    progress : bool, optional
        Show a bar with the time left on stderr (default True).
    catalog : tiled container, optional
        The catalog of `data`, if this process has opened it (default: it is opened).
    reference_uid, dark_uid, details, residual, **options
        As in `reconstruct_run`.

    Returns
    -------
    ManyImages

    Raises
    ------
    CxgiError
        For a condition that cannot be read, a scheduler that does not answer, workers that cannot open the catalog,
        or another such call in the same folder. Images that were stored stay.
    OSError
        If a journal cannot be written.
    """
    check_workers(scheduler, workers)
    if isinstance(weights := options.get("weights"), str | Path):
        options["weights"] = str(Path(weights).resolve())
    request = ImageRequest(
        method=method,
        reference_uid=reference_uid,
        dark_uid=dark_uid,
        details=details,
        residual=residual,
        options=options,
    )
    weights_sha256 = request.weights_sha256  # a file that cannot be read is reported before any work
    catalog = open_catalog(data) if catalog is None else catalog
    folder = data_folder(data)
    with hold_lock(folder, "reconstructing many runs", wait_s=0.0):  # another would make the same images
        everything = read_all_runs(data)
        starts = {run.start["uid"]: run.start for run in _choose_scans(runs, everything)}
        stored = [run.start for run in everything] + waiting_starts(catalog)
        there = set() if again else _find_made(request, starts, stored)
        result = ManyImages(skipped=[uid for uid in starts if uid in there])
        left = [uid for uid in starts if uid not in there]
        if not left:
            return result
        kind = find_method(method) if method is not None else None
        length = BATCH if kind is not None and kind.run_many is not None else 1
        where = str(data_location(data) if is_server(data_location(data)) else folder.resolve())
        tasks = [Task(where, request, tuple(left[first : first + length])) for first in range(0, len(left), length)]
        with open_workers(scheduler, count=workers) as processes, _bar(len(left), processes, progress) as advance:
            for outcomes in compute(tasks, processes):
                images: dict[str, Reconstruction] = {}
                for uid, outcome in outcomes:
                    if isinstance(outcome, str):
                        result.failed[uid] = outcome
                    elif outcome.parameters.get("weights_sha256") != weights_sha256:
                        result.failed[uid] = OTHER_WEIGHTS
                    else:
                        images[uid] = outcome
                recorded = request.record_together(catalog, [(starts[uid], image) for uid, image in images.items()])
                result.made.update(zip(images, recorded, strict=True))
                advance(len(outcomes))
    return result


def _choose_scans(runs: str | Sequence[str], everything: Sequence[Any]) -> list[Any]:
    """Choose the scans of images that have ended, oldest first."""
    if isinstance(runs, str):
        chosen = choose_runs(runs, everything)
    else:
        wanted = set(runs)
        chosen = [run for run in everything if run.start.get("uid") in wanted]
        if missing := wanted - {run.start["uid"] for run in chosen}:
            raise StorageError(f"run {min(missing)!r} is not in the catalog: give whole uids, cxgi runs lists them")
    scans = [run for run in chosen if cxgi_block(run.start).get("purpose") == "image"]
    ended = [run for run in scans if run.stop]
    if len(ended) < len(scans):
        logger.warning("%d scans have not ended, they are left out", len(scans) - len(ended))
    return ended


def _find_made(
    request: ImageRequest, starts: Mapping[str, Mapping[str, Any]], stored: Iterable[Mapping[str, Any]]
) -> set[str]:
    """Find the runs of which such an image is stored, or waits in a journal; more details than asked for do no harm."""
    made = set()
    for start in stored:
        asked = cxgi_block(start).get("request")
        if not isinstance(asked, Mapping) or asked.get("run_uid") not in starts:
            continue
        wanted = request.describe(starts[asked["run_uid"]])
        for check in ("details", "residual"):
            wanted[check] = wanted[check] or asked.get(check)
        if wanted == asked:
            made.add(asked["run_uid"])
    return made


# ---------------------------------------------------------------- what a worker does


@dataclass(frozen=True)
class Task:
    """Runs whose images one worker makes, and where it reads them."""

    data: str
    request: ImageRequest
    uids: tuple[str, ...]
    version: str = __version__

    def of(self, uid: str) -> Task:
        """The same for one run."""
        return replace(self, uids=(uid,))


Outcome = Reconstruction | str  # or the reason why there is none


def make_images(task: Task) -> list[tuple[str, Outcome]]:
    """Read runs and make their images, in a worker process.

    Parameters
    ----------
    task : Task

    Returns
    -------
    list of (str, Reconstruction or str)
        Of each run its uid, and the image, or the reason why there is none, in one line.

    Raises
    ------
    CxgiError
        If this process cannot do any such task.
    """
    here = f"worker on {socket.gethostname()}"
    if task.version != __version__:
        raise ConfigError(f"{here} has cxgi_bluesky {__version__}, this process {task.version}: install the same")
    try:
        catalog = _open_once(task.data)
    except CxgiError as error:
        raise StorageError(f"{here}: {error}") from error
    outcomes: dict[str, Outcome] = {}
    ready: dict[str, Measurement | SpeckleMeasurement] = {}
    for uid in task.uids:
        try:
            ready[uid] = task.request.prepare(catalog, find_run(catalog, uid), folder=data_folder(task.data))
        except Exception as error:
            outcomes[uid] = one_line(error)
    outcomes |= _make(task.request, ready)
    return [(uid, outcomes[uid]) for uid in task.uids]


def _make(request: ImageRequest, ready: Mapping[str, Measurement | SpeckleMeasurement]) -> dict[str, Outcome]:
    """Make images together; one by one if that fails, so that only those fail whose run is at fault."""
    try:
        images: list[Reconstruction] = request.make_images(list(ready.values()))
    except Exception as error:
        if len(ready) == 1:
            return dict.fromkeys(ready, one_line(error))
        return {uid: _make(request, {uid: one})[uid] for uid, one in ready.items()}
    return dict(zip(ready, images, strict=True))


_opening = threading.Lock()  # a worker of a cluster may have several threads


def _open_once(data: str) -> Any:
    with _opening:
        return _open(data)


@lru_cache(maxsize=4)
def _open(data: str) -> Any:
    logging.getLogger("cxgi_bluesky.catalog.recovery").setLevel(logging.ERROR)  # what waits is reported once, elsewhere
    return open_catalog(data)


def one_line(error: BaseException) -> str:
    """The reason of an error in one line; of an unexpected one with its kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, CxgiError) else f"{type(error).__name__}: {text}"


# ---------------------------------------------------------------- tasks, retried


def compute(tasks: Iterable[Task], workers: Workers) -> Iterator[list[tuple[str, Outcome]]]:
    """Have the tasks done; yields the outcome of each run once, together with those that are known then.

    A run that fails is tried a second time. Tasks whose worker died are tried again alone, first as they are, then a
    run at a time: then the run is known which the worker died of.

    Parameters
    ----------
    tasks : iterable of Task
    workers : Workers

    Yields
    ------
    list of (str, tuple or str)
        As of `make_images`.

    Raises
    ------
    CxgiError
        If a worker cannot do such tasks at all, or the cluster is lost.
    """
    waiting, alone = deque(tasks), deque[Task]()
    running: dict[Future[Any], Task] = {}
    failed: set[str] = set()  # once
    is_alone = False
    while waiting or alone or running:
        if alone and not running:
            is_alone, task = True, alone.popleft()
            running[workers.submit(make_images, task)] = task
        while waiting and not alone and not is_alone and len(running) < AHEAD * workers.count:
            task = waiting.popleft()
            running[workers.submit(make_images, task)] = task
        done = wait(running, timeout=LOOK_S, return_when=FIRST_COMPLETED).done
        if not done:
            workers.report_missing()
        outcomes: list[tuple[str, Outcome]] = []
        for future in done:
            task, was_alone = running.pop(future), is_alone
            is_alone = False
            error = _error_of(future, workers)
            if error is None:
                for uid, outcome in future.result():
                    if isinstance(outcome, str) and uid not in failed:
                        failed.add(uid)
                        waiting.append(task.of(uid))
                    else:
                        outcomes.append((uid, outcome))
            elif not was_alone:
                logger.warning("a worker process has ended: its runs are tried again")
                alone.append(task)
            elif len(task.uids) > 1:
                alone.extend(task.of(uid) for uid in task.uids)
            else:
                outcomes.append((task.uids[0], DIED))
        if outcomes:
            yield outcomes


def _error_of(future: Future[Any], workers: Workers) -> BaseException | None:
    """The error of a task whose worker died; None if it was done; all others are raised."""
    try:
        error = future.exception()
    except CancelledError:
        raise StorageError(
            "the cluster's scheduler is lost: what was stored stays, give the command again for the rest"
        ) from None
    if error is None or workers.has_died(error):
        return error
    if isinstance(error, ImportError):
        raise ConfigError(f"a worker cannot load this package ({one_line(error)}): install it there too") from error
    raise error


# ---------------------------------------------------------------- progress


@contextmanager
def _bar(total: int, workers: Workers, shown: bool) -> Iterator[Callable[[int], Any]]:
    """Show a bar on stderr with the runs done and the time left; gives the function that advances it."""
    from tqdm import tqdm

    pause = 0.5 if sys.stderr.isatty() else 10.0  # a log file wants few lines
    title = f"reconstruct, {workers.describe()}"
    with tqdm(total=total, desc=title, unit="run", file=sys.stderr, mininterval=pause, disable=not shown) as bar:
        yield bar.update
