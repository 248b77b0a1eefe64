"""``cxgi ioc``: serve the simulated beamline over EPICS Channel Access."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .._files.atomic_write import whole_file
from ..errors import ConfigError
from ..masks.board import Alignment
from ._options import Commands, Echo, Payload, Renamed, add_command, plain

NUMBERS = {
    "max_open_s": "the shutter closes by itself after so many real seconds; 0 = never",
    "source_ma": "current of the source (mA)",
    "source_lifetime_h": "lifetime with which it decays (h); 0 = constant",
    "tetramm_late_s": "the TetrAMM's statistics come so many real seconds after its Acquire has ended",
}
OF_THE_BOARD = {
    "diode_open_pa": "current with everything open (pA)",
    "diode_dark_pa": "dark current (pA)",
    "diode_noise_fa": "noise of the electrometer in a reading of 1 s (fA)",
    "stage_rms_um": "random error of a stage move, per axis (um)",
    "drift_rms": "relative drift of the source",
}
NAMES = {"diode_open_pa": "open_pa", "diode_dark_pa": "dark_pa", "diode_noise_fa": "electrometer_fa"}


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "ioc",
        ioc,
        examples=[
            "cxgi ioc  # in one terminal; in another: cxgi check ioc, with the variables that it prints",
            "cxgi ioc --board cu32 --object CAS --etched --time-scale 0  # etching errors, as fast as it can",
        ],
        data=False,
    )
    parser.add_argument("--board", default="au64", help="au64, cu32 or a board file (default: %(default)s)")
    parser.add_argument("--object", default="gold", help="object in the beam, as in cxgi demo (default: %(default)s)")
    parser.add_argument(
        "--true-alignment",
        metavar="X0_MM,Y0_MM,ROTATION_DEG,SCALE[,mirrored]",
        help="true position of the board on the stage; X0, Y0: of tile 0 (default: as in the board's file)",
    )
    parser.add_argument("--lies-as", action=Renamed, dest="true_alignment", new_name="--true-alignment")
    parser.add_argument("--etched", action="store_true", help="a board with the errors of its etching")
    parser.add_argument("--prefix", default="CXGI:", help="of all PVs (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="UDP and TCP port; 0 = a free one (default: %(default)s)")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="1 = real time, 0 = as fast as it can (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all noise (default: %(default)s)")
    for name, text in NUMBERS.items():
        default = {"source_ma": 100.0}.get(name, 0.0)
        parser.add_argument(_flag(name), type=float, default=default, help=f"{text} (default: %(default)s)")
    for name, text in OF_THE_BOARD.items():
        parser.add_argument(_flag(name), type=float, help=f"{text} (default: the board's)")
    parser.add_argument("--end-with-parent", action="store_true", help="end when the process that started it has ended")
    parser.add_argument("--once-ready", metavar="FILE", help="also write the line as JSON into a file")


def ioc(options: argparse.Namespace, echo: Echo) -> Payload:
    """Serve the simulated beamline over EPICS Channel Access, until it is interrupted.

    Parameters
    ----------
    options : argparse.Namespace
        Board, object, address, time scale, seed, and numbers of the simulation (pA, fA, um, mA, h, s).
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        What the IOC has counted: openings, seconds open, exposures, moves; for ``--json``.
    """
    import asyncio

    from ..simulation.ioc.options import IocOptions
    from ..simulation.ioc.server import serve

    numbers = {NAMES.get(name, name): getattr(options, name) for name in (*NUMBERS, *OF_THE_BOARD)}
    asked = IocOptions(
        board=options.board,
        object_name=options.object,
        prefix=options.prefix,
        host=options.host,
        port=options.port,
        time_scale=options.time_scale,
        seed=options.seed,
        etched=options.etched,
        end_with_parent=options.end_with_parent,
        true_alignment=None if options.true_alignment is None else _alignment(options.true_alignment),
        **numbers,
    )

    def ready(announcement: dict[str, Any]) -> None:
        line = json.dumps(plain(announcement))
        if options.once_ready:
            with whole_file(Path(options.once_ready)) as part:
                part.write_text(line + "\n", encoding="utf-8")
        print(line if options.json else _line(announcement), flush=True)

    counted = asyncio.run(serve(asked, ready))
    echo(
        f"ended with the shutter {counted['shutter']}: {counted['openings']} openings, {counted['open_s']:.3f} s open, "
        f"{counted['exposures']} exposures, {counted['moves']} moves"
    )
    return counted


def _alignment(text: str) -> Alignment:
    """Parse an alignment of the command line."""
    *numbers, last = text.split(",")
    mirrored = last == "mirrored"
    try:
        x0_mm, y0_mm, rotation_deg, scale = map(float, numbers if mirrored else [*numbers, last])
    except ValueError:
        raise ConfigError(
            f"--true-alignment {text}: give X0_MM,Y0_MM,ROTATION_DEG,SCALE and, if it is so, ,mirrored"
        ) from None
    return Alignment(x0_mm, y0_mm, rotation_deg, scale, mirrored)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _line(announcement: dict[str, Any]) -> str:
    environment = " ".join(f"{name}={value}" for name, value in announcement["environment"].items())
    ports = f"udp {announcement['udp_port']} tcp {announcement['tcp_port']}"
    return f"serving {announcement['prefix']} at {announcement['host']} {ports}: {environment}"
