"""The demonstration over Channel Access: an IOC, a beamline file, a scan, compared with simulated devices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yaml

from ..._files.atomic_write import whole_file
from ...devices.config import example_path
from ...errors import ConfigError
from ...masks.board import MaskBoard
from .._echo import Echo
from .._options import ExitCode, make_folder

if TYPE_CHECKING:
    from .command import DemoOptions

END_S = 15.0
EXPOSURE_S = 1.0  # a Keithley takes ten readings in it, each over Channel Access


def leave_channel_access() -> None:
    """Close this process' channels for good, before their IOC ends: libca would warn of lost connections."""
    from epics import ca

    ca.finalize_libca()


class DemoIoc:
    """``cxgi ioc`` on free ports, as fast as it can; it closes the shutter and ends with the ``with`` block.

    It does not get the keyboard's Ctrl-C, so that the scan can still close the shutter through it, and it ends by
    itself if this process is killed.

    Parameters
    ----------
    prefix, board, object_name : str
    seed : int

    Attributes
    ----------
    environment : dict
        What a client needs in its environment before it imports ophyd.
    counted : dict
        What the IOC reports at its end.

    Raises
    ------
    CxgiError
        Without caproto or pyepics, or if the IOC does not start.
    """

    def __init__(self, *, prefix: str, board: str, object_name: str, seed: int) -> None:
        if find_spec("caproto") is None or find_spec("epics") is None:
            raise ConfigError("cxgi demo --epics needs caproto and pyepics: pip install 'cxgi_bluesky[epics]'")
        self.counted: dict[str, Any] = {}
        self.log_text = ""
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - not a pipe, which nobody would empty
        options = {"--prefix": prefix, "--board": board, "--object": object_name, "--seed": str(seed)}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "cxgi_bluesky.cli", "ioc", "--json", "--end-with-parent", "--time-scale", "0"),
                *(text for option in options.items() for text in option),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self.environment: dict[str, str] = self._announcement()["environment"]

    def _announcement(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except KeyboardInterrupt:
            self.end()
            raise KeyboardInterrupt("interrupted before the first exposure") from None
        if not line:
            self.end()
            raise ConfigError(f"the IOC did not start: {(self.log_text.splitlines() or ['it said nothing'])[-1]}")
        announced = dict(json.loads(line))
        if "error" in announced:
            self.end()
            raise ConfigError(f"the IOC did not start: {announced['error']}")
        return announced

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> dict[str, Any]:
        """End it, the shutter first; what it counted."""
        if self._log.closed:
            return self.counted
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            self._log.close()
            raise ConfigError(f"the IOC did not end within {END_S:g} s and was killed") from None
        if rest and rest.strip():
            self.counted = json.loads(rest)
        self._log.seek(0)
        self.log_text = self._log.read().strip()
        self._log.close()
        return self.counted

    def update_environment(self) -> None:
        """Put its addresses into this process' environment; Channel Access reads them once."""
        os.environ.update(self.environment)


# ---------------------------------------------------------------- one detector


EXAMPLES = {"generic": "ioc", "keithley": "keithley", "tetramm": "tetramm", "scaler": "scaler"}
OF_THE_BOARD = ("limits_mm", "in_position_um")  # keys of the stage that do not fit another board
NUMBERS_FILE = "demo.json"


def run_epics_demo(asked: DemoOptions, detector: str, echo: Echo) -> dict[str, Any]:
    """Scan an IOC of its own through a beamline file, and compare everything with simulated devices.

    To be called in a process that has not talked Channel Access before.

    Parameters
    ----------
    asked : DemoOptions
    detector : {"generic", "keithley", "tetramm", "scaler"}
    echo : callable

    Returns
    -------
    dict
        Plain values, also in ``demo.json`` of its folder; ``exit_code`` is 1 if images or counts do not agree.

    Raises
    ------
    CxgiError
        Without the extra ``epics``.
    KeyboardInterrupt
        After Ctrl-C; the shutter is closed and the IOC ended.
    """
    config = make_beamline_config(detector, asked.board)
    echo.note(f"Starting an IOC of its own, prefix {config['prefix']}, as fast as it can ...")
    with DemoIoc(prefix=config["prefix"], board=asked.board, object_name=asked.object_name, seed=asked.seed) as ioc:
        ioc.update_environment()
        numbers = {"detector": detector, **_scan_and_show(ioc, config, asked, echo)}
    with whole_file(Path(asked.out) / NUMBERS_FILE) as file:
        file.write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    return numbers


def make_beamline_config(detector: str, board: str) -> dict[str, Any]:
    """Read the package's example for a detector, with another board, and without what fits its own alone.

    Parameters
    ----------
    detector : {"generic", "keithley", "tetramm", "scaler"}
    board : str
        Name or file of the board.

    Returns
    -------
    dict
        Keys of a beamline file.
    """
    text = example_path(EXAMPLES[detector]).read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    config.pop("data", None)
    if board == config["board"]:
        return config
    stage = {key: value for key, value in config["stage"].items() if key not in OF_THE_BOARD}
    return {**config, "stage": stage, "board": str(Path(board).resolve()) if Path(board).is_file() else board}


def _scan_and_show(ioc: DemoIoc, config: dict[str, Any], asked: DemoOptions, echo: Echo) -> dict[str, Any]:
    """Scan and reconstruct, when the environment is right: from here on ophyd may be imported."""
    from ... import session
    from ...devices.simulated.beamline import simulated_beamline
    from ...session.shutdown import close_now
    from .agreement import Counts, compare_with_simulated
    from .run import scan, show

    folder = make_folder(asked.out)
    file = folder / "beamline.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    description = f"object {asked.object_name!r}, over Channel Access with {file}"
    try:
        s = session.start(sim=False, beamline=file, data=asked.data, progress=not echo.quiet)
        scanned = scan(s, asked.fraction, EXPOSURE_S, description, echo)
    finally:  # the IOC ends next, also after Ctrl-C
        close_now()
        leave_channel_access()
    counts = Counts.from_scan(scanned, s.diode, ioc.end())
    assert isinstance(s.board, MaskBoard)
    truth = simulated_beamline(s.board, asked.object_name, seed=asked.seed).simulation.truth
    numbers = show(asked, s, scanned, truth, folder, echo)
    beside = compare_with_simulated(scanned, asked, s.board, incident=s.object_stage is not None, echo=echo)
    echo(str(beside), style="" if beside.good else "bold red")
    echo(str(counts), style="" if counts.equal else "bold red")
    return {
        **numbers,
        "beside_soft_devices": beside.to_dict(),
        "counts": counts.to_dict(),
        "exit_code": ExitCode.DONE if beside.good and counts.equal else ExitCode.FINDINGS,
    }


# ---------------------------------------------------------------- all detectors


WHOLE, SHARE = "generic", 0.25  # the others read more PVs an exposure: a quarter of the patterns shows the same


def run_each_detector(asked: DemoOptions, echo: Echo) -> dict[str, Any]:
    """Run ``cxgi demo --epics`` for every detector, with images in a folder of its own each.

    Parameters
    ----------
    asked : DemoOptions
        Its fraction is for the first detector.
    echo : callable

    Returns
    -------
    dict
        Numbers by detector in ``detectors``, and ``exit_code`` 1 if one of them does not agree.

    Raises
    ------
    CxgiError, KeyboardInterrupt
        If one of them fails or is interrupted; it has reported the reason.
    """
    by_detector = {}
    for detector in EXAMPLES:
        folder = Path(asked.out) / detector
        share = asked.fraction if detector == WHOLE else SHARE * asked.fraction
        fewer = "" if detector == WHOLE else f", with {SHARE:.0%} of the patterns asked for: it takes longer"
        echo.note(f"\n=== detector {detector}{fewer} ===")
        here = replace(asked, fraction=share, out=folder)
        _run_command([*_to_arguments(here), "--detector", detector, *(["--quiet"] if echo.quiet else [])], echo)
        by_detector[detector] = json.loads((folder / NUMBERS_FILE).read_text(encoding="utf-8"))
    _echo_table(by_detector, echo)
    return {"detectors": by_detector, "exit_code": max(numbers["exit_code"] for numbers in by_detector.values())}


def _to_arguments(asked: DemoOptions) -> list[str]:
    """Return the options as a command line has them."""
    options = {"--object": asked.object_name, "--board": asked.board, "--fraction": asked.fraction,
               "--seed": asked.seed, "--out": asked.out, "--data": asked.data}  # fmt: skip
    return [text for name, value in options.items() if value is not None for text in (name, str(value))]


def _run_command(arguments: list[str], echo: Echo) -> None:
    sys.stdout.flush()  # the child writes there too
    child = subprocess.Popen(
        [sys.executable, "-m", "cxgi_bluesky.cli", "demo", "--epics", *arguments],
        stdout=subprocess.DEVNULL if echo.json else None,
    )
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:
            continue  # it got the same: it closes the shutter, and reports what is left
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt("interrupted there; what is left is above")
    if code not in (ExitCode.DONE, ExitCode.FINDINGS):
        raise ConfigError("the demonstration ended there; the reason is above")


def _echo_table(by_detector: dict[str, Any], echo: Echo) -> None:
    rows = []
    for detector, numbers in by_detector.items():
        beside = numbers["beside_soft_devices"]
        chi2 = f"chi2 {beside['chi2_per_bucket']:.2f}, two seeds {beside['chi2_per_bucket_of_two_seeds']:.2f}"
        counts = "equal" if numbers["counts"]["equal"] else "NOT EQUAL"
        rows.append((detector, str(numbers["exposures"]), counts, f"{beside['verdict']} ({chi2})"))
    echo("")
    echo.table(("detector", "exposures", "counts", "beside soft devices"), rows, right=[1])
