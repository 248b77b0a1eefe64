"""The state of the running scan, as viewers see it: made of documents and live images, the newest one only."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..callbacks.time_left import TimeLeft
from ..measurement.documents import EventRows, Row, cxgi_block
from ..measurement.per_run import Callback, PerRun
from ..measurement.plain_values import plain_or_text
from ..reconstruction.drawing import grey_range
from ..reconstruction.planning.quality import announce_psnr, is_claimed_during
from ..reconstruction.registry import CORRELATION
from ..reconstruction.result import Reconstruction
from .images import PngStore, grey_ends, grey_png, scale_bar, uncertainty_png

logger = logging.getLogger(__name__)

POINTS = 256  # of a chart, whatever the number of exposures
QUIET_S = 5.0  # and three times the usual interval: so long without an exposure, a scan is paused or in trouble
_PATTERNS = ("primary", "validation")
_KINDS = {  # what a stream is called
    "primary": "pattern", "validation": "validation pattern", "open": "open tile", "incident": "open tile, object out",
    "dark": "dark reading", "metal": "metal tile",
}  # fmt: skip


class LiveState:
    """Keep the newest state of the newest scan. Advisory; never raises.

    Parameters
    ----------
    pngs : PngStore
        Where its images are kept.
    on_change : callable, optional
        Called, from any thread, whenever there is something new.
    """

    def __init__(self, pngs: PngStore, *, on_change: Callable[[], None] = lambda: None) -> None:
        self._pngs, self._on_change = pngs, on_change
        self._lock = threading.Lock()
        self._router = PerRun(self._begin)
        self._scans: dict[str, _Scan] = {}  # under way, and the last one; the newest comes last
        self._last_images: dict[str, dict[str, Any]] = {}  # by uid of the scan
        self._status: dict[str, str] = {}  # by uid of the scan

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of any run."""
        try:
            with self._lock:
                self._router(name, document)
        except Exception as error:
            logger.warning("a document (%s) is not shown: %s: %s", name, type(error).__name__, error)
        self._on_change()

    def show(self, image: Reconstruction) -> None:
        """Take a live image; pass it as ``on_image``.

        Parameters
        ----------
        image : Reconstruction
        """
        with self._lock:
            found = [scan for uid, scan in self._scans.items() if uid in image.source.get("raw_uids", ())]
        if found:
            shown = _describe_image(image, self._pngs, found[-1].pixel_um)
            with self._lock:
                found[-1].add_image(shown, _share_of_range(image))
                self._last_images[found[-1].uid] = found[-1].best_images()[0]
            self._on_change()

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        if not isinstance(cxgi_block(start).get("pattern_set"), Mapping):
            return None
        for uid in [uid for uid, scan in self._scans.items() if scan.stop is not None]:
            del self._scans[uid]
        scan = self._scans[str(start["uid"])] = _Scan(start)
        self._status[scan.uid] = "running"

        def take(name: str, document: Mapping[str, Any]) -> None:
            scan.take(name, document)
            if name == "stop":
                self._status[scan.uid] = str(document.get("exit_status"))

        return take

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON has it."""
        with self._lock:
            scans = list(self._scans.values())
            state: dict[str, Any] = scans[-1].snapshot() if scans else {"phase": "none"}
            state["others"] = sum(scan.stop is None for scan in scans[:-1])
        plain, _ = plain_or_text(state, "")
        return dict(plain)

    def charts(self) -> dict[str, Any]:
        """Buckets and quality against exposures, as JSON has them."""
        with self._lock:
            scan = next(reversed(self._scans.values()), None)
            plain, _ = plain_or_text({} if scan is None else scan.charts(), "")
        return dict(plain)

    def last_image(self, uid: str) -> dict[str, Any] | None:
        """Describe the last live image of a scan, while it is kept: nobody may have made a reconstruction yet."""
        image = self._last_images.get(uid)
        return image if image is not None and self._pngs.get(image["png"]) is not None else None

    def status(self, uid: str) -> str | None:
        """Whether a scan that was followed runs, or how it ended: the catalog may not have its end yet.

        Parameters
        ----------
        uid : str
            Of any run.
        """
        return self._status.get(uid)

    def under_way(self) -> list[Mapping[str, Any]]:
        """Start documents of the scans that have not ended, oldest first."""
        with self._lock:
            return [scan.start for scan in self._scans.values() if scan.stop is None]


@dataclass
class _Scan:
    """What is known of one scan."""

    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None = None
    units: str = ""
    done: set[int] = field(default_factory=set)
    events: int = 0
    last: Row | None = None
    first_s: float = math.nan  # when the first exposure of a pattern had ended
    buckets: list[tuple[int, float]] = field(default_factory=list)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    quality: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows, self._time_left = EventRows(), TimeLeft(self.start)
        self.block = cxgi_block(self.start)
        fields = mapping(self.block.get("fields"))
        self._bucket, self._index = str(fields.get("bucket")), str(fields.get("pattern_index"))
        self._sigma = fields.get("sigma")
        total = self.start.get("num_points") or mapping(self.block.get("pattern_set")).get("count")
        self.total = int(total) if isinstance(total, int | float) else None
        self.claims_psnr = is_claimed_during(self.block)
        self.pixel_um = mapping(self.block.get("board")).get("pixel_um")
        exposure_s = self.block.get("exposure_s")
        self.exposure_s = float(exposure_s) if isinstance(exposure_s, int | float) else 0.0

    def take(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of the scan.

        Parameters
        ----------
        name : str
            Kind of the document, such as "event".
        document : mapping
        """
        if name == "descriptor":
            self.units = str(mapping(mapping(document.get("data_keys")).get(self._bucket)).get("units") or self.units)
        for row in self._rows(name, document):
            self._take_row(row)
        if name == "stop":
            self.stop = document

    def _take_row(self, row: Row) -> None:
        self._time_left.take(row)
        if row.stream not in _KINDS:
            return
        self.events, self.last = self.events + 1, row
        if row.stream not in _PATTERNS:
            return
        if math.isnan(self.first_s):
            self.first_s = row.time
        if row.stream == "primary":
            self.done.add(int(row.data[self._index]))
            bucket = row.data.get(self._bucket)
            if bucket is not None and math.isfinite(bucket):
                self.buckets.append((len(self.done), float(bucket)))

    def add_image(self, image: dict[str, Any], uncertainty: float | None) -> None:
        """Take a live image; one of fewer exposures comes too late.

        Parameters
        ----------
        image : dict
            Its description.
        uncertainty : float or None
            Its median uncertainty, in % of its range.
        """
        method, quality = image["method"], image["quality"]
        if self.images.get(method, image)["exposures"] > image["exposures"]:
            return
        self.images[method] = image
        names = ("psnr_db", "psnr_low_db", "psnr_high_db")
        claim = [quality[name] for name in names] if self.claims_psnr else [uncertainty] * 3
        if None not in claim:
            self.quality.setdefault(method, []).append((image["exposures"], *claim))

    def snapshot(self) -> dict[str, Any]:
        """The state as viewers have it."""
        done, start = len(self.done), self.start
        return {
            "phase": "running" if self.stop is None else "ended",
            "run": {
                "uid": start["uid"],
                "scan_id": start.get("scan_id"),
                "sample": start.get("sample"),
                "plan": start.get("plan_name"),
                "rest_of": self.block.get("resumes"),
                "purpose": self.block.get("purpose"),
                "board": mapping(self.block.get("board")).get("id"),
                "size": mapping(self.block.get("pattern_set")).get("size"),
                "pixel_um": self.pixel_um,
                "exposure_s": self.exposure_s,
            },
            "exposures": {"done": done, "total": self.total, "all": self.events},
            "time": self._times(done),
            "open": self._open(done),
            "shutter": self._shutter(),
            "stage": self._stage(),
            "diode": self._diode(),
            "images": self.best_images(),
            "event_time": None if self.last is None else self.last.time,
            "quiet_after_s": QUIET_S + 3 * max(self.exposure_s, self._interval_s()),
            "exit_status": None if self.stop is None else self.stop.get("exit_status"),
            "reason": None if self.stop is None else self.stop.get("reason"),
        }

    @property
    def uid(self) -> str:
        """Of the run."""
        return str(self.start["uid"])

    def best_images(self) -> list[dict[str, Any]]:
        """The newest image of each method, a correlation last."""
        return sorted(self.images.values(), key=lambda image: image["method"] == CORRELATION.name)

    def _interval_s(self) -> float:
        """Time from one exposure to the next: moves and closed times are in it."""
        if self.last is None or len(self.done) < 2 or math.isnan(self.first_s):
            return 0.0
        return max(0.0, (self.last.time - self.first_s) / (len(self.done) - 1))

    def _times(self, done: int) -> dict[str, Any]:
        begun = float(self.start["time"])
        end = float(self.stop["time"]) if self.stop is not None else None
        left = None
        if self.stop is None and self.total is not None and done > 1:
            left = self._time_left.seconds()
        return {"begun": begun, "ended": end, "left_s": left}

    def _open(self, done: int) -> dict[str, Any]:
        data: Mapping[str, Any] = {} if self.last is None else self.last.data
        opened, left = data.get("exposure_open_s"), None
        if self.stop is None and self.total is not None and isinstance(opened, int | float) and done:
            left = self._time_left.open_seconds()
        return {
            "open_s": opened,
            "openings": data.get("exposure_openings"),
            "left_s": left,
            "allowed_s": mapping(self.start.get("plan_args")).get("max_open_s"),
            "repeats": data.get("exposure_repeats"),
        }

    def _shutter(self) -> str:
        """What documents say of the shutter: a plan opens it for an exposure, and closes it at its end."""
        if self.stop is None:
            return "opens for each exposure" if self.events else "closed, scan begins"
        return "closed at the end of the scan" if self.stop.get("uid") else "not known"

    def _stage(self) -> dict[str, Any] | None:
        if self.last is None:
            return None
        data = self.last.data
        return {name: data.get(f"stage_{name}") for name in ("tile", "x", "y", "tile_distance_um")}

    def _diode(self) -> dict[str, Any] | None:
        if self.last is None:
            return None
        data = self.last.data
        sigma = None if self._sigma is None else data.get(self._sigma)
        kind = _KINDS[self.last.stream]
        pattern = data.get(self._index) if self.last.stream in _PATTERNS else None
        return {"bucket": data.get(self._bucket), "sigma": sigma, "unit": self.units, "of": kind, "pattern": pattern}

    def _quality_note(self) -> str:
        """When there will be a PSNR, until there is one."""
        if any(image["quality"]["psnr_db"] is not None for image in self.images.values()):
            return ""
        return announce_psnr(self.block) if self.stop is None else ""

    def charts(self) -> dict[str, Any]:
        """Buckets and quality against exposures, with few points."""
        quality = {
            method: [[_short(value) for value in point] for point in _thin(points)]
            for method, points in self.quality.items()
        }
        return {
            "total": self.total,
            "unit": self.units,
            "buckets": [[n, _short(low), _short(high)] for n, low, high in _envelope(self.buckets)],
            "quality_note": self._quality_note(),
            "quality_label": "PSNR (dB)" if self.claims_psnr else "Uncertainty (% of the range)",
            "quality": quality,
        }


def _describe_image(image: Reconstruction, pngs: PngStore, pixel_um: Any) -> dict[str, Any]:
    low, high = grey_ends(image.image)
    sigma = image.uncertainty
    quality = {name: image.quality.get(name) for name in ("psnr_db", "psnr_low_db", "psnr_high_db", "data_misfit")}
    return {
        "method": image.method,
        "exposures": image.exposures,
        "size": len(image.image),
        "scale": image.scale,
        "low": low,
        "high": high,
        "png": pngs.add(grey_png(image.image)),
        "overlay": None if sigma is None else pngs.add(uncertainty_png(sigma)),
        "uncertainty": None if sigma is None else float(np.median(sigma)),
        "uncertainty_kind": image.uncertainty_kind,
        "bar": scale_bar(len(image.image), pixel_um),
        "quality": quality,
        "mark": image.mark,
        "cautions": list(image.cautions),
    }


def _share_of_range(image: Reconstruction) -> float | None:
    """Median error in % of what is between black and white; of noise alone a chart would say too little."""
    low, high = grey_range(image.image)
    if image.uncertainty is None or image.uncertainty_kind != "error" or not high > low:
        return None
    return 100 * float(np.median(image.uncertainty)) / (high - low)


# ---------------------------------------------------------------- few points of many


def _envelope(points: list[tuple[int, float]]) -> list[tuple[int, float, float]]:
    """Least and largest value of each group of neighbours."""
    step = max(1, math.ceil(len(points) / POINTS))
    groups = [points[first : first + step] for first in range(0, len(points), step)]
    return [(group[-1][0], min(v for _, v in group), max(v for _, v in group)) for group in groups]


def _thin(points: list[Any]) -> list[Any]:
    """Some of the points, the last one always."""
    step = max(1, math.ceil(len(points) / POINTS))
    return points[::-1][::step][::-1]


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping of a document; empty where another program has stored something else there."""
    return value if isinstance(value, Mapping) else {}
