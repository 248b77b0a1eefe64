"""Progress of a scan on the terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from ..measurement.documents import EventRows, cxgi_block, name_scan
from ..measurement.per_run import Callback, PerRun
from ..reconstruction.result import Reconstruction
from .time_left import TimeLeft

logger = logging.getLogger(__name__)

FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{left}, {rate_fmt}{postfix}]"


class ScanProgress:
    """A progress bar on stderr for each scan: exposures done, time left, bucket of the last exposure. Advisory.

    With the PSNR of the newest image where it is known: pass `show` as ``on_image`` to live images.

    Parameters
    ----------
    stream : text stream, optional
        Default: stderr.
    is_running : callable, optional
        Whether the scan goes on: the bar of a paused one leaves the line to the prompt (default: always).
    """

    def __init__(self, stream: TextIO | None = None, *, is_running: Callable[[], bool] = lambda: True) -> None:
        self._stream, self._is_running = stream, is_running
        self._router = PerRun(self._begin)
        self._psnr: dict[str, str] = {}  # by uid of the scan

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._router(name, document)
        except Exception as error:
            logger.debug("progress bar: %s", error)

    def show(self, image: Reconstruction) -> None:
        """Show the PSNR of a live image from the next exposure on.

        Parameters
        ----------
        image : Reconstruction
        """
        if image.psnr_claim is not None:
            self._psnr |= dict.fromkeys(image.source.get("raw_uids", ()), f", {image.psnr_claim}")

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        if "pattern_set" not in cxgi_block(start):
            return None
        return _Bar(start, self._stream or sys.stderr, self._psnr, self._is_running)


class _Bar:
    """The progress of one scan."""

    def __init__(
        self, start: Mapping[str, Any], stream: TextIO, psnr: Mapping[str, str], is_running: Callable[[], bool]
    ) -> None:
        block = cxgi_block(start)
        self._uid, self._psnr = start["uid"], psnr
        self._bucket = block["fields"]["bucket"]
        self._rows, self._time, self._unit = EventRows(), TimeLeft(start), ""
        total = start.get("num_points", block["pattern_set"]["count"])
        pause = 0.5 if stream.isatty() else 10.0  # a log file wants few lines
        self._bar = _make_bar(
            self._time, total=total, desc=name_scan(start), unit="exp", file=stream, mininterval=pause
        )
        self._begun = self._last = time.monotonic()
        self._others = _Others(self._bar, is_running) if stream.isatty() else None

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of the scan."""
        if name == "descriptor" and document.get("name") == "primary":
            self._unit = (document.get("data_keys", {}).get(self._bucket) or {}).get("units") or ""
        for row in self._rows(name, document):
            self._time.take(row)
            self._last = time.monotonic()
            if row.stream == "primary":
                self._show(f"{row.data[self._bucket]:.3f} {self._unit}")
                self._bar.update(self._time.done - self._bar.n)
            if self._time.done == self._time.total and self._time.seconds() == 0:
                self._show("all exposed, storing")
                self._bar.refresh()
        if name == "stop":
            self._show(document["exit_status"])
            self._bar.took_s = self._last - self._begun
            self._bar.close()
            if self._others is not None:
                self._others.release()

    def _show(self, text: str) -> None:
        self._bar.set_postfix_str(text + self._psnr.get(self._uid, ""), refresh=False)


def _make_bar(time_left: TimeLeft, **options: Any) -> Any:
    """Make a bar whose time left is that of a scan: tqdm's own knows no exposures but those of patterns."""
    from tqdm import tqdm

    class Bar(tqdm):
        took_s: float | None = None  # the exposures, once the scan has ended: without the time in which it is stored
        shown = False

        def display(self, *given: Any, **options: Any) -> None:
            self.shown = True
            super().display(*given, **options)

        def clear(self, *given: Any, **options: Any) -> None:
            if self.shown:  # else the line is somebody else's
                super().clear(*given, **options)
            self.shown = False

        @property
        def format_dict(self) -> Any:
            known, seconds = super().format_dict, time_left.seconds()
            left = "?" if seconds is None else self.format_interval(seconds)
            return {**known, "left": left, "elapsed": known["elapsed"] if self.took_s is None else self.took_s}

    return Bar(bar_format=FORMAT, miniters=1, **options)  # else tqdm's monitor draws it again, over a prompt


class _Others:
    """What others write to the terminal while a bar is on it: whole lines above the bar, as tables and warnings are."""

    def __init__(self, bar: Any, is_running: Callable[[], bool]) -> None:
        self._streams = {name: _AboveTheBar(getattr(sys, name), bar, is_running) for name in ("stdout", "stderr")}
        for name, stream in self._streams.items():
            if stream.isatty():
                setattr(sys, name, stream)

    def release(self) -> None:
        """Give the streams back; those that others have replaced meanwhile stay theirs."""
        for name, stream in self._streams.items():
            stream.flush()
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.original)


class _AboveTheBar:
    """A text stream that takes the bar away while it writes."""

    def __init__(self, original: TextIO, bar: Any, is_running: Callable[[], bool]) -> None:
        self.original, self._bar, self._is_running, self._line = original, bar, is_running, ""

    def write(self, text: str) -> int:
        """Write the lines that are complete; the rest waits for its end, or for a flush."""
        whole, end, rest = text.rpartition("\n")
        if end:
            self._put(self._line + whole + end)
            self._line = rest
        else:
            self._line += text
        return len(text)

    def flush(self) -> None:
        """Write what has no end yet, such as a prompt."""
        if self._line:
            self._put(self._line)
            self._line = ""
        self.original.flush()

    def _put(self, text: str) -> None:
        with self._bar.get_lock():
            if not self._bar.disable:
                self._bar.clear(nolock=True)
            self.original.write(text)
            self.original.flush()
            if not self._bar.disable and text.endswith("\n") and self._is_running():
                self._bar.refresh(nolock=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)
