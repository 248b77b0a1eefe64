"""The newest image of a scan, its quality and the scan's state as PVs of EPICS, over pvAccess."""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..devices.beamline import PV_PREFIX
from ..errors import ConfigError, name_missing_extra
from ..measurement.documents import EventRows, cxgi_block
from ..measurement.exposures import FIGURES
from ..measurement.per_run import Callback, PerRun
from ..reconstruction.registry import TV, find_method
from ..reconstruction.result import MARK, PREDICTS_NOTHING, Reconstruction
from .checked_images import CheckedImages, TimedSpeckleImages
from .live_reconstruction import LiveReconstruction, ReferenceRuns

logger = logging.getLogger(__name__)

PREFIX = "CXGI:"
LOOPBACK = "127.0.0.1"
FIRST, EVERY = 16, 4  # exposures before the first image, and between two

STATES = ("no scan", "scanning", "done", "ended early", "cut off")
SUPPORTED, NOT_CHECKED = "supported", "not checked"


class Severity(IntEnum):
    """Of an alarm."""

    NO_ALARM = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


@dataclass(frozen=True)
class ServedPV:
    """One PV: its name after the prefix, its type (of pvAccess), its unit, and what it says.

    Attributes
    ----------
    of_image : bool
        Whether it belongs to the newest image, and changes with it; else to the scan.
    """

    name: str
    kind: Literal["NTNDArray", "double", "int", "string", "enum"]
    unit: str
    meaning: str
    of_image: bool = True


PVS = (
    ServedPV("Image", "NTNDArray", "", "the newest image, row 0 at the top"),
    ServedPV("Uncertainty", "NTNDArray", "", "one standard deviation of each pixel, in the unit of the image"),
    ServedPV("UncertaintyMean", "double", "", "mean of it over the pixels"),
    ServedPV("PixelSize", "double", "um", "width and height of a pixel at the object"),
    ServedPV("Method", "string", "", "how the image was made"),
    ServedPV("Scale", "string", "", "transmission, or relative (to an unknown intensity)"),
    ServedPV("ImageExposures", "int", "", "patterns that the image is made from"),
    ServedPV("Verdict", "string", "", "what patterns that were held back say of the image"),
    ServedPV("Explained", "double", "", "share of their power that the image predicts, 1: all"),
    ServedPV("PSNR", "double", "dB", "PSNR without a truth, where the scan has validation patterns"),
    ServedPV("PSNRLow", "double", "dB", "lower bound of it (68 %)"),
    ServedPV("PSNRHigh", "double", "dB", "upper bound of it (68 %)"),
    ServedPV("State", "enum", "", ", ".join(STATES), of_image=False),
    ServedPV("RunUid", "string", "", "uid of the scan", of_image=False),
    ServedPV("ScanNumber", "int", "", "number of the scan, -1 without one", of_image=False),
    ServedPV("ExposuresDone", "int", "", "patterns that have been exposed", of_image=False),
    ServedPV("ExposuresTotal", "int", "", "patterns that the scan is to expose, at most", of_image=False),
    ServedPV("OpenTime", "double", "s", "how long the shutter was open in this run", of_image=False),
)


def check_prefix(prefix: str) -> str:
    """Return the prefix of PVs.

    Raises
    ------
    CxgiError
        If names of PVs cannot begin with it.
    """
    if not re.match(PV_PREFIX, prefix):
        raise ConfigError(f"prefix of PVs {prefix!r}: give letters, digits and _:.- alone, such as {PREFIX}")
    return prefix


class PvaPublisher:
    """Make images of the run in progress, and serve the newest as PVs; subscribe it to a RunEngine.

    Advisory: the RunEngine's thread only stores the exposure and posts numbers (0.1 ms); images are made in a worker,
    as by `LiveReconstruction`, and clients are served by threads of the pvAccess library, which drops updates for who
    is slow. Nobody can write.

    Parameters
    ----------
    prefix : str, optional
        Of all names (default "CXGI:").
    host : str, optional
        Address of the interface to serve at (default: ``EPICS_PVAS_INTF_ADDR_LIST``, else this machine alone). Ports
        are those of the environment (``EPICS_PVAS_SERVER_PORT``, ``EPICS_PVAS_BROADCAST_PORT``), else EPICS' own.
    method : str, optional
        Of `reconstruct` (default "tv", behind speckle "correlation").
    every : int, optional
        Exposures between two images (default 4).
    references : ReferenceRuns, optional
        As for `LiveReconstruction`.
    folder : path, optional
        Data folder, where recorded patterns of speckle runs are found.
    later : bool, optional
        Leave the loading of what images need to who calls `load` before the first scan (default False).

    Raises
    ------
    CxgiError
        If p4p is not installed, the prefix or method is none, or nothing can be served at that address.
    """

    def __init__(
        self,
        prefix: str = PREFIX,
        *,
        host: str | None = None,
        method: str | None = None,
        every: int = EVERY,
        references: ReferenceRuns | None = None,
        folder: str | Path | None = None,
        later: bool = False,
    ) -> None:
        find_method(method or TV.name)
        self._served = _Server(check_prefix(prefix), host)
        options: dict[str, Any] = {"on_image": self.show, "references": references, "first": FIRST, "every": every}
        self.workers: list[LiveReconstruction] = [
            CheckedImages(method or TV.name, later=later, **options),
            TimedSpeckleImages(folder=folder, **options),
        ]
        self._scans = PerRun(self._begin)
        self._images = 0
        self._showing = threading.Lock()
        self._uncertainty_of: str | None = None  # uid of the scan
        self._uid = ""  # of the scan that is shown
        atexit.register(self.close)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the PVs that are served."""
        return self._served.names

    @property
    def conf(self) -> dict[str, str]:
        """Addresses and ports, by the names of EPICS' environment variables."""
        return self._served.conf

    def load(self) -> None:
        """Load what images need; before a scan, not during one."""
        for worker in self.workers:
            worker.load()

    def wait(self, timeout: float | None = 60.0) -> None:
        """Wait, after a scan, for its last image."""
        for worker in self.workers:
            worker.wait(timeout)

    def close(self) -> None:
        """Serve no more."""
        atexit.unregister(self.close)
        for worker in self.workers:
            worker.close()
        self._served.close()

    # ------------------------------------------------------------ the scan

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._scans(name, document)
        except Exception as error:
            logger.warning(
                "the PVs of the scan are not up to date (%s); the scan goes on and its data is stored", error
            )
        for worker in self.workers:
            worker(name, document)

    def note_cut_off(self, uid: str) -> None:
        """Say that the process of a run has ended, and the run has not."""
        if uid == self._uid:
            self._post(
                {"State": STATES.index("cut off")}, None, Severity.MAJOR, f"run {uid[:8]}: its process has ended"
            )

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        block = cxgi_block(start)
        if block.get("purpose", "image") != "image" or "pattern_set" not in block:
            return None
        scan = _Scan(start)
        self._uid = scan.uid
        number = start.get("scan_id")
        begun = {
            "State": STATES.index("scanning"),
            "RunUid": scan.uid,
            "ScanNumber": number if isinstance(number, int) else -1,
            "ExposuresTotal": int(start.get("num_points", block["pattern_set"]["count"])),
        }
        self._post({**begun, **scan.figures}, start["time"])
        with self._showing:
            self._served.repeat(Severity.INVALID, "of the scan before: no image of this one yet")

        def take(name: str, document: Mapping[str, Any]) -> None:
            if scan(name, document) and self._uid == scan.uid:
                self._post(scan.figures, document.get("time"))
            if name == "stop" and self._uid == scan.uid:
                good = document["exit_status"] == "success"
                state, severity = ("done", Severity.NO_ALARM) if good else ("ended early", Severity.MINOR)
                self._post({"State": STATES.index(state)}, document["time"], severity, document.get("reason") or "")

        return take

    def _post(self, values: dict[str, Any], at: Any, severity: Severity = Severity.NO_ALARM, message: str = "") -> None:
        stamp = float(at) if isinstance(at, int | float) else time.time()
        for name, value in values.items():
            self._served.post(name, value, stamp, severity, message)

    # ------------------------------------------------------------ the image

    def show(self, image: Reconstruction) -> None:
        """Serve a new image, from any thread.

        Parameters
        ----------
        image : Reconstruction
            Image of shape (n, n).
        """
        uids = image.source.get("raw_uids") or [""]
        stamp = float(image.source.get("last_exposure_time") or time.time())
        severity, message = severity_of(image)
        pixel_um = image.source.get("pixel_um")
        quality = image.quality
        score = quality.get("held_out")
        with self._showing:
            if self._uid and self._uid not in uids:
                return  # a newer scan has begun
            self._images += 1
            facts = _attributes(image, uids[-1])
            self._served.post("Image", _array(image.image, facts, self._images), stamp, severity, message)
            values: dict[str, float | None] = {
                "PixelSize": pixel_um,
                "Explained": None if score is None else score["explained"],
                **{pv: quality.get(key) for pv, key in PSNR_KEYS.items()},
            }
            for name, value in values.items():
                if value is None:
                    self._served.post(name, math.nan, stamp, Severity.INVALID, "not known")
                else:
                    self._served.post(name, float(value), stamp)
            self._served.post("Method", image.method, stamp)
            self._served.post("Scale", image.scale, stamp)
            self._served.post("ImageExposures", image.exposures, stamp)
            self._served.post("Verdict", verdict_of(image), stamp, severity, message)
            self._show_uncertainty(image, uids[-1], facts, stamp)

    def _show_uncertainty(self, image: Reconstruction, uid: str, facts: dict[str, Any], stamp: float) -> None:
        """Serve the uncertainty; it is not made with each image, and that of another scan says nothing."""
        if image.uncertainty is not None:
            facts = {**facts, "uncertainty_kind": image.uncertainty_kind or ""}
            self._uncertainty_of, mean = uid, float(np.mean(image.uncertainty))
            self._served.post("Uncertainty", _array(image.uncertainty, facts, self._images), stamp)
            self._served.post("UncertaintyMean", mean, stamp)
        elif self._uncertainty_of != uid:
            self._uncertainty_of = uid
            unknown = _array(np.full_like(image.image, np.nan), facts, self._images)
            self._served.post("Uncertainty", unknown, stamp, Severity.INVALID, "not known yet")
            self._served.post("UncertaintyMean", math.nan, stamp, Severity.INVALID, "not known yet")


PSNR_KEYS = {"PSNR": "psnr_db", "PSNRLow": "psnr_low_db", "PSNRHigh": "psnr_high_db"}


def verdict_of(image: Reconstruction) -> str:
    """Say in a word what is known of an image without a truth: "supported", its mark, or "not checked"."""
    return image.mark or (SUPPORTED if "held_out" in image.quality else NOT_CHECKED)


def severity_of(image: Reconstruction) -> tuple[Severity, str]:
    """Return severity and message of an image's alarm: MAJOR if data speak against it, MINOR if they say nothing."""
    if image.mark is None:
        return Severity.NO_ALARM, ""
    return (Severity.MAJOR if image.mark in (MARK, PREDICTS_NOTHING) else Severity.MINOR), image.mark


class _Scan:
    """How far a scan is, from its documents."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.uid = str(start["uid"])
        self.figures = {"ExposuresDone": 0, "OpenTime": 0.0}
        self._index = cxgi_block(start)["fields"]["pattern_index"]
        self._rows, self._seen = EventRows(), set[int]()
        self._open_s = next(key for key, name in FIGURES.items() if name == "open_s")

    def __call__(self, name: str, document: Mapping[str, Any]) -> bool:
        """Take a document; whether it has changed anything."""
        before = dict(self.figures)
        for row in self._rows(name, document):
            if row.stream == "primary":
                self._seen.add(row.data[self._index])
            if row.data.get(self._open_s) is not None:
                self.figures["OpenTime"] = float(row.data[self._open_s])
        self.figures["ExposuresDone"] = len(self._seen)
        return self.figures != before


# ---------------------------------------------------------------- pvAccess


def _attributes(image: Reconstruction, uid: str) -> dict[str, Any]:
    """What is said of an image within its NTNDArray."""
    pixel_um = image.source.get("pixel_um")
    size = {} if pixel_um is None else {"pixel_width_um": float(pixel_um), "pixel_height_um": float(pixel_um)}
    return {
        **size,
        "run_uid": uid,
        "method": image.method,
        "scale": image.scale,
        "exposures": int(image.exposures),
        "verdict": verdict_of(image),
    }


@dataclass(frozen=True)
class _Array:
    """Pixels and what is said of them."""

    pixels: NDArray[np.float32]
    attributes: Mapping[str, Any]
    number: int


def _array(pixels: NDArray[Any], attributes: Mapping[str, Any], number: int) -> _Array:
    return _Array(np.ascontiguousarray(pixels, dtype=np.float32), attributes, number)


class _Server:
    """The PVs at a network address; nobody can write to them."""

    def __init__(self, prefix: str, host: str | None) -> None:
        with name_missing_extra():
            from p4p.nt import NTEnum, NTNDArray, NTScalar
            from p4p.server import Server
            from p4p.server.raw import SharedPV

        types: dict[str, Callable[[], Any]] = {
            "NTNDArray": NTNDArray,
            "double": lambda: NTScalar("d", display=True),
            "int": lambda: NTScalar("i", display=True),
            "string": lambda: NTScalar("s"),
            "enum": NTEnum,
        }
        self._types = {pv.name: types[pv.kind]() for pv in PVS}
        self._last: dict[str, tuple[Any, float]] = {}
        self._pvs: dict[str, Any] = {}
        for pv in PVS:
            severity = Severity.INVALID if pv.of_image else Severity.NO_ALARM
            value = self._wrap(pv.name, _first_value(pv), time.time(), severity, "no image")
            if pv.kind in ("double", "int"):
                value["display"] = {"units": pv.unit, "description": pv.meaning}
            if pv.kind == "enum":
                value["value.choices"] = list(STATES)
            self._pvs[pv.name] = SharedPV(initial=value)
        self.names = tuple(prefix + name for name in self._pvs)
        serve = dict(zip(self.names, self._pvs.values(), strict=True))
        at = _interface(host)
        try:
            self._server = Server(providers=[serve], conf=at, useenv=False)  # pvxs would add the addresses of the two
        except RuntimeError as error:
            where = at["EPICS_PVAS_INTF_ADDR_LIST"]
            raise ConfigError(f"nothing can be served at {where} ({error}): give an address of this machine") from error
        self.conf: dict[str, str] = dict(self._server.conf())

    def post(
        self, name: str, value: Any, stamp: float, severity: Severity = Severity.NO_ALARM, message: str = ""
    ) -> None:
        """Bring a PV up to date.

        Parameters
        ----------
        name : str
            Without the prefix.
        value : float, int, str or _Array
        stamp : float
            When it was so (s since 1970).
        severity : Severity
            Of the alarm.
        message : str
            Of the alarm.
        """
        self._last[name] = (value, stamp)
        self._pvs[name].post(self._wrap(name, value, stamp, severity, message))

    def repeat(self, severity: Severity, message: str) -> None:
        """Give an alarm to all that belongs to an image, and leave the rest as it is.

        Parameters
        ----------
        severity : Severity
            Of the alarm.
        message : str
            Of the alarm.
        """
        for name in (pv.name for pv in PVS if pv.of_image and pv.name in self._last):
            self._pvs[name].post(self._wrap(name, *self._last[name], severity, message))

    def close(self) -> None:
        """Serve no more."""
        self._server.stop()

    def _wrap(self, name: str, value: Any, stamp: float, severity: Severity, message: str) -> Any:
        kind = self._types[name]
        alarm = {"severity": int(severity), "message": message if severity else ""}
        if isinstance(value, _Array):
            wrapped = kind.wrap(value.pixels, attrib=dict(value.attributes))
            wrapped["uniqueId"] = value.number
            wrapped["dataTimeStamp"] = _time(stamp)
        elif hasattr(kind, "_choices"):
            wrapped = kind.Value(kind.type, {"value": {"index": value}})
        else:
            wrapped = kind.Value(kind.type, {"value": value})
        wrapped["alarm"] = alarm
        wrapped["timeStamp"] = _time(stamp)
        return wrapped


def _time(stamp: float) -> dict[str, int]:
    seconds = math.floor(stamp)
    return {"secondsPastEpoch": seconds, "nanoseconds": int((stamp - seconds) * 1e9)}


def _first_value(pv: ServedPV) -> Any:
    """What is served before there is a scan."""
    if pv.kind == "NTNDArray":
        return _array(np.full((1, 1), np.nan), {}, 0)
    return {"double": math.nan if pv.of_image else 0.0, "int": 0, "string": "", "enum": 0}[pv.kind]


def _interface(host: str | None) -> dict[str, str]:
    """EPICS' own variables, with where to serve: this machine alone, unless another address is given here or there."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(("EPICS_PVAS_", "EPICS_PVA_"))}
    address = host or variables.get("EPICS_PVAS_INTF_ADDR_LIST") or LOOPBACK
    variables["EPICS_PVAS_INTF_ADDR_LIST"] = address
    if address == LOOPBACK:
        variables |= {"EPICS_PVAS_BEACON_ADDR_LIST": LOOPBACK, "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO"}
    return variables
