"""How long a command still takes: from the parts that are done, else from how long the same took the last time."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .._files.atomic_write import whole_file

if TYPE_CHECKING:
    from rich.console import Console

QUIET_S = 0.5  # what is done within it is not worth a line
REMEMBERED_S = 1.0  # shorter ones need no time left
MAX_REMEMBERED = 100
MIN_PARTS = 2  # so many parts tell how long the others take


class Step:
    """What a command does at the moment, and how much of it is done.

    Parameters
    ----------
    total : int, optional
        Number of equal parts (default: it is one).
    expected_s : float, optional
        How long it took the last time (s).
    on_advance : callable, optional
        Called with the number of parts that are done.
    """

    def __init__(
        self,
        total: int | None = None,
        expected_s: float | None = None,
        on_advance: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.total, self.expected_s, self._on_advance = total, expected_s, on_advance
        self.done, self._began = 0, time.monotonic()
        self._first: int | None = None

    def advance(self) -> None:
        """Count one part more."""
        self.done += 1
        self._on_advance(self.done)

    def reach(self, done: int) -> None:
        """Set the number of parts that are done; the time counts from the first such number, of earlier work.

        Parameters
        ----------
        done : int
        """
        if self._first is None:
            self._first, self._began = done, time.monotonic()
        self.done = done
        self._on_advance(done)

    @property
    def elapsed_s(self) -> float:
        """Since it began (s)."""
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float | None:
        """How long it still takes (s); None where nothing is known, or the last time was shorter."""
        done = self.done - (self._first or 0)
        if self.total is not None and done >= MIN_PARTS:
            return self.elapsed_s / done * (self.total - self.done)
        if self.expected_s is not None and self.expected_s > self.elapsed_s:
            return self.expected_s - self.elapsed_s
        return None

    def __str__(self) -> str:
        left = self.left_s
        if self.done == self.total:
            return ""
        return f"{format_seconds(self.elapsed_s)} so far" if left is None else f"{format_seconds(left)} left"


def format_seconds(seconds: float) -> str:
    """Format a duration: "8 s", "3 min 20 s", "2 h 05 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def show_progress(console: Console, what: str, total: int | None) -> Iterator[Step]:
    """Show a line at a terminal while something is done.

    Parameters
    ----------
    console : rich's Console
        A terminal.
    what : str
        What is done.
    total : int or None
        Number of equal parts.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    bar = BarColumn(30, style="dim", complete_style="cyan", finished_style="cyan")
    name = what if total is None else f"{what}, {total} parts"
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        *([] if total is None else [bar]),
        TextColumn("{task.fields[step]}", style="dim"),
        console=console,
        transient=True,
        refresh_per_second=4,
        redirect_stdout=sys.stdout.isatty(),  # else what is piped would land on the terminal
    )
    step = Step(total, recall_duration(name), lambda done: progress.update(task, completed=done))
    task = progress.add_task(what, total=total, step=step)
    timer = threading.Timer(QUIET_S, progress.start)
    timer.daemon = True
    began = time.monotonic()
    timer.start()
    try:
        yield step
        remember_duration(name, time.monotonic() - began)
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


# ---------------------------------------------------------------- how long the same took the last time


def durations_file() -> Path:
    """Return the file of durations, in the user's cache folder; it may be deleted at any time."""
    from platformdirs import user_cache_path

    return user_cache_path("cxgi_bluesky", appauthor=False) / "durations.json"


def recall_duration(what: str) -> float | None:
    """How long this took the last time (s), or None."""
    seconds = _read_durations().get(what)
    return float(seconds) if isinstance(seconds, int | float) else None


def remember_duration(what: str, seconds: float) -> None:
    """Remember how long something took; a file that cannot be written is as if there were none.

    Parameters
    ----------
    what : str
    seconds : float
    """
    if seconds < REMEMBERED_S:
        return
    known = {name: value for name, value in _read_durations().items() if name != what}
    known[what] = round(seconds, 1)
    with suppress(OSError):
        file = durations_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as part:
            part.write_text(json.dumps(dict(list(known.items())[-MAX_REMEMBERED:]), indent=1), encoding="utf-8")


def _read_durations() -> dict[str, object]:
    with suppress(OSError, ValueError):
        known = json.loads(durations_file().read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return known
    return {}
