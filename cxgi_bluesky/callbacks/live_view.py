"""An image that updates while the scan runs: a file always, a window where there is a display."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from ..reconstruction.drawing import PANEL_INCHES, draw_side_by_side
from ..reconstruction.result import Reconstruction

logger = logging.getLogger(__name__)


def has_display() -> bool:
    """Return whether a window can be shown: a display, an MPLBACKEND that allows it, no worker process."""
    if os.environ.get("MPLBACKEND", "").lower() == "agg" or parent_process() is not None:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _load_drawing() -> bool:
    """Load what draws, or log a warning. Loading holds up every thread, so it must not happen during a scan."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except Exception as error:  # a backend of no such name in MPLBACKEND is a ValueError
        logger.warning("live images cannot be drawn: matplotlib does not load (%s)", error)
        return False
    return True


class LiveView:
    """Show the newest image of each method; pass `show` as `on_image`. Advisory.

    Drawing is much slower than reconstructing, so images that come faster than `interval_s`
    replace one another; `flush` draws the last one.

    Parameters
    ----------
    file : path, optional
        PNG that is replaced whole with every new image.
    interval_s : float
        Shortest time between two drawings of the file.
    window : bool, optional
        Whether to open a window; by default where there is a display. The window is drawn by a
        timer of matplotlib's own event loop, never by the thread that made the image.
    """

    def __init__(self, file: str | Path | None = None, *, interval_s: float = 1.0, window: bool | None = None) -> None:
        can_draw = _load_drawing()
        self._file = Path(file) if file is not None and can_draw else None
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._results: dict[str, Reconstruction] = {}
        self._drawn_at = -interval_s
        self._file_is_old = self._window_is_old = False
        self._window: Any = None
        if can_draw and (has_display() if window is None else window):
            self._open_window()

    def show(self, result: Reconstruction) -> None:
        """Take a new reconstruction, from any thread."""
        with self._lock:
            self._results[result.method] = result
            self._file_is_old = self._window_is_old = True
            if time.monotonic() - self._drawn_at >= self._interval_s:
                self._write_file()

    def flush(self) -> None:
        """Bring the file up to date."""
        with self._lock:
            if self._file_is_old:
                self._write_file()

    def _write_file(self) -> None:
        if self._file is None:
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(PANEL_INCHES[0] * len(self._results), PANEL_INCHES[1]), layout="constrained")
        FigureCanvasAgg(figure)
        draw_side_by_side(figure, self._results)
        temporary = self._file.with_suffix(".new.png")
        figure.savefig(temporary, dpi=100)
        temporary.replace(self._file)
        self._drawn_at, self._file_is_old = time.monotonic(), False

    def _open_window(self) -> None:
        """Open the window, if there is a toolkit that can; a session goes on without."""
        try:
            self._window = self._make_window()
        except Exception as error:  # what toolkits raise has no common kind
            where = "" if self._file is None else f"; the live images are in {self._file}"
            logger.warning("no window for live images (%s: %s)%s", type(error).__name__, error, where)

    def _make_window(self) -> Any:
        import matplotlib.pyplot as plt
        from matplotlib.backends.registry import BackendFilter, backend_registry

        if plt.get_backend().lower() not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
            return None  # a display, but no toolkit to draw on it
        window = plt.figure("cxgi live", figsize=(7, 4), layout="constrained")
        self._timer = window.canvas.new_timer(interval=300)
        self._timer.add_callback(self.refresh_window)
        self._timer.start()
        window.show()
        return window

    def refresh_window(self) -> None:
        """Draw the newest images into the window (main thread)."""
        with self._lock:
            if not self._window_is_old:
                return
            self._window_is_old, results = False, dict(self._results)
        draw_side_by_side(self._window, results)
        self._window.canvas.draw_idle()
