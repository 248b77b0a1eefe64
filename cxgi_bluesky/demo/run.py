"""The demonstration on soft devices: scan a simulated object, watch, save, reconstruct, compare with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import session
from ..devices.simulated import SimulatedBeamline
from ..simulation.objects import check_object
from .results import Say, output_folder, show
from .scan import scan

AFFINE = "after a least-squares affine fit to the truth, for every method"


def run_demo(
    *,
    object_name: str,
    object_parameters: dict[str, Any] | None = None,
    board: str,
    fraction: float,
    seed: int,
    out: str | Path,
    data: str | Path | None,
    say: Say,
) -> dict[str, Any]:
    """Scan, reconstruct with every method, save pictures; returns the numbers as plain values."""
    out = output_folder(out)
    check_object(object_name)
    say("Starting the simulated beamline and the catalog ...")
    s = session.start(data=data, board=board, object_name=object_name, object_parameters=object_parameters, seed=seed)
    scanned = scan(s, fraction, f"object {object_name!r}, 1 s each (simulated)", say)
    say(f"Shutter {s.shutter.state.get()}, open for {scanned.open_s:.0f} s in {scanned.openings} exposures")
    assert isinstance(s.beamline, SimulatedBeamline)
    shown = show(s, scanned, s.beamline.twin.truth, out, say)
    return {
        **scanned.to_dict(),
        "object": object_name,
        "board": s.board.name,
        "seed": seed,
        "psnr_and_ssim": AFFINE,
        "methods": shown.numbers,
        "out": str(out),
        "data": str(s.folder),
    }
