"""The start of a session: RunEngine, catalog, devices, live images, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bluesky import RunEngine

from ..callbacks import (
    CheckedImages,
    LiveCorrelation,
    LiveReconstruction,
    LiveSpeckleCorrelation,
    LiveView,
    ReferenceRuns,
    RunExport,
    ScanProgress,
)
from ..callbacks.notebook import call_after_cells
from ..callbacks.zmq_documents import DocumentPublisher
from ..catalog import CatalogWriter, prepare_writer
from ..catalog.export import FORMATS, Format
from ..devices.beamline import Beamline
from ..errors import ConfigError, check_choice, name_missing_extra
from ..masks.board import MaskBoard
from ..reconstruction.registry import CH_MWCNN, default_method, find_method
from ..reconstruction.result import Reconstruction
from .reconstruct_run import export_scan
from .run_engine import StopAfterTile, add_to_engine, make_run_engine, register_magics, source_suspenders, store_runs
from .session import Session
from .shutdown import close_at_end

if TYPE_CHECKING:
    from ..callbacks.pva_publisher import PvaPublisher

LAST_IMAGE_S = 10.0  # so long the end of a cell waits for the last image of its scan
EVERY_IN_SESSION = 16  # exposures between two images that are served as PVs


def start(
    *,
    sim: bool = True,
    data: str | Path | None = None,
    board: MaskBoard | str = "au64",
    object_name: str = "gold",
    object_parameters: dict[str, Any] | None = None,
    etched: bool = False,
    seed: int = 0,
    time_scale: float = 0.0,
    live: bool = True,
    progress: bool = True,
    beamline: Beamline | str | Path | None = None,
    engine: RunEngine | None = None,
    export: Format | None = None,
    publish: str | None = None,
    pva: str | None = None,
) -> Session:
    """Start a session.

    The catalog in a folder is opened behind it, in a thread, which then recovers the runs that wait in journals and
    loads what live images need. The first scan waits for that, as whatever reads the catalog does for the catalog; an
    error is logged, and raised where the catalog is needed.

    Parameters
    ----------
    sim : bool
        Simulated devices over the physics simulation; real ones come with a `beamline`.
    data : path, optional
        Data folder, or a Tiled server's address (its key in ``TILED_API_KEY``); else that of the beamline file, else
        ``CXGI_DATA``, else the user's data folder.
    board, object_name, object_parameters, etched, seed, time_scale
        Of the simulated beamline.
    live : bool
        Live correlation and CH-MWCNN with verdict and uncertainty (behind speckle the correlation alone), in
        ``live.png`` of the data folder, in a window where there is a display, in a notebook below the cell that scans.
    progress : bool
        Progress bar on stderr.
    beamline : Beamline or path, optional
        A beamline file (or the name of an example), or devices of your own (or `simulated_speckle_beamline`), instead
        of those that would be made. Scans wait while its source has no beam.
    engine : RunEngine, optional
        One that is there already, with the other runs of the beamline: its runs are stored here, its metadata and scan
        numbers stay its own; what an earlier session has added to it is taken off. Else one is made that keeps both in
        the data folder.
    export : {"nexus", "hdf5", "csv", "tiff", "png", "gif"}, optional
        Write a file of each image scan at its end, as `export_run`, into the folder ``exports`` of the data folder
        (default: as the beamline file says, else none). An image is made and recorded if there is none yet.
    publish : str, optional
        Publish every document to a 0MQ proxy, ``host:port``, from where `cxgi live` follows scans (default: as the
        beamline file says, else none).
    pva : str, optional
        Serve the newest image, its quality and the scan's state as PVs over pvAccess, whose names begin so, such as
        "CXGI:" (default: as the beamline file says, else none; `callbacks.pva_publisher`).

    Raises
    ------
    CxgiError
        If the data folder cannot be written, the beamline file is not right or its PVs do not answer, or real devices
        are asked for without one.
    """
    if not sim and beamline is None:
        raise ConfigError("sim=False needs the devices: give beamline=FILE, a beamline file")
    if export is not None:
        check_choice("export", export, FORMATS)
    if isinstance(beamline, str | Path):
        with name_missing_extra():
            from ..devices.config.load import load_beamline

        origin = f"beamline file {beamline}"
        beamline = load_beamline(beamline)
    elif beamline is not None:
        origin = Session.origin
    else:
        from ..devices.simulated.beamline import simulated_beamline

        origin = f"simulated beamline, object {object_name}"
        beamline = simulated_beamline(
            board,
            object_name,
            object_parameters=object_parameters,
            etched=etched,
            seed=seed,
            time_scale=time_scale,
        )
    publish = publish or beamline.publish
    publisher = None if publish is None else DocumentPublisher(publish)  # first, as connecting takes a moment
    writer = prepare_writer(data if data is not None else beamline.data)
    folder = writer.folder
    if engine is None:
        engine = make_run_engine(writer)
    else:
        store_runs(engine, writer)
    close_at_end(engine, beamline.shutter)
    workers: list[LiveReconstruction] = []
    stop = StopAfterTile()
    view, references = None, ReferenceRuns()
    bar = ScanProgress(is_running=lambda: engine.state == "running") if progress else None
    if live:
        keys = {
            "p": ("pause with the shutter closed", lambda: engine.request_pause(defer=True)),
            "s": ("stop after this tile", stop.request),
        }
        view = LiveView(folder / "live.png", keys=keys, state=lambda: f"shutter {beamline.shutter.state.get()}")
        if isinstance(beamline.board, MaskBoard):
            options: dict[str, Any] = {"on_image": _show_in(view, bar), "references": references}
            workers = [LiveCorrelation(**options), CheckedImages(CH_MWCNN.name, **options, later=True)]
        else:
            workers = [LiveSpeckleCorrelation(folder=folder, on_image=view.show)]
    exports = _make_export(writer, export or beamline.export)
    pvs = _make_pvs(pva or beamline.pva, references, folder)
    register_magics(engine)
    others = [callback for callback in (bar, exports, publisher, pvs) if callback is not None]
    add_to_engine(
        engine,
        "session",
        callbacks=[references, *([] if view is None else [view]), *workers, *others],
        preprocessors=[stop] if live else [],
        suspenders=[] if beamline.source is None else source_suspenders(beamline.source),
    )
    # Last: it would hold up all of the above. What an exported image needs is loaded too, not during a scan.
    default = find_method(default_method("hadamard" if isinstance(beamline.board, MaskBoard) else "speckle"))
    loads = [worker.load for worker in workers] + ([] if exports is None else [lambda: default.warm_up({})])
    loads += [] if pvs is None else [pvs.load]
    writer.open_behind(*loads)
    made = Session(engine, writer, beamline, folder, workers, view, references, exports=exports, pvs=pvs, origin=origin)
    if view is not None and view.in_notebook:
        call_after_cells(partial(_finish_images, made))
    return made


def _finish_images(session: Session) -> None:
    """Wait a little, at the end of a notebook's cell, for the last images of its scan."""
    if session.RE.state == "idle" and session.view is not None:
        for worker in session.live:
            worker.wait(LAST_IMAGE_S)
        session.view.flush()


def _make_export(writer: CatalogWriter, file_format: Format | None) -> RunExport | None:
    """What writes a file of each scan, if the session or its beamline file asks for it."""
    if file_format is None:
        return None

    def export(uid: str) -> Path:
        return export_scan(writer.catalog, uid, file_format=file_format, folder=writer.folder)

    return RunExport(export)


def _make_pvs(prefix: str | None, references: ReferenceRuns, folder: Path) -> PvaPublisher | None:
    """What serves images as PVs, if the session or its beamline file asks for it; seldom, beside an engine."""
    if prefix is None:
        return None
    from ..callbacks.pva_publisher import PvaPublisher

    return PvaPublisher(prefix, every=EVERY_IN_SESSION, references=references, folder=folder, later=True)


def _show_in(view: LiveView, bar: ScanProgress | None) -> Callable[[Reconstruction], None]:
    """What shows a live image: the window, and the bar what is known of its quality."""

    def show(image: Reconstruction) -> None:
        view.show(image)
        if bar is not None:
            bar.show(image)

    return show
