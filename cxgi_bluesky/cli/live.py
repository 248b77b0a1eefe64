"""``cxgi live``: images of a scan that runs in another process, or on another machine."""

from __future__ import annotations

import argparse
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..measurement.documents import cxgi_block
from ._options import FROM_HELP, Commands, Echo, Payload, add_command, make_folder

if TYPE_CHECKING:
    from ..callbacks import LiveReconstruction
    from ..callbacks.whole_runs import Ended
    from ..catalog.follow import StoredRuns
    from ..reconstruction.result import Reconstruction

LOOK_S = 0.5  # between two looks at what has come; Ctrl-C is heeded as fast
ANSWER_S = 3.0  # so long a proxy may take to answer
LAST_IMAGE_S = 60.0  # so long the last image of a scan is waited for


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "live",
        live,
        examples=[
            "cxgi live --from 0mq://localhost:5578  # every scan of a session that publishes, until Ctrl-C",
            "cxgi live --from tiled://beamline:8000 --once --out pictures  # one scan of a Tiled server",
        ],
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        required=True,
        help=FROM_HELP,
    )
    parser.add_argument("--out", metavar="DIR", default=".", help="folder of live.png (default: this one)")
    parser.add_argument("--once", action="store_true", help="end after one scan of an image (default: at Ctrl-C)")


def live(options: argparse.Namespace, echo: Echo) -> Payload:
    """Follow a scan of another process or machine, and make images of it here.

    Parameters
    ----------
    options : argparse.Namespace
        `source`, `out`, `once` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The scans that were followed, for ``--json``.
    """
    from ..callbacks.followed_scans import SourceThread, open_source, open_stored, parse_source

    parse_source(options.source)
    with echo.working("opening the catalog to follow"):
        stored = open_stored(options.source, options.data)
        if options.data is not None:
            stored.open()
        viewer = _Viewer(make_folder(options.out), stored, bar=not echo.quiet)
    source = SourceThread(open_source(options.source, viewer.runs, stored))
    echo.note(f"Following {options.source}: images in {viewer.out / 'live.png'}, Ctrl-C ends it")
    scans: list[Payload] = []
    try:
        while not (options.once and scans):
            viewer.look()
            source.check()
            scans += [viewer.report(ended, echo) for ended in viewer.ended()]
    except KeyboardInterrupt:
        echo.note("Ended from the keyboard")
    finally:
        source.close()
        viewer.close()
    return {"source": options.source, "out": str(viewer.out), "scans": scans}


# ---------------------------------------------------------------- what is made of them


class _Viewer:
    """Live images, as of a session, and a report of each scan that has ended."""

    def __init__(self, out: Path, stored: StoredRuns, *, bar: bool) -> None:
        from ..callbacks import (
            CheckedImages,
            LiveCorrelation,
            LiveSpeckleCorrelation,
            LiveView,
            ScanProgress,
        )
        from ..callbacks.followed_scans import LinkedRuns
        from ..callbacks.whole_runs import WholeRuns

        self.out = out
        self._view, self._bar = LiveView(out / "live.png"), ScanProgress()
        linked = LinkedRuns(stored)
        options: dict[str, Any] = {"on_image": self._show, "references": linked.references}
        self._workers: list[LiveReconstruction] = [
            LiveCorrelation(**options),
            CheckedImages("ch-mwcnn", **options),
            LiveSpeckleCorrelation(folder=stored.folder, **options),
        ]
        self._callbacks: list[Callable[[str, Mapping[str, Any]], None]] = [
            linked,
            self._view,
            *self._workers,
            *([self._bar] if bar else []),
        ]
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self.runs = WholeRuns(self._take, stored, on_end=self._ended.put)

    def _show(self, image: Reconstruction) -> None:
        self._view.show(image)
        self._bar.show(image)

    def _take(self, name: str, document: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            callback(name, document)

    def look(self) -> None:
        """Wait a moment, in the window's own loop where there is one, and bring live.png up to date."""
        from ..callbacks.live_view import has_display

        if has_display():
            import matplotlib.pyplot as plt

            if plt.get_fignums():
                plt.gcf().canvas.start_event_loop(LOOK_S)
                self._view.flush()
                return
        threading.Event().wait(LOOK_S)
        self._view.flush()

    def ended(self) -> list[Ended]:
        """Image scans that have ended since the last call."""
        several = [self._ended.get() for _ in range(self._ended.qsize())]
        return [one for one in several if cxgi_block(one.start).get("purpose") == "image"]

    def report(self, ended: Ended, echo: Echo) -> Payload:
        """Wait for the last images of a scan, and tell of them.

        Parameters
        ----------
        ended : Ended
            An image scan.
        echo : callable
            Takes a line of text for the user.

        Returns
        -------
        dict
            The scan and its images, for ``--json``.
        """
        uid = ended.start["uid"]
        last = [worker.wait(ANSWER_S if self.runs.under_way else LAST_IMAGE_S) for worker in self._workers]
        self._view.flush()
        images = {one.method: one for one in last if one is not None and uid in one.source["raw_uids"]}
        scan = f"scan {ended.start.get('scan_id', '')} {uid[:8]}, {ended.stop.get('exit_status')}"
        lacks = f", {ended.missing} events missing" if ended.missing else ""
        what = ", ".join(f"{name} of {one.exposures} patterns" for name, one in images.items())
        echo(f"{scan}{lacks}: {what or 'no image'}")
        return {
            "run_uid": uid,
            "scan_id": ended.start.get("scan_id"),
            "exit_status": ended.stop.get("exit_status"),
            "missing": ended.missing,
            "images": {name: self._save(one) for name, one in images.items()},
        }

    def _save(self, image: Reconstruction) -> Payload:
        path = image.save(self.out / f"live-{image.method}.npy")
        return {"exposures": image.exposures, "file": str(path)}

    def close(self) -> None:
        """Make no more images."""
        for worker in self._workers:
            worker.close()
