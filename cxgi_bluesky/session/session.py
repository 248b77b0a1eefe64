"""The session: what a beamline scientist works with."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bluesky import RunEngine
from bluesky.utils import MsgGenerator

from .. import plans
from ..callbacks import LiveReconstruction, LiveView, ReferenceRuns, RunExport
from ..catalog import (
    CatalogWriter,
    find_named_run,
    find_run,
    read_exposures,
    read_exposures_of_kind,
    read_whole_scan,
    recover_journals,
    waiting_runs,
)
from ..devices.beamline import Beamline
from ..devices.protocols import BeamShutter, BucketDetector, ObjectMover, TileStage
from ..errors import ConfigError
from ..masks.board import MaskBoard
from ..masks.orders import DEFAULT_ORDER
from ..masks.pattern_set import ChosenSet, PatternSet
from ..masks.speckle_board import Board
from ..masks.speckle_files import register_speckles
from ..masks.speckle_set import AnyPatternSet, SpeckleSet
from ..measurement.exposures import Exposures
from ..measurement.reference import check_complete, check_reference, dark_level
from ..measurement.schema import RunMetadata
from ..plans.arguments import for_queues, rebuild_patterns
from ..plans.metadata import bucket_metadata
from ..reconstruction.result import Reconstruction
from .reconstruct_run import reconstruct_run

if TYPE_CHECKING:
    from ..callbacks.pva_publisher import PvaPublisher


logger = logging.getLogger(__name__)

NOTICE_S = 2.0  # nobody waits longer without a word


@contextmanager
def _tell_if_it_takes_long(what: str) -> Iterator[None]:
    timer = threading.Timer(NOTICE_S, logger.warning, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass(frozen=True)
class Session:
    """What a beamline session works with.

    Attributes
    ----------
    RE : RunEngine
        Writes every run into the catalog (critical) and feeds the live images (advisory).
    writer : CatalogWriter
        Stores the runs; it may still be opening the catalog.
    beamline : Beamline
    folder : Path
        Data folder.
    live : list of LiveReconstruction
    view : LiveView, optional
    exports : RunExport, optional
        Writes a file of each scan (advisory).
    pvs : PvaPublisher, optional
        Serves the newest image as PVs (advisory).
    origin : str
        Where the devices come from, for people.
    """

    RE: RunEngine
    writer: CatalogWriter
    beamline: Beamline
    folder: Path
    live: list[LiveReconstruction] = field(default_factory=list)
    view: LiveView | None = None
    references: ReferenceRuns = field(default_factory=ReferenceRuns)
    plans: ModuleType = plans
    exports: RunExport | None = None
    pvs: PvaPublisher | None = None
    origin: str = "devices of your own"

    def __repr__(self) -> str:
        devices = [device.name for device in self.beamline.all_devices]
        missing = [f"no {name}" for name in ("object_stage", "knife", "source") if getattr(self.beamline, name) is None]
        methods = ", ".join(worker.method for worker in self.live)
        images = f"live by {methods}, in {self.folder / 'live.png'}" if methods else "none while a scan runs"
        lines = [
            f"beamline  {self.origin}",
            f"board     {self.board!r}",
            f"devices   {', '.join([*devices, *missing])}",
            f"runs      {self.folder}: {self._describe_runs()}",
            f"images    {images}",
        ]
        return "\n".join(lines)

    def _describe_runs(self) -> str:
        """Say what the index knows, which does not wait for the catalog."""
        newest = self.writer.index.newest(1)
        waiting = len(waiting_runs(self.folder))
        if newest is None:
            text = "none listed yet"
        elif not newest[0]:
            text = "none yet"
        else:
            start = newest[0][0].start
            name = start.get("plan_name", "unnamed")
            last = f"scan {start['scan_id']} ({name})" if "scan_id" in start else name
            text = f"{newest[1]} run{'s' if newest[1] > 1 else ''}, the last: {last}"
        return text + (f"; {waiting} wait to be recovered" if waiting else "")

    @property
    def catalog(self) -> Any:
        """The databroker catalog; waits until it is open."""
        return self.writer.catalog

    @property
    def board(self) -> Board:
        """The board on the stage."""
        return self.beamline.board

    @property
    def stage(self) -> Any:
        """Mask stage."""
        return self.beamline.stage

    @property
    def shutter(self) -> Any:
        """Beam shutter."""
        return self.beamline.shutter

    @property
    def diode(self) -> Any:
        """Bucket detector."""
        return self.beamline.diode

    @property
    def object_stage(self) -> Any:
        """What moves the object in and out; None where there is none."""
        return self.beamline.object_stage

    @property
    def knife(self) -> Any:
        """Blade to measure the source with; None where there is none."""
        return self.beamline.knife

    @property
    def devices(self) -> tuple[Any, Any, Any]:
        """Stage, shutter and diode: what every plan takes first."""
        return self.stage, self.shutter, self.diode

    def wait_for_images(self) -> dict[str, Reconstruction | None]:
        """Wait, after a scan, for the last live image of each method, and for its drawing."""
        last = {worker.method: worker.wait() for worker in self.live}
        if self.view is not None:
            self.view.flush()
        return last

    def wait_for_exports(self) -> list[Path]:
        """Wait, after a scan, for its file; returns all files of this session's scans, oldest first."""
        return [] if self.exports is None else self.exports.wait()

    def wait_for_pictures(self) -> dict[str, Reconstruction | None]:
        """Earlier name of `wait_for_images`."""
        warnings.warn("wait_for_pictures is now wait_for_images", FutureWarning, stacklevel=2)
        return self.wait_for_images()

    def pattern_set(self, fraction: float = 0.1875, order: str = DEFAULT_ORDER, seed: int | None = None) -> PatternSet:
        """Make a pattern set of the board's size.

        Parameters
        ----------
        fraction : float, optional
            Sampling fraction M/N (default 0.1875).
        order : str, optional
            Order of importance of the patterns (default "zig-zag").
        seed : int, optional
            For a random order, and only for such a one.
        """
        if not isinstance(self.board, MaskBoard):
            raise ConfigError(f"board {self.board.name!r} carries no masks: give recorded patterns, s.speckles(FILE)")
        return PatternSet.from_fraction(self.board.size, fraction, order, seed)

    def speckles(self, path: str | Path) -> SpeckleSet:
        """Register recorded patterns in the data folder, where reconstructions of their runs find them."""
        return register_speckles(path, self.folder)

    def scan(self, fraction: float = 0.1875, exposure_s: float = 1.0, **options: Any) -> Any:
        """Return the plan of one image with this beamline's devices: ``s.RE(s.scan(0.1875, 1.0))``.

        Parameters
        ----------
        fraction : float, optional
            Sampling fraction M/N (default 0.1875); not used with a `pattern_set`.
        exposure_s : float, optional
            Exposure time per tile (s; default 1).
        **options
            Of `mask_scan`. A speckle board needs ``pattern_set=s.speckles(FILE)``. A `reference_uid` must be in the
            catalog, whole or its beginning, complete, and of the same board, patterns and detector; a `dark_uid` of the
            same detector.

        Raises
        ------
        CxgiError
            Before anything is exposed, for a reference or dark scan that does not belong to such a scan, and for PVs
            that do not answer within half a minute.
        """
        self.beamline.wait_for_return()
        options.setdefault("object_stage", self.object_stage)
        pattern_set = options.pop("pattern_set", None) or self.pattern_set(fraction)
        self._find_links(options, pattern_set, exposure_s)
        return self.plans.mask_scan(
            *self.devices, board=self.board, pattern_set=pattern_set, exposure_s=exposure_s, **options
        )

    def adaptive_scan(self, count: int | None = None, exposure_s: float = 1.0, **options: Any) -> Any:
        """Return the plan of one image whose patterns are chosen while it is measured: ``s.RE(s.adaptive_scan(768))``.

        Parameters
        ----------
        count : int, optional
            Exposures of patterns in all, at most, validation among them (default 18.75 % of the board's).
        exposure_s : float, optional
            Exposure time per tile (s; default 1).
        **options
            Of `plans.adaptive_scan`, such as ``until={"psnr_db": 25}``. A `reference_uid` or `dark_uid` must be in the
            catalog, as for `scan`.

        Raises
        ------
        CxgiError
            Before anything is exposed, for what is impossible on this beamline.
        """
        self.beamline.wait_for_return()
        options.setdefault("object_stage", self.object_stage)
        patterns = self.pattern_set()
        self._find_links(options, ChosenSet(PatternSet(patterns.size, 1), 2, "", 1), exposure_s)
        return self.plans.adaptive_scan(
            *self.devices, board=self.board, count=count or patterns.count, exposure_s=exposure_s, **options
        )

    def resume_scan(
        self,
        uid: str | int | None = None,
        *,
        speckles: str | Path | None = None,
        max_open_s: float | None = None,
        md: Any = None,
    ) -> Any:
        """Return the plan that completes an interrupted scan, by default the last one: ``s.RE(s.resume_scan())``.

        See `plans.resume_scan`.

        Parameters
        ----------
        uid : str or int, optional
            Of the scan, or its number, as in `reconstruct` (default: the last scan).
        speckles : path or str, optional
            File of the recorded patterns, which a speckle scan needs.
        max_open_s : float, optional
            Exposure budget of this run (s; default: what the earlier one has left of its own).
        md : dict, optional
            Metadata of the user.

        Raises
        ------
        CxgiError
            Before anything moves: if nothing is missing, the scan does not belong to this beamline, or PVs do not
            answer within half a minute.
        """
        self.beamline.wait_for_return()
        earlier, recorded = self._read_earlier(uid, speckles)
        return self.plans.resume_scan(
            *self.devices,
            earlier=earlier,
            recorded=recorded,
            max_open_s=max_open_s,
            object_stage=self.object_stage,
            md=md,
        )

    def plans_by_uid(self) -> tuple[Callable[..., MsgGenerator[Any]], Callable[..., MsgGenerator[Any]]]:
        """Return `mask_scan` and `resume_scan` for a queue, which knows other runs by their uids alone.

        ``mask_scan, resume_scan = s.plans_by_uid()`` in a start-up file. They take the arguments of those in `plans`,
        but that `resume_scan` takes the `uid` of a scan, by default the last one, and `speckles`, a file, instead of
        what is read there. What uids name is found in this session's catalog, and checked, before anything moves.
        """

        @wraps(plans.mask_scan)
        def mask_scan(*devices: Any, **options: Any) -> MsgGenerator[Any]:
            self.beamline.wait_for_return()
            if "pattern_set" in options and "exposure_s" in options:
                self._find_links(options, rebuild_patterns(options["pattern_set"]), options["exposure_s"])
            return (yield from plans.mask_scan(*devices, **options))

        @for_queues
        def resume_scan(
            stage: TileStage,
            shutter: BeamShutter,
            diode: BucketDetector,
            *,
            uid: str | None = None,
            speckles: str | None = None,
            max_open_s: float | None = None,
            object_stage: ObjectMover | None = None,
            md: dict[str, Any] | None = None,
        ) -> MsgGenerator[Any]:
            """Expose the tiles that an earlier scan did not come to, or whose exposures cannot be trusted.

            Parameters
            ----------
            stage : TileStage
                Mask stage.
            shutter : BeamShutter
                Beam shutter.
            diode : BucketDetector
                Bucket detector.
            uid : str, optional
                The earlier scan, by default the last one.
            speckles : str, optional
                File of the recorded patterns of a speckle scan.
            max_open_s : float, optional
                Exposure budget of this run; by default what the earlier one has left of its own.
            object_stage : ObjectMover, optional
                What moves the object.
            md : dict, optional
                Metadata of the user.
            """
            self.beamline.wait_for_return()
            earlier, recorded = self._read_earlier(uid, speckles)
            options: dict[str, Any] = {"max_open_s": max_open_s, "object_stage": object_stage, "md": md}
            return (yield from plans.resume_scan(stage, shutter, diode, earlier=earlier, recorded=recorded, **options))

        return mask_scan, resume_scan

    def _read_earlier(self, uid: str | int | None, speckles: str | Path | None) -> tuple[Exposures, SpeckleSet | None]:
        """Read what a scan that is to be resumed has measured, and its recorded patterns."""
        earlier = read_whole_scan(self.catalog, self._find_run(uid))
        self.references.keep(earlier)
        return earlier, None if speckles is None else self.speckles(speckles)

    def _find_links(self, options: dict[str, Any], pattern_set: AnyPatternSet | ChosenSet, exposure_s: float) -> None:
        """Replace the uids of reference and dark among a scan's options by whole ones, if they fit the scan."""
        if options.get("reference_uid") is not None:
            options["reference_uid"] = self._find_reference(options["reference_uid"], pattern_set, exposure_s)
        if options.get("dark_uid") is not None:
            options["dark_uid"] = self._find_dark(options["dark_uid"], exposure_s)

    def _find_run(self, uid: str | int | None) -> Any:
        """Find the run named, else the newest scan; runs that wait in journals are recovered first."""
        recover_journals(self.catalog)
        return find_named_run(self.catalog, "last" if uid is None else str(uid), purpose="image")

    def _metadata(self, exposure_s: float, **attributes: Any) -> RunMetadata:
        return RunMetadata(exposure_s=exposure_s, **bucket_metadata(self.diode), **attributes)

    def _find_dark(self, uid: str, exposure_s: float) -> str:
        """Return the whole uid of a dark scan that fits."""
        dark = read_exposures_of_kind(self.catalog, uid, "dark")
        dark_level(self._metadata(exposure_s), dark)
        self.references.keep(dark)
        return str(dark.start["uid"])

    def _find_reference(self, uid: str, pattern_set: AnyPatternSet | ChosenSet, exposure_s: float) -> str:
        """Return the whole uid of a reference scan that fits, and keep it at hand for the live images."""
        reference = read_exposures(find_run(self.catalog, uid))
        board = {"id": self.board.name, "sha256": self.board.sha256}
        check_reference(self._metadata(exposure_s, board=board, pattern_set=pattern_set.to_dict()), reference)
        check_complete(reference)
        self.references.keep(reference)
        return str(reference.start["uid"])

    def reference_scan(self, fraction: float = 0.1875, exposure_s: float = 1.0, **options: Any) -> Any:
        """Return the plan of a reference scan: the same tiles with the object out.

        Its uid goes into the scans that belong to it: ``(uid,) = s.RE(s.reference_scan(0.1875))``, then
        ``s.RE(s.scan(0.1875, reference_uid=uid))``.

        Parameters
        ----------
        fraction : float, optional
            Sampling fraction M/N (default 0.1875); not used with a `pattern_set`, or ``of``.
        exposure_s : float, optional
            Exposure time per tile (s; default 1).
        **options
            Of `plans.reference_scan`; ``of="last"``, or the uid or number of an image, measures the tiles of its
            patterns: after a scan that has chosen them, ``s.reconstruct(uid, reference_uid=...)`` uses it.
        """
        self.beamline.wait_for_return()
        options.setdefault("object_stage", self.object_stage)
        pattern_set = options.pop("pattern_set", None)
        if options.get("of") is not None:
            options["of"] = read_whole_scan(self.catalog, self._find_run(options["of"]))
        elif pattern_set is None:
            pattern_set = self.pattern_set(fraction)
        return self.plans.reference_scan(
            *self.devices, board=self.board, pattern_set=pattern_set, exposure_s=exposure_s, **options
        )

    def align_board(self, exposure_s: float = 1.0, **options: Any) -> Any:
        """Return the plan that finds the alignment of the board: ``(uid,) = s.RE(s.align_board())``.

        Then ``fit = alignment_from_run(s.catalog[uid])`` (of `analysis.board_alignment`),
        ``write_aligned_board(s.board, fit, "new.yaml")``, and ``s.stage.board = fit.aligned_board`` to go on with it.

        Parameters
        ----------
        exposure_s : float, optional
            Exposure time (s; default 1).
        **options
            Of `plans.align_board`.
        """
        self.beamline.wait_for_return()
        options.setdefault("object_stage", self.object_stage)
        return self.plans.align_board(*self.devices, board=self.board, exposure_s=exposure_s, **options)

    def reconstruct(
        self, uid: str | int | None = None, *, method: str | None = None, record: bool = True, **options: Any
    ) -> Reconstruction:
        """Reconstruct a run of the catalog, by default the last scan, and record the image.

        Parameters
        ----------
        uid : str or int, optional
            A uid or its beginning, a scan number, or "-2" for the last run but one (default: the last scan).
        method : str, optional
            As in `reconstruct_run` (default "tv", for a speckle run "correlation").
        record : bool, optional
            Store the image as a derived run (default True).
        **options
            Of `reconstruct_run`.

        Raises
        ------
        CxgiError
            If there is no such scan, or too little of it.
        """
        with _tell_if_it_takes_long("the image is being made; the first one of a session loads its method"):
            run = self._find_run(uid)
            return reconstruct_run(self.catalog, run, method=method, record=record, folder=self.folder, **options)[0]
