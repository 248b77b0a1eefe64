"""The demonstration on soft devices: scan a simulated object, watch, save, reconstruct, compare with the truth."""

from __future__ import annotations

from typing import Any

from ... import session
from ...devices.simulated.beamline import SimulatedBeamline
from ...simulation.objects.registry import check_object
from .options import DemoOptions
from .results import Echo, numbers_of, output_folder, show
from .scan import scan


def run_demo(asked: DemoOptions, object_parameters: dict[str, Any], echo: Echo) -> dict[str, Any]:
    """Scan, reconstruct with every method, save pictures.

    Parameters
    ----------
    asked : DemoOptions
    object_parameters : dict
        Material and spectrum of an object that is a thickness; empty for others.
    say : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The numbers as plain values.
    """
    out = output_folder(asked.out)
    check_object(asked.object_name)
    echo("Starting the simulated beamline and the catalog ...")
    s = session.start(
        data=asked.data,
        board=asked.board,
        object_name=asked.object_name,
        object_parameters=object_parameters,
        seed=asked.seed,
    )
    scanned = scan(s, asked.fraction, f"object {asked.object_name!r}, 1 s each (simulated)", echo)
    echo(f"Shutter {s.shutter.state.get()}, open for {scanned.open_s:.0f} s in {scanned.openings} exposures")
    assert isinstance(s.beamline, SimulatedBeamline)
    shown = show(s, scanned, s.beamline.simulation.truth, out, echo)
    return numbers_of(asked, s, scanned, shown, out)
