"""Live reconstructions while documents stream, and the reference scans that they need."""

from __future__ import annotations

import atexit
import logging
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from ..masks.speckle_files import find_speckles
from ..masks.speckle_set import SpeckleSet
from ..measurement.documents import cxgi_block
from ..measurement.exposures import Exposures
from ..measurement.measurement import Measurement
from ..measurement.per_run import Callback, PerRun
from ..measurement.speckle import SpeckleMeasurement
from ..reconstruction.api import estimate_uncertainty, reconstruct
from ..reconstruction.error_model.noise import PreparedMeasurement
from ..reconstruction.methods.tval3 import MultiplierStart
from ..reconstruction.planning.quality import with_psnr
from ..reconstruction.registry import CH_MWCNN, CORRELATION, TV, TVAL3, find_method
from ..reconstruction.result import Reconstruction
from ..reconstruction.solvers.primal_dual import WarmStart

logger = logging.getLogger(__name__)


class ReferenceRuns:
    """Keep the exposures of every reference and dark scan that the RunEngine runs; subscribe it to one.

    Advisory: live reconstructions find the runs that belong to an image here, without asking the catalog. What one
    of them has seen, all of this process know: a plan finds there what a session has read.
    """

    _runs: ClassVar[dict[str, Exposures]] = {}

    def __init__(self) -> None:
        self._router = PerRun(self._begin)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._router(name, document)
        except Exception as error:
            logger.warning("a run cannot be used for live images (%s)", error)

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        if cxgi_block(start).get("purpose") not in ("reference", "dark"):
            return None
        exposures = Exposures()
        exposures("start", start)

        def take(name: str, document: Mapping[str, Any]) -> None:
            exposures(name, document)
            if name == "stop":
                self.keep(exposures)

        return take

    def keep(self, exposures: Exposures) -> None:
        """Keep a run that was read from elsewhere: a reference or dark scan, or a scan that is to be resumed."""
        self._runs[exposures.start["uid"]] = exposures

    def get(self, uid: str | None) -> Exposures | None:
        """Return the run with this uid, None if it is not known."""
        return None if uid is None else self._runs.get(uid)


class LiveReconstruction:
    """Reconstruct the run in progress in a worker thread; subscribe it to a RunEngine.

    Advisory: the RunEngine's thread only stores the exposure (microseconds). The worker makes an
    image of everything measured so far; while it is busy, newer requests replace older ones,
    so that it never falls behind. A failure is logged, kept in `failure`, and never stops the scan.
    What the method needs (weights, torch, compiled loops) is loaded here: loading holds up every
    thread of the process, the RunEngine's too, so it must not happen during a scan.

    Parameters
    ----------
    method : str
        A method of `reconstruct`.
    on_image : callable, optional
        Called in the worker thread with each new `Reconstruction`.
    first, every : int
        Exposures before the first image, and between requests for a new one.
    references : ReferenceRuns, optional
        Where the reference and dark scan that a run names are found, and the scan that it resumes; without it, images
        are not corrected, and are of the run alone.
    later : bool
        Leave the loading to who calls `load` before the first scan.
    details : bool
        Estimate the uncertainty of each pixel too.
    **options
        For the method.

    Raises
    ------
    CxgiError
        If there is no such method, or its weights cannot be read.
    """

    basis = "hadamard"  # scans with other patterns are left alone

    def __init__(
        self,
        method: str,
        *,
        on_image: Callable[[Reconstruction], None] | None = None,
        first: int = 32,
        every: int = 16,
        references: ReferenceRuns | None = None,
        later: bool = False,
        details: bool = False,
        **options: Any,
    ) -> None:
        self.method, self._options, self._details = method, options, details
        if not later:
            self.load()
        self.latest: Reconstruction | None = None
        self.images = 0
        self.failure: Exception | None = None
        self._on_image = on_image
        self._first, self._every = first, every
        self._references = references
        self._router = PerRun(self._begin)
        self._runs: list[_LiveRun] = []  # scans in progress, and the last one; the newest comes last
        self._publishing = threading.Lock()
        atexit.register(self.close)  # torch must not be torn down under a running worker

    def load(self) -> None:
        """Load what the method needs; before a scan, not during one."""
        find_method(self.method).warm_up(self._options)

    # ------------------------------------------------------------ RunEngine thread

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._router(name, document)
        except Exception as error:
            self._fail(error)

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        block = cxgi_block(start)
        pattern_set = block.get("pattern_set")
        if block.get("purpose", "image") != "image" or not isinstance(pattern_set, Mapping):
            return None  # not an image scan: the last image of the scan before it may still come
        if pattern_set.get("basis", "hadamard") != self.basis:
            return None
        first = min(self._first, self._every) if block.get("resumes") else self._first
        run = _LiveRun(start, first, self._every)
        with self._publishing:
            for old in [old for old in self._runs if old.ended]:
                old.cancel()
                self._runs.remove(old)
            if not self._runs:
                self.latest, self.failure, self.images = None, None, 0
            self._runs.append(run)
        worker = threading.Thread(target=self._work, args=(run,), name=f"live-{self.method}", daemon=True)
        worker.start()
        return run.take

    @property
    def pictures(self) -> int:
        """Earlier name of `images`."""
        warnings.warn("LiveReconstruction.pictures is now images", FutureWarning, stacklevel=2)
        return self.images

    def wait(self, timeout: float | None = 60.0) -> Reconstruction | None:
        """Wait, after the run, for the last image and return it (None if there is none)."""
        for run in list(self._runs):
            run.finished.wait(timeout)
        return self.latest

    def close(self, timeout: float = 20.0) -> None:
        """Cancel the images that were requested, and wait for those in work."""
        runs = list(self._runs)
        for run in runs:
            run.cancel()
        for run in runs:
            run.finished.wait(timeout)

    # ------------------------------------------------------------ worker thread

    def _options_for_run(self) -> dict[str, Any]:
        """Return the options of the method for one run."""
        return dict(self._options)

    def _known(self, uid: str | None) -> Exposures | None:
        return None if self._references is None else self._references.get(uid)

    def _whole_scan(self, exposures: Exposures) -> Exposures:
        """Add what the run that this one resumes has measured."""
        earlier = self._known(exposures.metadata.resumes)
        return exposures if earlier is None else exposures.continuing(earlier)

    def _measurement(self, exposures: Exposures) -> Measurement | SpeckleMeasurement:
        reference, dark = (self._known(uid) for uid in (exposures.metadata.reference_uid, exposures.metadata.dark_uid))
        return Measurement.from_exposures(self._whole_scan(exposures), reference=reference, dark=dark)

    def _work(self, run: _LiveRun) -> None:
        options = self._options_for_run()
        while (exposures := run.next_request()) is not None:
            try:
                if len(exposures):
                    self._publish(run, self._make_image(self._measurement(exposures), options))
            except Exception as error:
                self._fail(error, run)
        run.finished.set()

    def _make_image(self, measurement: Measurement | SpeckleMeasurement, options: dict[str, Any]) -> Reconstruction:
        if isinstance(measurement, SpeckleMeasurement):
            return reconstruct(measurement, method=self.method, **options)
        if measurement.draws is None and not self._details:
            return reconstruct(measurement, method=self.method, **options)
        prepared = PreparedMeasurement.from_measurement(measurement)  # its noise is estimated once for all
        made = with_psnr(reconstruct(prepared, method=self.method, **options), prepared)
        kind = find_method(self.method).best_kind(options) if self._details else None
        if kind is None:
            return made
        sigma = estimate_uncertainty(prepared, method=self.method, kind=kind, **options)
        return replace(made, uncertainty=measurement.to_beam_view(sigma), uncertainty_kind=kind)

    def _publish(self, run: _LiveRun, result: Reconstruction) -> None:
        with self._publishing:
            if run not in self._runs:
                return  # a newer run has begun: its images are the ones to show
            self.latest, self.images = result, self.images + 1
        if self._on_image is not None:
            self._on_image(result)

    def _fail(self, error: Exception, run: _LiveRun | None = None) -> None:
        if run is not None and run not in self._runs:
            return
        first = self.failure is None
        self.failure = error
        logger.log(
            logging.WARNING if first else logging.DEBUG,
            "live %s: no new image, or it cannot be shown (%s); the scan goes on and its data is stored",
            self.method,
            error,
        )


class _LiveRun:
    """Exposures of one run and the newest request for an image, shared by two threads."""

    def __init__(self, start: Mapping[str, Any], first: int, every: int) -> None:
        self.finished = threading.Event()
        self._exposures = Exposures()
        self._exposures("start", start)
        self._next, self._every = first, every  # exposures at which the next image is due
        self._condition = threading.Condition()
        self._wanted = self.ended = False

    def take(self, name: str, document: Mapping[str, Any]) -> None:
        """Store a document; request an image when one is due (RunEngine thread).

        Parameters
        ----------
        name : str
            Kind of the document, such as "event".
        document : mapping
            Of the run.
        """
        with self._condition:
            try:
                self._exposures(name, document)
            finally:
                count = len(self._exposures)
                self.ended |= name == "stop"
                if count >= self._next or self.ended:
                    self._wanted, self._next = True, count + self._every
                    self._condition.notify()

    def cancel(self) -> None:
        """Make no more images of this run."""
        with self._condition:
            self._wanted, self.ended = False, True
            self._condition.notify()

    def next_request(self) -> Exposures | None:
        """Wait for a request and return what is measured then; None after the last one."""
        with self._condition:
            self._condition.wait_for(lambda: self._wanted or self.ended)
            if not self._wanted:
                return None
            self._wanted = False
            return self._exposures.snapshot()


class LiveCorrelation(LiveReconstruction):
    """Live second-order correlation. Advisory."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CORRELATION.name, **options)


class LiveSpeckleCorrelation(LiveReconstruction):
    """Live correlation of a speckle run with its recorded patterns. Advisory."""

    basis = "speckle"

    def __init__(self, *, folder: str | Path | None = None, speckles: str | Path | None = None, **options: Any) -> None:
        super().__init__(CORRELATION.name, **{"every": 64, **options})
        self._folder, self._path = folder, speckles
        self._recorded: SpeckleSet | None = None

    def _measurement(self, exposures: Exposures) -> SpeckleMeasurement:
        patterns = exposures.metadata.pattern_set or {}
        if self._recorded is None or self._recorded.sha256 != patterns["sha256"]:  # opened and checked once
            self._recorded = find_speckles(patterns, path=self._path, folder=self._folder)
        dark = self._known(exposures.metadata.dark_uid)
        return SpeckleMeasurement.from_exposures(self._whole_scan(exposures), self._recorded, dark=dark)


class LiveCHMWCNN(LiveReconstruction):
    """Live CH-MWCNN. Advisory."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CH_MWCNN.name, **options)


class LiveTV(LiveReconstruction):
    """Live total variation; each image starts at the one before. Advisory."""

    def __init__(self, **options: Any) -> None:
        super().__init__(TV.name, **options)

    def _options_for_run(self) -> dict[str, Any]:
        return {**self._options, "warm": WarmStart()}


class LiveTVAL3(LiveReconstruction):
    """Live TVAL3; each image starts at the one before, and stops at a tolerance of 1e-4. Advisory."""

    def __init__(self, **options: Any) -> None:
        super().__init__(TVAL3.name, **{"tolerance": 1e-4, **options})

    def _options_for_run(self) -> dict[str, Any]:
        return {**self._options, "warm": MultiplierStart()}
