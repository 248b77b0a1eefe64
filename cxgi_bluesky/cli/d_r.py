"""``cxgi d-r``: the modulation depth ratio that metal, thickness and light predict for a mask."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ._options import Commands, Echo, Payload, add_command
from ._runs import complete_runs, set_completer

if TYPE_CHECKING:
    from ..simulation.materials import Layer


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "d-r",
        d_r,
        examples=[
            "cxgi d-r --board au64 --energy-kev 17.6  # what its metal lets through",
            "cxgi d-r --metal Au --thickness-um 10 --tube W --kv 50 --filter Al:0.5mm  # a filtered tube",
            "cxgi d-r --run last  # what the newest run has measured, with all-metal exposures",
        ],
    )
    parser.add_argument("--board", help="au64, cu32 or a board file: brings metal, thickness and substrate")
    set_completer(
        parser.add_argument(
            "--run", metavar="RUN", help="what it has measured with all-metal exposures; named as in cxgi show"
        ),
        complete_runs,
    )
    parser.add_argument("--metal", help="element or material of the mask, such as Au")
    parser.add_argument("--thickness-um", type=float, help="thickness of the metal (um)")
    parser.add_argument("--substrate", metavar="MATERIAL:THICKNESS", help="under the metal, such as SiO2:500um")
    parser.add_argument("--tube", help="anode of the tube: W, Mo, Rh, Cu, Ag or Cr (needs spekpy)")
    parser.add_argument("--kv", type=float, help="voltage of the tube (kV)")
    parser.add_argument("--energy-kev", type=float, help="instead of a tube: one photon energy (keV)")
    parser.add_argument("--spectrum", metavar="FILE", help="instead of a tube: a CSV file energy_keV,photons")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="MATERIAL:THICKNESS", help="in the beam, such as Al:0.5mm"
    )
    parser.add_argument("--diode-um", type=float, default=300.0, help="thickness of the silicon diode (%(default)s um)")
    parser.add_argument("--veil", type=float, default=0.0, help="unmodulated share of the open signal (%(default)s)")


def d_r(options: argparse.Namespace, echo: Echo) -> Payload:
    """Predict the modulation depth ratio D_r of a mask, or report what a run measured.

    Parameters
    ----------
    options : argparse.Namespace
        `board` or the mask (um), the light (kV, keV), detector (um) and veil; `run` and `data` for what was measured.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        D_r as predicted, as the board file gives it and as measured, and what it was predicted with, for ``--json``.
    """
    with echo.working("reading the run"):
        measured = _measure(options, echo) if options.run is not None else None
    prediction = _nothing_predicted() if measured is not None and not _asks_prediction(options) else None
    if prediction is None:
        with echo.working("computing D_r"):
            prediction = _predict(options, echo)
    of_the_board = prediction.pop("board_d_r")
    if measured is not None and of_the_board is None:
        of_the_board = measured["board_d_r"]
        if of_the_board is not None:
            echo(f"its board {measured['board']} says D_r {of_the_board:.1%}")
    return {
        "predicted_d_r": prediction.pop("predicted_d_r"),
        "board_d_r": of_the_board,
        "measured_d_r": None if measured is None else measured["d_r"],
        "measured_sigma": None if measured is None else measured["sigma"],
        **prediction,
    }


def _asks_prediction(options: argparse.Namespace) -> bool:
    """Whether a mask, a light or anything else that only a prediction needs was given."""
    names = ("board", "metal", "thickness_um", "substrate", "tube", "kv", "energy_kev", "spectrum")
    return any(getattr(options, name) is not None for name in names) or bool(options.filter or options.veil)


def _nothing_predicted() -> Payload:
    names = ("predicted_d_r", "board_d_r", "metal", "thickness_um", "substrate", "spectrum", "mean_kev")
    return {**dict.fromkeys(names), "filters": [], "diode_um": None, "veil": None}


def _predict(options: argparse.Namespace, echo: Echo) -> Payload:
    from ..simulation.materials import Layer, predict_d_r
    from ..simulation.spectrum import find_spectrum

    metal, substrate, of_the_board = _mask(options)
    spectrum = find_spectrum(tube=options.tube, kv=options.kv, energy_kev=options.energy_kev, path=options.spectrum)
    predicted = predict_d_r(
        metal.material,
        metal.thickness_um,
        spectrum,
        substrate=substrate,
        filters=tuple(Layer.parse(text) for text in options.filter),
        detector=Layer("Si", options.diode_um),
        veil=options.veil,
    )
    under = f" on {substrate}" if substrate is not None else ""
    echo(f"{metal}{under}, {spectrum.name}: predicted D_r {predicted:.1%}, T0 {1 - predicted:.3f}")
    if of_the_board is not None:
        echo(f"board {options.board} says D_r {of_the_board:.1%}")
    return {
        "predicted_d_r": predicted,
        "board_d_r": of_the_board,
        "metal": metal.material,
        "thickness_um": metal.thickness_um,
        "substrate": None if substrate is None else str(substrate),
        "spectrum": spectrum.name,
        "mean_kev": spectrum.mean_kev,
        "filters": list(options.filter),
        "diode_um": options.diode_um,
        "veil": options.veil,
    }


def _mask(options: argparse.Namespace) -> tuple[Layer, Layer | None, float | None]:
    """Metal, substrate, and the D_r of the board file; options replace what the board file gives."""
    from ..masks.board import load_board
    from ..simulation.materials import Layer, parse_mask

    metal, substrate, known = None, None, None
    if options.board is not None:
        board = load_board(options.board)
        known = board.d_r
        if options.metal is None or options.thickness_um is None:
            metal, substrate = parse_mask(board.metal)
    material, thickness_um = options.metal, options.thickness_um
    if metal is not None:
        material, thickness_um = (
            material or metal.material,
            metal.thickness_um if thickness_um is None else thickness_um,
        )
    if material is None or thickness_um is None:
        raise ConfigError("which mask: give --metal and --thickness-um, or a --board")
    if options.substrate is not None:
        substrate = Layer.parse(options.substrate)
    return Layer(material, thickness_um), substrate, known


def _measure(options: argparse.Namespace, echo: Echo) -> Payload:
    """D_r of the open and the metal tile in a run, its sigma, and what the run holds about its board."""
    from ..catalog import find_named_run, open_catalog, read_exposures, read_linked_dark
    from ..measurement.reference import dark_level

    catalog = open_catalog(options.data)
    exposures = read_exposures(find_named_run(catalog, options.run))
    found = exposures.estimate_d_r(dark=dark_level(exposures.metadata, read_linked_dark(catalog, exposures)))
    if found is None:
        raise ConfigError(
            f"run {options.run} has no all-metal exposures: a reference_scan or metal_scan has, or hadamard_scan with "
            "metal_exposures"
        )
    echo(f"run {options.run} has measured D_r {found[0]:.1%} +- {found[1]:.1%}")
    board = exposures.board
    return {"d_r": found[0], "sigma": found[1], "board": board.id, "board_d_r": board.d_r}
