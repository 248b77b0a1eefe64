"""``cxgi demo``: the grammar of its options."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from .._options import Commands, Echo, Payload, add_command


@dataclass(frozen=True)
class DemoOptions:
    """Object, board, sampling and folders.

    Attributes
    ----------
    object_name, board : str
        Of the simulation.
    fraction : float
        Sampling fraction.
    seed : int
    out : path
        Folder for the images.
    data : path or str, optional
        Data folder, as in `session.start`.
    """

    object_name: str
    board: str
    fraction: float
    seed: int
    out: str | Path
    data: str | Path | None = None


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "demo",
        demo,
        examples=[
            "cxgi demo  # scan, reconstruct by every method, compare: images in demo-output",
            "cxgi demo --object CAS --board cu32 --fraction 0.25  # another object, board and share of patterns",
            "cxgi demo --epics --detector keithley  # over Channel Access, with an IOC of its own",
        ],
    )
    parser.add_argument(
        "--object", default="gold", help="gold, CAS, gear, gear-aperture, bars, or an image file (default: %(default)s)"
    )
    parser.add_argument("--material", help="what an image file of a thickness in um is made of, such as Au")
    parser.add_argument("--energy-kev", type=float, help="photon energy for the material (keV)")
    parser.add_argument("--board", default="au64", help="au64, cu32 or a board file (default: %(default)s)")
    parser.add_argument("--fraction", type=float, default=0.1875, help="sampling fraction M/N (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulated noise (default: %(default)s)")
    parser.add_argument("--out", default="demo-output", help="folder for the images (default: %(default)s)")
    parser.add_argument(
        "--epics", action="store_true", help="over Channel Access, with an IOC of its own and a beamline file"
    )
    parser.add_argument(
        "--detector",
        choices=("generic", "keithley", "tetramm", "scaler", "all"),
        help="with --epics: which detector of the IOC is read; all: one after the other (default: generic)",
    )


def demo(options: argparse.Namespace, echo: Echo) -> Payload:
    """Scan a simulated object and reconstruct it: the place to begin.

    Parameters
    ----------
    options : argparse.Namespace
        Object, board, sampling fraction, seed, folders, `epics` and `detector`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        What the demonstration has shown, for ``--json``.
    """
    asked = DemoOptions(options.object, options.board, options.fraction, options.seed, options.out, options.data)
    if options.epics:
        return _over_epics(asked, options, echo)
    if options.detector is not None:
        raise ConfigError(f"--detector {options.detector} is one of the IOC's: it needs --epics")
    from .run import run_demo

    return run_demo(asked, _thickness(options), echo)


def _over_epics(asked: DemoOptions, options: argparse.Namespace, echo: Echo) -> Payload:
    if options.material is not None or options.energy_kev is not None:
        raise ConfigError(
            "--material and --energy-kev: the IOC serves no thickness, leave them out or leave out --epics"
        )
    from .epics import run_each_detector, run_epics_demo

    if options.detector == "all":
        return run_each_detector(asked, echo)
    return run_epics_demo(asked, options.detector or "generic", echo)


def _thickness(options: argparse.Namespace) -> dict[str, Any]:
    """Return material and light of an object that is a thickness; nothing for the others."""
    if options.material is None and options.energy_kev is None:
        return {}
    if options.material is None or options.energy_kev is None:
        raise ConfigError("a thickness needs both --material and --energy-kev")
    from ...simulation.spectrum import one_energy

    return {"material": options.material, "spectrum": one_energy(options.energy_kev)}
