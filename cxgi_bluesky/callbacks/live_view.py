"""A scan as it runs: its images, buckets and quality; in a file, a notebook, a window where there is a display."""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from ..measurement.documents import EventRows, cxgi_block, name_scan
from ..measurement.per_run import Callback, PerRun
from ..reconstruction.drawing import PANEL_INCHES, draw_reconstruction, draw_uncertainty
from ..reconstruction.planning.quality import announce_psnr
from ..reconstruction.result import Reconstruction
from .notebook import in_notebook, show_png
from .time_left import TimeLeft, format_duration

logger = logging.getLogger(__name__)

NOTEBOOK_S = 2.0  # between two drawings without a new image: drawing holds up other threads


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


@dataclass
class ScanRecord:
    """What the window shows of a scan beside its images.

    Attributes
    ----------
    title : str
        Number, uid and sample.
    time : TimeLeft
        How far it is.
    unit : str
        Of the buckets.
    buckets : list of float
        Of each exposure of a pattern.
    quality : list of (int, float, float, float)
        Exposures of an image, its PSNR without a truth, and the bounds of that (dB).
    end : str or None
        How the scan ended.
    psnr_note : str
        When there will be a first PSNR; empty for a scan that claims none.
    """

    title: str
    time: TimeLeft
    unit: str = ""
    buckets: list[float] = field(default_factory=list)
    quality: list[tuple[int, float, float, float]] = field(default_factory=list)
    end: str | None = None
    psnr_note: str = ""

    def describe(self) -> str:
        """Say how far the scan is, and the time and exposure that are left."""
        text = f"{self.title}: {self.time.done} of {self.time.total} patterns"
        if self.end is not None:
            return f"{text}, {self.end}"
        left, exposure = self.time.seconds(), self.time.open_seconds()
        if left and exposure is not None:
            text += f", {format_duration(left)} left, exposure left {format_duration(exposure)}"
        return text


def draw_scan(
    figure: Any,
    results: Mapping[str, Reconstruction],
    scan: ScanRecord | None,
    *,
    certainty: Reconstruction | None = None,
    note: str = "",
) -> None:
    """Draw the images of a scan side by side, and below them its buckets, and the PSNR if it is known.

    Parameters
    ----------
    figure : matplotlib Figure
        Cleared first.
    results : mapping of str to Reconstruction
        By the name that stands above each; images of shape (n, n).
    scan : ScanRecord or None
        Without one the images stand alone.
    certainty : Reconstruction, optional
        An image whose uncertainty is drawn beside the images.
    note : str, optional
        A second line of the title (default: none).
    """
    figure.clear()
    buckets = [] if scan is None else list(scan.buckets)  # the RunEngine's thread may add to them
    panels = figure.subfigures(2, 1, height_ratios=(3, 1.3)) if buckets else [figure]
    axes = panels[0].subplots(1, max(1, count_panels(results, certainty)), squeeze=False)[0]
    for axis, (name, result) in zip(axes, results.items(), strict=False):
        draw_reconstruction(axis, result, name)
    if certainty is not None:
        draw_uncertainty(axes[-1], certainty, f"uncertainty of {certainty.method}, {certainty.exposures} patterns")
    elif not results:
        axes[0].set_axis_off()
    if scan is None:
        return
    figure.suptitle("\n".join(filter(None, (scan.describe(), note))), fontsize=10)
    if buckets:
        quality = list(scan.quality)
        note = scan.psnr_note if scan.end is None else ""
        is_chart = len({exposures for exposures, *_ in quality}) > 1
        if quality and not is_chart:  # a chart of one point says less than its numbers
            note = "PSNR {1:.1f} dB ({2:.1f} to {3:.1f}, 68 %) with {0} patterns".format(*quality[-1])
        columns = panels[1].subplots(1, 2 if is_chart or note else 1, squeeze=False)[0]
        columns[0].plot(range(1, len(buckets) + 1), buckets, ".", markersize=2, color="0.2")
        columns[0].set(xlabel="exposure", ylabel=f"bucket ({scan.unit})" if scan.unit else "bucket")
        if is_chart:
            exposures, psnr, low, high = zip(*quality, strict=True)
            columns[1].fill_between(exposures, low, high, color="0.85", linewidth=0)
            columns[1].plot(exposures, psnr, ".-", color="0.2", linewidth=1, markersize=3)
            columns[1].set(xlabel="exposure", ylabel="PSNR (dB)")
        elif note:
            columns[1].set_axis_off()
            middle = {"ha": "center", "va": "center", "transform": columns[1].transAxes}
            columns[1].text(0.5, 0.5, textwrap.fill(note, 40), fontsize=8, **middle)
        for axis in columns:
            axis.set_xlim(0, 1.02 * max(scan.time.total or 0, len(buckets)))
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)


def count_panels(results: Mapping[str, Reconstruction], certainty: Reconstruction | None) -> int:
    """Count the panels of `draw_scan`.

    Parameters
    ----------
    results : mapping of str to Reconstruction
    certainty : Reconstruction or None
    """
    return len(results) + (certainty is not None)


class LiveView:
    """Show a scan with the newest image of each method; subscribe it, and pass `show` as `on_image`. Advisory.

    Once it has seen a scan, it leaves out images of others, such as the last one of the scan before.

    Drawing is much slower than reconstructing, so images that come faster than `interval_s`
    replace one another; the last one is drawn when the interval is over, or by `flush`.

    In a notebook, what is in the file also stands in the output of the cell that runs the scan, and is renewed every
    two seconds, so that exposures and time left are shown between images too.

    Parameters
    ----------
    file : path, optional
        PNG that is replaced whole with every new image.
    interval_s : float
        Shortest time between two drawings of the file.
    window : bool, optional
        Whether to open a window; by default where there is a display. The window is drawn by a
        timer of matplotlib's own event loop, never by the thread that made the image.
    keys : mapping of str to (str, callable), optional
        What a key does in the window, and the function that does it.
    state : callable, optional
        Returns a line about the beamline for the window, such as the state of the shutter.
    """

    def __init__(
        self,
        file: str | Path | None = None,
        *,
        interval_s: float = 1.0,
        window: bool | None = None,
        keys: Mapping[str, tuple[str, Callable[[], Any]]] | None = None,
        state: Callable[[], str] | None = None,
    ) -> None:
        self._keys, self._state = dict(keys or {}), state
        self._router = PerRun(self._begin)
        self._scan: ScanRecord | None = None
        self._uid = ""  # of that scan
        can_draw = _load_drawing()
        self._file = Path(file) if file is not None and can_draw else None
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._results: dict[str, Reconstruction] = {}
        self._certainty: Reconstruction | None = None  # the newest image with an uncertainty
        self.in_notebook = in_notebook() and self._file is not None
        self._shown_uid: str | None = None  # of the scan whose picture stands in a notebook
        self._drawn_at = -interval_s
        self._late: threading.Timer | None = None  # draws what has come since
        if self._file is not None:
            atexit.register(self._draw_no_more)
        self._file_is_old = self._window_is_old = False
        self._window: Any = None
        if can_draw and (has_display() if window is None else window):
            self._open_window()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._router(name, document)
        except Exception as error:
            logger.debug("live window: %s", error)

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        block = cxgi_block(start)
        if block.get("purpose", "image") != "image" or "pattern_set" not in block:
            return None
        title = " ".join(str(part) for part in (name_scan(start), start.get("sample")) if part)
        scan = ScanRecord(title, TimeLeft(start), psnr_note=announce_psnr(block))
        bucket, rows = block["fields"]["bucket"], EventRows()
        # Without the lock, which is held while an image is drawn: no exposure waits for that.
        self._scan, self._uid, self._results, self._certainty = scan, start["uid"], {}, None
        if self.in_notebook:
            threading.Thread(target=self._renew, args=(scan,), name="live-notebook", daemon=True).start()

        def take(name: str, document: Mapping[str, Any]) -> None:
            if name == "descriptor" and document.get("name") == "primary":
                scan.unit = (document["data_keys"].get(bucket) or {}).get("units") or ""
            for row in rows(name, document):
                scan.time.take(row)
                if row.stream == "primary":
                    scan.buckets.append(row.data[bucket])
                    self._file_is_old = self._window_is_old = True
            if name == "stop":
                scan.end = document["exit_status"]
                self._file_is_old = self._window_is_old = True
                self._draw_late(self._interval_s)

        return take

    def show(self, result: Reconstruction) -> None:
        """Take a new reconstruction, from any thread."""
        uids = result.source.get("raw_uids", ())
        with self._lock:
            if self._uid and self._uid not in uids:
                return
            self._results[result.method] = result
            if result.uncertainty is not None:
                self._certainty = result
            if result.psnr_claim is not None and self._scan is not None:
                claim = tuple(result.quality[name] for name in ("psnr_db", "psnr_low_db", "psnr_high_db"))
                self._scan.quality.append((result.exposures, *claim))
            self._file_is_old = self._window_is_old = True
            left_s = self._drawn_at + self._interval_s - time.monotonic()
            if left_s <= 0:
                self._write_file()
            else:
                self._draw_late(left_s)

    def flush(self) -> None:
        """Bring the file up to date."""
        with self._lock:
            if self._file_is_old:
                self._write_file()

    def _draw_late(self, in_s: float) -> None:
        """Bring the file up to date a little later: no other image may come. A notebook's is renewed by itself."""
        if self._file is None or self.in_notebook or self._late is not None:
            return
        self._late = threading.Timer(in_s, self._flush_late)
        self._late.daemon = True
        self._late.start()

    def _flush_late(self) -> None:
        self._late = None  # before it draws: what comes meanwhile needs another one
        self._flush_beside()

    def _draw_no_more(self) -> None:
        """Wait for what is being drawn: a thread in the midst of it would take the process down at its end."""
        with self._lock:
            self._file = None

    def _renew(self, scan: ScanRecord) -> None:
        """Bring file and notebook up to date while a scan runs (a thread of its own)."""
        while self._scan is scan and scan.end is None:
            time.sleep(NOTEBOOK_S)
            if not self._flush_beside():
                return

    def _flush_beside(self) -> bool:
        """Bring the file up to date in a thread of its own; returns whether that went well."""
        try:
            self.flush()
        except Exception as error:
            logger.warning("no picture of the scan (%s); the scan goes on", error)
            return False
        return True

    def _write_file(self) -> None:
        if self._file is None:
            return
        uid, scan, self._file_is_old = self._uid, self._scan, False
        png = self._render()
        temporary = self._file.with_suffix(".new.png")
        temporary.write_bytes(png)
        temporary.replace(self._file)
        self._drawn_at = time.monotonic()
        if self.in_notebook and scan is not None:
            show_png(png, scan.describe(), f"cxgi-live-{uid}", renew=self._shown_uid == uid)
            self._shown_uid = uid

    def _render(self) -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        panels = max(2, count_panels(self._results, self._certainty))
        size = (PANEL_INCHES[0] * panels, PANEL_INCHES[1] + (0 if self._scan is None else 1.8))
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw_scan(figure, dict(self._results), self._scan, certainty=self._certainty)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=100)
        return file.getvalue()

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
        for name in plt.rcParams:
            if name.startswith("keymap."):  # s would save the figure, p would pan it
                plt.rcParams[name] = [key for key in plt.rcParams[name] if key not in self._keys]
        plt.close("cxgi live")  # that of an earlier session in this process
        window = plt.figure("cxgi live", figsize=(10, 6), layout="constrained")
        window.canvas.mpl_connect("key_press_event", self._press)
        self._timer = window.canvas.new_timer(interval=300)
        self._timer.add_callback(self.refresh_window)
        self._timer.start()
        window.show()
        return window

    def _press(self, event: Any) -> None:
        if event.key in self._keys:
            what, do = self._keys[event.key]
            logger.warning("key %s: %s", event.key, what)
            try:
                do()
            except Exception as error:  # such as a pause of what is paused
                logger.warning("key %s does nothing now (%s)", event.key, error)

    def refresh_window(self) -> None:
        """Draw the newest images into the window (main thread)."""
        with self._lock:
            if not self._window_is_old:
                return
            self._window_is_old, results, scan, certainty = False, dict(self._results), self._scan, self._certainty
        notes = [self._state()] if self._state is not None else []
        notes += [f"{key}: {what}" for key, (what, _) in self._keys.items()]
        draw_scan(self._window, results, scan, certainty=certainty, note="   ".join(notes))
        self._window.canvas.draw_idle()
