"""The demonstration: scan a simulated object, reconstruct with every method, save images, compare with the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bluesky.utils import RunEngineInterrupted

from ... import session
from ...analysis.metrics import cnr, compare
from ...catalog import compose_reconstruction, find_run, read_exposures, writer_of
from ...devices.simulated.beamline import SimulatedBeamline
from ...masks.pattern_set import PatternSet
from ...measurement.exposures import Exposures
from ...measurement.measurement import Measurement
from ...reconstruction.api import reconstruct
from ...reconstruction.cross_validation import reconstruct_and_check
from ...reconstruction.registry import METHODS
from ...reconstruction.result import Reconstruction, grey_values
from ...session.session import Session
from ...simulation.objects.registry import check_object
from .._echo import Echo
from .._options import make_folder

if TYPE_CHECKING:
    from ...catalog.journal import Document
    from .._progress import Step
    from .command import DemoOptions

EXPOSURE_S = 3.0  # simulated; after 1 s a tile the gap of the gold object is lost in the noise
CURVE_POINTS = 12  # a dozen M, fewer if the scan is short
AFFINE = "after a least-squares affine fit to the truth, for every method"


def run_demo(asked: DemoOptions, object_parameters: dict[str, Any], echo: Echo) -> dict[str, Any]:
    """Scan, reconstruct with every method, save images.

    Parameters
    ----------
    asked : DemoOptions
    object_parameters : dict
        Material and spectrum of an object that is a thickness; empty for others.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The numbers as plain values.
    """
    out = make_folder(asked.out)
    check_object(asked.object_name)
    with echo.working("starting the simulated beamline"):
        s = session.start(
            data=asked.data,
            board=asked.board,
            object_name=asked.object_name,
            object_parameters=object_parameters,
            seed=asked.seed,
            progress=not echo.quiet,
        )
    scanned = scan(s, asked.fraction, EXPOSURE_S, f"object {asked.object_name!r}, simulated", echo)
    echo(
        f"Shutter {s.shutter.state.get()}, open for {scanned.open_s:.0f} s in {scanned.openings} exposures",
        style="bold",
    )
    assert isinstance(s.beamline, SimulatedBeamline)
    return show(asked, s, scanned, s.beamline.simulation.truth, out, echo)


# ---------------------------------------------------------------- scan


@dataclass(frozen=True)
class DemoScan:
    """A scan as the catalog holds it, and its last live images.

    Attributes
    ----------
    uid : str
    exposure_s : float
        Exposure time per tile (s).
    run : the run of the catalog
    pattern_set : PatternSet
    exposures : Exposures
    live : dict of str to Reconstruction
        By method.
    open_s : float
        How long the shutter device was open.
    openings : int
        How often, as that device saw it.
    """

    uid: str
    exposure_s: float
    run: Any
    pattern_set: PatternSet
    exposures: Exposures
    live: dict[str, Reconstruction | None]
    open_s: float
    openings: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run_uid": self.uid,
            "exposure_s": self.exposure_s,
            "exposures": len(self.exposures),
            "reference_exposures": self.exposures.reference_exposures,
            "shutter_open_s": self.open_s,
            "openings": self.openings,
            "fraction": self.pattern_set.fraction,
        }


def scan(s: Session, fraction: float, exposure_s: float, description: str, echo: Echo) -> DemoScan:
    """Scan the object of a session.

    Parameters
    ----------
    s : Session
    fraction : float
        Sampling fraction.
    exposure_s : float
        Exposure time per tile (s).
    description : str
        Of the object, for the user.
    echo : callable

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when the shutter is closed: what can still be done with the exposures.
    """
    pattern_set = s.pattern_set(fraction)
    echo.note(
        f"Scanning {pattern_set.count} of {pattern_set.size**2} patterns of board {s.board.name} "
        f"({s.board.metal}, D_r {s.board.d_r:.0%}), {exposure_s:g} s each, {description}"
    )
    uid = _scan_or_report_rest(s, pattern_set, exposure_s)
    with echo.working("waiting for the last live images"):
        live = s.wait_for_images()
    run = find_run(s.catalog, uid)
    open_s, openings = float(s.shutter.open_s.get()), int(s.shutter.openings.get())
    return DemoScan(uid, exposure_s, run, pattern_set, read_exposures(run), live, open_s, openings)


def _scan_or_report_rest(s: Session, pattern_set: PatternSet, exposure_s: float) -> str:
    """Run the scan; Ctrl-C ends it cleanly and reports what can still be done with it."""
    uids: list[str] = []
    s.RE.subscribe(lambda _, start: uids.append(start["uid"]), "start")
    try:
        s.RE(s.scan(pattern_set=pattern_set, exposure_s=exposure_s))
    except RunEngineInterrupted:
        s.RE.abort("interrupted from the keyboard")
        raise KeyboardInterrupt(
            f"interrupted: the shutter is {s.shutter.state.get()}, the exposures so far are stored "
            f"(cxgi reconstruct {uids[0][:8]} makes an image of them; RE(resume_scan({uids[0][:8]!r})) in a session of "
            "the same beamline completes the scan)"
        ) from None
    return uids[0]


# ---------------------------------------------------------------- results


def show(
    asked: DemoOptions, s: Session, scanned: DemoScan, truth: np.ndarray[Any, Any], out: Path, echo: Echo
) -> dict[str, Any]:
    """Reconstruct with every method, record, compare with the truth, draw and report.

    Parameters
    ----------
    asked : DemoOptions
    s : Session
        Of the scan.
    scanned : DemoScan
    truth : ndarray, shape (n, n)
        True transmission (0..1).
    out : Path
        Folder for the images.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The numbers as plain values.
    """
    measurement = Measurement.from_exposures(scanned.exposures)
    with echo.working("reconstructing by every method", total=len(METHODS)) as step:
        images = reconstruct_all(measurement, scanned.live, s.catalog, s.board.pixel_um, echo, step)
    numbers = {
        name: {**compare(r.image, truth), "seconds": r.seconds, "held_out": r.quality["held_out"]}
        for name, r in images.items()
    }
    with echo.working("comparing with the truth", total=CURVE_POINTS) as step:
        curves = cnr_curves(measurement, truth, step)
        save_images(out, truth, images, numbers, curves, exposure_s=scanned.exposure_s)
    echo_table(numbers, echo)
    echo.note(f"Images in {out}; run {scanned.uid[:8]} and {len(images)} reconstructions in the catalog of {s.folder}")
    return {
        **scanned.to_dict(),
        "object": asked.object_name,
        "board": s.board.name,
        "seed": asked.seed,
        "psnr_and_ssim": AFFINE,
        "methods": numbers,
        "out": str(out),
        "data": str(s.folder),
    }


def reconstruct_all(
    measurement: Measurement,
    live: dict[str, Reconstruction | None],
    catalog: Any,
    pixel_um: float,
    echo: Echo,
    step: Step,
) -> dict[str, Reconstruction]:
    """Reconstruct the stored scan by every method, record the images together, compare them with the live ones.

    Each is in a journal before the next one is made; those that were made are stored even if one fails.

    Parameters
    ----------
    measurement : Measurement
    live : dict of str to Reconstruction or None
        Last live image by method, where there was one.
    catalog : tiled container
    pixel_um : float
        Pixel size at the object (um).
    echo : callable
        Takes a line of text for the user.
    step : Step
        Counts the methods.

    Returns
    -------
    dict of str to Reconstruction
        By method; images of shape (n, n).
    """
    results: dict[str, Reconstruction] = {}

    def make_each() -> Iterator[list[Document]]:
        for method in METHODS:
            results[method] = reconstruct_and_check(measurement, method=method)
            last = live.get(method)
            if last is not None:
                same = np.allclose(last.image, results[method].image, rtol=1e-5, atol=1e-6)
                (echo.note if same else echo)(
                    f"Last live image ({method}) and the catalog's: {'the same' if same else 'DIFFERENT'}"
                )
            step.advance()
            yield compose_reconstruction(results[method], pixel_um=pixel_um)

    writer_of(catalog).write_runs(make_each())
    return results


def cnr_curves(measurement: Measurement, truth: np.ndarray[Any, Any], step: Step) -> dict[str, list[tuple[int, float]]]:
    """Compute the CNR of each method after the first M exposures, for a dozen M.

    Parameters
    ----------
    measurement : Measurement
    truth : ndarray, shape (n, n)
        True transmission (0..1).
    step : Step
        Counts the M.

    Returns
    -------
    dict of str to list of (int, float)
        By method: exposures and CNR.
    """
    counts = np.unique(np.geomspace(min(32, len(measurement)), len(measurement), CURVE_POINTS).round().astype(int))
    curves: dict[str, list[tuple[int, float]]] = {name: [] for name in METHODS}
    for count in counts:
        part = measurement.first(int(count))
        for name, curve in curves.items():
            curve.append((int(count), cnr(reconstruct(part, method=name).image, truth)))
        step.advance()
    return curves


def echo_table(numbers: dict[str, dict[str, Any]], echo: Echo) -> None:
    """Print the numbers.

    Parameters
    ----------
    numbers : dict of str to dict
        By method.
    echo : Echo
    """
    rows = [
        (
            name,
            f"{n['cnr']:.2f}",
            f"{n['psnr_db']:.2f}",
            f"{n['ssim']:.3f}",
            f"{n['seconds'] * 1e3:.2f}",
            f"{n['held_out']['explained']:.0%}" if n["held_out"] else "-",
        )
        for name, n in numbers.items()
    ]
    echo("")
    echo.table(("method", "CNR", "PSNR dB", "SSIM", "time ms", "held out"), rows, right=(1, 2, 3, 4, 5))
    echo.note("PSNR and SSIM after an affine fit to the truth, for every method alike;")
    echo.note("held out: power of patterns kept back that the image predicts, computed without the truth")
    echo.note("")


def save_images(
    out: Path,
    truth: np.ndarray[Any, Any],
    results: dict[str, Reconstruction],
    numbers: dict[str, dict[str, Any]],
    curves: dict[str, list[tuple[int, float]]],
    *,
    exposure_s: float,
) -> None:
    """Write object.png, one PNG a method, cnr.png, and overview.png with all of it.

    Parameters
    ----------
    out : Path
        Folder, which is there.
    truth : ndarray, shape (n, n)
        True transmission (0..1).
    results : dict of str to Reconstruction
        By method.
    numbers : dict of str to dict
        By method, `cnr` and `psnr_db` (dB) among them.
    curves : dict of str to list of (int, float)
        Those of `cnr_curves`.
    exposure_s : float
        Exposure time per tile (s).
    """
    from PIL import Image

    Image.fromarray(grey_values(truth)).save(out / "object.png")
    for name, result in results.items():
        result.save(out / f"{name}.png")
    _figure_of_curves(out / "cnr.png", curves)
    count = next(iter(results.values())).exposures
    title = f"{count} of {truth.size} patterns ({count / truth.size:.2%}), {exposure_s:g} s each, simulated"
    _overview(out / "overview.png", truth, results, numbers, title)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure_of_curves(path: Path, curves: dict[str, list[tuple[int, float]]]) -> None:
    figure = _figure(6, 4)
    axis = figure.subplots()
    for name, points in curves.items():
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    axis.set_xlabel("exposures (patterns measured)")
    axis.set_ylabel("CNR")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)


def _overview(
    path: Path,
    truth: np.ndarray[Any, Any],
    results: dict[str, Reconstruction],
    numbers: dict[str, dict[str, Any]],
    title: str,
) -> None:
    columns = (len(results) + 2) // 2  # two rows: in one, a page would show them small
    figure = _figure(3 * columns, 6.6)
    axes = list(figure.subplots(2, columns).flat)
    axes[0].imshow(truth, cmap="gray")
    axes[0].set_title("object (true transmission)")
    for axis, (name, result) in zip(axes[1:], results.items(), strict=False):
        low, high = np.percentile(result.image, [0.5, 99.5])
        axis.imshow(result.image, cmap="gray", vmin=low, vmax=high)
        axis.set_title(f"{name}: CNR {numbers[name]['cnr']:.2f}, {numbers[name]['psnr_db']:.1f} dB")
    for axis in axes[len(results) + 1 :]:
        axis.set_axis_off()
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
